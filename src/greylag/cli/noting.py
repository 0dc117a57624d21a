"""Noting in the store's history what a command changed, and who called it."""

from __future__ import annotations

from greylag.admin.audit import note
from greylag.cli.common import Run
from greylag.cli.output import say
from greylag.cli.who import who
from greylag.core.history import Action
from greylag.store.base import Store


def noted(run: Run, store: Store, action: str, subject: str) -> None:
    """Note a change that was made; say so where that failed."""
    error = note(store, Action(run.now, who(), action, subject))
    if error is not None:
        say(f"it is done, but not noted in the history: {error}")
