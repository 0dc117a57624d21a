"""What somebody may try with the rules that spare good mail, against real name servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from bench.world.pools import POOLS, Pool
from bench.world.population import Population
from bench.world.servers import Server
from bench.world.settings import DEFAULT, NAMES, PLAIN, SETTINGS, SUSPICIOUS
from bench.world.simulation import BEGINS, Site, simulate, site
from bench.world.traffic import DAY, USERS, Host, Mail, Traffic, moments
from bench.world.zones import Names

from greylag.core.accesslist import Entry
from greylag.core.subject import ClientName, SenderDomain, SenderMailbox, Subject
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from tests.servers.world import resolving

DELAY = 300
FAKES = 1000
SILENT = "refused.example"  # its name servers do not answer
NAMED: Pool = POOLS[8]  # no SPF; its names lead back


def fake(number: int) -> Host:
    """Return a bot whose PTR says that it is a server of the pool."""
    name = NAMED.server(number % NAMED.networks, 0)
    return Host(f"100.{70 + number // 250}.{number % 250}.7", name)


def neighbour(family: str, number: int) -> Host:
    """Return a server whose owner rents it, among others of the same hoster."""
    address = f"100.64.1.{number}" if family == "IPv4" else f"2001:db8:7:{number:02x}::25"
    return Host(address, f"mail.rented{number}.example")


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    names = Names()
    for pool in POOLS:
        pool.publish(pool, names)
    for number in range(FAKES):
        bot = fake(number)
        names.host(bot.helo, bot.address, confirmed=False)
    for family in ("IPv4", "IPv6"):
        for host in (neighbour(family, number) for number in range(256)):
            names.host(host.helo, host.address)
    world = Population(names.zones(), (SILENT,), Traffic(()))
    with resolving(tmp_path_factory.mktemp("dns"), world) as server:
        yield server


def retried(one: Site, host: Host, sender: str, recipient: str, at: int) -> list[Decision]:
    """Send a mail, and once more when its delay is over; return both answers."""
    answers = []
    for when in (at, at + DELAY):
        one.now = BEGINS + when
        answers.append(one.ask(host, sender.encode(), recipient.encode()))
    return answers


def earn_trust(one: Site, host: Host, domain: str, mails: int = 8) -> int:
    """Let a client pass again and again for some days; return when that is over."""
    for number in range(mails):
        at = number * DAY // 3
        sender, recipient = f"writer{chr(97 + number)}@{domain}", USERS[number]
        first, second = retried(one, host, sender, recipient, at)
        assert second.verdict is Verdict.PASS
        assert first.reason in (Reason.NEW, Reason.TRUSTED)
    return mails * DAY // 3


def retrying_bots(days: int) -> Traffic:
    """Return mail of bots that come again, with half of it, from where they were."""
    rng = Random(1)
    mails = []
    for number in range(10):
        host = Host(f"100.{64 + number}.7.9", f"PC-{number}")
        for at in moments(rng, days, 8):
            sender = f"writer{rng.randrange(10**6)}@nothing{number}{rng.randrange(2)}.example"
            to = rng.choice(USERS).encode()
            schedule = "retrying bot" if rng.random() < 0.5 else "once"
            kind = ("bot, same address", str(number), at)
            mails.append(Mail(*kind, sender.encode(), to, (host,), schedule))
    return Traffic(tuple(mails))


def test_retrying_bots_pass_no_more_than_with_plain_greylisting(
    resolver: Server, tmp_path: Path
) -> None:
    """T1."""
    traffic = retrying_bots(4)
    passed = {}
    for name in (PLAIN, DEFAULT, SUSPICIOUS):
        with site(SETTINGS[name], tmp_path / name, resolver) as one:
            passed[name] = [fate.passed for fate in simulate(traffic, one)]
    for name in (DEFAULT, SUSPICIOUS):
        assert not [
            number
            for number, (ours, plain) in enumerate(zip(passed[name], passed[PLAIN], strict=True))
            if ours > plain
        ]


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_no_neighbour_of_a_trusted_client_is_trusted(
    family: str, resolver: Server, tmp_path: Path
) -> None:
    """T2: 256 addresses of a /24 (or /64 networks of a /56), one of which has earned trust."""
    with site(SETTINGS[DEFAULT], tmp_path / "site", resolver) as one:
        at = earn_trust(one, neighbour(family, 77), "sender.example")
        reasons = {}
        for number in range(256):
            one.now = BEGINS + at + number
            sender = f"new{number}@sender.example".encode()
            reasons[number] = one.ask(neighbour(family, number), sender, USERS[9].encode()).reason
    assert reasons.pop(77) is Reason.TRUSTED
    assert set(reasons.values()) == {Reason.NEW}


def test_a_fake_name_gets_nobody_in(resolver: Server, tmp_path: Path) -> None:
    """T4: 1,000 bots whose PTR names a server of a pool that is known, trusted and let in."""
    with site(SETTINGS[NAMES], tmp_path / "site", resolver) as one:
        server = Host(NAMED.address(0, 0), NAMED.server(0, 0))
        at = earn_trust(one, server, NAMED.domain)
        one.now = BEGINS + at
        other = Host(NAMED.address(5, 1), NAMED.server(5, 1))
        sender, to = f"new@{NAMED.domain}".encode(), USERS[30].encode()
        assert one.ask(other, sender, to).reason is Reason.TRUSTED  # the pool is
        answers = []
        for number in range(FAKES):
            # Each comes again from another bot.
            for when, host in ((0, fake(number)), (DELAY, fake((number + 1) % FAKES))):
                one.now = BEGINS + at + 10 * DELAY * number + when
                sender = f"bot{number}@{NAMED.domain}".encode()
                answers.append(one.ask(host, sender, to))
    assert {answer.reason for answer in answers} == {Reason.NEW}


@pytest.mark.parametrize("name", [PLAIN, DEFAULT])
def test_a_fake_name_is_on_no_list(name: str, resolver: Server, tmp_path: Path) -> None:
    """T4: an entry that lets in the pool's servers by their names."""
    with site(SETTINGS[name], tmp_path / "site", resolver) as one:
        one.put(Entry(ClientName(NAMED.domain), 0))
        server = Host(NAMED.address(3, 1), NAMED.server(3, 1))
        sender, to = f"new@{NAMED.domain}".encode(), USERS[0].encode()
        assert one.ask(server, sender, to).reason is Reason.ALLOWLISTED
        reasons = {one.ask(fake(number), sender, to).reason for number in range(0, FAKES, 10)}
    assert reasons == {Reason.NEW}


@pytest.mark.parametrize("name", [PLAIN, DEFAULT, SUSPICIOUS])
@pytest.mark.parametrize("subject", ["mailbox", "domain", "domains"])
def test_a_forged_sender_that_is_on_the_allowlist_does_not_get_in(
    name: str, subject: str, resolver: Server, tmp_path: Path
) -> None:
    """T3: the entry speaks only where SPF passes, unless the admin said that it may be forged."""
    pool = POOLS[0]
    sender, to = f"writer@{pool.domain}", USERS[0].encode()
    subjects: dict[str, Subject] = {
        "mailbox": SenderMailbox(sender),
        "domain": SenderDomain(pool.domain),
        "domains": SenderDomain(pool.domain, below=True),
    }
    entry = Entry(subjects[subject], 0)
    theirs, forger = Host(pool.address(1, 1), pool.server(1, 1)), fake(1)
    with site(SETTINGS[name], tmp_path / "site", resolver) as one:
        one.put(entry)
        assert one.ask(theirs, sender.encode(), to).reason is Reason.ALLOWLISTED
        assert one.ask(forger, sender.encode(), to).reason is Reason.NEW
        one.put(replace(entry, spoofable=True))
        assert one.ask(fake(2), sender.encode(), to).reason is Reason.ALLOWLISTED


@pytest.mark.parametrize("name", [PLAIN, DEFAULT, SUSPICIOUS])
@pytest.mark.parametrize("domain", [NAMED.domain, SILENT, POOLS[11].domain])
def test_a_sender_on_the_allowlist_needs_spf_that_passes(
    name: str, domain: str, resolver: Server, tmp_path: Path
) -> None:
    """T3: no record, no answer from the name servers, and `?all` are no pass."""
    sender = f"writer@{domain}".encode()
    with site(SETTINGS[name], tmp_path / "site", resolver) as one:
        one.put(Entry(SenderDomain(domain), 0))
        assert one.ask(fake(1), sender, USERS[0].encode()).reason is Reason.NEW


def test_a_fake_name_is_a_sign(resolver: Server, tmp_path: Path) -> None:
    """T4."""
    with site(SETTINGS[SUSPICIOUS], tmp_path / "site", resolver) as one:
        one.now = BEGINS
        for number in range(100):
            sender = f"bot{number}@{NAMED.domain}".encode()
            assert one.ask(fake(number), sender, USERS[0].encode()).reason is Reason.NEW
