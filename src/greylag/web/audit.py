"""What was changed by whom: a line of the log, and an action that the store keeps."""

from __future__ import annotations

from greylag.admin.audit import note
from greylag.core.history import Action
from greylag.store.base import Store
from greylag.web.visit import Visit


def changed(visit: Visit, store: Store, action: str, subject: str, *, noted: bool = False) -> None:
    """Write down a change that was made; `noted`: the store has the action already."""
    visit.web.journal.event(
        {
            "event": "web-changed",
            "user": visit.owner or visit.user,
            "source": visit.source,
            "action": action,
            "subject": subject,
        }
    )
    if noted:
        return
    who = visit.owner or f"web:{visit.user}"
    error = note(store, Action(visit.now, who, action, subject))
    if error is not None:  # what was asked for is done: the log has it
        visit.web.journal.event({"event": "web-not-noted", "error": str(error)}, "error")
