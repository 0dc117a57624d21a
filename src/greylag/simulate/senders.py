"""Who sends in a month: 10,000 bots, and 4,000 mails of new senders, lists and pools.

Addresses are of the ranges for benchmarks (RFC 2544) and for carriers' own networks (RFC 6598),
which nobody has on the internet, and names end in .example (RFC 2606).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

from greylag.simulate.mail import MAILBOXES, Host, Mail, Truth
from greylag.simulate.schedules import GOES_ON

DAY = 86400
DAYS = 30
BOTS, NEW_SENDERS, LISTS, POOLS = 10_000, 900, 30, 12
SINGLE_MAILS, LIST_MAILS, POOL_MAILS, TWO_NETWORK_MAILS, LOST_MAILS = 1_500, 900, 1_200, 200, 200
_BOTS_FROM, _SINGLES_FROM, _POOLS_FROM = (
    int(IPv4Address(first)) for first in ("100.64.0.0", "198.18.0.0", "198.19.0.0")
)
_WRITERS = ("info", "news", "orders", "office", "contact", "service", "hello", "team")
_BUSY_HOURS = (*range(24), *range(7, 19), *range(8, 18))  # people write by day


def mails(seed: int, share: float = 1.0) -> list[Mail]:
    """Return the mail of a month, or of a share of its senders, in the order of its time."""
    made: list[Mail] = []
    for of_whom in (_bots, _new_senders, _lists, _pools, _two_networks, _lost):
        made += of_whom(Random(f"{seed} {of_whom.__name__}"), share)
    return sorted(made, key=lambda mail: mail.at)


def following(seed: int, share: float, faster: int) -> list[Mail]:
    """Return the mail after that month: what comes in another one, so many times as fast."""
    later = mails(seed + 1, share)
    return [replace(mail, at=DAYS * DAY + mail.at // faster) for mail in later]


def _number(all_of_them: int, share: float) -> int:
    return max(1, round(all_of_them * share))


def _moment(rng: Random, *, people: bool = True) -> int:
    hour = rng.choice(_BUSY_HOURS) if people else rng.randrange(24)
    return rng.randrange(DAYS) * DAY + hour * 3600 + rng.randrange(3600)


def _schedule(rng: Random) -> str:
    return rng.choice([*GOES_ON, "postfix", "postfix", "exim", "exchange", "gmail"])


def _always(sender: str) -> Callable[[int], str]:
    return lambda _attempt: sender


def _bots(rng: Random, share: float) -> Iterator[Mail]:
    for number in range(_number(BOTS, share)):
        host = _bot(rng, number)
        kind = rng.random()
        schedule = "once" if kind < 0.75 else "burst" if kind < 0.92 else "retrying bot"
        truth = Truth.PATIENT_SPAM if schedule == "retrying bot" else Truth.SPAM
        # Some claim to be somebody who mails here.
        domain = f"shop{rng.randrange(60)}" if rng.random() < 0.2 else f"offer{rng.randrange(900)}"
        sender = f"{rng.choice(_WRITERS)}{rng.randrange(100)}@{domain}.example"
        to = rng.choice(MAILBOXES)
        yield Mail(truth, _moment(rng, people=False), to, (host,), _always(sender), schedule)


def _bot(rng: Random, number: int) -> Host:
    address = str(IPv4Address(_BOTS_FROM + rng.randrange(1 << 22)))
    dynamic = f"{address.replace('.', '-')}.dyn.isp{rng.randrange(9)}.example"
    kind = rng.random()
    name = "" if kind < 0.35 else dynamic if kind < 0.9 else f"web{number}.hosting.example"
    return Host(address, name, rng.choice((f"DESKTOP-{number:06X}", f"[{address}]", dynamic)))


def _server(first: int, number: int, name: str, helo: str = "") -> Host:
    """Return a server in a network of its own, of 256 addresses."""
    return Host(str(IPv4Address(first + 256 * number + 25)), name, helo or name)


def _single(number: int) -> Host:
    # Four of them are neighbours in one network, as at a hoster.
    address = str(IPv4Address(_SINGLES_FROM + 256 * (number // 4) + 10 + number % 4))
    name = f"mx.shop{number}.example"
    return Host(address, name, name)


def _new_senders(rng: Random, share: float) -> Iterator[Mail]:
    number_of_them = _number(NEW_SENDERS, share)
    for number in range(_number(SINGLE_MAILS, share)):
        who = number if number < number_of_them else rng.randrange(number_of_them)
        sender = f"{rng.choice(_WRITERS)}@shop{who}.example"
        to, at = rng.choice(MAILBOXES), _moment(rng)
        yield Mail(Truth.GOOD, at, to, (_single(who),), _always(sender), _schedule(rng))


def _lists(rng: Random, share: float) -> Iterator[Mail]:
    number_of_them = _number(LISTS, share)
    for number in range(_number(LIST_MAILS, share)):
        who = number % number_of_them
        host = _server(_SINGLES_FROM, 240 + who, f"lists.club{who}.example")
        to, at = rng.choice(MAILBOXES), _moment(rng)
        if who % 3:
            reader = to.replace("@", "=")
            sender = f"list-bounces-{number}+{reader}@club{who}.example"
            yield Mail(Truth.LIST, at, to, (host,), _always(sender), _schedule(rng))
        else:
            word = rng.randbytes(8)
            yield Mail(Truth.VARYING_LIST, at, to, (host,), _changing(word, who), "list")


def _changing(word: bytes, who: int) -> Callable[[int], str]:
    """Return senders with a word that says nothing, and is another one at each attempt."""

    def sender(attempt: int) -> str:
        letters = Random(word + bytes((attempt % 256,))).choices("bcdfghjklmnpqrstvwxz", k=12)
        return f"{''.join(letters)}@club{who}.example"

    return sender


def _pools(rng: Random, share: float) -> Iterator[Mail]:
    number_of_them = _number(POOLS, share)
    for number in range(_number(POOL_MAILS, share)):
        who = number % number_of_them
        hosts = tuple(
            _server(_POOLS_FROM, 16 * who + nth, f"out{nth}.pool{who}.example") for nth in range(16)
        )
        turn = rng.randrange(16)
        sender = f"user{rng.randrange(400)}@pool{who}.example"
        to, at = rng.choice(MAILBOXES), _moment(rng)
        yield Mail(Truth.POOL, at, to, hosts[turn:] + hosts[:turn], _always(sender), _schedule(rng))


def _two_networks(rng: Random, share: float) -> Iterator[Mail]:
    for number in range(_number(TWO_NETWORK_MAILS, share)):
        # No name leads back to them: so they are no pool, and look like others that have none.
        hosts = tuple(
            _server(_POOLS_FROM, 200 + 2 * (number % 20) + nth, "", f"gate{nth}.example")
            for nth in range(2)
        )
        sender = f"office@branch{number % 20}.example"
        to, at = rng.choice(MAILBOXES), _moment(rng)
        yield Mail(Truth.TWO_NETWORKS, at, to, hosts, _always(sender), "postfix")


def _lost(rng: Random, share: float) -> Iterator[Mail]:
    for number in range(_number(LOST_MAILS, share)):
        host = _server(_SINGLES_FROM, 232 + number % 6, f"app.portal{number % 6}.example")
        sender = f"no-reply@portal{number % 6}.example"
        to, at = rng.choice(MAILBOXES), _moment(rng)
        yield Mail(Truth.LOST, at, to, (host,), _always(sender), "once")
