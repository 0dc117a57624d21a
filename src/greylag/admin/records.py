"""Finding records: by parts of them as an admin gives these, and the newest of many."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from heapq import nlargest

from greylag.admin import AT_ONCE, Progress, in_parts, unseen
from greylag.admin.typed import WrongValue, typed_address
from greylag.core.client import host_of, last_address, network
from greylag.core.identity import USERS, address_of, is_network, pool_of, prefix_of_address
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.shortid import short_id, shown_id
from greylag.core.subject import Network, parse_subject
from greylag.core.triplet import (
    OF_CONNECTIONS,
    OF_SENT,
    OF_SEVERAL,
    OF_TRAPPED,
    OF_TRIPLET,
    OF_TRUST,
    TRAPPED,
    TRUSTED,
    Triplet,
    kind_of,
)
from greylag.core.value import value
from greylag.store.base import Filter, Store

EVERYTHING = sys.maxsize  # a limit that cuts nothing
NULL_SENDER = "<>"

Found = tuple[Triplet, Record]


# What is kept of mail and connections, each by what it stands for; pools are kept beside.
_MAIL = frozenset((OF_TRIPLET, OF_SEVERAL, OF_CONNECTIONS))
_WORDS = {OF_TRUST: TRUSTED, OF_TRAPPED: TRAPPED}  # that their keys have in a recipient's place
# What the keys of a kind do not have.
_LACKING = {
    OF_CONNECTIONS: ("sender", "recipient"),
    OF_TRUST: ("recipient", "passed"),
    OF_TRAPPED: ("sender", "recipient", "passed"),
    OF_SENT: ("client", "passed"),
}
_LACKS = {  # the option that asks for a kind, and why others do not go with it
    OF_CONNECTIONS: ("connections", "a connection has no sender and no recipient"),
    OF_TRUST: ("trusted", "trust has no recipient, and does not wait"),
    OF_TRAPPED: ("trapped", "only the address is kept of who mailed a trap"),
    OF_SENT: ("correspondents", "they have no client address, and do not wait"),
}


@value
class Wanted:
    """Which records are looked for."""

    filter: Filter
    kind: str | None = None  # those alone, which a store's own search cannot tell
    pools: bool = False  # those of pools of servers, and not of client networks
    addresses: tuple[bytes, bytes] | None = None  # first and last of those with a name
    without: tuple[str, ...] = ()  # texts that neither sender nor recipient has
    since: int = 0  # of first contact

    def fits(self, key: Triplet) -> bool:
        """Tell what the filter cannot: whether it is of the kind that is wanted.

        What stands for several recipients, or for a connection, is no text to be looked for. What
        is kept under a name (trust, pools...) is no mail of its own, and shown when asked for.
        """
        kind = kind_of(key)
        if any(text in key.sender or text in _recipient(key, kind) for text in self.without):
            return False
        if self.kind is not None:
            return kind == self.kind and self._has_address(key)
        if kind not in _MAIL or (pool_of(key.network) is not None) is not self.pools:
            return False
        if self.filter.recipient:
            return kind == OF_TRIPLET
        return kind != OF_CONNECTIONS or not self.filter.null_sender

    def _has_address(self, key: Triplet) -> bool:
        if self.addresses is None:
            return True
        first, last = self.addresses
        address = address_of(key.network)
        return address is not None and len(address) == len(first) and first <= address <= last


def _recipient(key: Triplet, kind: str) -> str:
    """Return the recipient, but no word that stands in its place."""
    return key.recipient if kind in (OF_TRIPLET, OF_SENT) else ""


def wanted(  # noqa: PLR0913 - one for each option
    policy: Policy,
    *,
    client: str | None = None,
    sender: str | None = None,
    recipient: str | None = None,
    passed: bool | None = None,
    kind: str | None = None,
    pools: bool = False,
    without: Sequence[str] = (),
    since: int = 0,
) -> Wanted:
    """Return what to look for; all that is given must hold. Raises WrongValue.

    `client` is an address or a range, and of `sender` (`<>` is the null sender) and `recipient` a
    part is enough. Of a `kind` (OF_TRUST...) they mean what its keys have.
    """
    given = {"client": client, "sender": sender, "recipient": recipient, "passed": passed}
    if kind is not None and any(given[name] is not None for name in _LACKING[kind]):
        option, why = _LACKS[kind]
        raise WrongValue(why, option)
    if pools and (client is not None or kind is not None):
        raise WrongValue("a pool has a name, and is in no range of addresses", "pools")
    first, last = (None, None) if client is None else range_of(client, policy, kind)
    addresses = None
    if kind == OF_SENT:
        first = last = USERS
    elif kind in _WORDS and first is not None and last is not None:
        addresses, first, last = (first, last), None, None
    null_sender = sender == NULL_SENDER
    found = Filter(
        first_network=first,
        last_network=last,
        sender="" if null_sender else _text("sender", sender, policy.sender_name),
        recipient=_WORDS.get(kind or "", _text("recipient", recipient, policy.recipient_name)),
        null_sender=null_sender,
        passed=passed,
    )
    lacking = tuple(_text("not", text, policy.sender_name) for text in without)
    return Wanted(found, kind, pools, addresses, lacking, since)


def range_of(text: str, policy: Policy, kind: str | None = None) -> tuple[bytes, bytes]:
    """Return the first and last client network that a text means.

    Records are kept by network, so nothing narrower than one can be asked for; but trust, and who
    mailed a trap, are kept by address.
    """
    expected = "expected an address or a range, such as 192.0.2.1 or 192.0.2.0/24"
    try:
        subject = parse_subject(text)
    except ValueError as error:
        cause = str(error) if "/" in text else f"{expected}; got {text!r}"
        raise WrongValue(cause, "client") from None
    if not isinstance(subject, Network):
        raise WrongValue(f"{expected}; got {text!r}", "client")
    single = subject.prefix == 8 * len(subject.packed)
    packed = host_of(subject.packed)[0] if single else subject.packed
    prefix = prefix_of_address(packed) if kind in _WORDS else policy.prefix_of(packed)
    if subject.prefix >= prefix:
        only = network(packed, prefix)
        return only, only
    return subject.packed, last_address(subject.packed, subject.prefix)


def _text(what: str, text: str | None, name: Callable[[bytes], str]) -> str:
    if text is None:
        return ""
    if not text.strip():
        # Would fit every record; most likely an empty variable in a script.
        raise WrongValue("expected a text, got an empty one", what)
    return name(typed_address(text))


def fitting(store: Store, what: Wanted, progress: Progress = unseen) -> Iterator[Found]:
    """Yield all records that are wanted."""
    for item in progress(store.search(what.filter, EVERYTHING), None, "searching"):
        if what.fits(item[0]) and item[1].first_seen >= what.since:
            yield item


def newest(
    store: Store,
    what: Wanted,
    limit: int,
    progress: Progress = unseen,
    live_at: int | None = None,
) -> tuple[int, list[Found]]:
    """Return how many records are wanted, and the newest of them; with a time, those that are live.

    Stores keep no order of time, so all of them are looked at; only `limit` are held.
    """
    total = 0

    def counted() -> Iterator[Found]:
        nonlocal total
        for item in fitting(store, what, progress):
            if live_at is None or item[1].live(live_at):
                total += 1
                yield item

    latest = nlargest(limit, counted(), key=lambda item: item[1].first_seen)
    return total, latest


def forget(store: Store, keys: Sequence[Triplet], now: int, progress: Progress = unseen) -> int:
    """Forget the records of these keys, in parts; return how many there were."""
    parts = progress(in_parts(keys), len(keys), "forgetting", step=AT_ONCE)
    return sum(store.forget(part, now) for part in parts)


def of_network(key: Triplet, policy: Policy) -> Triplet:
    """Return a key as the engine makes it: rows of the old tables hold whole addresses."""
    net = key.network
    whole = network(net, policy.prefix_of(net)) if is_network(net) else net
    return key if whole == net else Triplet(whole, key.sender, key.recipient)


def is_mail(key: Triplet) -> bool:
    """Tell whether a key is of mail from one client network, and so has a short id."""
    return kind_of(key) in (OF_TRIPLET, OF_SEVERAL) and is_network(key.network)


def id_of(key: Triplet, policy: Policy) -> str | None:
    """Return the short id of mail, as shown; None for what is no mail, or may be of any network."""
    return shown_id(short_id(of_network(key, policy))) if is_mail(key) else None


def state_of(record: Record, now: int) -> str:
    """Return what a record is at this time, in one word."""
    if not record.live(now):
        return "forgotten"
    if record.passed:
        return "passed"
    return "waiting" if now < record.defer_until else "due"
