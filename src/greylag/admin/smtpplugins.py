"""control/smtpplugins: which lines of it run our plugins, and what else names them.

A line that names a program which is not there makes qmail-spp answer 451 to every recipient. So
our lines are taken out before our programs are, and put in after them.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from glob import glob
from pathlib import Path

from greylag.admin.folder import KEPT, Folder
from greylag.store.plain_file import read_plain

NAME = "smtpplugins"
# In this order: who has logged in is passed over before greylisting is asked.
LINES = (b"plugins/ifauthskip", b"plugins/greylisting")
SECTION = b"[rcpt]"
# Where run scripts of qmail-smtpd stand, with daemontools, runit and s6.
SCRIPTS = (
    "/service/*/run",
    "/etc/service/*/run",
    "/etc/sv/*/run",
    "/var/service/*/run",
    "/var/qmail/supervise/*/run",
    "/var/qmail/rc",
    "/etc/inetd.conf",
    "/etc/xinetd.d/*",
    "/etc/systemd/system/*.service",
)
_STARTED = 19  # place of a process's start among the fields behind its name (proc_pid_stat(5))
_UNSURE = 0.1  # seconds: the kernel tells starts in hundredths


def read(control: Folder | None) -> bytes:
    """Return the file as qmail-spp reads it; nothing where it is not there. Raises OSError."""
    kind = control.kind(NAME) if control else None
    if control is None or kind is None:
        return b""
    content = control.read(NAME)
    return read_plain(str(control.path / NAME)) if content is None else content


def refuse_unwritable(control: Folder | None, home: Path) -> None:
    """Raise OSError where `with_ours` could not be written."""
    there = read(control)
    if control is None or with_ours(there, home) == there:
        return
    if control.kind(NAME) == stat.S_IFLNK:
        raise OSError(0, "is a link: add the lines to the file that it leads to", _path(home))
    if control.kind(NAME + KEPT) == stat.S_IFDIR:
        raise OSError(0, "is a folder", _path(home) + KEPT)
    control.check_writable()


def _path(home: Path) -> str:
    return str(home / "control" / NAME)


def _program(line: bytes, home: Path) -> str | None:
    """Return the name of the program in plugins/ that a line executes as it stands, or None."""
    text = line.strip().decode("utf-8", "surrogateescape")
    way, _, name = text.rpartition("/")
    return name if way in ("plugins", "./plugins", str(home / "plugins")) else None


def named(text: bytes, home: Path) -> set[str]:
    """Return the programs of plugins/ that the lines of the file execute."""
    return {name for line in text.splitlines() if (name := _program(line, home)) is not None}


def without(text: bytes, home: Path, programs: Collection[str]) -> bytes:
    """Return the file without the lines that execute these programs; all else as it is."""
    lines = text.splitlines(keepends=True)
    return b"".join(line for line in lines if _program(line, home) not in programs)


def with_ours(text: bytes, home: Path) -> bytes:
    """Return the file with a line for each of our plugins, at the end of the section [rcpt]."""
    there = named(text, home)
    added = [line for line in LINES if line.rpartition(b"/")[2].decode() not in there]
    if "skipifauth" in there:  # the same program under its other name
        added = [line for line in added if line != LINES[0]]
    if not added:
        return text
    lines = text.splitlines()
    at = _end_of_section(lines)
    if at is None:
        lines += [SECTION]
        at = len(lines)
    before_greylisting = LINES[0] in added and LINES[1] not in added
    if before_greylisting:
        at = next(n for n, line in enumerate(lines) if _program(line, home) == "greylisting")
    return b"\n".join([*lines[:at], *added, *lines[at:]]) + b"\n"


def _end_of_section(lines: list[bytes]) -> int | None:
    """Return where a line belongs that is to be the last of [rcpt]; only its `r` counts."""
    inside, at = False, None
    for number, line in enumerate(lines, 1):
        if line.startswith(b"["):
            inside = line[1:2] == b"r"
        if inside and line.strip():
            at = number
    return at


def references(home: Path, programs: Collection[str]) -> Iterator[str]:
    """Yield `file:line: text` for what else executes these programs, as far as it can be read.

    In smtpplugins that is a line which `without` does not take out, as it is spelt otherwise.
    """
    names = "|".join(map(re.escape, sorted(programs)))
    wanted = re.compile(rb"(?:^|[\s/:\"'])plugins/+(?:%s)(?![\w.-])" % names.encode())
    own = sorted((home / "control").glob("*"))
    for path in [*own, *(Path(found) for pattern in SCRIPTS for found in sorted(glob(pattern)))]:
        if path.name.endswith(".before-greylag"):
            continue
        try:
            lines = read_plain(str(path)).splitlines()  # no script is larger than it reads
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            if path == home / "control" / NAME and _program(line, home) in programs:
                continue
            if wanted.search(line) and not line.lstrip().startswith(b"#"):
                yield f"{path}:{number}: {line.strip().decode('utf-8', 'replace')}"


def sessions(home: Path) -> list[int]:
    """Return the processes of qmail-smtpd in this qmail home that began before the last change.

    Each reads control/smtpplugins when it starts, and goes on running what it named then.
    """
    changed = None
    for path in (home / "control" / NAME, home / "control"):  # a file that is gone changed that
        with suppress(FileNotFoundError):
            changed = changed or path.stat().st_ctime
    if changed is None:
        return []
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            _, _, fields = (process / "stat").read_bytes().rpartition(b") ")
            name = (process / "comm").read_bytes().strip()  # any bytes that its user chose
            inside = (process / "cwd").samefile(home)
        except OSError:
            continue  # it has ended, or is none of ours to look at
        began = booted + int(fields.split()[_STARTED]) / os.sysconf("SC_CLK_TCK")
        if name == b"qmail-smtpd" and inside and began < changed + _UNSURE:
            found.append(int(process.name))
    return found
