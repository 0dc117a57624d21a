"""Evidence: who needs some, who gathers it, and what it costs whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest

from greylag.core.accessindex import AccessIndex
from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.attempt import Attempt
from greylag.core.engine import needs, precheck
from greylag.core.evidence import Evidence, Kind, Needs
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Record
from greylag.core.subject import ClientName, RecipientMailbox, parse_subject
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason
from greylag.service import Service
from greylag.service.batch import Answered, decide_batch
from greylag.service.deciding import Deciding
from greylag.service.desk import Desk
from greylag.service.evidence import AT_A_TIME, BUDGET, informed, nothing_kept
from greylag.service.later import Later
from greylag.store.base import StoreUnavailable
from greylag.store.memory import MemoryStore
from tests.reports import no_failure
from tests.server.test_worker import Site, running, until

NOW = 1_700_000_000
KINDS = frozenset({Kind.DNSBL})
POLICY = Policy(delay=60, evidence=KINDS)
FULL: Evidence = {Kind.DNSBL: "full"}


def asked(sender: bytes = b"a@example.org", policy: Policy = POLICY) -> Question:
    question = precheck(Attempt(b"192.0.2.17", sender, b"b@example.net"), policy)
    assert isinstance(question, Question)
    return question


@pytest.mark.parametrize(
    ("record", "needed"),
    [
        (None, True),
        (Record(NOW, NOW + 60, NOW + 600, blocked=1), False),
        (Record(NOW - 90, NOW - 30, NOW + 600, blocked=1), False),
        (Record(NOW - 90, NOW - 30, NOW + 600, blocked=1, passed=1), False),
        (Record(NOW - 90, NOW - 30, NOW, blocked=1, passed=1), True),
    ],
    ids=["new", "early", "retried", "known", "expired"],
)
def test_a_first_contact_alone_needs_evidence(record: Record | None, needed: bool) -> None:
    assert needs(asked(), record, NOW) == (Needs(KINDS) if needed else None)
    assert needs(asked(policy=Policy()), record, NOW) is None


@pytest.mark.parametrize("found", [FULL, {}], ids=["found", "nothing found"])
def test_what_was_asked_for_is_not_needed_again(found: Evidence) -> None:
    question = informed(asked(), Needs(KINDS), found)
    assert question.evidence == {Kind.DNSBL: found.get(Kind.DNSBL)}
    assert needs(question, None, NOW) is None
    assert replace(question, evidence={}, counts=None) == asked()


class Observatory:
    """Gathers at once, and remembers who asked."""

    def __init__(self, kinds: frozenset[Kind] = KINDS, found: Evidence = FULL) -> None:
        self.asked: list[tuple[str, float]] = []
        self._kinds, self._found = kinds, found

    def __call__(self, question: Question, kinds: frozenset[Kind], seconds: float) -> Evidence:
        assert kinds == self._kinds
        self.asked.append((question.triplet.sender, seconds))
        return self._found


def test_one_process_gathers_before_it_decides_and_only_for_a_first_contact() -> None:
    store, moon, now = MemoryStore(), Observatory(), [NOW]
    service = Service(lambda: store, report=no_failure, clock=lambda: now[0], gather=moon)
    reasons = []
    for now[0] in (NOW, NOW + 1, NOW + 60, NOW + 61):
        reasons.append(service.answer(asked()).reason)
    assert reasons == [Reason.NEW, Reason.EARLY, Reason.RETRIED, Reason.KNOWN]
    assert moon.asked == [("a@example.org", BUDGET)]
    assert store.count(now[0]) == (0, 1)


def test_a_list_entry_decides_without_evidence() -> None:
    store, moon = MemoryStore(), Observatory()
    store.put_entries([Entry(parse_subject("192.0.2.0/24"), NEVER)])
    service = Service(lambda: store, report=no_failure, clock=lambda: NOW, gather=moon)
    assert service.answer(asked()).reason is Reason.DENYLISTED
    assert moon.asked == []


def test_gathering_leaves_time_for_the_store() -> None:
    store, moon = MemoryStore(), Observatory()
    ends_at = monotonic() + 1
    service = Service(
        lambda: store, report=no_failure, clock=lambda: NOW, gather=moon, ends_at=ends_at
    )
    assert service.foretell(asked()).reason is Reason.NEW
    ((_sender, seconds),) = moon.asked
    assert 0 < seconds <= 0.5


def test_where_nobody_gathers_it_stays_unknown() -> None:
    store = MemoryStore()
    service = Service(lambda: store, report=no_failure, clock=lambda: NOW)
    assert service.answer(asked()).reason is Reason.NEW


def test_who_needs_evidence_is_told_so_in_his_batch_and_nothing_is_written() -> None:
    store = MemoryStore()
    plain = asked(b"x@example.org", Policy())
    found = decide_batch(store, [asked(), plain, asked()], Later(), NOW)
    assert [one if isinstance(one, Needs) else one.decision.reason for one in found] == [
        Needs(KINDS),
        Reason.NEW,
        Needs(KINDS),
    ]
    assert store.count(NOW) == (1, 0)
    (figures,) = store.figures(0, 2 * NOW).values()
    assert figures == {"defer:new": 1}
    deciding = Deciding(lambda: lambda _question: True)
    assert deciding.write(store, [asked()], Later(), NOW) == [Needs(KINDS)]
    assert deciding.look(store, [asked()], NOW) == [None]


class Slowly:
    """Gathers when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Evidence], None]] = []

    def __call__(
        self,
        question: Question,
        kinds: frozenset[Kind],
        seconds: float,
        tell: Callable[[Evidence], None],
    ) -> None:
        assert (kinds, question.evidence) == (KINDS, {})
        assert 0 < seconds <= BUDGET
        self.waiting.append(tell)


class Lunar(Site):
    """A worker of a site where evidence is to be had."""

    def __init__(self, gather: Any, kept: Any = nothing_kept) -> None:
        super().__init__()
        self.desk = Desk(clock=lambda: self.now, gather=gather, kept=kept)

    def begin(self, question: Question) -> asyncio.Future[Answered | None]:
        found = self.desk.look_up(question)
        assert isinstance(found, Question)
        answer: asyncio.Future[Answered | None] = asyncio.get_running_loop().create_future()
        self.worker.ask(found, answer.set_result)
        return answer


async def reason_of(answer: asyncio.Future[Answered | None]) -> Reason:
    answered = await asyncio.wait_for(answer, 5)
    assert answered is not None
    return answered.decision.reason


@running
async def test_in_the_daemon_only_who_needs_evidence_waits_for_it() -> None:
    moon = Slowly()
    async with Lunar(moon) as site:
        first = site.begin(asked())
        await until(lambda: moon.waiting)
        assert await reason_of(site.begin(asked(b"x@example.org", Policy()))) is Reason.NEW
        assert not first.done()
        assert site.worker.queue_length == 1
        (tell,) = moon.waiting
        tell(FULL)
        tell({})  # what is told twice is not answered twice
        assert await reason_of(first) is Reason.NEW
        found = site.desk.look_up(asked())
        assert not isinstance(found, Question)
        assert found.reason is Reason.EARLY
        site.now += 60
        assert await reason_of(site.begin(asked())) is Reason.RETRIED
        known = site.desk.look_up(asked())
        assert not isinstance(known, Question)
        assert len(moon.waiting) == 1, "a known triplet never asks"


@running
async def test_in_the_daemon_a_gatherer_that_is_late_is_not_waited_for() -> None:
    """T25: what is not known in time stays unknown, and lets nobody in."""
    moon = Slowly()
    async with Lunar(moon) as site:
        assert await reason_of(site.begin(asked())) is Reason.NEW
        moon.waiting[0](FULL)
        assert site.worker.queue_length == 0


def test_in_the_daemon_a_gatherer_that_fails_costs_nobody_his_answer() -> None:
    seen: list[dict[str, Any]] = []

    def fail(*_arguments: Any) -> None:
        raise ZeroDivisionError

    async def ask() -> list[Reason]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: seen.append(context))
        async with Lunar(fail) as site:
            answers = [site.begin(asked()), site.begin(asked(b"x@example.org", Policy()))]
            return [await reason_of(answer) for answer in answers]

    assert asyncio.run(ask()) == [Reason.NEW, Reason.NEW]
    assert [type(one["exception"]) for one in seen] == [ZeroDivisionError]


@running
async def test_in_the_daemon_what_needs_no_query_is_there_before_the_store_is_asked() -> None:
    """So the store is asked once, and nobody is asked for what is known."""
    moon, looked_at = Slowly(), []

    def kept(question: Question, kinds: frozenset[Kind]) -> Evidence:
        looked_at.append((question.triplet.sender, kinds))
        return FULL

    async with Lunar(moon, kept) as site:
        answers = [site.begin(asked()), site.begin(asked(b"x@example.org", Policy()))]
        assert [await reason_of(answer) for answer in answers] == [Reason.NEW, Reason.NEW]
        assert isinstance(site.desk.look_up(asked()), Decision), "a known triplet needs nothing"
    assert looked_at == [("a@example.org", KINDS)]
    assert moon.waiting == []


@running
async def test_what_takes_long_without_a_query_holds_up_the_loop_for_one_attempt_at_a_time() -> (
    None
):
    """Records of hostile domains take long to read; others are answered meanwhile."""

    def kept(_question: Question, _kinds: frozenset[Kind]) -> Evidence:
        sleep(1.1 * AT_A_TIME)
        return FULL

    async with Lunar(Slowly(), kept) as site:
        answers = [site.begin(asked(b"%d@example.org" % number)) for number in range(3)]
        assert [await reason_of(answer) for answer in answers] == 3 * [Reason.NEW]
        sizes = [attempts for _name, attempts in site.events.of("batch_done") if attempts]
    assert sizes == [1, 1, 1]


def test_a_bug_in_what_needs_no_query_costs_its_evidence_alone() -> None:
    """Others wait for the same batch: they and he are answered."""
    seen: list[dict[str, Any]] = []
    moon = Slowly()

    def kept(question: Question, _kinds: frozenset[Kind]) -> Evidence:
        if question.triplet.sender.startswith("a"):
            raise ZeroDivisionError
        return FULL

    async def ask() -> list[Reason]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: seen.append(context))
        async with Lunar(moon, kept) as site:
            answers = [site.begin(asked()), site.begin(asked(b"x@example.org"))]
            assert await reason_of(answers[1]) is Reason.NEW
            await until(lambda: moon.waiting)
            moon.waiting[0](FULL)
            return [await reason_of(answer) for answer in answers]

    assert asyncio.run(ask()) == [Reason.NEW, Reason.NEW]
    assert [type(one["exception"]) for one in seen] == [ZeroDivisionError]


@running
async def test_the_daemons_lists_decide_without_evidence() -> None:
    moon = Slowly()
    async with Lunar(moon) as site:
        site.desk.use_lists(AccessIndex([Entry(parse_subject("192.0.2.0/24"), NEVER)]))
        found = site.desk.look_up(asked())
        assert not isinstance(found, Question)
        assert found.reason is Reason.DENYLISTED
    assert moon.waiting == []


@running
async def test_at_the_end_the_daemon_waits_for_who_is_being_gathered_for() -> None:
    moon = Slowly()
    site = Lunar(moon)
    async with site:
        first = site.begin(asked())
        await until(lambda: moon.waiting)
    assert await reason_of(first) is Reason.NEW


@running
async def test_a_store_that_works_again_is_found_though_all_mail_needs_evidence() -> None:
    """A try that writes nothing would prove nothing, and the mail would be let in for ever."""
    moon = Slowly()
    async with Lunar(moon) as site:
        site.store.errors["apply"] = StoreUnavailable("disk full")
        (lost,) = site.put("x@example.org")
        assert await lost is None
        site.store.errors.clear()
        assert await retried(site) is Reason.NEW
        assert not site.worker.store_is_down
    assert moon.waiting == []


async def retried(site: Lunar) -> Reason:
    """Ask until the store is tried again."""
    while True:
        answered = await site.begin(asked())
        if answered is not None:
            return answered.decision.reason
        await asyncio.sleep(0.1)


class Poor(asyncio.SelectorEventLoop):
    """An event loop that has no memory for the next call of a gatherer."""

    poor = False

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        if self.poor and isinstance(callback, Slowly):
            raise MemoryError
        return super().call_soon(callback, *args, context=context)


def test_without_memory_to_begin_who_needs_evidence_is_answered() -> None:
    moon = Slowly()

    async def ask() -> Answered | None:
        async with Lunar(moon) as site:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, Poor)
            loop.set_exception_handler(lambda _loop, _context: None)
            loop.poor = True
            answered = await asyncio.wait_for(site.begin(asked()), 5)
            assert site.desk.gathering.under_way == 0
            return answered

    with asyncio.Runner(loop_factory=Poor) as runner:
        assert runner.run(ask()) is None


def test_without_memory_for_what_was_found_who_needs_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moon = Slowly()

    def fail(*_arguments: Any) -> Question:
        raise MemoryError

    async def ask() -> Answered | None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with Lunar(moon) as site:
            answer = site.begin(asked())
            await until(lambda: moon.waiting)
            monkeypatch.setattr("greylag.service.evidence.informed", fail)
            with pytest.raises(MemoryError):
                moon.waiting[0](FULL)
            assert site.worker.queue_length == 0
            return await asyncio.wait_for(answer, 5)

    assert asyncio.run(ask()) is None


MAILBOX = RecipientMailbox("b@example.net")
SPECIAL = [
    (Entry(MAILBOX, 0, purpose=Purpose.EXPECTED), Reason.EXPECTED),
    (Entry(parse_subject("192.0.2.0/24"), 0, purpose=Purpose.PROVIDER), Reason.PROVIDER),
    (Entry(MAILBOX, 0, purpose=Purpose.TRAP), Reason.TRAPPED),
]
NAMED = Entry(ClientName("example.org"), 0)
TRAPS = Policy(delay=60, trapped_for=60)
OF_NAMES: Evidence = {Kind.NAMES: ("mx.example.org",)}


@pytest.mark.parametrize(("entry", "reason"), SPECIAL)
@pytest.mark.parametrize("known", [True, False], ids=["lists in memory", "lists in the store"])
def test_entries_that_speak_of_first_contacts_alone(
    entry: Entry, reason: Reason, known: bool
) -> None:
    service_store = MemoryStore()
    service_store.put_entries([entry])
    service = Service(lambda: service_store, report=no_failure, clock=lambda: NOW)
    assert service.answer(asked(policy=TRAPS)).reason is reason

    @running
    async def ask() -> None:
        async with Lunar(Slowly()) as site:
            site.store.put_entries([entry])
            if known:
                site.desk.use_lists(AccessIndex([entry]))
            else:
                site.desk._lists = None
            assert await reason_of(site.begin(asked(policy=TRAPS))) is reason

    ask()


def test_an_entry_for_a_client_name_speaks_once_the_name_is_known() -> None:
    store, moon = MemoryStore(), Observatory(frozenset({Kind.NAMES}), OF_NAMES)
    store.put_entries([NAMED])
    service = Service(lambda: store, report=no_failure, clock=lambda: NOW, gather=moon)
    assert service.answer(asked(policy=Policy(delay=60))).reason is Reason.ALLOWLISTED

    @running
    async def ask() -> None:
        for evidence, reason in ((OF_NAMES, Reason.ALLOWLISTED), ({}, Reason.NEW)):
            async with Lunar(lambda *words: words[-1](evidence)) as site:  # noqa: B023
                site.desk.use_lists(AccessIndex([NAMED]))
                assert await reason_of(site.begin(asked(policy=Policy(delay=60)))) is reason

    ask()
