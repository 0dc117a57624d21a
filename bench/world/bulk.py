"""Lists and bulk senders, forwarders, and services that send login codes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from bench.world.forms import BULK, LISTS, Form, srs0, srs1
from bench.world.pools import POOLS, writer
from bench.world.traffic import USERS, Expectation, Host, Mail, Traffic, moments
from bench.world.zones import Names

LIST, FORWARDER, PLAIN_FORWARDER = "list", "forwarder, SRS", "forwarder, no SRS"
CODE, EXPECTED = "login code", "login code, expected"
IN_TIME = 600  # seconds that a code holds
FORWARDERS, SERVICES = 4, 4
PLAIN = 5  # the number of the forwarder that rewrites nothing


def _hosts(domain: str, first: int, networks: int) -> tuple[Host, ...]:
    """Return servers, one in each network from 198.19.150.0/24 on."""
    return tuple(
        Host(f"198.19.{150 + first + number}.25", f"mail{number}.{domain}")
        for number in range(networks)
    )


def _publish(domain: str, hosts: Sequence[Host], names: Names, *, spf: bool = True) -> None:
    for host in hosts:
        names.host(host.helo, host.address)
    if spf:
        names.spf(domain, " ".join(f"ip4:{host.address}" for host in hosts) + " -all")


class Sender:
    """A list or a bulk sender. Bulk senders have four networks, and a domain of bounces."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.bulk = number >= len(LISTS)
        self.what, self.form = (LISTS + BULK)[number]
        self.name = f"news{chr(97 + number % 26)}"
        self.domain = f"bounces.bulk{number}.example" if self.bulk else f"lists{number}.example"
        if self.what == "numbers of a campaign":
            self.domain = f"e.mktomail{number}.example"  # like the domain of such a sender
        # Most bulk senders of the world share the servers of three services.
        first = 15 + 4 * (number % 3) if self.bulk else number
        owner = f"service{number % 3}.example" if self.bulk else self.domain
        self.hosts = _hosts(owner, first, 4 if self.bulk else 1)
        self.spf = self.bulk or number % 4 != 3
        self.schedule = ("gmx", "postfix", "exim")[number % 3] if self.bulk else "postfix"


SENDERS: tuple[Sender, ...] = tuple(Sender(number) for number in range(len(LISTS + BULK)))


def _forwarder(number: int) -> tuple[str, tuple[Host, ...]]:
    domain = f"forward{number}.example"
    return domain, _hosts(domain, 30 + number, 1)


def _service(number: int) -> tuple[str, tuple[Host, ...]]:
    domain = f"login{number}.example"
    return domain, _hosts(domain, 40 + 4 * number, 4 if number % 2 else 1)


def publish(names: Names) -> None:
    """Say in DNS what they say."""
    for sender in SENDERS:
        _publish(sender.domain, sender.hosts, names, spf=sender.spf)
    for number in (*range(FORWARDERS), PLAIN):
        _publish(*_forwarder(number), names)
    for number in range(SERVICES):
        _publish(*_service(number), names)


def _posts(sender: Sender, seed: int, days: int, share: float) -> list[Mail]:
    """Return what a list sends: some posts a day, each to some of the site's users."""
    rng = Random(f"{seed} {sender.domain}")
    subscribers = rng.sample(USERS, rng.randint(1, 6))
    form: Form = sender.form
    return [
        Mail(
            LIST,
            sender.domain,
            at,
            f"{form(sender.name, number, to, rng)}@{sender.domain}".encode(),
            to.encode(),
            sender.hosts,
            sender.schedule,
            f"{seed} {sender.number} {number} {to}",
        )
        for number, at in enumerate(moments(rng, days, 2 * share), 1)
        for to in subscribers
    ]


def _forwarded(number: int, seed: int, days: int, share: float) -> list[Mail]:
    """Return what a forwarder sends on to one user, from all the world."""
    domain, hosts = _forwarder(number)
    rng = Random(f"{seed} {domain}")
    to = USERS[number].encode()
    mails = []
    for at in moments(rng, days, share * (8 if number != PLAIN else 2)):
        pool = rng.choice(POOLS)
        original = f"{writer(rng, 100)}@{rng.choice(pool.sender_domains)}"
        if number == PLAIN:
            sender = original
        elif number % 2:
            sender = srs1(domain, "forward.example", original, rng)
        else:
            sender = srs0(domain, original, rng)
        kind = PLAIN_FORWARDER if number == PLAIN else FORWARDER
        mails.append(Mail(kind, domain, at, sender.encode(), to, hosts, "postfix"))
    return mails


def _codes(number: int, seed: int, days: int, share: float) -> Traffic:
    """Return the codes of a service. Half of them the operator was told to expect."""
    domain, hosts = _service(number)
    rng = Random(f"{seed} {domain}")
    mails, expectations = [], []
    for at in moments(rng, days, 5 * share):
        to = rng.choice(USERS).encode()
        expected = rng.random() < 0.5
        if expected:
            expectations.append(Expectation(max(0, at - 120), to, 1800))
        mails.append(
            Mail(
                EXPECTED if expected else CODE,
                domain,
                at,
                f"no-reply@{domain}".encode(),
                to,
                hosts,
                "postfix" if number % 2 else "exim",
                f"{seed} {domain} {at}",
            )
        )
    return Traffic(tuple(mails), (), tuple(expectations))


def traffic(seed: int, days: int, share: float) -> Traffic:
    """Return a share of the mail of all lists, forwarders and services."""
    mails = [mail for sender in SENDERS for mail in _posts(sender, seed, days, share)]
    for number in (*range(FORWARDERS), PLAIN):
        mails += _forwarded(number, seed, days, share)
    found = Traffic(tuple(mails))
    for number in range(SERVICES):
        found += _codes(number, seed, days, share)
    return found
