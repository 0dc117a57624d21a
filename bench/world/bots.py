"""Bots of six kinds, and rented servers, which look like anybody's.

Bots are computers of people: their addresses are in 100.64.0.0/10, with the names that an access
provider gives them, or none. It has mail servers, too (pool 9). Each kind has bots of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random

from bench.world.pools import POOLS, writer
from bench.world.singles import SINGLES
from bench.world.traffic import USERS, Host, Mail, Traffic, moments
from bench.world.zones import Names

ONCE, SAME, OTHER = "bot, one try", "bot, same address", "bot, other address"
OWN_DOMAIN, FORGED, FAKE_NAME = "bot, own domain", "bot, forged sender", "bot, fake name"
RENTED_ONCE, RENTED_POOL = "rented, one try", "rented, a pool"
BOTS = (ONCE, SAME, OTHER, OWN_DOMAIN, FORGED, FAKE_NAME)
RENTED = (RENTED_ONCE, RENTED_POOL)
_FIRST = int(IPv4Address("100.64.0.0"))

LISTED = "{listed} -all"  # each bot: narrow, but bots have no names as mail servers have them
# What domains of bots publish to pass all of them: each is no identity.
PASSES_ALL = (
    "+all",
    "ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all",
    "ip4:100.64.0.0/10 -all",
    "exists:%{i}.yes.{domain} -all",
    "ptr:isp.example.com -all",
    "include:%{i}.inc.{domain} -all",
    "a/0 -all",
    "{many} -all",  # ranges that are narrow each, and too wide together
    LISTED,
)


@dataclass(frozen=True)
class Bot:
    """A bot, and whether it has a name."""

    host: Host
    name: str = ""
    confirmed: bool = False


Sender = Callable[[Random], str]


@dataclass(frozen=True)
class Kind:
    """A kind of bots: how they retry, whom they claim to be, how many there are."""

    name: str
    schedule: str
    moves: bool  # a retry comes from another bot
    sender: Sender
    bots: int = 200


def _random_domain(rng: Random) -> str:
    """Return somebody at a domain that publishes nothing, or nothing that is there."""
    return f"{writer(rng)}@nothing{rng.randrange(500)}.example"


def _own_domain(rng: Random) -> str:
    return f"{writer(rng)}@offer{rng.randrange(len(PASSES_ALL))}.example"


def _big_provider(rng: Random) -> str:
    pool = POOLS[rng.randrange(8)]  # those that publish SPF
    return f"{writer(rng)}@{rng.choice(pool.sender_domains)}"


def _named_pool(rng: Random) -> str:
    """Return a sender of a pool that names alone tell, or of a single server without SPF."""
    pool = POOLS[8 + rng.randrange(2)]
    site = SINGLES[8 + rng.randrange(4)]
    return f"{writer(rng)}@{rng.choice([*pool.sender_domains, site.domain])}"


KINDS = (
    Kind(ONCE, "once", False, _random_domain),
    Kind(SAME, "retrying bot", False, _random_domain),
    Kind(OTHER, "retrying bot", True, _random_domain),
    Kind(OWN_DOMAIN, "retrying bot", True, _own_domain),
    Kind(FORGED, "burst, then later", True, _big_provider),
    Kind(FAKE_NAME, "retrying bot", True, _named_pool),
)


def _bot(kind: Kind, rng: Random, number: int) -> Bot:
    address = str(IPv4Address(_FIRST + rng.randrange(1 << 22)))
    dashed = address.replace(".", "-")
    dynamic = f"{dashed}.dyn.isp.example.com"
    if kind.name == FAKE_NAME:
        if number % 2:  # a name that leads back, as the access provider makes it
            forms = (f"dsl-{dashed}.isp.example.com", f"pool-{dashed}.isp.example.com", dynamic)
            name = rng.choice(forms)
            return Bot(Host(address, name), name, True)
        pool = POOLS[rng.randrange(10)]
        name = pool.server(rng.randrange(pool.networks), rng.randrange(2))
        return Bot(Host(address, name), name)
    helo = rng.choice((f"DESKTOP-{number:06X}", f"[{address}]", dynamic, "mail.pool1.example"))
    state = rng.random()
    if state < 0.3:  # no name at all
        return Bot(Host(address, helo))
    return Bot(Host(address, helo), dynamic, confirmed=state < 0.8)


def bots(seed: int, kind: Kind) -> list[Bot]:
    """Return the bots of a kind."""
    rng = Random(f"{seed} {kind.name}")
    return [_bot(kind, rng, number) for number in range(kind.bots)]


def rented(number: int) -> list[Host]:
    """Return the servers of somebody who rents them: in good order, in eight networks."""
    domain = f"newsletter{number}.example"
    return [Host(f"198.19.{210 + 8 * number + nth}.80", f"mail{nth}.{domain}") for nth in range(8)]


def publish(names: Names, seed: int) -> None:
    """Say in DNS what the bots and their domains say."""
    for kind in KINDS:
        for bot in bots(seed, kind):
            if bot.name:
                names.host(bot.name, bot.host.address, confirmed=bot.confirmed)
    listed = " ".join(f"ip4:{bot.host.address}" for bot in bots(seed, KINDS[3]))
    many = " ".join(f"ip4:100.{16 * nth}.0.0/12" for nth in range(16))
    for number, terms in enumerate(PASSES_ALL):
        domain = f"offer{number}.example"
        names.spf(
            domain,
            terms.replace("{domain}", domain).replace("{many}", many).replace("{listed}", listed),
        )
        names.leads(domain, "100.64.0.1")
        names.leads(f"*.yes.{domain}", "127.0.0.2")
        names.spf(f"*.inc.{domain}", "+all")
    for number in range(2):
        for host in rented(number):
            names.host(host.helo, host.address)
        ranges = " ".join(f"ip4:{host.address}" for host in rented(number))
        names.spf(f"newsletter{number}.example", f"{ranges} -all")


def traffic(seed: int, days: int, per_day: float) -> Traffic:
    """Return the mail of all bots, so many mails of each kind a day, and of rented servers."""
    mails = []
    for kind in KINDS:
        them = [bot.host for bot in bots(seed, kind)]
        rng = Random(f"{seed} {kind.name} mail")
        for at in moments(rng, days, per_day):
            hosts = tuple(them) if kind.moves else (rng.choice(them),)
            sender, to = kind.sender(rng).encode(), rng.choice(USERS).encode()
            mails.append(
                Mail(kind.name, kind.name, at, sender, to, hosts, kind.schedule, f"{seed} {at}")
            )
    for number, name in enumerate(RENTED):
        rng = Random(f"{seed} {name}")
        hosts = tuple(rented(number))
        for at in moments(rng, days, per_day / 4):
            sender = f"{writer(rng)}@newsletter{number}.example".encode()
            to = rng.choice(USERS).encode()
            schedule = "retrying bot" if name == RENTED_POOL else "once"
            mails.append(Mail(name, name, at, sender, to, hosts, schedule, f"{seed} {at}"))
    return Traffic(tuple(mails))
