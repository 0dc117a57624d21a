"""What admins did, as the store notes it and as it is shown."""

from __future__ import annotations

import re

from greylag.admin.moments import moment
from greylag.core.history import Action
from greylag.store.base import HISTORY, Store, StoreError

_UNTIL = re.compile(r"(?:^|until )(\d{9,11})$", re.ASCII)


def note(store: Store, action: Action) -> StoreError | None:
    """Note what was done, where the store keeps a history; return why it could not be noted.

    It is done all the same: who needs it needs it now.
    """
    if store.lacks(HISTORY) is not None:
        return None
    try:
        store.note_action(action)
    except StoreError as error:
        return error
    return None


def told_of(action: Action) -> str:
    """Return of what it was, with a moment for the Unix time at which it ends."""
    return _UNTIL.sub(lambda found: f"until {moment(int(found[1]))}", action.subject)


def of_import(stored: int, removed: int, origin: str) -> str:
    """Return what an import brought, in one line."""
    gone = f", {removed} removed" if removed else ""
    return f"{stored} entries{gone} {origin}".rstrip()
