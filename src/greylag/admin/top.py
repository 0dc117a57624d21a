"""Who is deferred most, who was hurt, who tries too early, and who is trusted soon."""

from __future__ import annotations

from collections.abc import Iterable

from greylag.admin.looking import MOST_LOOKED, Looking
from greylag.admin.trust import Trust, trust_in
from greylag.core.client import network, parse_address
from greylag.core.fates import NEAR, is_hurt
from greylag.core.history import By, Deferral, Outcome, Sought, Tally
from greylag.core.identity import of_address
from greylag.core.policy import Policy
from greylag.core.triplet import Triplet, trust_of
from greylag.core.value import value
from greylag.store.base import HISTORY, Store

_DAY = 86400
NULL_SENDER = "<>"  # as the tallies name its domain
MOST_DOMAINS = 5000  # that one look tells apart; a flood may have as many as mails
MOST_IDENTITIES = 1000  # whose trust is read
# What is told of here; bots' bursts of tries, and what waits, would hide it.
_TOLD = frozenset((Outcome.PASSED, Outcome.UNKNOWN, Outcome.VARYING, Outcome.EVICTED))
SOON = 2  # first passes that are missing at most


@value
class Hurt:
    """Likely good mail of one sender domain that waited long, or never came back."""

    domain: str
    mails: int
    never: int  # of these: never came back
    longest: int  # seconds that one of them waited; 0: none came
    worst: Deferral  # an example: the newest that never came back, or waited longest
    passed: bool  # some mail of this domain did, hurt or not


@value
class Early:
    """Retries of one sender domain that came too early, of mail that is no likely spam."""

    domain: str
    retries: int
    mails: int
    passed: int  # of these mails


@value
class Top:
    """What stands out in a time."""

    since: int
    until: int
    names: dict[By, dict[str, Tally]]  # most deferred first; "" are all that are not named
    hurt: list[Hurt]  # the worst first
    hurt_mails: int  # of all domains
    early: list[Early]
    soon: list[Trust]  # what is trusted soon
    complete: bool  # the whole time was looked at for those but `names`
    reached: int  # first contact of the oldest that was looked at
    no_history: str | None = None  # why the store keeps none


def top(
    store: Store, policy: Policy, now: int, seconds: int, limit: int, most: int = MOST_LOOKED
) -> Top:
    """Return what stands out in so many seconds before now; names are of whole days (UTC)."""
    since = now - seconds
    names = {by: most_deferred(store, policy, now, seconds, by, limit) for by in By}
    looking = Looking(store, Sought(since=since, outcomes=_TOLD), most)
    seen = _Seen()
    for deferral in looking:
        seen.add(deferral)
    hurt = seen.hurt()
    return Top(
        since,
        now,
        names,
        hurt[:limit],
        sum(one.mails for one in hurt),
        seen.early()[:limit],
        _trusted_soon(store, policy, now, seen.identities)[:limit],
        looking.complete,
        max(looking.reached, since),
        store.lacks(HISTORY),
    )


def most_deferred(
    store: Store, policy: Policy, now: int, seconds: int, by: By, limit: int
) -> dict[str, Tally]:
    """Return the names with most deferrals in the days that lie, in part, in so many seconds.

    A network has its prefix, as a bare address would be taken for one client.
    """
    found = store.tallies(first_day(now, seconds), now + 1, by, limit)
    if by is not By.NETWORK:
        return found
    return {_with_prefix(name, policy): tally for name, tally in found.items()}


def first_day(now: int, seconds: int) -> int:
    """Return when the first of these days began."""
    return (now - seconds) // _DAY * _DAY


def _with_prefix(name: str, policy: Policy) -> str:
    packed = parse_address(name.encode("utf-8", "replace"))
    if packed is None:  # all others, or what a foreign hand wrote
        return name
    prefix = policy.prefix_of(packed)
    if network(packed, prefix) != packed:
        prefix = 8 * len(packed)  # written under another policy
    return f"{name}/{prefix}"


def _badness(one: Hurt) -> tuple[int, int, int, str]:
    return one.never, one.mails, one.longest, one.domain


class _OfDomain:
    """What one look adds up of a sender domain."""

    def __init__(self) -> None:
        self.hurt = self.never = self.longest = self.retries = self.early = self.passed = 0
        self.has_passed = False
        self.worst: Deferral | None = None
        self._mails: dict[tuple[str, ...], int] = {}  # attempts that are one, by their newest

    def add(self, deferral: Deferral) -> None:
        passed = deferral.outcome is Outcome.PASSED
        self.has_passed |= passed
        if deferral.tries:
            self.retries += deferral.tries
            self.early += 1
            self.passed += passed
        if not is_hurt(deferral) or self._is_counted(deferral):
            return
        self.hurt += 1
        waited = deferral.waited or 0
        if not self.never and (not passed or self.worst is None or waited > self.longest):
            self.worst = deferral
        self.never += not passed
        self.longest = max(self.longest, waited)

    def _is_counted(self, deferral: Deferral) -> bool:
        """Tell whether this is an attempt of a mail that is counted already: the newest first.

        A list may have another sender at each attempt, and a pool another network.
        """
        if deferral.outcome is Outcome.PASSED:
            return False
        same = (
            (deferral.triplet.recipient,)
            if deferral.outcome is Outcome.VARYING
            else (deferral.sender_recipient)
        )
        before = self._mails.get(same)
        self._mails[same] = deferral.first_seen
        return before is not None and before - deferral.first_seen <= NEAR


class _Seen:
    """What one look adds up."""

    def __init__(self) -> None:
        self._domains: dict[str, _OfDomain] = {}
        self.identities: dict[Triplet, None] = {}  # keys of trust, in the order they are met

    def add(self, deferral: Deferral) -> None:
        domain = deferral.triplet.sender.rpartition("@")[2]
        if deferral.outcome is Outcome.PASSED and len(self.identities) < MOST_IDENTITIES:
            for identity in (
                of_address(deferral.client) if deferral.client else b"",
                deferral.pool,
            ):
                if identity:
                    self.identities[trust_of(identity, domain)] = None
                    self.identities[trust_of(identity, "")] = None
        shown = domain or NULL_SENDER
        if shown in self._domains or len(self._domains) < MOST_DOMAINS:
            self._domains.setdefault(shown, _OfDomain()).add(deferral)

    def hurt(self) -> list[Hurt]:
        """Return the domains that were hurt, the worst first."""
        found = [
            Hurt(domain, of.hurt, of.never, of.longest, of.worst, of.has_passed)
            for domain, of in self._domains.items()
            if of.worst is not None
        ]
        return sorted(found, key=_badness, reverse=True)

    def early(self) -> list[Early]:
        """Return the domains whose retries came too early, those with most first."""
        found = [
            Early(domain, of.retries, of.early, of.passed)
            for domain, of in self._domains.items()
            if of.retries
        ]
        return sorted(found, key=lambda one: (-one.retries, one.domain))


def _trusted_soon(store: Store, policy: Policy, now: int, keys: Iterable[Triplet]) -> list[Trust]:
    """Return who lacks a few first passes, or only time; the next to be trusted first."""
    if not policy.trusts:
        return []
    live = ((key, one) for key, one in store.load(list(keys)).items() if one.live(now))
    trust = [trust_in(key, record, policy) for key, record in live]
    soon = [one for one in trust if one.needed and _is_soon(one, now)]
    return sorted(soon, key=lambda one: (max(0, one.needed - one.passes), one.earliest))


def _is_soon(one: Trust, now: int) -> bool:
    return not one.holds(now) and one.needed - one.passes <= min(SOON, one.needed - 1)
