"""Which folder on the way to a file a user may not enter: `Permission denied` does not tell."""

from __future__ import annotations

import os
import stat

from greylag.store.owner import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def closed_to_us(path: str) -> str | None:
    """Return what closes the way to a path for this process, and what opens it; None: nothing."""
    for folder in _ways(path):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return _told(folder, os.geteuid())
    return None


def closed_to(path: str, user: int, groups: Collection[int]) -> str | None:
    """Return the same for another user, by modes alone; this process may enter all."""
    for folder in _ways(path):
        found = os.stat(folder)
        allowed = stat.S_IXOTH
        if found.st_uid == user:
            allowed = stat.S_IXUSR
        elif found.st_gid in groups:
            allowed = stat.S_IXGRP
        if not found.st_mode & allowed:
            return _told(folder, user)
    return None


def _ways(path: str) -> list[str]:
    """Return the folders above a path that are there, the outermost first."""
    folders: list[str] = []
    folder = os.path.dirname(os.path.realpath(path))
    while folder not in folders:
        folders.insert(0, folder)
        folder = os.path.dirname(folder)
    return [folder for folder in folders if os.path.isdir(folder)]


def _told(folder: str, user: int) -> str:
    try:
        found = os.stat(folder)
        whose = f" (it is {name_of(found.st_uid)}'s, mode {stat.S_IMODE(found.st_mode):04o})"
    except OSError:
        whose = ""
    who = name_of(user)
    return f"{folder}: the user {who} may not enter it{whose}: {_opened(folder, who)}"


def _opened(folder: str, who: str) -> str:
    """Return what lets a user in: what is for a group is not opened for everybody."""
    from grp import getgrgid

    try:
        found = os.stat(folder)
        if found.st_mode & stat.S_IXGRP and found.st_gid != 0:
            return f"usermod -a -G {getgrgid(found.st_gid).gr_name} {who}"
    except (OSError, KeyError):
        pass
    return f"chmod o+x {folder}"
