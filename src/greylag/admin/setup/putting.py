"""Giving a path a state, and putting back what it had."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress

from greylag.admin.folder import Folder, is_ours
from greylag.admin.setup.manifest import Written
from greylag.admin.setup.place import FILE, FOLDER, LINK, MISSING, Place, SetupError, State
from greylag.admin.setup.steps import RECORDS, Change, digest
from greylag.core.value import value


def refuse_changed(place: Place, change: Change) -> None:
    """Raise SetupError where a path was changed since the plan was made."""
    if not place.look(change.path).same(change.old):
        raise SetupError(f"{change.path}: was changed meanwhile: run this again")


def put(place: Place, path: str, state: State) -> None:
    """Give a path a state. Raises OSError."""
    name = path.rpartition("/")[2]
    with place.folder(path) as folder:
        folder.sweep(name)
        if state.kind == FILE:
            owner = (state.owner, state.group)
            folder.put(name, state.content, state.mode, owner=owner, changed=state.changed)
        elif state.kind == LINK:
            folder.put_link(name, os.fsdecode(state.content), (state.owner, state.group))
        elif state.kind == FOLDER:
            folder.put_folder(name, state.mode, (state.owner, state.group))
        else:
            raise OSError(errno.EINVAL, f"cannot be made again: it was {state.kind}", path)


@value
class Told:
    """What has to be told of a path."""

    text: str
    left: bool = False  # all that setup put there is still there
    edited: bool = False  # only that is gone
    needed: bool = False  # mail would stop without something of it


Without = Callable[[Written, bytes], bytes | None]


def put_back(
    place: Place,
    one: Written,
    without: Without,
    *,
    purge: bool,
    instead: tuple[bytes, str] | None = None,
) -> Told | None:
    """Give a path back what it was; return what has to be told of it.

    `without` takes only our own parts out of a file that an admin has changed since. `instead` is
    what a file gets that mail needs by now, and why.
    """
    _sweep(place, one.path)
    if instead is not None:
        return _put_instead(place, one, *instead)
    now = place.look(one.path)
    if now.kind == MISSING and one.old.kind == MISSING:
        return None
    if now.same(one.old):
        return None
    if one.inside == RECORDS and not purge and place.names(one.path):
        return Told(f"{one.path}: kept (--purge deletes it)")
    if one.inside and now.kind == FOLDER and one.old.kind == MISSING:
        shutil.rmtree(place.real(one.path))
        return None
    # A program of ours may have been written again since, by an upgrade.
    ours = now.kind == FILE and is_ours(now.content) and not is_ours(one.old.content)
    if digest(now) not in one.wrote and not ours:
        return _changed_since(place, one, now, without)
    if one.old.kind != MISSING:
        put(place, one.path, one.old)
        return None
    with place.folder(one.path) as folder:
        return _removed(folder, one.path, now.kind)


def _put_instead(place: Place, one: Written, content: bytes, why: str) -> Told:
    now = place.look(one.path)
    put(place, one.path, State(FILE, content, now.mode, now.owner, now.group))
    return Told(f"{one.path}: {why}", needed=True)


def _sweep(place: Place, path: str) -> None:
    with suppress(FileNotFoundError, NotADirectoryError), place.folder(path) as folder:
        folder.sweep(path.rpartition("/")[2])


def _changed_since(place: Place, one: Written, now: State, without: Without) -> Told:
    wanted = without(one, now.content) if now.kind == FILE else None
    if wanted is None:
        return Told(f"{one.path}: was changed since setup, so it is left as it is", left=True)
    if wanted != now.content:
        put(place, one.path, State(FILE, wanted, now.mode, now.owner, now.group))
    text = f"{one.path}: was changed since setup, so only greylag's own parts are taken out"
    return Told(text, edited=True)


def _removed(folder: Folder, path: str, kind: str) -> Told | None:
    name = path.rpartition("/")[2]
    if kind != FOLDER:
        folder.remove(name)
        return None
    try:
        folder.remove_folder(name)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return Told(f"{path}: is not empty, so it stays")
    return None
