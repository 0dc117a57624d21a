"""Turning greylisting off, to observing, or back to the settings, for all mail at once."""

from __future__ import annotations

from greylag.admin.moments import moment, when
from greylag.core.accesslist import NEVER
from greylag.core.history import Action
from greylag.core.policy import Greylist
from greylag.core.switch import MOST_WHO, Switch
from greylag.core.value import value
from greylag.store.base import Store, StoreError

ON = "on"  # what is noted where the settings hold again
SAID = {
    Greylist.OFF: "greylisting is off",
    Greylist.OBSERVE: "greylisting only observes",
}


@value
class Turned:
    """What a turn of the switch changed."""

    before: Switch | None  # that held until now
    after: Switch | None
    not_noted: StoreError | None = None  # why the audit does not have it


def holding(store: Store, now: int) -> Switch | None:
    """Return the switch that lies over the settings now. Raises StoreError."""
    switch = store.switch()
    return switch if switch is not None and switch.holds(now) else None


def turn(store: Store, mode: Greylist, now: int, *, until: int = NEVER, who: str) -> Turned:
    """Switch greylisting off, or let it only observe, until a moment. Raises StoreError."""
    return _turned(store, Switch(mode, until, now, who[:MOST_WHO]), now, who)


def turn_on(store: Store, now: int, *, who: str) -> Turned:
    """Go by the settings again. Raises StoreError."""
    return _turned(store, None, now, who)


def _turned(store: Store, after: Switch | None, now: int, who: str) -> Turned:
    """Set it. Who needs it needs it now, so an audit that cannot be written does not prevent it."""
    before = holding(store, now)
    if after is not None or before is not None:
        store.set_switch(after)
    if after == before:
        return Turned(before, after)
    word = ON if after is None else after.mode.value
    ends_at = "" if after is None or after.until >= NEVER else str(after.until)
    try:
        store.note_action(Action(now, who, word, ends_at))
    except StoreError as error:
        return Turned(before, after, error)
    return Turned(before, after)


def switch_text(switch: Switch, now: int) -> str:
    """Return what holds, until when, and who said so."""
    by = f" by {switch.who}" if switch.who else ""
    return f"{SAID[switch.mode]} {ends(switch, now)}, switched{by} at {moment(switch.since)}"


def ends(switch: Switch, now: int) -> str:
    """Return until when it holds."""
    return "until `greylag on`" if switch.until >= NEVER else f"until {when(switch.until, now)}"
