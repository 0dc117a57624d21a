"""Looking as the user that asks: what root may read and write, the plugin or daemon may not.

The checks of settings and database are run by root most often, and root is refused nothing. So
they can be run as another user (`--as`), and tell root what looks as if it were for root alone.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress

import click

from greylag.app.config import CONFIG_VARIABLE, DEFAULT_PATH
from greylag.app.entering import closed_to, closed_to_us
from greylag.cli.common import USAGE, CommandError, F, Run, missing_file
from greylag.store import Backend, kinds
from greylag.store.base import StoreError
from greylag.store.owner import name_of

_ROOT = 0


def as_option(command: F) -> F:
    """Give a command the option `--as`; the process is that user from then on."""

    def become(_context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
        if name is not None:
            _become(name)

    text = "Look as this user, the one that the plugin or the daemon runs as (root only)."
    return click.option(
        "--as", "as_user", metavar="USER", expose_value=False, callback=become, help=text
    )(command)


def _become(name: str) -> None:
    """Be another user for good: this process does nothing but look."""
    try:
        user = pwd.getpwnam(name)
    except (KeyError, ValueError) as error:
        raise CommandError([f"--as: there is no user {name!r}"], USAGE) from error
    if os.getuid() == os.geteuid() == user.pw_uid:
        return
    _load_stores()
    try:
        os.setgroups(os.getgrouplist(name, user.pw_gid))
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except PermissionError as error:
        raise CommandError([f"--as: only root can look as {name}"], USAGE) from error


def _load_stores() -> None:
    """Load what is loaded late otherwise: the program may lie where that user cannot read it."""
    for kind in kinds():
        with suppress(ImportError):
            kind.load()


def refuse_unusable(backend: Backend) -> None:
    """Raise StoreError where we could not keep records in a file, made or not yet.

    Of a database on a server, the files that name it are read; the server is not asked.
    """
    backend.look()
    path = backend.file
    if path is None:
        return
    folder = os.path.dirname(path)
    closed = closed_to_us(path)
    if closed is not None:
        raise StoreError(closed)
    if missing_file(backend) is not None and not os.path.isdir(folder):
        raise StoreError(f"{folder}: is missing, so no database can be made there")
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        raise StoreError(f"{path}: {_who()} may not read and write it")
    if os.path.isdir(folder) and not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(
            f"{folder}: {_who()} may not write there, and the database needs files beside it"
        )


def _who() -> str:
    return f"the user {name_of(os.geteuid())}"


def for_root_alone(run: Run) -> list[str]:
    """Return what root may use and it seems nobody else; nothing where we are not root."""
    if os.geteuid() != _ROOT:
        return []
    config = os.fsdecode(run.environ.get(CONFIG_VARIABLE, os.fsencode(DEFAULT_PATH)))
    needed = [(config, stat.S_IROTH, stat.S_IRGRP)]
    if (path := run.backend.file) is not None:
        needed.append((path, stat.S_IWOTH, stat.S_IWGRP))
    return [
        f"{path}: is for root alone. If the plugin or the daemon runs as another user, it lets all"
        " mail in; --as USER looks as that user"
        for path, others, group in needed
        if _closed(path, others, group)
    ] + closed_to_others([path for path, _, _ in needed], run.backend)


def closed_to_others(paths: list[str], backend: Backend) -> list[str]:
    """Return which folders above these paths the owner of the database may not enter.

    As whom the plugin or the daemon runs, root's command can only tell by that.
    """
    database = backend.file
    if os.geteuid() != _ROOT or database is None:
        return []
    try:
        owner = os.stat(database if os.path.exists(database) else os.path.dirname(database))
        user = pwd.getpwuid(owner.st_uid)
    except (OSError, KeyError):
        return []
    if user.pw_uid == _ROOT:
        return []
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    told = [closed_to(path, user.pw_uid, groups) for path in paths]
    return list(dict.fromkeys(line for line in told if line is not None))


def _closed(path: str, others: int, group: int) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return found.st_uid == _ROOT and not found.st_mode & (group | others)
