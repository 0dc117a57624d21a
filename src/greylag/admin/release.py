"""Releasing deferred mail: its next retry passes, and who released it is written down."""

from __future__ import annotations

from collections.abc import Sequence

from greylag.admin import AT_ONCE
from greylag.admin.deferrals import Standing, keys_of, standings
from greylag.core.figures import RELEASED
from greylag.core.history import Action, Deferral
from greylag.core.history import Released as ReleasedEvent
from greylag.core.record import Freed
from greylag.core.shortid import shown_id
from greylag.core.value import value
from greylag.service.conflict import Tries
from greylag.store.base import Store, StoreConflict, StoreError

ACTION = "release"  # the word of the audit


@value
class Released:
    """What a release did."""

    released: list[Deferral]  # their next retry passes now
    others: list[Standing]  # those that did not wait any more, as they stand
    not_noted: StoreError | None = None  # why neither the history nor the audit has it


def release(store: Store, deferrals: Sequence[Deferral], now: int, *, who: str) -> Released:
    """Let the next retry of each in. Raises StoreError; then none of them was released.

    Who needs it needs it now: an audit that cannot be written does not prevent it. Every daemon
    heeds it within a second.
    """
    if len(deferrals) > AT_ONCE:
        raise ValueError(f"at most {AT_ONCE} at once")
    tries = Tries()
    while True:
        try:
            chosen, others = _free(store, deferrals, now)
            break
        except StoreConflict as conflict:  # a node of a cluster was faster
            tries.lost(conflict)
    try:
        _note(store, chosen, now, who)
    except StoreError as error:
        return Released(chosen, others, error)
    return Released(chosen, others)


def _free(
    store: Store, deferrals: Sequence[Deferral], now: int
) -> tuple[list[Deferral], list[Standing]]:
    with store.transaction():
        found = standings(store, deferrals, now)
        chosen = [one.deferral for one in found if one.waits]
        if chosen:
            changes = [Freed(key, now) for one in chosen for key in keys_of(one)]
            store.apply(changes, {RELEASED: len(chosen)}, now)
    return chosen, [one for one in found if not one.waits]


def _note(store: Store, chosen: Sequence[Deferral], now: int, who: str) -> None:
    if not chosen:
        return
    with store.transaction():
        store.remember([ReleasedEvent(one.triplet, now) for one in chosen], now)
        for one in chosen:
            store.note_action(Action(now, who, ACTION, subject_of(one)))


def subject_of(deferral: Deferral) -> str:
    """Return what the audit says was released: its id, and between whom it is."""
    key = deferral.triplet
    return f"{shown_id(deferral.id)} {key.sender or '<>'} {key.recipient}"
