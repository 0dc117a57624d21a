"""Files that `greylag import` reads: their lines, and the rows of foreign databases."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, cast

from greylag.admin.bounded import numbered_lines
from greylag.admin.imports import LONGEST, Left
from greylag.admin.imports.rows import Row
from greylag.cli.common import NO_INPUT, STORE_UNAVAILABLE, CommandError

_BERKELEY = {b"\x62\x31\x05\x00", b"\x00\x05\x31\x62", b"\x61\x15\x06\x00", b"\x00\x06\x15\x61"}
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a pipe holds nobody
_BERKELEY_AT = 12  # bytes from the beginning
_SQLITE = b"SQLite format 3\0"
_POSTGREY = ("postgrey.db", "postgrey_clients.db")
_DUMPS = ("db_dump", "db5.3_dump")
_CONNECT = "SELECT sender_name, sender_domain, src, rcpt, first_seen FROM connect"
_VIEWS = (
    "SELECT name FROM sqlite_master WHERE type = 'view'"
    " AND lower(name) IN ('connect', 'from_awl', 'domain_awl')"
)
_MOST_OF_ROW = 1 << 20  # bytes, with all that is in it
_FROM_AWL = "SELECT sender_name, sender_domain, src, first_seen, last_seen FROM from_awl"
_DOMAIN_AWL = "SELECT sender_domain, src, first_seen, last_seen FROM domain_awl"


def lines_of_all(
    names: Iterable[str], longest: int = LONGEST
) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines of files, one after the other; `-` is standard input."""
    for name in names:
        if name == "-":
            yield from numbered_lines("standard input", sys.stdin.buffer.readline, longest)
            continue
        with _opened(name) as file:
            yield from numbered_lines(name, _reader(name, file), longest)


def _opened(name: str) -> IO[bytes]:
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def _reader(name: str, file: IO[bytes]):  # type: ignore[no-untyped-def]
    def readline(most: int) -> bytes:
        try:
            return file.readline(most)
        except OSError as error:
            raise _unreadable(name, error) from error

    return readline


def _unreadable(name: str, error: Exception) -> CommandError:
    return CommandError([f"{name}: {getattr(error, 'strerror', None) or error}"], NO_INPUT)


def begin_of(name: str) -> bytes:
    """Return the first bytes of a plain file; none of what is another."""
    if name == "-" or not os.path.isfile(name):
        return b""
    with _opened(name) as file:
        return cast("bytes", _reader(name, file)(64))


def lines_of_postgrey(names: Iterable[str]) -> Iterator[tuple[int, bytes | None]]:
    """Yield what db_dump writes of postgrey's folder, or of its files; or files of such lines."""
    for name in names:
        if os.path.isdir(name):
            _refuse_running(name)
            found = [os.path.join(name, base) for base in _POSTGREY]
            there = [path for path in found if os.path.isfile(path)]
            if not there:
                raise CommandError([f"{name}: has no {' and no '.join(_POSTGREY)}"], NO_INPUT)
            for path in there:
                yield from _dumped(path)
        elif begin_of(name)[_BERKELEY_AT : _BERKELEY_AT + 4] in _BERKELEY:
            yield from _dumped(name)
        else:
            yield from lines_of_all([name])


def _refuse_running(folder: str) -> None:
    """Refuse a folder whose postgrey runs: what it learned last is in its memory alone."""
    with suppress(FileNotFoundError, PermissionError):
        handle = os.open(os.path.join(folder, "postgrey.lock"), _LOOK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = f"{folder}: postgrey is running, and its files lack what it learned last"
            raise CommandError([f"{told}: stop it first"], STORE_UNAVAILABLE) from None
        finally:
            os.close(handle)


def _dumped(path: str) -> Iterator[tuple[int, bytes | None]]:
    program = next((found for name in _DUMPS if (found := shutil.which(name))), None)
    if program is None:
        told = f"{path}: is a database of BerkeleyDB, and db_dump is not there to read it"
        raise CommandError([f"{told} (Debian: apt install db-util)"], NO_INPUT)
    words = [program, "-p", os.path.abspath(path)]
    with subprocess.Popen(  # noqa: S603 - no shell, and an absolute path is no option
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as dump:
        out = cast("IO[bytes]", dump.stdout)
        yield from numbered_lines(path, out.readline, LONGEST)
    if dump.returncode:
        raise CommandError([f"{path}: db_dump cannot read it"], NO_INPUT)


def is_sqlite(name: str) -> bool:
    """Tell whether a file is a database of SQLite."""
    return begin_of(name).startswith(_SQLITE)


def rows_of_sqlgrey(name: str) -> Iterator[tuple[int, Row | Left]]:
    """Yield the rows of sqlgrey's tables in a file of SQLite."""
    uri = Path(os.path.abspath(name)).as_uri() + "?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as db:
            db.text_factory = bytes
            db.execute("PRAGMA trusted_schema = OFF")
            # The file may come from anywhere: one value could fill the memory.
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_OF_ROW)
            for (view,) in db.execute(_VIEWS):  # one may yield rows without end
                told = f"{name}: {view.decode()} is a view, and a table in sqlgrey"
                raise CommandError([told], NO_INPUT)
            number = 0
            for cursor in (db.execute(_CONNECT), db.execute(_FROM_AWL), db.execute(_DOMAIN_AWL)):
                names = [str(column[0]) for column in cursor.description]
                for row in cursor:
                    number += 1
                    yield number, dict(zip(names, map(_bytes, row), strict=True))
    except sqlite3.Error as error:
        raise CommandError([f"{name}: {error}"], NO_INPUT) from error


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value[:LONGEST]
    return str(value).encode("utf-8", "replace")
