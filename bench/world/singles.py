"""Single servers, one for each site, as small companies, clubs and people have them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bench.world.pools import regulars
from bench.world.traffic import Host, Mail, Traffic, moments
from bench.world.zones import Names

SINGLE, SIGN = "single", "single, a sign"
REFUSED = "refused.example"  # about this zone the resolver gets no answer


@dataclass(frozen=True)
class Single:
    """A site with one server. `sign` is what looks suspicious about it."""

    number: int
    schedule: str
    spf: str = ""  # its record; `me` stands for the server's address
    name: str = "mail"  # of the server: empty for none, or with a dot for another domain
    helo: str = ""  # what it says, if not its name
    per_day: float = 6
    sign: str = ""

    @property
    def domain(self) -> str:
        """The domain of its senders."""
        return REFUSED if self.sign == "no answer" else f"site{self.number}.example"

    @property
    def address(self) -> str:
        """Its address, in a network of its own."""
        if self.number == 17:
            return "2001:db8:17::25"
        return f"198.19.{128 + self.number}.25"

    @property
    def server(self) -> str:
        """The name of the server."""
        if "." in self.name or not self.name:
            return self.name
        return f"{self.name}.{self.domain}"

    @property
    def host(self) -> Host:
        """Who connects."""
        return Host(self.address, self.helo or self.server or f"mail.{self.domain}")


OWN, MX = "ip4:me -all", "mx -all"
SINGLES = (
    Single(1, "postfix", OWN),
    Single(2, "postfix", MX),
    Single(3, "exim", OWN),
    Single(4, "exchange", OWN, name="mx1"),
    Single(5, "qmail", "a:mail.site5.example ~all"),
    Single(6, "postfix", MX, name="smtp-out-2"),
    Single(7, "exim", OWN, name="host7.hoster.example"),
    Single(8, "postfix", "ip4:198.19.136.0/24 ?all", name="srv"),
    # without SPF
    Single(9, "postfix"),
    Single(10, "qmail"),
    Single(11, "exim", name="vps11.hoster.example"),
    Single(12, "exchange", name="mx"),
    # in other ways than most
    Single(16, "postfix", OWN, name="relay"),
    Single(17, "postfix", "ip6:2001:db8:17::/64 -all"),
    Single(18, "postfix", OWN, name="mail"),  # its PTR is a CNAME (RFC 2317)
    # what looks suspicious
    Single(
        13, "postfix", OWN, "static-198-19-141-25.isp.example.com", per_day=1, sign="dynamic name"
    ),
    Single(14, "exim", OWN, "", per_day=1, sign="no name"),
    Single(15, "qmail", "", "", per_day=1, sign="no name"),
    Single(19, "postfix", OWN, "mail.hoster.example", per_day=1, sign="no answer"),
    Single(20, "exchange", OWN, helo="EXCHANGE.site20.local", per_day=1, sign="HELO"),
)


def publish(names: Names) -> None:
    """Say in DNS what the sites say."""
    for site in SINGLES:
        if site.number == 18:
            names.add("25.146.19.198.in-addr.arpa", "CNAME", "25.0-63.146.19.198.in-addr.arpa.")
            names.add("25.0-63.146.19.198.in-addr.arpa", "PTR", f"{site.server}.")
            names.leads(site.server, site.address)
        elif site.server:
            names.host(site.server, site.address)
        if site.domain == REFUSED:
            continue
        if site.spf:
            kind = "ip6" if ":" in site.address else "ip4"
            names.spf(site.domain, site.spf.replace("ip4:me", f"{kind}:{site.address}"))
        names.add(site.domain, "MX", f"10 {site.server or f'mail.{site.domain}'}.")


def traffic(seed: int, days: int, share: float) -> Traffic:
    """Return a share of the mail of all sites."""
    mails = []
    for site in SINGLES:
        rng = Random(f"{seed} {site.domain}")
        often = regulars(rng, [site.domain], 8)
        kind = SIGN if site.sign else SINGLE
        for at in moments(rng, days, share * site.per_day):
            known = rng.random() < 0.7
            sender, to = rng.choice(often if known else regulars(rng, [site.domain], 1))
            mail = (sender.encode(), to.encode(), (site.host,), site.schedule)
            mails.append(Mail(kind, site.domain, at, *mail))
    return Traffic(tuple(mails))
