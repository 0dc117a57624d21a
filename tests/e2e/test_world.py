"""A small world: good mail and bots' mail under several settings, with real name servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.world import bots, pools, singles
from bench.world.claims import claims
from bench.world.population import GOOD, Population, population
from bench.world.report import told
from bench.world.servers import Server
from bench.world.settings import DEFAULT, PLAIN, SETTINGS, settings
from bench.world.simulation import Fate, simulate, site
from bench.world.simulation import fates as simulated
from bench.world.traffic import DAY, Host

from greylag.admin.looking import look
from greylag.core.client import parse_address
from greylag.core.figures import NEVER
from greylag.core.history import NEVER_CAME_BACK, Sought
from greylag.core.history import Outcome as Outcomes
from greylag.core.lookups import confirmed_names
from greylag.core.policy import SPARING, Policy, with_evidence
from greylag.core.spf import Outcome, Result, check
from greylag.core.stable import stable
from greylag.core.value import replace
from greylag.service.dns.gatherer import run
from greylag.service.dns.resolver import Resolver
from tests.servers.world import resolving

DAYS, BOTS, SHARE = 3, 10.0, 0.3
Fates = dict[str, list[Fate]]


@pytest.fixture(scope="module")
def world() -> Population:
    return population(7, DAYS, BOTS, SHARE)


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory, world: Population) -> Iterator[Server]:
    with resolving(tmp_path_factory.mktemp("dns"), world) as server:
        yield server


@pytest.fixture(scope="module")
def fates(tmp_path_factory: pytest.TempPathFactory, world: Population, resolver: Server) -> Fates:
    return simulated(SETTINGS, world.traffic, tmp_path_factory.mktemp("sites"), resolver)


def packed(host: Host) -> bytes:
    address = parse_address(host.address.encode())
    assert address is not None
    return address


def outcomes(resolver: Server, asked: list[tuple[Host, str]]) -> list[Outcome]:
    """Return what SPF says of hosts and senders."""

    async def all_of_them() -> list[Outcome]:
        own = Resolver([resolver])
        return [
            await run(check(packed(host), sender.encode(), host.helo.encode()), own)
            for host, sender in asked
        ]

    return asyncio.run(all_of_them())


def names(resolver: Server, hosts: list[Host]) -> list[tuple[str, ...] | None]:
    """Return the confirmed names of hosts."""

    async def all_of_them() -> list[tuple[str, ...] | None]:
        own = Resolver([resolver])
        return [await run(confirmed_names(packed(host)), own) for host in hosts]

    return asyncio.run(all_of_them())


def of_pool(pool: pools.Pool) -> list[tuple[Host, str]]:
    """Return a host in each network, with senders of each domain in turn."""
    hosts = [
        Host(pool.address(network, 1), pool.server(network, 1)) for network in range(pool.networks)
    ]
    domains = pool.sender_domains
    return [(host, f"a@{domains[n % len(domains)]}") for n, host in enumerate(hosts)]


@pytest.mark.parametrize("pool", pools.POOLS, ids=lambda pool: pool.domain)
def test_what_dns_says_of_a_pool(pool: pools.Pool, resolver: Server) -> None:
    asked = of_pool(pool)
    found = outcomes(resolver, asked)
    spf = pool.kind in (pools.SPF, pools.DOMAINS)
    assert all(outcome.narrow is spf for outcome in found)
    assert {outcome.result is Result.PASS for outcome in found} == {spf}
    confirmed = names(resolver, [host for host, _sender in asked])
    named = pool.kind != pools.NEITHER
    assert confirmed == [(host.helo,) if named else () for host, _sender in asked]


def test_what_dns_says_of_single_servers(resolver: Server) -> None:
    asked = [(one.host, f"a@{one.domain}") for one in singles.SINGLES]
    found = outcomes(resolver, asked)
    for one, outcome in zip(singles.SINGLES, found, strict=True):
        wanted = Result.PASS if one.spf else Result.NONE
        if one.domain == singles.REFUSED:
            wanted = Result.TEMPERROR
        assert outcome.result is wanted, one
        assert outcome.narrow is (wanted is Result.PASS)
    confirmed = names(resolver, [host for host, _sender in asked])
    assert confirmed == [(one.server,) if one.server else () for one in singles.SINGLES]


def test_no_bot_has_an_identity(resolver: Server, world: Population) -> None:
    """What the domains of bots publish is too wide, or lists each bot; a forged sender fails."""
    mails = [mail for mail in world.traffic.mails if mail.kind in bots.BOTS]
    asked = [(mail.hosts[0], mail.sender.decode()) for mail in mails]
    results: dict[str, set[Result]] = {}
    for mail, outcome in zip(mails, outcomes(resolver, asked), strict=True):
        listed = mail.sender.endswith(
            f"@offer{bots.PASSES_ALL.index(bots.LISTED)}.example".encode()
        )
        assert outcome.narrow is listed  # but who has no name has no identity
        results.setdefault(mail.kind, set()).add(outcome.result)
    assert Result.PASS in results[bots.OWN_DOMAIN]
    assert results[bots.OWN_DOMAIN] <= {Result.PASS, Result.FAIL, Result.PERMERROR}
    assert Result.FAIL in results[bots.FORGED]


def test_a_name_of_a_pool_does_not_lead_back_to_a_bot(resolver: Server) -> None:
    """T4."""
    kind = next(kind for kind in bots.KINDS if kind.name == bots.FAKE_NAME)
    them = bots.bots(7, kind)
    found = names(resolver, [bot.host for bot in them])
    assert found == [(bot.name,) if bot.confirmed else () for bot in them]


def test_default_is_what_a_new_installation_has(tmp_path: Path) -> None:
    found = settings(SETTINGS[DEFAULT], tmp_path, ("127.0.0.1", 53))
    assert found.policy == with_evidence(replace(SPARING, dns=True))
    found = settings(SETTINGS[PLAIN], tmp_path, ("127.0.0.1", 53))
    assert found.policy == Policy(dns=True)


def test_all_kinds_are_there(fates: Fates) -> None:
    for found in fates.values():
        assert {fate.mail.kind for fate in found} == {*GOOD, *bots.BOTS, *bots.RENTED}


def test_what_has_to_hold(fates: Fates) -> None:
    """The lines that `python -m bench.world` prints."""
    held = list(claims(fates))
    wrong = [claim for claim in held if not claim.holds]
    assert held
    assert not wrong, "\n".join(
        f"{claim.text} {claim.note}\n" + "\n".join(map(told, claim.against[:20])) for claim in wrong
    )


def test_what_never_came_back_is_put_into_the_right_class(
    tmp_path: Path, world: Population, resolver: Server
) -> None:
    """With real answers of DNS: likely spam is the bots', and nothing good is among it."""
    with site(SETTINGS[DEFAULT], tmp_path / "site", resolver) as one:
        found = simulate(world.traffic, one)
        one.now += 5 * DAY
        one.expire()
        likely = one.figures()[NEVER[Outcomes.LIKELY_SPAM]]
        history = look(one.store, Sought()).deferrals
    fates = {
        (stable(mail.sender, mail.recipient).decode().lower(), mail.recipient.decode()): fate
        for fate in found
        for mail in [fate.mail]
    }
    never = [fates[o.sender_recipient] for o in history if o.outcome in NEVER_CAME_BACK]
    bad = [fate for fate in never if fate.mail.kind not in GOOD and not fate.passed]
    assert abs(likely - len(bad)) <= 0.05 * len(bad)
    called = [fates[o.sender_recipient] for o in history if o.outcome is Outcomes.LIKELY_SPAM]
    assert sum(fate.mail.kind in GOOD for fate in called) <= 0.01 * len(called)
    pools_of_names = [
        o.outcome for o in history if fates[o.sender_recipient].mail.kind == pools.BY_NAME
    ]
    assert set(pools_of_names) <= {Outcomes.PASSED, Outcomes.OTHER_WAY}, "no SPF: no pool"
