"""Files that appear when they are complete, and take the place of no other unless that is meant.

Root may write them into the folder of another user (T44): `store.folders` says how.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from stat import S_IMODE, S_ISREG

from greylag.core.value import value
from greylag.store.folders import Place, move, place_of, private_folder

MODE = 0o600  # who mails whom


@value
class NewFile:
    """A file that is being written, in a folder that only we may enter."""

    path: str  # what is written to
    place: Place

    def publish(self, *, force: bool) -> None:
        """Give it its name: without `force` never that of another."""
        move(self.path, self.place, over=force)


def refused(path: str, *, force: bool) -> str | None:
    """Return why nothing is written to a path; with `force` a plain file there may go."""
    try:
        found = os.lstat(path)
    except OSError:
        return None  # not there; or writing it tells why
    if not S_ISREG(found.st_mode):
        return f"{path}: is there already, and is no plain file"
    return None if force else f"{path}: is there already (--force writes over it)"


@contextmanager
def temporary(path: str, mode: int = MODE) -> Iterator[NewFile]:
    """Make an empty file that is gone in the end if it was not published."""
    with place_of(path) as place, private_folder(place) as folder:
        name = os.path.join(folder, "new")
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(handle, mode)
        finally:
            os.close(handle)
        yield NewFile(name, place)


def write_over(path: str, content: bytes) -> None:
    """Write a whole file that anybody may read, also over a plain one, which keeps its mode.

    Raises OSError.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    mode = 0o666 & ~umask
    with place_of(path) as place:
        try:
            found = os.lstat(place.name, dir_fd=place.folder)
        except FileNotFoundError:
            pass
        else:
            if not S_ISREG(found.st_mode):
                raise FileExistsError(17, "is there already, and is no plain file", path)
            mode = S_IMODE(found.st_mode) & 0o777
    with temporary(path, mode) as made:
        with open(made.path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        made.publish(force=True)
