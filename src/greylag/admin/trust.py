"""Who is spared the delay because of what was seen of him: trust, correspondents; and the trapped.

Trust is counted by first passes, for an identity (an address, or a pool of servers) with a sender
domain, and with any. `core.sparing` decides by these records; here they are found, told, and ended.
"""

from __future__ import annotations

import os

from greylag.admin import Progress, unseen
from greylag.admin.records import Wanted, fitting, forget
from greylag.admin.typed import WrongValue, typed_address, typed_client, typed_recipient
from greylag.core.client import format_address, host_of, parse_address
from greylag.core.identity import Pool, PoolKind, is_network, of_address, pool_of
from greylag.core.names import host_name
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Record
from greylag.core.sparing import TRUST_TAKES, further
from greylag.core.triplet import (
    OF_SENT,
    OF_TRAPPED,
    OF_TRUST,
    TRUSTED,
    Triplet,
    kind_of,
    sent_of,
    trapped_of,
    trust_of,
)
from greylag.core.value import value
from greylag.store.base import Filter, Store

ANY = "any"  # sender domain
_KINDS = {"spf": PoolKind.SPF, "name": PoolKind.NAME}
_IPV6 = "/64"  # of an IPv6 address its /64 is meant (`core.identity`)


@value
class Trust:
    """What an identity has earned with a sender domain."""

    identity: bytes
    domain: str  # empty: with any
    passes: int  # first passes, and later what was let in for them
    needed: int  # 0: nothing is let in for it, as the settings are
    since: int  # the first of them; 0: there was none
    until: int  # when it is forgotten

    def holds(self, now: int) -> bool:
        """Tell whether what is new is let in for it."""
        return self.complete and now >= self.earliest and now < self.until

    @property
    def complete(self) -> bool:
        """Tell whether there were as many first passes as it takes."""
        return 0 < self.needed <= self.passes

    @property
    def earliest(self) -> int:
        """Return the time from which it may hold: the first pass has to be a day old."""
        return self.since + TRUST_TAKES


@value
class Standing:
    """How a client stands, with the sender and the recipient that it was asked about."""

    trust: list[Trust]
    trapped: Record | None  # live
    correspondent: Record | None  # live: one of our users wrote to the sender
    policy: Policy  # that holds for it


def trust_in(key: Triplet, record: Record, policy: Policy) -> Trust:
    """Return the trust that a record counts."""
    needed = policy.trust_after if key.sender else policy.trust_all_after
    facts = record.passed, needed, record.first_seen, record.expires
    return Trust(key.network, key.sender, *facts)


def standing(store: Store, question: Question, now: int) -> Standing:
    """Return how the client of a question stands, as far as evidence tells its pool."""
    keys = further(question)
    records = {key: record for key, record in store.load(keys).items() if record.live(now)}
    of_kind: dict[str, list[Triplet]] = {}
    for key in keys:
        of_kind.setdefault(kind_of(key), []).append(key)
    none = Record(0, 0, 0)
    trust = [
        trust_in(key, records.get(key, none), question.policy) for key in of_kind.get(OF_TRUST, [])
    ]
    trapped, sent = (
        next((records[key] for key in of_kind.get(kind, []) if key in records), None)
        for kind in (OF_TRAPPED, OF_SENT)
    )
    return Standing([one for one in trust if one.needed], trapped, sent, question.policy)


def typed_identity(text: str) -> bytes:
    """Return the identity that an admin means: spf:DOMAIN, name:DOMAIN or an address.

    Raises WrongValue.
    """
    kind, colon, name = text.partition(":")
    if colon and kind in _KINDS:
        domain = host_name(os.fsencode(name))
        if domain is None:
            raise WrongValue(f"expected a domain after {kind}:, got {name!r}")
        return Pool(_KINDS[kind], domain).packed
    if parse_address(os.fsencode(text.removesuffix(_IPV6))) is None:
        raise WrongValue(f"expected an address, spf:DOMAIN or name:DOMAIN, got {text!r}")
    client, _carrier = host_of(typed_client(text.removesuffix(_IPV6)))
    return of_address(client)


def typed_domain(text: str) -> str:
    """Return the sender domain that an admin means; `any` is any. Raises WrongValue."""
    if text == ANY:
        return ""
    domain = host_name(os.fsencode(text.removeprefix("@")))
    if domain is None:
        raise WrongValue(f"expected a sender domain or {ANY!r}, got {text!r}")
    return domain


def distrust(
    store: Store,
    identity: bytes,
    domain: str | None,
    now: int,
    progress: Progress = unseen,
) -> list[Triplet]:
    """End the trust in an identity: with one sender domain, or all of it. Return what ended."""
    if domain is not None:
        found = list(store.load([trust_of(identity, domain)]))
    else:
        of_it = Filter(first_network=identity, last_network=identity, recipient=TRUSTED)
        found = [key for key, _ in fitting(store, Wanted(of_it, OF_TRUST), progress)]
    forget(store, found, now, progress)
    return found


def typed_trapped(text: str) -> Triplet:
    """Return the key of who mailed a trap: an address, of IPv6 also as `2001:db8::/64`.

    Raises WrongValue.
    """
    client, _carrier = host_of(typed_client(text.removesuffix(_IPV6)))
    return trapped_of(client)


def typed_correspondent(sender: str, recipient: str, policy: Policy) -> Triplet:
    """Return the key of a sender who may answer to a recipient. Raises WrongValue."""
    theirs, ours = typed_address(sender), typed_recipient(recipient)
    if not theirs:
        raise WrongValue("expected a sender: nobody writes to the null sender")
    return sent_of(policy.sender_name(theirs, ours), policy.recipient_name(ours))


def end(store: Store, key: Triplet, now: int) -> bool:
    """End what was seen of one; tell whether there was anything to end."""
    return forget(store, list(store.load([key])), now) > 0


def identity_text(identity: bytes) -> str:
    """Return an identity as it is shown, and may be typed."""
    pool = pool_of(identity)
    if pool is None:
        return format_address(identity) if is_network(identity) else identity.hex()
    if pool.kind is PoolKind.ADDRESS:
        return pool.name + (_IPV6 if ":" in pool.name else "")
    return str(pool)
