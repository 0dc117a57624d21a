"""What setup wrote, and what was there before: kept for undo, where root alone may write.

It is written before anything is changed, so that undo works however setup ended. Contents lie
beside it, each in a file that has its digest as a name.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from greylag.admin.folder import Folder
from greylag.admin.setup.place import FILE, MISSING, Place, SetupError, State
from greylag.admin.setup.place import FOLDER as FOLDER_KIND
from greylag.admin.setup.steps import Account, Act, Step, digest
from greylag.core.value import value

FOLDER = "/var/lib/greylag-setup"
_NAME = "manifest.json"
_FORMAT = 1
_MOST_SAID = 100  # characters of what is wrong
NO_MTA = ""  # all is undone, but records were kept


@value
class Written:
    """A path as it was before the first setup, and the digests of what setup made of it."""

    path: str
    old: State
    wrote: tuple[str, ...]
    inside: str


Entry = Written | Account | Act


@value
class Manifest:
    """All that undo needs, in the order in which it was done."""

    mta: str
    entries: tuple[Entry, ...]

    def of(self, path: str) -> Written | None:
        """Return what is known of a path."""
        found = [one for one in self.entries if isinstance(one, Written) and one.path == path]
        return found[0] if found else None


def merged(before: Manifest | None, mta: str, steps: Sequence[Step], place: Place) -> Manifest:
    """Return a manifest with these steps too. What was before the first setup stays known."""
    entries = list(before.entries) if before else []
    for step in steps:
        if isinstance(step, Account | Act):
            if step not in entries:
                entries.append(step)
            continue
        found = before.of(step.path) if before else None
        wrote = digest(step.new(place))
        if found is None:
            entries.append(Written(step.path, step.old, (wrote,), step.inside))
        else:
            at = entries.index(found)
            seen = (*found.wrote, *(() if wrote in found.wrote else (wrote,)))
            entries[at] = Written(found.path, found.old, seen, found.inside)
    return Manifest(mta, tuple(entries))


def load(place: Place) -> Manifest | None:
    """Return what an earlier setup wrote; None where there was none. Raises SetupError."""
    real = place.real(FOLDER)
    if not real.exists():
        return None
    found = os.lstat(real)
    ours = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or not ours:
        raise SetupError(f"{real}: others may write there, so it is not believed")
    with closing(Folder(real)) as folder:
        text = folder.read(_NAME)
        if text is None and folder.kind(_NAME) is not None:
            raise SetupError(f"{real / _NAME}: cannot be read, so what was before is not known")
        if text is None:
            return None
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT:
                raise SetupError(f"{real / _NAME}: was written by another version of greylag")
            entries = tuple(_entry(folder, one) for one in document["entries"])
            return Manifest(_text(document["mta"]), entries)
        except (ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{real / _NAME}: cannot be read: {error}") from error


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Keep other runs of setup away. Raises SetupError where one is at work."""
    real = place.real(FOLDER).parent
    if not real.is_dir():
        make = f"install -d -m 755 {shlex.quote(str(real))}"
        raise SetupError(f"{real}: there is no such folder", f"this makes it: {make}")
    handle = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError("another setup is at work: wait until it has ended") from error
        yield
    finally:
        os.close(handle)


def save(place: Place, manifest: Manifest) -> None:
    """Write it, with the contents that are not there yet."""
    real = place.real(FOLDER)
    with closing(Folder(real, create=True)) as folder:
        folder.set_mode(0o700)
        for one in manifest.entries:
            if isinstance(one, Written) and one.old.kind == FILE:
                name = hashlib.sha256(one.old.content).hexdigest()
                if folder.kind(name) is None:
                    folder.put(name, one.old.content, 0o600)
        document = {"format": _FORMAT, "mta": manifest.mta, "entries": _written(manifest)}
        folder.put(_NAME, json.dumps(document, indent=1).encode() + b"\n", 0o600)


def forget(place: Place) -> None:
    """Remove the manifest and all beside it; first itself, as it is nothing without the rest."""
    real = place.real(FOLDER)
    with suppress(OSError), closing(Folder(real)) as folder:
        folder.remove(_NAME)
    shutil.rmtree(real, ignore_errors=True)


def clear(place: Place) -> None:
    """Remove what a setup that was killed has left beside a manifest that it had not written."""
    if place.kind(FOLDER) == FOLDER_KIND:
        with locked(place):
            if load(place) is None:
                forget(place)


def keep_only(place: Place, manifest: Manifest) -> None:
    """Put a manifest without contents in the place of another."""
    save(place, manifest)
    with closing(Folder(place.real(FOLDER))) as folder:
        folder.keep_only(_NAME)


def _written(manifest: Manifest) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one in manifest.entries:
        if isinstance(one, Account):
            rows.append({"account": one.user, "home": one.home, "group": one.with_group})
        elif isinstance(one, Act):
            rows.append({"act": one.says, "do": one.do, "undo": one.undo})
        else:
            rows.append(
                {"path": one.path, "wrote": one.wrote, "inside": one.inside, **_old(one.old)}
            )
    return rows


def _old(state: State) -> dict[str, Any]:
    if state.kind == MISSING:
        return {"kind": MISSING}
    by_name = state.kind == FILE
    content = hashlib.sha256(state.content).hexdigest() if by_name else os.fsdecode(state.content)
    row = {"kind": state.kind, "content": content, "mode": state.mode}
    return row | {"owner": state.owner, "group": state.group, "changed": state.changed}


def _entry(folder: Folder, row: dict[str, Any]) -> Entry:
    if "account" in row:
        return Account(_text(row["account"]), _text(row["home"]), row["group"])
    if "act" in row:
        do, undo = (tuple(tuple(map(_text, argv)) for argv in row[way]) for way in ("do", "undo"))
        return Act(_text(row["act"]), do, undo)
    old = State(MISSING)
    if row["kind"] != MISSING:
        content = os.fsencode(_text(row["content"]))
        if row["kind"] == FILE:
            kept = folder.read(row["content"])
            if kept is None or hashlib.sha256(kept).hexdigest() != row["content"]:
                raise SetupError(f"{folder.path}: what was in {row['path']} is missing or damaged")
            content = kept
        facts = [_number(row[name]) for name in ("mode", "owner", "group", "changed")]
        old = State(_text(row["kind"]), content, *facts)
    wrote = tuple(map(_text, row["wrote"]))
    return Written(_text(row["path"]), old, wrote, _text(row["inside"]))


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError(f"expected a text, got {found!r}"[:_MOST_SAID])
    return found


def _number(found: object) -> int:
    if not isinstance(found, int):
        raise TypeError(f"expected a number, got {found!r}"[:_MOST_SAID])
    return found
