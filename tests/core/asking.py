"""How the tests of the engine ask: what is given, what is wanted, and the steps of `service`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from greylag.core.accesslist import Entry
from greylag.core.attempt import Attempt
from greylag.core.engine import decide, listed, precheck
from greylag.core.policy import Policy
from greylag.core.record import Blocked, Change, Created, Passed, Record, applied
from greylag.core.subject import parse_subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict

T = 1_700_000_000  # when a case asks, unless it says otherwise
DELAY, WINDOW, LIFETIME = 300, 2 * 86400, 36 * 86400  # of the default policy
KEY = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
WAITING = Record(T, T + DELAY, T + WINDOW, blocked=1)
KNOWN = Record(T - 9000, T - 8700, T + LIFETIME, blocked=2, passed=3)


@dataclass(frozen=True, kw_only=True)
class Given:
    """One case: the attempt, the lists (oldest first), the record of one triplet, the clock."""

    client: bytes | None = b"192.0.2.17"
    sender: bytes | None = b"a@example.org"
    recipient: bytes | None = b"b@example.net"
    enabled: bool = True
    relay: bool = False
    authenticated: bool = False
    recipient_refused: bool = False
    further: bool = False
    entries: tuple[Entry, ...] = ()
    record: Record | None = None
    of: Triplet = KEY  # whose record that is
    policy: Policy = field(default_factory=Policy)
    now: int = T

    def attempt(self) -> Attempt:
        """Return the question to ask."""
        return Attempt(
            self.client,
            self.sender,
            self.recipient,
            enabled=self.enabled,
            relay=self.relay,
            authenticated=self.authenticated,
            recipient_refused=self.recipient_refused,
            further=self.further,
        )

    def answer(self, *, newest_first: bool = False) -> Decision:
        """Ask; the order in which a store returns the entries must not matter."""
        records = {} if self.record is None else {self.of: self.record}
        numbered = [replace(e, number=n) for n, e in enumerate(self.entries, 1)]
        entries = numbered[::-1] if newest_first else numbered
        return ask(self.attempt(), records, self.policy, self.now, entries)


def ask(
    attempt: Attempt,
    records: dict[Triplet, Record],
    policy: Policy,
    now: int,
    entries: list[Entry] | None = None,
) -> Decision:
    """Do the steps of `service`, on a dict of records."""
    question = precheck(attempt, policy)
    if isinstance(question, Decision):
        return question
    decision = listed(question, entries or [], now)
    if decision is not None:
        return decision
    return decide(question, records.get(question.triplet), now)


def write(decision: Decision, records: dict[Triplet, Record], now: int) -> None:
    """Apply what a decision asks for, as `store.memory` does."""
    for change in decision.changes:
        after = applied(change, records.get(change.triplet), now)
        if after is not None:
            records[change.triplet] = after


def passes(reason: str, *changes: Change, waited: int | None = None) -> Decision:
    """Want a PASS."""
    return Decision(Verdict.PASS, Reason(reason), waited=waited, changes=changes)


def defers(reason: str, after: int, *changes: Change, at_data: bool = False) -> Decision:
    """Want a DEFER."""
    return Decision(
        Verdict.DEFER, Reason(reason), retry_after=after, at_data=at_data, changes=changes
    )


def deny(subject: str, until: int = T + 1, expires: int = T + 9, *, domain: bool = False) -> Entry:
    """Make an entry that denies until then."""
    return Entry(parse_subject(subject, domain=domain), until, expires)


def allow(subject: str, expires: int = T + 9, *, domain: bool = False) -> Entry:
    """Make an entry that allows."""
    return Entry(parse_subject(subject, domain=domain), 0, expires)


def created(key: Triplet = KEY, now: int = T, delay: int = DELAY, window: int = WINDOW) -> Created:
    """Return the change of a first contact."""
    return Created(key, now, now + delay, now + window)


def passed(key: Triplet = KEY, now: int = T, lifetime: int = LIFETIME) -> Passed:
    """Return the change of a pass."""
    return Passed(key, now + lifetime)


def refusal(read: Callable[[str], object], text: str) -> str | None:
    """Return what a reader says of a text that it refuses, or None where it reads it."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return None


BLOCKED = Blocked(KEY)
FRESH = defers("new", DELAY, created())
REJECTED = Decision(Verdict.REJECT, Reason.DENYLISTED)
