"""Backups: what a store is at one moment as one file, and such a file put back.

A backup is a database that any SQLite opens. Behind its last page stands one line that SQLite does
not look at: what the backup is, and a checksum of all before it. So a file that was cut, or in
which one bit changed, is told from a whole one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import repeat
from stat import S_ISREG
from time import gmtime, monotonic, sleep, strftime

from greylag.admin import Progress, unseen
from greylag.admin.newfile import refused, temporary
from greylag.core.value import replace, value
from greylag.store.base import StoreUnavailable
from greylag.store.folders import place_of
from greylag.store.snapshots import Snapshots, Step

_LINE = 256  # bytes of the last line, with blanks behind it
_TOLD = re.compile(
    rb"\n-- greylag backup 1; schema (\d{1,6}); bytes (\d{1,18}); made (\d{1,12}); "
    rb"sha256 ([0-9a-f]{64}) *\n"
)
_CHUNK = 1 << 20  # bytes that are read at a time
_SYNC = 2  # steps of a copy between two syncs: more at once would hold up the daemon's commits
_DATABASE = b"SQLite format 3\0"  # how one begins


class BackupError(Exception):
    """The file is no backup, or may not be written. The text names it, and says why."""


@value
class Backup:
    """What the last line of a backup says."""

    schema: int
    size: int  # bytes of the database
    made: int  # Unix time
    sha256: str

    @property
    def head(self) -> bytes:
        """The line's beginning, which goes into the checksum, too."""
        told = f"\n-- greylag backup 1; schema {self.schema}; bytes {self.size}; made {self.made}; "
        return told.encode()

    @property
    def line(self) -> bytes:
        """The line, of the same length always."""
        return (self.head + b"sha256 " + self.sha256.encode()).ljust(_LINE - 1) + b"\n"


@value
class Restored:
    """What was put back, and where the database is that was there before."""

    backup: Backup
    kept: str | None
    busy: bool = False  # a dry run: another process has the database open


def backup(
    snapshots: Snapshots, path: str, now: int, *, force: bool = False, progress: Progress = unseen
) -> Backup:
    """Write a backup into a new file; with `force` also over one. Raises BackupError, StoreError.

    Nothing stands there before all of it does.
    """
    snapshots.look()
    if snapshots.owns(path):
        raise BackupError(f"{path}: is the database itself")
    why = refused(path, force=force)
    if why is not None:
        raise BackupError(why)
    with _errors_of(path), temporary(path) as made:
        snapshots.write(made.path, _paced(made.path, progress))
        schema, size = snapshots.check(made.path), os.stat(made.path).st_size
        with _opened(made.path) as handle:
            found = Backup(schema, size, now, "")
            found = replace(found, sha256=_digest(handle, found, "checking", progress))
        _finish(made.path, found.line)
        made.publish(force=force)
    return found


def read_backup(path: str, progress: Progress = unseen) -> Backup:
    """Return what a backup says that it is, where it is whole. Raises BackupError."""
    with _errors_of(path), _opened(path) as handle:
        told = _told(handle, path)
        if _digest(handle, told, "checking", progress) != told.sha256:
            raise BackupError(f"{path}: is damaged: its checksum does not fit")
    return told


def restore(
    snapshots: Snapshots,
    path: str,
    now: int,
    *,
    dry_run: bool = False,
    sure: bool = False,
    progress: Progress = unseen,
) -> Restored:
    """Put a backup in the store's place. Raises BackupError, StoreError: then nothing changed.

    `sure`: also where another process has the store open. A dry run looks at the store's place,
    too, and changes nothing.
    """
    busy = (dry_run or not sure) and snapshots.in_use()
    if busy and not dry_run:
        raise StoreUnavailable(f"{snapshots.name}: another process has it open")
    told = read_backup(path, progress)
    snapshots.check(path)
    if dry_run:
        _refuse_closed(snapshots.name)
        return Restored(told, None, busy)
    with _errors_of(snapshots.name), temporary(snapshots.name) as copy:
        _copy(path, copy.path, told, progress)
        aside = strftime(".before-%Y%m%d-%H%M%S", gmtime(now))
        return Restored(told, snapshots.put(copy.path, aside, sure=sure))


def _refuse_closed(path: str) -> None:
    """Refuse a file whose folder we may not write in. Raises BackupError."""
    with _errors_of(path), place_of(path) as place:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.folder, effective_ids=True):
            raise BackupError(f"{path}: its folder may not be written")


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from error


def _paced(file: str, progress: Progress) -> Step:
    """Return what a copy calls at each step: it syncs, and leaves others as much time as it took.

    The bytes go to the disk in small parts: a gigabyte at the end would hold up all other writers.
    """
    began, steps, bar = monotonic(), 0, None

    def step(done: int, total: int) -> None:
        nonlocal began, steps, bar
        steps += 1
        if bar is None:
            bar = progress(repeat(None), total, "copying", max(1, done), "pages")
        if done < total:
            next(bar)
        if steps % _SYNC == 0:
            _sync(file)
        if done < total:
            sleep(monotonic() - began)
        began = monotonic()

    return step


def _sync(file: str) -> None:
    handle = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open a plain file to be read: a pipe that nobody writes to would hold us for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not S_ISREG(os.fstat(handle).st_mode):
            raise BackupError(f"{path}: expected a plain file")
        yield handle
    finally:
        os.close(handle)


def _told(handle: int, path: str) -> Backup:
    """Read the last line. Raises BackupError."""
    size = os.fstat(handle).st_size
    found = _TOLD.fullmatch(os.pread(handle, _LINE, max(0, size - _LINE)))
    if found is None:
        begins = os.pread(handle, len(_DATABASE), 0) == _DATABASE
        why = "its last line is missing: it was cut, or is a database that was copied otherwise"
        raise BackupError(f"{path}: is no whole backup: {why if begins else 'it is another file'}")
    schema, length, made = (int(number) for number in found.groups()[:3])
    if length != size - _LINE:
        raise BackupError(f"{path}: is damaged: it has {size - _LINE} bytes of {length}")
    return Backup(schema, length, made, found[4].decode())


def _digest(handle: int, told: Backup, label: str, progress: Progress) -> str:
    """Return the checksum of the database and of what is told of it."""
    digest = sha256()
    for chunk in progress(_chunks(handle, told.size), told.size, label, _CHUNK, "bytes"):
        digest.update(chunk)
    digest.update(told.head)
    return digest.hexdigest()


def _chunks(handle: int, size: int) -> Iterator[bytes]:
    for start in range(0, size, _CHUNK):
        yield os.pread(handle, min(_CHUNK, size - start), start)


def _copy(path: str, copy: str, told: Backup, progress: Progress) -> None:
    """Copy the database alone, and look once more whether it is what was checked."""
    digest, steps = sha256(), 0
    made = os.open(copy, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(made, "wb", buffering=0) as target, _opened(path) as source:
        for chunk in progress(_chunks(source, told.size), told.size, "copying", _CHUNK, "bytes"):
            digest.update(chunk)
            target.write(chunk)
            steps += 1
            if steps % _SYNC == 0:
                os.fdatasync(target.fileno())
        os.fsync(target.fileno())
    digest.update(told.head)
    if digest.hexdigest() != told.sha256:
        raise BackupError(f"{path}: changed while it was read")


def _finish(file: str, line: bytes) -> None:
    with open(file, "ab", buffering=0) as target:
        target.write(line)
        os.fsync(target.fileno())
