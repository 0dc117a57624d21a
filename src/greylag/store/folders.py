"""Where a command writes a file as root, whoever else may write in the folders on the way (T44).

A path is walked from handle to handle. A link on it is followed if root or the caller made it; a
link of another user is refused. A file is built where only we may enter, and then gets its name.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex

from greylag.core.value import value

_LINKS = 40  # that are followed on one path, as Linux does
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@value
class Place:
    """Where a file is, or will be."""

    path: str  # without links
    name: str
    folder: int  # an open handle of its folder
    safe: str  # the nearest folder above it in which nobody else can move what is ours


@contextmanager
def place_of(path: str) -> Iterator[Place]:
    """Find the place that a path names. Raises OSError, also where another user made a link."""
    text, safe, name, handle = _walked(os.path.join(os.getcwd(), path))
    try:
        folder = os.open(".", _FOLDER, dir_fd=handle)
    finally:
        os.close(handle)
    try:
        # Only root is worth a trap; others build in the folder itself, where they may write.
        yield Place(os.path.join(text, name), name, folder, text if os.geteuid() else safe)
    finally:
        os.close(folder)


def _walked(path: str) -> tuple[str, str, str, int]:
    """Return a path's folder, its nearest safe folder, its name, and a handle of the folder."""
    todo, links = _parts(path), 0
    here, text, safe, all_safe = os.open("/", _LOOK), "/", "/", True
    try:
        while todo:
            part = todo.pop()
            try:
                found = os.open(part, _LOOK, dir_fd=here)
            except FileNotFoundError:
                if todo:
                    raise
                return text, safe, part, os.dup(here)
            try:
                status = os.fstat(found)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    target = _target(found, status, os.path.join(text, part), links)
                    todo += _parts(target)
                    if target.startswith("/"):
                        root = os.open("/", _LOOK)
                        os.close(here)
                        here = root
                        text, safe, all_safe = "/", "/", True
                    continue
                if not todo and part != "..":
                    return text, safe, part, os.dup(here)
                os.dup2(found, here, inheritable=False)
            finally:
                os.close(found)
            text = os.path.dirname(text) if part == ".." else os.path.join(text, part)
            all_safe = all_safe and _is_safe(status)
            safe = text if all_safe else safe
    finally:
        os.close(here)
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def _parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _target(link: int, status: os.stat_result, path: str, links: int) -> str:
    if status.st_uid not in {0, os.geteuid()}:
        raise OSError(errno.ELOOP, f"{path} is a link that another user made", path)
    if links > _LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return os.readlink("", dir_fd=link)


def _is_safe(status: os.stat_result) -> bool:
    """Tell whether nobody but root and us can rename what is ours in a folder."""
    ours = status.st_uid in {0, os.geteuid()}
    return ours and (not status.st_mode & _OTHERS or bool(status.st_mode & stat.S_ISVTX))


@contextmanager
def private_folder(place: Place) -> Iterator[str]:
    """Make a folder that only we may enter, near a place; it and its files are gone in the end."""
    made = _made(place)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _made(place: Place) -> str:
    made = os.path.join(place.safe, f".{place.name[:200]}.{token_hex(8)}.part")
    try:
        os.mkdir(made, 0o700)
    except OSError as error:
        folder = os.path.dirname(place.path)
        if place.safe == folder:
            raise
        told = f"run it as the owner of {folder}, or make {place.safe} writable: {error.strerror}"
        raise OSError(error.errno, told, place.path) from error
    return made


def move(made: str, place: Place, *, over: bool) -> None:
    """Give a file of a private folder its place; without `over` never that of another file."""
    try:
        _name(made, None, place, over=over)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _bring(made, place, over=over)
    os.fsync(place.folder)


def _name(made: str, source: int | None, place: Place, *, over: bool) -> None:
    ways = {"src_dir_fd": source, "dst_dir_fd": place.folder}
    if over:
        os.rename(made, place.name, **ways)
        return
    try:
        os.link(made, place.name, **ways, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:  # no links on this file system
        if error.errno == errno.EXDEV:
            raise
        if exists(place, place.name):
            told = os.strerror(errno.EEXIST)
            raise FileExistsError(errno.EEXIST, told, place.path) from None
        os.rename(made, place.name, **ways)


def _bring(made: str, place: Place, *, over: bool) -> None:
    """Do it from another file system: all is written through one handle of a new file."""
    scratch = f".{place.name[:200]}.{token_hex(8)}.part"
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(scratch, new, 0o600, dir_fd=place.folder)
    try:
        with open(handle, "wb") as target, open(made, "rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            like = os.fstat(source.fileno())
            with suppress(PermissionError):
                os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, stat.S_IMODE(like.st_mode))
            os.fsync(handle)
        _name(scratch, place.folder, place, over=over)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(scratch, dir_fd=place.folder)


def exists(place: Place, name: str) -> bool:
    """Tell whether something has a name in the folder of a place."""
    try:
        os.lstat(name, dir_fd=place.folder)
    except FileNotFoundError:
        return False
    return True
