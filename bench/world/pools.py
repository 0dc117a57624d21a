"""Pools: senders with many servers, whose retry comes from another network each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from bench.world.traffic import USERS, Host, Mail, Traffic, moments
from bench.world.zones import Names

HOSTS = 2  # in each network
IPV6_POOL = 5
NAMED = {9: "example.com", 10: "example.org"}


@dataclass(frozen=True)
class Pool:
    """A pool. Its number gives it 32 networks (/24) of 198.18.0.0/15."""

    number: int
    kind: str
    networks: int  # that it sends from
    schedule: str
    domains: int  # of its senders
    per_day: int  # mails
    publish: Callable[[Pool, Names], None]

    @property
    def domain(self) -> str:
        """The domain of its servers. Names make a pool below a public suffix alone."""
        return NAMED.get(self.number, f"pool{self.number}.example")

    @property
    def sender_domains(self) -> list[str]:
        """The domains that its users write from."""
        if self.domains == 1:
            return [self.domain]
        return [f"customer{number}-{self.number}.example" for number in range(self.domains)]

    def network(self, number: int) -> str:
        """Return a network without its last number."""
        if self.number == IPV6_POOL:
            return f"2001:db8:{0x5000 + number:x}:1::"
        nth = 32 * (self.number - 1) + number
        return f"198.{18 + nth // 256}.{nth % 256}."

    def address(self, network: int, host: int) -> str:
        """Return the address of a server."""
        return f"{self.network(network)}{host + 10}"

    def server(self, network: int, host: int) -> str:
        """Return the name of a server."""
        if self.number % 2:
            return f"mail-{network}-{host}.out.{self.domain}"
        return f"a{network}-{host}.smtp-out.{self.domain}"


SPF, DOMAINS = "pool, SPF", "pool, SPF, domains"
BY_NAME, NEITHER = "pool, names alone", "pool, neither"


def _names(pool: Pool, names: Names, *, confirmed: bool = True) -> None:
    for network in range(pool.networks):
        for host in range(HOSTS):
            address = pool.address(network, host)
            names.host(pool.server(network, host), address, confirmed=confirmed)


def _one_range(pool: Pool, names: Names) -> None:
    _names(pool, names)
    names.spf(pool.domain, f"ip4:{pool.network(0)}0/19 -all")


def _many_ranges(pool: Pool, names: Names) -> None:
    _names(pool, names)
    ranges = " ".join(f"ip4:{pool.network(number)}0/24" for number in range(pool.networks))
    names.spf(pool.domain, f"{ranges} ~all")  # more than one datagram holds


def _includes(pool: Pool, names: Names) -> None:
    _names(pool, names)
    half = pool.networks // 2
    names.spf(pool.domain, f"include:_spf.{pool.domain} ~all")
    names.spf(f"_spf.{pool.domain}", f"include:_a.{pool.domain} include:_b.{pool.domain} ~all")
    names.spf(f"_a.{pool.domain}", f"ip4:{pool.network(0)}0/20 ~all")
    names.spf(f"_b.{pool.domain}", f"ip4:{pool.network(half)}0/20 ~all")


def _chain(pool: Pool, names: Names) -> None:
    _names(pool, names)
    names.spf(pool.domain, f"redirect=_one.{pool.domain}")
    for one, other in (("_one", "_two"), ("_two", "_three"), ("_three", "_four")):
        names.spf(f"{one}.{pool.domain}", f"include:{other}.{pool.domain} -all")
    names.spf(f"_four.{pool.domain}", f"ip4:{pool.network(0)}0/20 -all")


def _ipv6(pool: Pool, names: Names) -> None:
    _names(pool, names)
    names.spf(pool.domain, "ip4:192.0.2.250 ip6:2001:db8:5000::/36 -all")


def _mx(pool: Pool, names: Names) -> None:
    _names(pool, names)
    names.spf(pool.domain, "mx -all")
    for network in range(pool.networks):
        name = f"mx{network}.{pool.domain}"
        names.add(pool.domain, "MX", f"10 {name}.")
        for host in range(HOSTS):
            names.leads(name, pool.address(network, host))


def _customers(pool: Pool, names: Names) -> None:
    _names(pool, names)
    names.spf(f"spf.{pool.domain}", f"ip4:{pool.network(0)}0/19 -all")
    for number, domain in enumerate(pool.sender_domains):
        own = f"ip4:192.0.2.{100 + number} " if number % 2 else ""
        names.spf(domain, f"{own}include:spf.{pool.domain} -all")


def _redirected(pool: Pool, names: Names) -> None:
    _names(pool, names)
    names.spf(f"_spf.{pool.domain}", f"ip4:{pool.network(0)}0/20 ?all")
    for domain in pool.sender_domains:
        names.spf(domain, f"redirect=_spf.{pool.domain}")


def _nothing(_pool: Pool, _names: Names) -> None:
    pass


def _unconfirmed(pool: Pool, names: Names) -> None:
    _names(pool, names, confirmed=False)
    names.spf(pool.domain, "?all")


POOLS = (
    Pool(1, SPF, 32, "gmail", 1, 40, _one_range),
    Pool(2, SPF, 24, "hotmail", 1, 40, _many_ranges),
    Pool(3, SPF, 32, "gmail", 1, 30, _includes),
    Pool(4, SPF, 16, "yahoo", 1, 30, _chain),
    Pool(5, SPF, 32, "mail.ru", 1, 20, _ipv6),
    Pool(6, SPF, 8, "exchange", 1, 20, _mx),
    Pool(7, DOMAINS, 32, "hotmail", 12, 40, _customers),
    Pool(8, DOMAINS, 16, "aol", 6, 20, _redirected),
    Pool(9, BY_NAME, 16, "gmx", 1, 15, _names),
    Pool(10, BY_NAME, 24, "mail.com", 4, 15, _names),
    Pool(11, NEITHER, 6, "qq.com", 1, 3, _nothing),
    Pool(12, NEITHER, 8, "qmail", 1, 3, _unconfirmed),
)


def route(pool: Pool, rng: Random) -> tuple[Host, ...]:
    """Return where one mail of a pool may come from: a server in each network."""
    places = [(network, rng.randrange(HOSTS)) for network in range(pool.networks)]
    return tuple(
        Host(pool.address(network, host), pool.server(network, host)) for network, host in places
    )


def writer(rng: Random, most: int = 26**3) -> str:
    """Return a mailbox of one of so many people."""
    number = rng.randrange(most)
    return "writer" + "".join(chr(97 + number // 26**place % 26) for place in range(3))


def regulars(rng: Random, domains: Sequence[str], number: int) -> list[tuple[str, str]]:
    """Return so many pairs of somebody at these domains and a user, who write again and again."""
    return [(f"{writer(rng)}@{rng.choice(domains)}", rng.choice(USERS)) for _ in range(number)]


def publish(names: Names) -> None:
    """Say in DNS what the pools say."""
    for pool in POOLS:
        pool.publish(pool, names)


def traffic(seed: int, days: int, share: float) -> Traffic:
    """Return a share of the mail of all pools. Half of it is between people who write often."""
    mails: list[Mail] = []
    for pool in POOLS:
        rng = Random(f"{seed} {pool.domain}")
        often = regulars(rng, pool.sender_domains, 20)
        for at in moments(rng, days, share * pool.per_day):
            known = rng.random() < 0.5
            sender, to = rng.choice(often if known else regulars(rng, pool.sender_domains, 1))
            mails.append(
                Mail(
                    pool.kind,
                    pool.domain,
                    at,
                    sender.encode(),
                    to.encode(),
                    route(pool, rng),
                    pool.schedule,
                    f"{seed} {len(mails)}",
                )
            )
    return Traffic(tuple(mails))
