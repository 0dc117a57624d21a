"""A folder that a command writes into as root, whoever else may write there (T44).

Everything is reached from the handle of the folder, and no link is followed: what another user put
under one of our names is moved aside or replaced, and what it leads to stays as it is. A
file is complete, and on the disk, before it gets its name.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT = ".before-greylag"  # behind the name of what one of ours has replaced
MARK = "# greylag plugin"  # in each program of ours that a mail server starts
LONGEST = 32 << 20  # bytes that are read of a program; ours are far smaller
_RANDOM = 8  # bytes in the name of a file that is not complete
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """An open folder. All methods raise OSError with the path they mean."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        made = create and _make(path)
        # A link that root (or we) made is the admin's way to the folder; another's is a trap.
        link = os.lstat(path)
        trusted = stat.S_ISLNK(link.st_mode) and link.st_uid in {0, os.geteuid()}
        self._handle = os.open(path, _FOLDER | (0 if trusted else os.O_NOFOLLOW))
        if made:
            os.fchmod(self._handle, 0o755)  # whatever the umask

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._handle)

    def set_mode(self, mode: int) -> None:
        """Give the folder itself a mode."""
        os.fchmod(self._handle, mode)

    def check_writable(self) -> None:
        """Raise PermissionError where files may not be made or removed here."""
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._handle, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = str(self.path / name)
            raise

    def kind(self, name: str) -> int | None:
        """Return the file type bits of what has this name, itself; None where nothing has."""
        try:
            with self._named(name):
                return stat.S_IFMT(os.lstat(name, dir_fd=self._handle).st_mode)
        except FileNotFoundError:
            return None

    def is_program(self, name: str, content: bytes, mode: int) -> bool:
        """Tell whether a file is just as `put` leaves it: content, mode and owner."""
        if self.read(name) != content:
            return False
        with self._named(name):
            found = os.lstat(name, dir_fd=self._handle)
        return stat.S_IMODE(found.st_mode) == mode and found.st_uid == os.geteuid()

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where it is no file, cannot be read, or is too long."""
        try:
            handle = os.open(name, _READ, dir_fd=self._handle)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            with open(handle, "rb", closefd=False) as file:
                content = file.read(LONGEST + 1) or b""  # None: as a pipe that is empty
        finally:
            os.close(handle)
        return content if len(content) <= LONGEST else None

    def put(
        self,
        name: str,
        content: bytes,
        mode: int,
        keep_as: str | None = None,
        *,
        owner: tuple[int, int] | None = None,
        changed: int = 0,
    ) -> None:
        """Give this name to a new file; what had it before is kept under `keep_as`, if given.

        At no moment is there nothing under the name: qmail-spp refuses every recipient then.
        `changed` is the time of change that it gets, in nanoseconds.
        """
        with self._named(name), self._scratch(name) as new:
            handle = os.open(new, _NEW, 0o600, dir_fd=self._handle)
            with open(handle, "wb") as file:
                file.write(content)
                file.flush()
                if owner is not None:
                    os.fchown(handle, *owner)
                os.fchmod(handle, mode)
                if changed:
                    os.utime(handle, ns=(changed, changed))
                os.fsync(handle)
            if keep_as is not None:
                self._keep(name, keep_as)
            self._rename(new, name)
            os.fsync(self._handle)

    def put_link(self, name: str, target: str, owner: tuple[int, int] = (-1, -1)) -> None:
        """Give this name to a link."""
        with self._named(name), self._scratch(name) as new:
            os.symlink(target, new, dir_fd=self._handle)
            os.chown(new, *owner, dir_fd=self._handle, follow_symlinks=False)
            self._rename(new, name)
            os.fsync(self._handle)

    def put_folder(self, name: str, mode: int, owner: tuple[int, int]) -> None:
        """Make a folder, or give one that is there this mode and owner."""
        with self._named(name):
            if self.kind(name) is not None:
                self._give(name, mode, owner)
            else:
                with self._scratch(name) as new:
                    os.mkdir(new, 0o700, dir_fd=self._handle)
                    self._give(new, mode, owner)
                    self._rename(new, name)
            os.fsync(self._handle)

    def _give(self, name: str, mode: int, owner: tuple[int, int]) -> None:
        handle = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._handle)
        try:
            os.fchown(handle, *owner)
            os.fchmod(handle, mode)
        finally:
            os.close(handle)

    def remove_folder(self, name: str) -> None:
        """Remove a folder that is empty."""
        with self._named(name):
            os.rmdir(name, dir_fd=self._handle)

    def _keep(self, name: str, keep_as: str) -> None:
        with self._named(keep_as), self._scratch(keep_as) as second:
            here = self._handle
            os.link(name, second, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
            self._rename(second, keep_as)

    @contextmanager
    def _scratch(self, name: str) -> Iterator[str]:
        """Give a name that nobody can have guessed, and leave nothing under it."""
        scratch = f".{name}.{secrets.token_hex(_RANDOM)}"
        try:
            yield scratch
        finally:
            self._clear(scratch)

    def _clear(self, scratch: str) -> None:
        with suppress(FileNotFoundError):
            try:
                os.unlink(scratch, dir_fd=self._handle)
            except IsADirectoryError:
                os.rmdir(scratch, dir_fd=self._handle)

    def keep_only(self, name: str) -> None:
        """Remove all files but this one."""
        for one in os.listdir(self._handle):
            if one != name:
                with suppress(OSError):
                    os.unlink(one, dir_fd=self._handle)

    def sweep(self, name: str) -> None:
        """Remove what a process that was killed has left of this name, while no other writes it."""
        left = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{{2 * _RANDOM}}}")
        for one in filter(left.fullmatch, os.listdir(self._handle)):
            with suppress(OSError):
                self._clear(one)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def rename(self, old: str, new: str) -> None:
        """Give what has one name the other; what had that is gone."""
        with self._named(new):
            self._rename(old, new)
            os.fsync(self._handle)

    def remove(self, name: str) -> None:
        """Take the name away."""
        with self._named(name):
            os.unlink(name, dir_fd=self._handle)


def _make(path: Path) -> bool:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    return True


def is_ours(content: bytes | None) -> bool:
    """Tell a program that setup or `greylag qmail install` wrote from any other."""
    return content is not None and (
        MARK.encode() in content[:1024] or content.endswith(f"\n{MARK}\n".encode())
    )
