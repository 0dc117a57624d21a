"""The two lists: what is on them, and putting entries there and taking them away.

A subject has one entry, so putting it on one list takes it from the other.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from greylag.admin import AT_ONCE, Progress, in_parts, unseen
from greylag.core.accesslist import NEVER, Entry, Purpose, Seen, speaking_of
from greylag.core.client import IPV4_BYTES
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    DOMAINS,
    RECIPIENT,
    SENDER,
    SENDER_DOMAIN,
    SENDER_DOMAINS,
    Network,
    Subject,
    of_recipient,
    of_sender,
)
from greylag.core.value import replace, value
from greylag.store.base import Store

MANY = 500  # subjects; for more of them, reading the whole list once is faster
# A range that is wider holds whole providers: refusing it by mistake loses mail from all of them.
_WIDEST_IPV4, _WIDEST_IPV6 = 8, 16
_ORGANISATION = 2  # labels, as in example.org: all servers, or all domains, of somebody


@value
class Which:
    """One of the two lists: its command, its name, the other's, and what its entries do."""

    command: str
    name: str
    other_command: str
    other: str
    effect: str

    def holds(self, entry: Entry, now: int) -> bool:
        """Tell whether an entry is on this list."""
        return entry.purpose is Purpose.ACCESS and denying(entry, now) == (self is DENY)


ALLOW = Which("allow", "allowlist", "deny", "denylist", "is let in at once, and never greylisted")
DENY = Which("deny", "denylist", "allow", "allowlist", "is refused for good")


def denying(entry: Entry, now: int) -> bool:
    """Tell a denylist entry, also one that has ended, from an allowlist entry."""
    return entry.denies(min(now, entry.expires - 1))


_KINDS = {
    CLIENT_NAME: "client name",
    SENDER: "sender",
    SENDER_DOMAIN: "sender domain",
    SENDER_DOMAINS: "sender domain and those below",
    RECIPIENT: "recipient",
    DOMAIN: "recipient domain",
    DOMAINS: "recipient domain and those below",
}


def kind_of(subject: Subject) -> str:
    """Return what kind of thing a subject names."""
    if isinstance(subject, Network):
        return "client address" if subject.prefix == 8 * len(subject.packed) else "client range"
    return _KINDS[subject.kind]


def far_reaching(which: Which, subjects: Iterable[Subject]) -> list[Subject]:
    """Return the subjects that refuse so much mail that an admin has to confirm them."""
    return [subject for subject in subjects if which is DENY and _wide(subject)]


def _wide(subject: Subject) -> bool:
    if isinstance(subject, Network):
        widest = _WIDEST_IPV4 if len(subject.packed) == IPV4_BYTES else _WIDEST_IPV6
        return subject.prefix < widest
    labels = subject.name.count(".") + 1
    if subject.kind in (CLIENT_NAME, SENDER_DOMAINS):
        return labels <= _ORGANISATION
    return subject.kind in (DOMAIN, DOMAINS)


def listed(store: Store, which: Which, now: int, *, ended: bool) -> list[Entry]:
    """Return the entries of a list, in the order they were made in; `ended`: old ones too."""
    entries = [entry for entry in store.entries() if which.holds(entry, now)]
    return entries if ended else [entry for entry in entries if entry.live(now)]


@value
class Stored:
    """What became of the subjects that were put on a list."""

    subjects: list[Subject]
    renewed: set[Subject]  # on this list before
    switched: list[Subject]  # on the other list before
    removed: list[Subject] | None = None  # what an import replaced; None where none was asked for


@value
class How:
    """How entries are stored: for all of a command the same."""

    expires: int = NEVER
    origin: str = ""  # who brings them: nothing for an admin, else the name of a file
    spoofable: bool = False
    replace: bool = False  # also remove from this list what the same origin brought before


def put(
    store: Store,
    which: Which,
    comments: Mapping[Subject, str | None],
    how: How,
    now: int,
    *,
    progress: Progress = unseen,
) -> Stored:
    """Store entries with their comments, in parts; return what became of each.

    A comment that is None leaves the one that is there, on either list.
    """
    denied_until = how.expires if which is DENY else 0
    there_now = entries_for(store, list(comments))
    before = {s: e for s, e in there_now.items() if e.live(now)}
    entries = []
    for subject, comment in comments.items():
        text = comment
        if text is None:
            text = before[subject].comment if subject in before else ""
        spoofable = how.spoofable and of_sender(subject)
        entry = Entry(subject, denied_until, how.expires, text, now, spoofable=spoofable)
        entries.append(replace(entry, origin=how.origin) if how.origin else entry)
    for part in progress(in_parts(entries), len(entries), "storing", step=AT_ONCE):
        store.put_entries(part)
    removed = _remove_others(store, which, how.origin, comments, now) if how.replace else None
    switched = [s for s in comments if s in before and not which.holds(before[s], now)]
    renewed = {s for s in comments if s in before}.difference(switched)
    return Stored(list(comments), renewed, switched, removed)


def _remove_others(
    store: Store, which: Which, origin: str, kept: Container[Subject], now: int
) -> list[Subject]:
    """Remove from a list what an origin brought once and has no more."""

    def goes(entry: Entry) -> bool:
        brought = entry.origin == origin and entry.subject not in kept
        return brought and which.holds(entry, now)

    found = [entry.subject for entry in store.entries() if goes(entry)]
    return _take_away(store, found, goes)[0]


def _take_away(
    store: Store, subjects: Sequence[Subject], goes: Callable[[Entry], bool]
) -> tuple[list[Subject], set[Subject]]:
    """Remove those entries that go, in parts; return their subjects, and of which there were any.

    Whether one goes is decided where nobody else can change it.
    """
    gone: list[Subject] = []
    met: set[Subject] = set()
    for part in in_parts(subjects, MANY):
        with store.transaction():
            there = entries_for(store, list(part))
            going = [s for s in part if s in there and goes(there[s])]
            if going:
                store.remove_entries(going)
        gone += going
        met.update(there)
    return gone, met


@value
class Removed:
    """Which subjects were taken from a list, and which are not on it."""

    gone: list[Subject]
    missing: list[Subject]
    on_the_other: set[Subject]  # of those that are missing


def remove(store: Store, which: Which, subjects: Sequence[Subject], now: int) -> Removed:
    """Take subjects from a list; what is on the other stays there."""
    wanted = list(dict.fromkeys(subjects))
    gone, met = _take_away(store, wanted, lambda entry: which.holds(entry, now))
    removed = set(gone)
    missing = [subject for subject in wanted if subject not in removed]
    return Removed(gone, missing, {subject for subject in missing if subject in met})


def entries_for(store: Store, subjects: list[Subject]) -> dict[Subject, Entry]:
    """Return the entries that there are for these subjects, without a lock on the lists."""
    wanted = set(subjects)
    found: list[Entry] = []
    if len(wanted) > MANY:
        found += (entry for entry in store.entries() if entry.subject in wanted)
    else:
        for subject in wanted:
            near = store.matching(_seen(subject))
            found += (entry for entry in near if entry.subject == subject)
    speaking = speaking_of(entry for entry in found if entry.purpose is Purpose.ACCESS)
    return {subject: entry for (_purpose, subject), entry in speaking.items()}


def _seen(subject: Subject) -> Seen:
    """Return an attempt that an entry for this subject is found for."""
    if isinstance(subject, Network):
        return Seen(subject.packed, names=())
    nobody, name = bytes(IPV4_BYTES), subject.name
    if of_recipient(subject):
        return Seen(nobody, domain=name, recipient=name, names=())
    return Seen(nobody, sender=name, names=(name,))
