"""The files of jgreylist's tree, touched so that no planted name leads out of it (T21).

    DIR/AAA/BBB/CCC           the record of an IPv4 /24, three digits each
    DIR/AAA/BBB/CCC/DDD       of one address; beside those, 000 is the /24's
    DIR/ipv6/xxxx/xxxx/LEAF   of an IPv6 network: the rest of its hex digits, 8 for a /64 or shorter

A record is an empty file: mtime is the first contact, atime the last. Each folder is opened from
the one above, following no link; what belongs to another user, or has a second name, is refused.
See docs/start/jgreylist.md, "The record tree".
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from greylag.core.client import IPV4_BYTES
from greylag.store.contacts import Times

SIXTH = "ipv6"
_LOST_AND_FOUND = "lost+found"  # where a tree is a file system of its own
NO_RECORD = "is no record: expected an empty file with one name"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for a planted pipe.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PROOF = ".greylag-proof"  # no name of a record, so no cleaner counts it
DAY = 86400
ONCE_AGE = DAY  # of a client that came once and never again
SEEN_AGE = 30 * DAY
ONCE, OLD, KEPT = "once", "old", "kept"  # what becomes of a record when the tree is cleaned
# The old program makes 200/.00/.00 of an IPv6 address.
_DIGITS, _HEX = re.compile(r"[0-9.]{3}"), re.compile(r"[0-9a-f]{4,24}")
DEPTH = 4  # names on the longest way
_HALF = 8  # bytes of an IPv6 address that a /64 fixes


def why_gone(times: Times, now: int) -> str | None:
    """Return why a record's time is over: it came `once` and never again, or is `old`; or None."""
    if times.last == times.first:
        return ONCE if now - times.last > ONCE_AGE else None
    return OLD if now - times.last > SEEN_AGE else None


class Strange(OSError):
    """Something in the tree is no record and no folder of ours: it is left as it is."""


def names_of(network: bytes) -> tuple[str, ...]:
    """Return the way from the root to the record of a packed network."""
    if len(network) == IPV4_BYTES:
        digits = [f"{byte:03d}" for byte in network]
        return tuple(digits if network[-1] else digits[:-1])
    text = network.hex()
    rest = text[8:] if any(network[_HALF:]) else text[8 : 2 * _HALF]
    return SIXTH, text[:4], text[4:8], rest


def belongs(names: tuple[str, ...]) -> bool:
    """Tell whether names could lead to a record: the path of a tree may be mistyped."""
    rest = _HEX if names[0] == SIXTH else _DIGITS
    return all(rest.fullmatch(name) for name in names[names[0] == SIXTH :])


def doubt_of(path: str) -> str | None:
    """Say that a folder is no tree, where all that is in it has other names.

    An empty one may become a tree.
    """
    try:
        names = [n for n in os.listdir(path) if n != _LOST_AND_FOUND and not n.startswith(".")]
    except OSError:
        return None  # opening it tells why
    if not names or any(belongs((name,)) for name in names):
        return None
    return f"{path}: is no record tree: nothing in it is named as records are"


def network_of(names: tuple[str, ...]) -> bytes | None:
    """Return the packed network that a way leads to, or None where it is none of ours."""
    try:
        if names[0] == SIXTH:
            found = bytes.fromhex("".join(names[1:])).ljust(2 * _HALF, b"\0")
        else:
            found = bytes(int(name) for name in names).ljust(IPV4_BYTES, b"\0")
    except ValueError:
        return None
    beside = names[0] != SIXTH and len(names) == IPV4_BYTES and names[-1] == "000"
    return found if names_of(found) == (names[:-1] if beside else names) else None


class Root:
    """The root folder of a tree. All methods raise OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        # The root itself may be a link: the admin named it.
        self.handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = os.fstat(self.handle)
        self._owner, self._group = found.st_uid, found.st_gid
        self._trusted = {found.st_uid, os.geteuid()}

    def close(self) -> None:
        """Let go of the folder. Closing twice is fine."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    @contextmanager
    def folder(self, names: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
        """Open the folder at the end of a way, from the root on."""
        handle = os.dup(self.handle)
        try:
            for name in names:
                if create:
                    self._make_folder(handle, name)
                below = os.open(name, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = below
                self._check_owner(os.fstat(handle), name)
            yield handle
        finally:
            os.close(handle)

    def _make_folder(self, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return
        self._give_away(name, parent)

    def _give_away(self, name: str, parent: int) -> None:
        """Make what root creates the property of the tree's owner, who has to go on using it."""
        if os.geteuid() == 0 and self._owner != 0:
            os.chown(name, self._owner, self._group, dir_fd=parent, follow_symlinks=False)

    def _check_owner(self, found: os.stat_result, name: str) -> None:
        if found.st_uid not in self._trusted:
            raise Strange(errno.EPERM, f"belongs to user {found.st_uid}", name)
        if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_IWOTH:
            raise Strange(errno.EPERM, "every user may write in it", name)

    def times(self, parent: int, name: str) -> Times | None:
        """Return the times of a record; None where there is a folder. Raises Strange, OSError."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        self._check_owner(found, name)
        if stat.S_ISDIR(found.st_mode):
            return None
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size:
            raise Strange(errno.EPERM, NO_RECORD, name)
        return Times(int(found.st_mtime), int(found.st_atime))

    def set_times(self, parent: int, name: str, times: Times) -> None:
        """Set the times of a record that is there. Raises Strange, OSError."""
        handle = os.open(name, _FILE, dir_fd=parent)
        try:
            found = os.fstat(handle)
            self._check_owner(found, name)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size:
                raise Strange(errno.EPERM, NO_RECORD, name)
            os.utime(handle, (times.last, times.first))
        finally:
            os.close(handle)

    def create(self, parent: int, name: str, times: Times) -> None:
        """Make a record. Raises FileExistsError where another process was faster."""
        handle = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            self._give_away(name, parent)
            os.utime(handle, (times.last, times.first))
        finally:
            os.close(handle)

    def remove(self, way: tuple[str, ...], wanted: Callable[[Times], bool]) -> bool:
        """Remove a record if what it says now is wanted; return whether it was."""
        try:
            with self.folder(way[:-1]) as parent:
                times = self.times(parent, way[-1])
                if times is None or not wanted(times):
                    return False
                os.unlink(way[-1], dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def is_there(self) -> bool:
        """Tell whether the path still names the folder that is open."""
        return os.path.samestat(os.stat(self.path), os.fstat(self.handle))

    def is_usable(self) -> bool:
        """Tell whether this process has the rights to all of the root folder itself."""
        rights = os.R_OK | os.W_OK | os.X_OK
        return os.access(".", rights, dir_fd=self.handle, effective_ids=True)

    def prove(self) -> None:
        """Make a file that is no record, on the disk too, and remove it."""
        if not self.has_room():
            raise OSError(errno.ENOSPC, "the file system is nearly full")
        self._remove_proof()  # of a process that was killed
        try:
            os.close(os.open(_PROOF, _NEW, 0o600, dir_fd=self.handle))
        except FileExistsError:  # another process is trying the same
            return
        try:
            self.sync()
        finally:
            self._remove_proof()

    def _remove_proof(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(_PROOF, dir_fd=self.handle)

    def remove_empty(self, top: tuple[str, ...] = ()) -> None:
        """Remove a tree's folders below one that hold nothing; one that fills meanwhile stays."""
        try:
            with self.folder(top) as handle:
                for name in filter(lambda n: belongs((*top, n)), os.listdir(handle)):
                    if not stat.S_ISDIR(os.lstat(name, dir_fd=handle).st_mode):
                        continue
                    if len(top) < DEPTH - 1:
                        self.remove_empty((*top, name))
                    with suppress(OSError):
                        os.rmdir(name, dir_fd=handle)
        except OSError:
            return  # gone meanwhile, or strange

    def sync(self) -> None:
        """Wait until what was made is on the disk: a journal keeps all that came before, too."""
        os.fsync(self.handle)

    def has_room(self) -> bool:
        """Tell whether the file system can take more files without hurting its other users (T22).

        A twentieth of the files or of the space has to stay free. File systems that make room
        for files as they go tell no number.
        """
        found = os.fstatvfs(self.handle)
        files = found.f_files == 0 or found.f_favail * 20 >= found.f_files
        return files and found.f_bavail * 20 >= found.f_blocks


def walk(
    root: Root, top: tuple[str, ...] = (), after: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Times]]:
    """Yield every record below a folder in the order of names; strange things are passed over.

    It goes on after a way that it yielded before, and looks at nothing that comes before that.
    """
    depth = len(top)
    first, goes_on = "".join(after[depth : depth + 1]), len(after) > depth + 1
    try:
        with root.folder(top) as handle:
            for name in sorted(os.listdir(handle)):
                if name < first or (name == first and not goes_on):
                    continue
                if not belongs((*top, name)):
                    continue
                try:
                    found = root.times(handle, name)
                except OSError:
                    continue  # gone meanwhile, or strange
                if found is not None:
                    yield (*top, name), found
                elif len(top) < DEPTH - 1:
                    yield from walk(root, (*top, name), after if name == first else ())
    except OSError:
        return
