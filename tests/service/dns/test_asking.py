"""The daemon asks DNS: what a real name server says decides, and a silent one holds nobody up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.core.attempt import Attempt, Words
from greylag.core.engine import precheck
from greylag.core.evidence import Evidence, Kind
from greylag.core.policy import SPARING, Greylist, with_evidence
from greylag.core.question import Question
from greylag.core.spf import Outcome, Result
from greylag.core.value import replace
from greylag.core.verdict import Reason
from greylag.core.zones import DNSBL_CODES, DNSWL_CODES, Zone, parse_codes
from greylag.service.batch import Answered
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking, Sources
from greylag.service.evidence import BUDGET
from tests.server.test_worker import Site, running
from tests.servers.hostile_dns import black_hole
from tests.servers.knot import running as knot_running
from tests.work import BEFORE_RESOLVERS

Server = tuple[str, int]
POOL = """\
@ TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all"
mx A 192.0.2.17
mx2 A 198.51.100.7
"""
ALL = '@ TXT "v=spf1 +all"\n'
ZONES = {
    "example.org": POOL,
    "example.com": ALL,
    "2.0.192.in-addr.arpa": "17 PTR mx.example.org.\n18 PTR mx.example.org.\n",
    "100.51.198.in-addr.arpa": "7 PTR mx2.example.org.\n",
    "bl.example.net": "18.2.0.192 A 127.0.0.2\n19.2.0.192 A 127.255.255.254\n",
    "wl.example.net": "17.2.0.192 A 127.0.5.2\n18.2.0.192 A 127.0.5.0\n19.2.0.192 A 127.0.0.255\n",
}
POLICY = with_evidence(replace(SPARING, dns=True, dnswl=True))
BL = Zone("bl.example.net", parse_codes(DNSBL_CODES))
WL = Zone("wl.example.net", parse_codes(DNSWL_CODES))


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with knot_running(tmp_path_factory.mktemp("knot"), ZONES) as server:
        yield server


def asked(client: bytes, sender: bytes = b"a@example.org", dnswl: bool = False) -> Question:
    words = Words(helo=b"helo")
    attempt = Attempt(
        client, sender, b"b@example.net", told={b"helo": b"mx.example.org"}, words=words
    )
    policy = POLICY if dnswl else with_evidence(replace(POLICY, dnswl=False))
    question = precheck(attempt, policy)
    assert isinstance(question, Question)
    return question


class Resolving(Site):
    """A worker whose evidence comes from name servers."""

    def __init__(self, *servers: Server) -> None:
        super().__init__()
        self.dns = Asking()
        self.dns.use(Sources(servers, (BL,), (WL,)))
        self.desk = Desk(clock=lambda: self.now, gather=self.dns)

    async def reason(self, question: Question) -> Reason:
        answer: asyncio.Future[Answered | None] = asyncio.get_running_loop().create_future()
        self.worker.ask(question, answer.set_result)
        answered = await answer
        assert answered is not None
        return answered.decision.reason

    async def evidence(self, client: bytes, *kinds: Kind) -> Evidence:
        found: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        self.dns(asked(client), frozenset(kinds), BUDGET, found.set_result)
        return await found


def test_a_pool_passes_at_its_first_retry_from_another_network(knot: Server) -> None:
    @running
    async def retry() -> None:
        async with Resolving(knot) as site:
            assert await site.reason(asked(b"192.0.2.17")) is Reason.NEW
            site.now += 300
            assert await site.reason(asked(b"198.51.100.7")) is Reason.RETRIED
            assert await site.reason(asked(b"203.0.113.7")) is Reason.NEW, "SPF does not name it"
            await site.dns.close()

    retry()


def test_a_domain_that_lets_everybody_send_makes_no_pool(knot: Server) -> None:
    @running
    async def retry() -> None:
        async with Resolving(knot) as site:
            assert await site.reason(asked(b"192.0.2.17", b"a@example.com")) is Reason.NEW
            site.now += 300
            assert await site.reason(asked(b"198.51.100.7", b"a@example.com")) is Reason.NEW
            await site.dns.close()

    retry()


def test_who_is_on_a_dnswl_is_let_in_and_error_answers_let_in_nobody(knot: Server) -> None:
    @running
    async def ask() -> None:
        async with Resolving(knot) as site:
            questions = [
                asked(b"192.0.2.%d" % n, b"%d@example.org" % n, dnswl=True) for n in (17, 18, 19)
            ]
            found = [await site.reason(question) for question in questions]
            assert found == [Reason.DNSWL, Reason.NEW, Reason.NEW]
            await site.dns.close()

    ask()


def test_every_kind_is_found(knot: Server) -> None:
    @running
    async def ask() -> None:
        async with Resolving(knot) as site:
            found = await site.evidence(b"192.0.2.17", *Kind)
            spf = found[Kind.SPF]
            assert isinstance(spf, Outcome)
            assert (spf.result, spf.narrow) == (Result.PASS, True)
            assert found[Kind.NAMES] == ("mx.example.org",)
            assert (found[Kind.DNSBL], found[Kind.DNSWL]) == ((), ("wl.example.net",))
            found = await site.evidence(b"192.0.2.18", *Kind)
            assert (found[Kind.DNSBL], found[Kind.NAMES]) == (("bl.example.net",), ())
            found = await site.evidence(b"192.0.2.19", Kind.DNSBL, Kind.DNSWL)
            assert found == {Kind.DNSBL: None, Kind.DNSWL: None}
            await site.dns.close()

    ask()


def test_with_a_black_hole_nobody_waits_for_long_and_nobody_is_let_in() -> None:
    """T25."""

    @running
    async def ask() -> None:
        with black_hole() as hole:
            async with Resolving(hole) as site:
                began = time.monotonic()
                questions = [asked(b"192.0.2.%d" % n, dnswl=True) for n in range(100)]
                found = await asyncio.gather(*map(site.reason, questions))
                assert set(found) == {Reason.NEW, Reason.EARLY}
                assert time.monotonic() - began < BEFORE_RESOLVERS
                await site.dns.close()
                assert site.dns.resolver is None

    ask()


def test_suspicious_greylisting_goes_by_what_the_name_server_says(knot: Server) -> None:
    policy = with_evidence(replace(POLICY, greylist=Greylist.SUSPICIOUS, dnswl=False, dnsbl=True))

    @running
    async def ask() -> None:
        async with Resolving(knot) as site:
            questions = [replace(asked(b"192.0.2.%d" % n), policy=policy) for n in (17, 18)]
            found = [await site.reason(question) for question in questions]
            assert found == [Reason.UNSUSPICIOUS, Reason.NEW]
            await site.dns.close()

    ask()


def test_other_sources_are_asked_from_then_on(knot: Server, tmp_path: Path) -> None:
    @running
    async def ask() -> None:
        async with Resolving(knot) as site:
            before = site.dns.resolver
            site.dns.use(Sources((knot,), (BL,), (WL,)))
            assert site.dns.resolver is before
            site.dns.use(Sources((knot,)))
            assert site.dns.resolver is not before
            site.dns.use(Sources())
            assert await site.evidence(b"192.0.2.17", Kind.NAMES) == {}
            await site.dns.close()

    ask()


def test_what_is_kept_in_memory_is_found_at_once(knot: Server) -> None:
    """Nobody waits, and nothing is asked for again."""

    @running
    async def ask() -> None:
        async with Resolving(knot) as site:
            await site.evidence(b"192.0.2.17", *Kind)
            told: list[Evidence] = []
            sent = site.dns.asked
            site.dns(asked(b"192.0.2.17"), frozenset(Kind), BUDGET, told.append)
            assert len(told) == 1
            assert told[0].keys() == set(Kind)
            assert told[0][Kind.NAMES] == ("mx.example.org",)
            assert site.dns.asked == sent
            site.dns(asked(b"192.0.2.20"), frozenset(Kind), BUDGET, told.append)
            assert len(told) == 1
            await site.dns.close()

    ask()
