"""Mailboxes that an admin says something about: those that expect mail, and traps."""

from __future__ import annotations

from collections.abc import Sequence

from greylag.core.accesslist import NEVER, Entry, Purpose, Seen, last_word
from greylag.core.client import IPV4_BYTES
from greylag.core.kinds import parse_kind
from greylag.core.policy import Policy
from greylag.core.subject import RECIPIENT, RecipientMailbox, Subject, of_recipient
from greylag.core.value import value
from greylag.store.base import Store


@value
class Taken:
    """Which mailboxes were taken out, and which were not there."""

    gone: list[Subject]
    missing: list[Subject]


def read_mailboxes(texts: Sequence[str]) -> tuple[list[Subject], list[str]]:
    """Return the mailboxes that the texts name, and an error for each text that names none."""
    boxes: list[Subject] = []
    errors: list[str] = []
    for text in texts:
        try:
            boxes.append(parse_kind(text, RECIPIENT, options=False))
        except ValueError as error:
            errors.append(str(error))
    return boxes, errors


def whole_mailboxes(subjects: Sequence[Subject], policy: Policy) -> list[Subject]:
    """Return the mailboxes that a policy makes of addresses: it may leave out what is a tag."""
    if not policy.mailbox_separator:
        return list(subjects)
    return [
        RecipientMailbox(policy.recipient_name(subject.name.encode()))
        if isinstance(subject, RecipientMailbox)
        else subject
        for subject in subjects
    ]


def mark(
    store: Store,
    purpose: Purpose,
    mailboxes: Sequence[Subject],
    now: int,
    *,
    until: int = NEVER,
    comment: str = "",
) -> None:
    """Say it of these mailboxes until then; entries of the same purpose that ended are removed."""
    with store.transaction():
        ended = [e.subject for e in _all_of(store, purpose) if not e.live(now)]
        if ended:
            store.remove_entries(ended, purpose)
        store.put_entries(
            Entry(box, 0, until, comment, now, purpose=purpose) for box in dict.fromkeys(mailboxes)
        )


def refused(store: Store, mailboxes: Sequence[Subject], now: int) -> list[Subject]:
    """Return the mailboxes that are refused all mail: the denylist names them, or their domain."""
    return [
        box
        for box in mailboxes
        if isinstance(box, RecipientMailbox) and _is_refused(store, box.name, now)
    ]


def _is_refused(store: Store, name: str, now: int) -> bool:
    seen = Seen(bytes(IPV4_BYTES), name.rpartition("@")[2], name, names=())
    of_it = [entry for entry in store.matching(seen) if of_recipient(entry.subject)]
    word = last_word(of_it, seen, now)
    return word is not None and word.denies(now)


def marked(store: Store, purpose: Purpose, now: int) -> list[Entry]:
    """Return the entries that hold now, in the order they were made in."""
    return [entry for entry in _all_of(store, purpose) if entry.live(now)]


def take(store: Store, purpose: Purpose, mailboxes: Sequence[Subject], now: int) -> Taken:
    """Say it of these mailboxes no longer."""
    wanted = list(dict.fromkeys(mailboxes))
    with store.transaction():
        there = {entry.subject for entry in marked(store, purpose, now)}
        gone = [box for box in wanted if box in there]
        if gone:
            store.remove_entries(gone, purpose)
    return Taken(gone, [box for box in wanted if box not in there])


def _all_of(store: Store, purpose: Purpose) -> list[Entry]:
    return [entry for entry in store.entries() if entry.purpose is purpose]
