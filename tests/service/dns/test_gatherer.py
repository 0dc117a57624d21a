"""Evidence from DNS, as the daemon and the process for one question gather it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterator
from itertools import count
from typing import TYPE_CHECKING

import dns.message
import pytest

from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.evidence import Evidence, Kind, Needs
from greylag.core.lookups import confirmed_names, listing
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.spf import Outcome, Query, Result, check
from greylag.core.spf.questions import Answer
from greylag.core.verdict import Reason
from greylag.core.zones import DNSBL_CODES, Listing, parse_codes
from greylag.service import Service
from greylag.service.dns.exchange import Server
from greylag.service.dns.gatherer import Gatherer, run
from greylag.service.dns.oneshot import OneShot
from greylag.service.dns.resolver import Resolver
from greylag.service.evidence import BUDGET, Gathering
from greylag.store.memory import MemoryStore
from tests.reports import no_failure
from tests.servers.hostile_dns import black_hole, hostile, reply, wire
from tests.servers.knot import running
from tests.work import BEFORE_RESOLVERS

if TYPE_CHECKING:
    from greylag.service.dns.gatherer import Recipes

ORG = """\
@ TXT "v=spf1 include:_pool.example.org mx -all"
@ MX 10 mx
mx A 192.0.2.17
_pool TXT "v=spf1 ip4:198.51.100.0/24 ?all"
all TXT "v=spf1 +all"
"""
REVERSE = "17 PTR mx.example.org.\n18 PTR mx.example.org.\n"
LISTED = "18.2.0.192 A 127.0.0.2\n19.2.0.192 A 127.255.255.254\n"
ZONES = {"example.org": ORG, "2.0.192.in-addr.arpa": REVERSE, "bl.example.net": LISTED}


CODES = parse_codes(DNSBL_CODES)
GOOD = frozenset({Kind.SPF, Kind.NAMES, Kind.DNSBL})


def spf(question: Question) -> Generator[Query, Answer, object]:
    return (yield from check(question.client, question.triplet.sender.encode(), b"mx.example.org"))


def buggy(_question: Question) -> Generator[Query, Answer, object]:
    yield Query("a.example.org", "A")
    raise ZeroDivisionError


RECIPES: Recipes = {
    Kind.SPF: spf,
    Kind.NAMES: lambda question: confirmed_names(question.client),
    Kind.DNSBL: lambda question: listing(question.client, "bl.example.net", CODES),
    Kind.DNSWL: buggy,
}


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("knot"), ZONES) as server:
        yield server


def asked(client: bytes = b"192.0.2.17", sender: bytes = b"a@example.org") -> Question:
    policy = Policy(delay=60, evidence=GOOD)
    question = precheck(Attempt(client, sender, b"b@example.net"), policy)
    assert isinstance(question, Question)
    return question


@pytest.mark.parametrize(
    ("client", "sender", "result", "names", "listed"),
    [
        (b"192.0.2.17", b"a@example.org", Result.PASS, ("mx.example.org",), Listing.NOT_LISTED),
        (b"192.0.2.18", b"a@example.org", Result.FAIL, (), Listing.LISTED),
        (b"192.0.2.19", b"", Result.NONE, (), Listing.UNKNOWN),
        (b"198.51.100.7", b"a@example.org", Result.PASS, None, Listing.NOT_LISTED),
        (b"203.0.113.7", b"a@all.example.org", Result.PASS, None, Listing.NOT_LISTED),
    ],
    ids=["own", "stranger", "null sender", "pool", "whoever"],
)
def test_one_process_finds_what_dns_says(
    knot: Server,
    client: bytes,
    sender: bytes,
    result: Result,
    names: tuple[str, ...] | None,
    listed: Listing,
) -> None:
    """T4: a PTR that leads back nowhere is no name. Whose reverse zone is not there is unknown."""
    gather = OneShot(RECIPES, [knot])
    found = gather(asked(client, sender), GOOD, 5.0)
    outcome = found[Kind.SPF]
    assert isinstance(outcome, Outcome)
    assert (outcome.result, found[Kind.NAMES], found[Kind.DNSBL]) == (result, names, listed)
    assert outcome.narrow == (result is Result.PASS and sender == b"a@example.org")


def test_a_service_gathers_with_it_before_it_decides(knot: Server) -> None:
    found: list[Evidence] = []

    def gather(question: Question, kinds: frozenset[Kind], seconds: float) -> Evidence:
        found.append(OneShot(RECIPES, [knot])(question, kinds, seconds))
        return found[0]

    store = MemoryStore()
    service = Service(lambda: store, report=no_failure, clock=lambda: 1_700_000_000, gather=gather)
    assert service.answer(asked()).reason is Reason.NEW
    assert found[0].keys() == GOOD


def test_a_kind_that_nobody_can_find_is_left_out(knot: Server) -> None:
    assert OneShot({}, [knot])(asked(), GOOD, 5.0) == {}


async def told(resolver: Resolver, kinds: frozenset[Kind]) -> Question:
    """Return how one attempt goes on."""
    loop = asyncio.get_running_loop()
    later: asyncio.Future[Question] = loop.create_future()
    gathering = Gathering(Gatherer(RECIPES, resolver))
    gathering.begin(loop, asked(), Needs(kinds), later.set_result, lambda: None)
    return await later


def test_the_daemon_finds_the_same_and_soon_without_asking(knot: Server) -> None:
    async def both() -> tuple[Question, Question, int]:
        resolver = Resolver([knot])
        return await told(resolver, GOOD), await told(resolver, GOOD), resolver.asked

    first, second, sent = asyncio.run(both())
    assert first.evidence == second.evidence
    assert first.evidence.keys() == GOOD
    assert first.evidence[Kind.NAMES] == ("mx.example.org",)
    # SPF: two TXT, MX, A of its host; PTR; the zone. The name leads back by an A that is there.
    assert sent == 6


def test_a_bug_costs_its_evidence_alone_and_is_told(
    knot: Server, caplog: pytest.LogCaptureFixture
) -> None:
    question = asyncio.run(told(Resolver([knot]), frozenset({Kind.DNSWL, Kind.NAMES})))
    assert question.evidence == {Kind.DNSWL: None, Kind.NAMES: ("mx.example.org",)}
    assert "ZeroDivisionError" in caplog.text


class Partly(Resolver):
    """Knows nothing of some names, in no time."""

    async def ask(self, query: Query) -> Answer:
        if query.kind == "TXT":
            await asyncio.sleep(60)
        return await super().ask(query)


def test_what_is_found_in_time_is_not_lost_for_what_is_late(knot: Server) -> None:
    async def in_time() -> Question:
        question = await told(Partly([knot]), GOOD)
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}  # what was late has ended
        return question

    question = asyncio.run(in_time())
    assert question.evidence == {
        Kind.SPF: None,
        Kind.NAMES: ("mx.example.org",),
        Kind.DNSBL: Listing.NOT_LISTED,
    }


def test_with_a_black_hole_all_go_on_within_the_budget_and_nothing_is_known() -> None:
    """T25: the daemon goes on, and when the budget is over nothing is under way any more."""

    async def many() -> float:
        with black_hole() as hole:
            resolver = Resolver([hole])
            start = time.monotonic()
            found = await asyncio.gather(*(told(resolver, GOOD) for _ in range(200)))
            took = time.monotonic() - start
            assert all(set(one.evidence.values()) == {None} for one in found)
            assert resolver.asked == 3  # each name is asked for once
            await resolver.close()
            assert resolver.under_way == 0
            return took

    assert asyncio.run(many()) < BEFORE_RESOLVERS


def test_with_a_black_hole_one_process_goes_on_within_the_budget() -> None:
    """T25."""
    with black_hole() as hole:
        start = time.monotonic()
        found = OneShot(RECIPES, [hole])(asked(), GOOD, 0.2)
        assert time.monotonic() - start < BEFORE_RESOLVERS
    assert {kind for kind, one in found.items() if one not in (None, Listing.UNKNOWN)} == set()


def test_a_chain_of_answers_that_are_kept_is_followed_at_once(knot: Server) -> None:
    async def twice() -> Outcome:
        resolver = Resolver([knot])
        question = asked(b"198.51.100.7")
        await run(spf(question), resolver)
        steps = run(check(question.client, b"a@example.org", b""), resolver)
        with pytest.raises(StopIteration) as end:
            steps.send(None)  # it never waits
        outcome: Outcome = end.value.value
        return outcome

    assert asyncio.run(twice()).result is Result.PASS


def silent_about_holes(query: dns.message.Message) -> list[bytes]:
    name = query.question[0].name.to_text()
    if name.endswith("hole.example."):
        return []
    term = "ip4:198.51.100.0/24" if name.startswith("i.") else f"include:i.{name}"
    return [wire(reply(query, f'{name} 60 IN TXT "v=spf1 {term} -all"'))]


async def gathered(gatherer: Gatherer, client: bytes, sender: bytes) -> Evidence:
    found: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
    kinds = frozenset[Kind]({Kind.SPF})
    gatherer(asked(client, sender), kinds, BUDGET, found.set_result)
    return await found


@pytest.mark.parametrize("network", [b"192.0.2.%d", b"2001:db8:0:%d::1"])
def test_a_network_with_silent_domains_keeps_nobody_else_from_evidence(network: bytes) -> None:
    """T25: its domains are as many as it likes, and each takes a place for the whole budget."""

    async def attack() -> None:
        async with hostile(silent_about_holes) as (_server, place):
            gatherer, numbers = Gatherer(RECIPES, Resolver([place])), count()

            async def bots() -> None:
                for number in numbers:
                    sender = b"a@d%d.hole.example" % number
                    waiting.append(
                        asyncio.create_task(gathered(gatherer, network % (number % 250), sender))
                    )
                    await asyncio.sleep(0.002)

            waiting: list[asyncio.Task[Evidence]] = []
            attacking = asyncio.create_task(bots())
            await asyncio.sleep(1)
            for domain in (b"b", b"c", b"d"):
                found = await gathered(gatherer, b"198.51.100.7", b"a@%s.example" % domain)
                outcome = found.get(Kind.SPF)
                assert isinstance(outcome, Outcome)
                assert outcome.result is Result.PASS
            attacking.cancel()
            assert {len(found) for found in await asyncio.gather(*waiting)} == {0}

    asyncio.run(attack())


def test_a_network_that_is_not_silent_waits_for_its_turn_and_is_answered() -> None:
    """A big sender comes with many attempts at once."""

    async def burst() -> None:
        async with hostile(silent_about_holes) as (_server, place):
            gatherer = Gatherer(RECIPES, Resolver([place], patience=5))
            found = await asyncio.gather(
                *[gathered(gatherer, b"198.51.100.%d" % n, b"a@d%d.example" % n) for n in range(60)]
            )
            outcomes = [one[Kind.SPF] for one in found]
            assert {o.result for o in outcomes if isinstance(o, Outcome)} == {Result.PASS}
            assert len(outcomes) == 60

    asyncio.run(burst())
