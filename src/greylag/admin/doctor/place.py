"""What checks look at: a machine, or a folder with one, and the settings that hold there.

Checks start no programs and read no settings by themselves: they are handed what does it. Every
look is bounded in bytes and in time, because others may have put anything where we look.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from glob import iglob
from itertools import islice
from shlex import quote, split

from greylag.admin.doctor.users import Users
from greylag.core.value import value
from greylag.store import Backend
from greylag.store.base import Store
from greylag.store.plain_file import read_plain

DEFAULT_HOME = "/var/qmail"
MOST_FILES = 200  # of one pattern
_MOST_NAMES = 10_000  # of a folder
_OF_OTHERS = re.compile(rb"^\s*(?:\[(?!client|greylag)|!include)", re.MULTILINE)


@value
class Ran:
    """What a program did: its exit status (None: it was not there, or too slow), its output."""

    status: int | None
    output: str


@value
class Known:
    """What the settings say, as far as checks ask."""

    backend: Backend
    timeout: int
    socket: str
    socket_mode: int
    socket_group: str
    ports: tuple[str, ...]  # of `server.policy`
    delay: int
    retry_window: int
    greylists: bool
    null_sender_at_rcpt: bool
    trees: tuple[str, ...]
    log_file: str
    web_users: str
    servers: tuple[tuple[str, int], ...]  # that are asked for names; none where DNS is off
    keep_most: int  # waiting records
    origins: Mapping[str, str]


@value
class Place:
    """Where to look, and with what."""

    root: str  # a folder with a machine in it; empty: this machine
    home: str  # the qmail home, as a path from here
    config: str  # greylag.toml, as a path from here
    command: str  # how `greylag` is called, in a shell
    now: int
    known: Known | None  # None where the settings have errors
    errors: tuple[str, ...]  # of the settings
    warnings: tuple[str, ...]
    elsewhere: tuple[str, ...]  # where plugins read another greylag.toml
    run: Callable[[Sequence[str]], Ran]
    within: Callable[[float], AbstractContextManager[None]]  # raises TooSlow
    open_store: Callable[[], Store]  # for reading
    before: Mapping[str, object]  # what the run before noted
    noted: dict[str, object]  # what this run notes for the next

    @property
    def users(self) -> Users:
        """The users of the machine."""
        return Users(self.root)

    def path(self, path: str) -> str:
        """Return where a path of the machine is, as seen from here."""
        if not self.root or path == self.root or path.startswith(self.root + "/"):
            return path
        return self.root + "/" + path.lstrip("/")

    def has(self, path: str) -> bool:
        """Tell whether a program of the machine is there; setup for a folder names those here."""
        return os.path.exists(self.path(path)) or os.path.exists(path)

    def read(self, path: str) -> bytes | None:
        """Return what is in a small file; None where there is none, or it cannot be read."""
        try:
            return read_plain(path)
        except OSError:
            return None

    def files(self, *patterns: str) -> list[str]:
        """Return the paths that fit patterns of the machine."""
        found = []
        for pattern in patterns:
            found += sorted(islice(iglob(self.path(pattern)), MOST_FILES))
        return found

    def on_store(self, arguments: str, user: str = "") -> str:
        """Return the command line that calls greylag, as this user, for what it does in the store.

        Nothing where the machine is one in a folder: it would do that in the store of this one.
        """
        if self.root:
            return ""
        if not user or os.geteuid() == self.users.number(user):
            return f"{self.command} {arguments}"
        return f"runuser -u {quote(user)} -- {self.command} {arguments}"

    def setup(self, server: str, *options: str) -> str:
        """Return the command that sets greylag up on the machine that is looked at."""
        words = [quote(split(self.command)[0]), "setup", server, "--yes", *options]
        words += ["--root", quote(self.root)] if self.root else []  # it has its own for the place
        home = self.home.removeprefix(self.root)
        words += ["--qmail-home", quote(home)] if server == "qmail" and home != DEFAULT_HOME else []
        return " ".join(words)


def has_others(database: str) -> bool:
    """Tell whether the folder of a database, such as /var/lib, has files that are not greylag's."""
    folder, name = os.path.split(database)
    ours = name.partition(".")[0], "doctor.json", "web-", "."
    with os.scandir(folder) as found:
        return any(not one.name.startswith(ours) for one in islice(found, _MOST_NAMES))


def is_read_by_others(path: str, content: bytes, groups: Sequence[int]) -> bool:
    """Tell whether other programs or groups than those that ask read an option file of MySQL."""
    if _OF_OTHERS.search(content) or path == "/etc/my.cnf" or path.startswith("/etc/mysql/"):
        return True
    found = os.stat(path)
    return bool(found.st_mode & stat.S_IRGRP) and found.st_gid not in (0, *groups)
