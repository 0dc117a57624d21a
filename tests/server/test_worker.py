"""The queue before the store and the thread that owns it, in a loop of the test's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic, process_time
from typing import Any, Self

import pytest

from greylag.core.accesslist import NEVER, Entry
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.policy import Policy, Room
from greylag.core.question import Question
from greylag.core.record import Change, Created, Record
from greylag.core.subject import parse_subject
from greylag.core.triplet import Triplet
from greylag.core.verdict import Decision, Reason
from greylag.server import store_thread, worker
from greylag.server.job import Batch, Job
from greylag.server.maintenance import AFTER_JUMP_AHEAD, Maintenance
from greylag.server.worker import (
    BUSY,
    LISTS_EVERY,
    MAX_BATCH,
    MOST_BEHIND,
    MOST_LATER,
    TICK,
    WRITE_LATER_EVERY,
    Worker,
)
from greylag.service.batch import Answered
from greylag.service.breaker import RETRY_EVERY
from greylag.service.desk import Desk
from greylag.service.later import Later
from greylag.service.listreader import ListReader
from greylag.service.quota import Quota
from greylag.store.base import EntryPage, Page, Position, StoreError, StoreRefused, StoreUnavailable
from greylag.store.memory import MemoryStore

NOW = 1_700_000_000
POLICY = Policy(delay=60)
ROOM = Room()
PATIENCE = 10.0  # seconds for what comes soon


class Events:
    """Notes what the worker tells."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *words: self.told.append((name, *words))

    def of(self, name: str) -> list[list[Any]]:
        return [words for told, *words in self.told if told == name]


class Store(MemoryStore):
    """A memory that can be slow, away, or refuse the keys of some senders."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()  # writers wait for it
        self.gate.set()
        self.batches: list[int] = []  # changes in each
        self.pages: list[int] = []  # of the lists, that were read
        self.errors: dict[str, Exception] = {}  # by method
        self.refused: set[str] = set()
        self.figures_are_kept = True
        self.closed = 0
        self.checks = 0

    def _fail(self, method: str) -> None:
        if method in self.errors:
            raise self.errors[method]

    def check(self) -> None:
        self.checks += 1
        self._fail("check")

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        self._fail("load")
        return super().load(triplets)

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        self.gate.wait()
        self._fail("apply")
        if any(change.triplet.sender in self.refused for change in changes):
            raise StoreRefused("no room in a column")
        if changes:  # else it is a figure alone
            self.batches.append(len(changes))
        super().apply(changes, figures, now)

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        self._fail("expire")
        return super().expire(now, limit, after)

    def entries_after(self, number: int, limit: int) -> EntryPage:
        self.pages.append(number)
        self._fail("entries_after")
        return super().entries_after(number, limit)

    def lacks(self, part: str) -> str | None:
        return None if self.figures_are_kept else "no table for them"

    def close(self) -> None:
        self.closed += 1

    def passed(self, sender: str) -> int:
        (record,) = self.load([asked(sender).triplet]).values()
        return record.passed

    def blocked(self, sender: str) -> int:
        (record,) = self.load([asked(sender).triplet]).values()
        return record.blocked


def asked(sender: str, client: bytes = b"192.0.2.17") -> Question:
    question = precheck(Attempt(client, sender.encode(), b"b@example.net"), POLICY)
    assert isinstance(question, Question)
    return question


class Site:
    """A worker and all around it. The clock stands; the stopwatches are real."""

    def __init__(self, store: Store | None = None, *, deadline: float = PATIENCE) -> None:
        self.store = store or Store()
        self.now = float(NOW)
        self.opened = 0
        self.away: Exception | None = None
        self.desk = Desk(clock=lambda: self.now)
        self.events = Events()
        self._deadline = deadline

    def open_store(self) -> Store:
        self.opened += 1
        if self.away is not None:
            raise self.away
        return self.store

    async def __aenter__(self) -> Self:
        self.worker = Worker(
            self.desk,
            self.open_store,
            self.events,
            deadline=self._deadline,
            room=ROOM,
            clock=lambda: self.now,
        )
        self.worker.start()
        if self.away is None:  # what lists and memory know is asked from here on
            await until(lambda: self.desk.ready)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.store.gate.set()
        await self.worker.stop(PATIENCE)

    def put(self, *senders: str) -> list[asyncio.Future[Answered | None]]:
        """Ask; a second answer to the same question is an error of the loop."""
        loop, answers = asyncio.get_running_loop(), []
        for sender in senders:
            answer: asyncio.Future[Answered | None] = loop.create_future()
            self.worker.ask(asked(sender), answer.set_result)
            answers.append(answer)
        return answers

    async def ask(self, *senders: str) -> list[Reason | None]:
        answers = await asyncio.wait_for(asyncio.gather(*self.put(*senders)), 2 * PATIENCE)
        return [None if one is None else one.decision.reason for one in answers]

    def at_desk(self, sender: str) -> Decision | Question:
        return self.desk.look_up(asked(sender))


async def until(found: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = monotonic() + seconds
    while not found():
        assert monotonic() < end, "it never came"
        await asyncio.sleep(0.005)


def running(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Make a test of a coroutine; an error that only the loop sees is one, too."""

    def run() -> None:
        seen: list[dict[str, Any]] = []

        async def watched() -> None:
            handler = asyncio.get_running_loop().set_exception_handler
            handler(lambda _loop, context: seen.append(context))
            await test()

        asyncio.run(watched())
        assert seen == []

    run.__doc__ = test.__doc__
    return run


@running
async def test_a_question_is_answered_and_its_record_written() -> None:
    async with Site() as site:
        assert site.worker.queue_length == 0
        (answer,) = site.put("a@example.org")
        assert site.worker.queue_length == 1
        found = await answer
        assert found is not None
        assert found.decision.reason is Reason.NEW
        assert site.store.blocked("a@example.org") == 1
        await until(lambda: site.worker.queue_length == 0)
        assert site.opened == 1
        assert not site.worker.store_is_down
        assert 1 in [attempts for _, attempts in site.events.of("batch_done")]
    assert site.store.closed == 1


@running
async def test_answers_wait_for_no_tick() -> None:
    async with Site() as site:
        assert site.worker._ticks is not None
        site.worker._ticks.end()
        for number in range(3):
            assert await site.ask(f"s{number}@example.org") == [Reason.NEW]


@running
async def test_what_comes_together_is_written_together() -> None:
    async with Site() as site:
        senders = [f"s{number}@example.org" for number in range(MAX_BATCH + 10)]
        assert await site.ask(*senders) == [Reason.NEW] * len(senders)
        assert site.store.batches == [MAX_BATCH, 10]


@running
async def test_what_comes_during_a_batch_is_the_next_one() -> None:
    async with Site() as site:
        site.store.gate.clear()
        answers = site.put("a@example.org")
        await until(lambda: site.worker._flying)
        for number in range(5):
            answers += site.put(f"s{number}@example.org")
            await asyncio.sleep(0.001)
        assert site.worker.queue_length == 6
        site.store.gate.set()
        await asyncio.gather(*answers)
        assert site.store.batches == [1, 5]


@running
async def test_nobody_is_let_in_before_his_deadline() -> None:
    async with Site() as site:
        site.store.gate.clear()
        answers = site.put("a@example.org")
        await until(lambda: site.worker._flying)
        answers += site.put("b@example.org")
        await asyncio.sleep(4 * TICK)
        assert not any(answer.done() for answer in answers)
        site.store.gate.set()
        assert None not in await asyncio.gather(*answers)
        assert not site.events.of("store_failed")


@running
async def test_lists_are_looked_at_once_a_second_however_many_ask() -> None:
    async with Site() as site:
        began, checks = monotonic(), site.store.checks
        for number in range(50):
            assert await site.ask(f"s{number}@example.org") == [Reason.NEW]
        assert site.store.checks - checks <= 1 + (monotonic() - began) / LISTS_EVERY


@running
async def test_lists_are_looked_at_while_questions_come_without_a_pause() -> None:
    async with Site() as site:
        checks, end = site.store.checks, monotonic() + PATIENCE
        while site.store.checks < checks + 2:
            assert monotonic() < end
            await site.ask(f"s{monotonic()}@example.org")


@running
async def test_what_comes_during_a_batch_waits_for_no_tick() -> None:
    async with Site() as site:
        assert site.worker._ticks is not None
        site.worker._ticks.end()
        site.store.gate.clear()
        answers = site.put("a@example.org")
        await until(lambda: site.worker._flying)
        answers += site.put("b@example.org")
        site.store.gate.set()
        assert None not in await asyncio.wait_for(asyncio.gather(*answers), PATIENCE)


@running
async def test_a_batch_that_is_told_of_twice_counts_once() -> None:
    """The thread tells again where there was no memory left after the first time."""
    async with Site() as site:
        site.store.gate.clear()
        first = site.put("a@example.org")
        await until(lambda: site.worker._flying)
        batch = site.worker._flying
        assert batch is not None
        site.store.gate.set()
        await asyncio.gather(*first)
        await until(lambda: site.worker._flying is not batch)
        site.store.gate.clear()
        second = site.put("b@example.org")
        await until(lambda: site.worker._flying)
        told = len(site.events.of("batch_done"))
        site.worker._done(batch)
        assert site.worker._flying is not None
        assert len(site.events.of("batch_done")) == told
        site.store.gate.set()
        assert None not in await asyncio.gather(*second)


class Hanging(Store):
    """Hangs as soon as it is read."""

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        self.gate.wait()
        return super().load(triplets)


@running
async def test_a_tick_leaves_the_one_try_of_a_second_to_who_can_use_it() -> None:
    """While the store hangs nothing else can be asked of it."""
    async with Site(Hanging(), deadline=0.2) as site:
        site.store.gate.clear()
        assert await site.ask("a@example.org") == [None]
        assert site.worker._flying is not None
        site.worker._next_lists = site.worker._breaker._next_try = 0.0
        site.worker._tick()
        assert site.worker._breaker._next_try == 0.0


@pytest.mark.parametrize(("store", "reads"), [(Store, True), (Hanging, False)])
def test_a_store_that_hangs_when_read_is_not_taken_for_one_that_can_be(
    store: type[Store], reads: bool
) -> None:
    async def test() -> None:
        async with Site(store(), deadline=0.2) as site:
            site.store.gate.clear()
            assert await site.ask("a@example.org") == [None]
            assert site.worker._breaker.reads is reads

    running(test)()


@running
async def test_no_memory_to_rest_ends_no_store_thread_t39() -> None:
    def failing(_seconds: float) -> None:
        if left:
            left.pop()
            raise MemoryError

    async with Site() as site:
        left, thread = [1, 1], site.worker._thread
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store_thread, "rest", failing)
            told: list[object] = []

            def tell(batch: object) -> None:
                told.append(batch)
                if len(told) == 1:
                    raise MemoryError

            thread._hand_back(Batch([], Later(), look_at_lists=False), tell)
        assert left == []
        assert len(told) == 2


@running
async def test_records_are_expired_when_that_is_due_and_not_with_each_batch() -> None:
    async with Site() as site:
        await until(lambda: site.worker.maintenance.records is not None)
        site.store.errors["expire"] = StoreUnavailable("too often")
        for number in range(20):
            assert await site.ask(f"s{number}@example.org") == [Reason.NEW]
            assert site.worker.maintenance.due() is False
        steps: list[object] = []

        def step(store: object) -> bool:
            steps.append(store)
            return True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(site.worker.maintenance, "step", step)
            assert await site.ask("a@example.org", "b@example.org") == [Reason.NEW] * 2
            await site.ask("c@example.org")  # when it is answered, the batch before is over
        assert steps == []


@running
async def test_one_count_that_is_written_shows_that_the_store_is_back() -> None:
    async with Site() as site:
        assert await site.ask("a@example.org") == [Reason.NEW]
        site.store.errors["apply"] = StoreUnavailable("disk full")
        assert isinstance(site.at_desk("a@example.org"), Decision)
        await until(lambda: site.worker.store_is_down)
        site.store.errors.clear()
        await until(lambda: not site.worker.store_is_down)
        assert site.store.blocked("a@example.org") == 2


@running
async def test_who_waits_for_too_long_is_answered_without_the_store() -> None:
    async with Site(deadline=0.2) as site:
        assert await site.ask("known@example.org") == [Reason.NEW]
        site.store.gate.clear()
        began = monotonic()
        first = site.put("a@example.org")
        await until(lambda: site.worker._flying)
        second = site.put("b@example.org")
        assert await asyncio.gather(*first, *second) == [None, None]
        assert 0.2 <= monotonic() - began < PATIENCE
        assert site.events.of("store_failed") == [["no answer within 0.2 s"]]
        assert site.worker.store_is_down
        assert isinstance(site.at_desk("known@example.org"), Question), "nothing is believed"
        (third,) = site.put("c@example.org")
        assert third.done(), "at once"
        assert third.result() is None
        site.store.gate.set()
        await until(lambda: not site.worker.store_is_down)
        assert site.events.of("store_recovered") == [[]]
        assert await site.ask("d@example.org") == [Reason.NEW]
        assert site.store.blocked("a@example.org") == 1, "what was under way is written"


@running
async def test_a_store_that_is_away_is_tried_once_a_second() -> None:
    site = Site()
    site.away = StoreUnavailable("/x: locked")
    async with site:
        assert await site.ask("a@example.org", "b@example.org") == [None, None]
        assert site.events.of("store_failed") == [["/x: locked"]]
        began, opened = monotonic(), site.opened
        for _ in range(20):
            assert await site.ask("c@example.org") == [None]
        assert site.opened - opened <= 1 + (monotonic() - began) / RETRY_EVERY
        site.away = None
        await until(lambda: not site.worker.store_is_down)
        assert await site.ask("a@example.org") == [Reason.NEW]
        assert site.events.of("store_failed") == [["/x: locked"]]
        assert len(site.events.of("store_recovered")) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("/x: is no database"), "/x: is no database"),
        (ValueError("odd"), "ValueError: odd"),
        (MemoryError("some"), "MemoryError"),
    ],
)
def test_whatever_fails_costs_an_answer_and_the_store_is_opened_anew(
    error: Exception, said: str
) -> None:
    async def test() -> None:
        async with Site() as site:
            assert await site.ask("a@example.org") == [Reason.NEW]
            site.store.errors["check"] = error
            await until(lambda: site.events.of("store_failed"))
            assert site.events.of("store_failed") == [[said]]
            assert site.store.closed >= 1
            site.store.errors.clear()
            await until(lambda: not site.worker.store_is_down)
            assert site.opened >= 2
            assert await site.ask("b@example.org") == [Reason.NEW]

    running(test)()


@running
async def test_after_a_batch_that_failed_the_lists_go_on_deciding_and_are_not_read_again() -> None:
    """T45: 300,000 entries take seconds to read, and a store may fail again and again."""
    store = Store()
    names = (f"10.0.{n >> 8}.{n & 255}" for n in range(3000))
    store.put_entries([Entry(parse_subject(name), NEVER) for name in names])
    client = b"10.0.0.7"
    async with Site(store) as site:
        read = len(store.pages)
        for number in range(3):
            store.errors["load"] = StoreUnavailable("locked")
            assert await site.ask(f"{number}@example.org") == [None]
            decision = site.desk.look_up(asked("x@example.org", client))
            assert isinstance(decision, Decision)
            assert decision.reason is Reason.DENYLISTED
            store.errors.clear()
            await until(lambda: not site.worker.store_is_down)
            opened = number + 2
            await until(lambda least=opened: site.opened >= least)  # type: ignore[misc]
        await asyncio.sleep(1.2)  # lists are looked at again
        assert len(store.pages) == read
        store.put_entries([Entry(parse_subject("192.0.2.17"), NEVER)])
        await until(lambda: isinstance(site.at_desk("y@example.org"), Decision))


@running
async def test_repeats_wait_for_no_write_and_are_counted_within_seconds() -> None:
    async with Site() as site:
        await site.ask("a@example.org")
        await until(lambda: site.worker.queue_length == 0)
        site.store.gate.clear()
        waiting = site.put("new@example.org", "a@example.org")
        found = await waiting[1]
        assert found is not None
        assert found.decision.reason is Reason.EARLY
        assert found.record is not None
        assert found.record.blocked == 2
        assert not waiting[0].done()
        assert isinstance(site.at_desk("a@example.org"), Decision), "it is in memory at once"
        site.store.gate.set()
        await waiting[0]
        await until(lambda: site.store.blocked("a@example.org") == 3)
        assert not site.desk.later


@running
async def test_a_repeat_that_is_met_only_while_writing_waits_for_no_write() -> None:
    """Where most are new, nothing is read before it is written."""
    store = Store()
    store.apply([Created(asked("a@example.org").triplet, NOW, NOW + 60, NOW + 9000)], {}, NOW)
    async with Site(store) as site:
        strangers = site.worker._thread._deciding._strangers
        strangers._repeats = 0.0
        assert strangers.mostly_new
        store.gate.clear()
        new, repeat = site.put("new@example.org", "a@example.org")
        found = await asyncio.wait_for(repeat, PATIENCE)
        assert found is not None
        assert found.decision.reason is Reason.EARLY
        assert not new.done()
        store.gate.set()
        assert await new is not None


@running
async def test_counts_are_written_without_a_question() -> None:
    async with Site() as site:
        assert await site.ask("a@example.org") == [Reason.NEW]
        assert isinstance(site.at_desk("a@example.org"), Decision)
        assert isinstance(site.at_desk("new@example.org"), Question)
        await until(lambda: site.store.blocked("a@example.org") == 2)
        await asyncio.sleep(0.2)
        assert site.store.blocked("a@example.org") == 2, "once"
        (figures,) = site.store.figures(0, 2 * NOW).values()
        assert (figures["defer:new"], figures["defer:early"]) == (1, 1)


@running
async def test_counts_are_put_off_while_there_is_much_to_answer_but_not_for_ever() -> None:
    async with Site() as site:
        await site.ask("a@example.org")
        site.now += POLICY.delay
        assert await site.ask("a@example.org") == [Reason.RETRIED]
        assert isinstance(site.at_desk("a@example.org"), Decision)
        await until(lambda: site.store.passed("a@example.org") == 2)
        began = monotonic()
        while site.store.passed("a@example.org") == 2:
            assert monotonic() < began + 2 * PATIENCE
            for _ in range(5 * BUSY):
                assert isinstance(site.at_desk("a@example.org"), Decision)
            await asyncio.sleep(TICK / 10)
        assert monotonic() >= began + MOST_BEHIND - 2 * WRITE_LATER_EVERY


@running
async def test_counts_are_due_at_once_where_little_is_asked() -> None:
    async with Site() as site:
        await site.ask("a@example.org")
        assert isinstance(site.at_desk("a@example.org"), Decision)
        site.worker._next_later = monotonic()
        assert site.worker._counts_are_due()


@running
async def test_counts_that_wait_for_a_store_that_is_away_are_bounded() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "MAX_LATER", 1)
        async with Site() as site:
            await site.ask("a@example.org", "b@example.org")
            site.store.gate.clear()
            assert isinstance(site.at_desk("a@example.org"), Decision)
            await until(lambda: site.worker._flying is not None and site.worker._flying.writing)
            assert isinstance(site.at_desk("b@example.org"), Decision)
            site.store.errors["apply"] = StoreUnavailable("full")
            site.store.gate.set()
            await until(lambda: site.worker.store_is_down)
            site.store.errors.clear()
            await until(lambda: site.store.blocked("b@example.org") == 2)
            assert site.store.blocked("a@example.org") == 1


@running
async def test_what_is_removed_elsewhere_is_asked_for_again() -> None:
    async with Site() as site:
        await site.ask("a@example.org")
        await until(lambda: site.worker.queue_length == 0)
        assert isinstance(site.at_desk("a@example.org"), Decision)
        site.store.forget([asked("a@example.org").triplet], NOW)
        await until(lambda: isinstance(site.at_desk("a@example.org"), Question))
        assert await site.ask("a@example.org") == [Reason.NEW]


@running
async def test_counts_are_written_in_small_parts() -> None:
    async with Site() as site:
        senders = [f"s{number}@example.org" for number in range(MOST_LATER + 10)]
        await site.ask(*senders)
        before = len(site.store.batches)
        for sender in senders:
            assert isinstance(site.at_desk(sender), Decision)
        await until(lambda: not site.desk.later and site.worker.queue_length == 0)
        await until(lambda: sum(site.store.batches[before:]) == len(senders))
        assert max(site.store.batches[before:]) <= MOST_LATER


@running
async def test_no_part_of_the_counts_waits_for_the_next_second() -> None:
    async with Site() as site:
        senders = [f"s{number}@example.org" for number in range(5 * MOST_LATER)]
        await site.ask(*senders)
        before = len(site.store.batches)
        for sender in senders:
            assert isinstance(site.at_desk(sender), Decision)
        await until(lambda: len(site.store.batches) > before)
        began = monotonic()
        await until(lambda: sum(site.store.batches[before:]) == len(senders))
        assert monotonic() - began < 3 * WRITE_LATER_EVERY


@running
async def test_counts_outlast_a_store_that_is_away() -> None:
    async with Site() as site:
        await site.ask("a@example.org")
        assert isinstance(site.at_desk("a@example.org"), Decision)
        site.store.errors["apply"] = StoreUnavailable("full")
        await until(lambda: site.events.of("store_failed") == [["full"]])
        site.store.errors.clear()
        await until(lambda: site.store.blocked("a@example.org") == 2)


async def ask_both(site: Site) -> list[Reason | None]:
    """Ask in one batch about a known triplet and a new one, as the one try of a second."""
    first = asyncio.get_running_loop().create_future()
    second = asyncio.get_running_loop().create_future()
    site.worker.ask(asked("a@example.org"), first.set_result)
    site.worker._waiting.append(Job(asked("b@example.org"), second.set_result, monotonic() + 9))
    answers = await asyncio.gather(first, second)
    return [None if one is None else one.decision.reason for one in answers]


@running
async def test_nobody_is_answered_by_a_store_that_failed_before_it_was_written_to() -> None:
    """A full disk can be read. Else it would be there and away by turns, question by question."""
    async with Site() as site:
        await site.ask("a@example.org")
        site.store.errors["apply"] = StoreUnavailable("full")
        assert await site.ask("b@example.org") == [None]
        for _ in range(2):
            await until(lambda: site.worker._breaker._next_try <= monotonic())
            assert await ask_both(site) == [None, None]
        assert site.worker.store_is_down
        assert site.events.of("store_recovered") == []
        site.store.errors.clear()
        await until(lambda: site.worker._breaker._next_try <= monotonic())
        assert await ask_both(site) == [Reason.EARLY, Reason.NEW]
        await until(lambda: not site.worker.store_is_down)


@running
async def test_who_is_refused_pays_alone_and_it_is_told_seldom_t34() -> None:
    async with Site() as site:
        site.store.refused.add("bad@example.org")
        for number in range(3):
            found = await site.ask(f"s{number}@example.org", "bad@example.org")
            assert found == [Reason.NEW, None]
        assert site.events.of("store_refused") == [["no room in a column"]]
        assert site.events.of("store_failed") == []
        assert not site.worker.store_is_down
        assert isinstance(site.at_desk("s0@example.org"), Decision)


@running
async def test_lists_are_read_and_changes_seen() -> None:
    store = Store()
    store.put_entries([Entry(parse_subject("192.0.2.17"), NEVER)])
    async with Site(store) as site:
        await until(lambda: site.desk.ready)
        denied = site.at_desk("a@example.org")
        assert isinstance(denied, Decision)
        assert denied.reason is Reason.DENYLISTED
        store.remove_entries([parse_subject("192.0.2.17")])
        await until(lambda: isinstance(site.at_desk("a@example.org"), Question))


@running
async def test_where_lists_cannot_be_read_the_session_is_not_used_again() -> None:
    store = Store()
    async with Site(store) as site:
        store.errors["entries_after"] = StoreUnavailable("gone away")
        store.put_entries([Entry(parse_subject("192.0.2.17"), NEVER)])
        await until(lambda: site.opened >= 2)
        assert store.closed >= 1
        store.errors.clear()
        await until(lambda: isinstance(site.at_desk("a@example.org"), Decision))


@pytest.mark.parametrize(("due_in", "reads"), [(0.0, True), (5.0, False)])
def test_a_batch_is_followed_by_a_step_of_the_lists_if_one_is_due_t45(
    due_in: float, reads: bool
) -> None:
    """However many batches wait, lists are read; and who answers has Python's lock meanwhile."""
    store = Store()
    store.put_entries([Entry(parse_subject("192.0.2.17"), NEVER)])
    maintenance = Maintenance(Quota(ROOM))
    thread = store_thread.StoreThread(lambda: store, lambda: NOW, maintenance, lambda _lists: None)
    thread._lists = ListReader(stopwatch=lambda: 0.0)
    thread._lists._next = due_in
    for look in (True, False, False):
        thread.put(Batch([], Later(), look_at_lists=look), lambda _: None, lambda _: None)
    thread.stop()
    thread.run()
    assert bool(store.pages) is reads


@running
async def test_that_no_figures_are_kept_is_told_once() -> None:
    store = Store()
    store.figures_are_kept = False
    async with Site(store) as site:
        for number in range(3):
            await site.ask(f"s{number}@example.org")
            await asyncio.sleep(0.6)
        assert site.events.of("no_figures") == [["no table for them"]]


@running
async def test_expired_records_are_deleted_between_batches() -> None:
    store = Store()
    triplet = asked("old@example.org").triplet
    store.apply([Created(triplet, NOW - 9000, NOW - 8900, NOW - 1)], {}, NOW - 9000)
    async with Site(store) as site:
        await until(lambda: not store.load([triplet]))
        await until(lambda: site.worker.maintenance.records == (0, 0))


@running
async def test_a_failure_of_the_expiry_is_told_and_harms_nobody() -> None:
    store = Store()
    store.errors["expire"] = StoreUnavailable("/x: locked")
    async with Site(store) as site:
        assert await site.ask("a@example.org") == [Reason.NEW]
        await until(lambda: site.events.of("maintenance_failed"))
        assert site.events.of("maintenance_failed") == [["/x: locked"]]
        assert await site.ask("b@example.org") == [Reason.NEW]
        assert site.events.of("store_failed") == []
        assert site.store.closed >= 1, "the session is not used again"
        triplet = asked("old@example.org").triplet
        store.apply([Created(triplet, NOW - 9000, NOW - 8900, NOW - 1)], {}, NOW - 9000)
        store.errors.clear()
        await until(lambda: not store.load([triplet]))


@running
async def test_lists_are_read_where_records_cannot_be_deleted_and_nothing_spins() -> None:
    """As on a full disk: the session is closed again and again."""
    store = Store()
    store.put_entries([Entry(parse_subject("192.0.2.17"), NEVER)])
    store.errors["expire"] = StoreUnavailable("/x: full")
    async with Site(store) as site:
        assert isinstance(site.at_desk("a@example.org"), Decision)
        await until(lambda: store.closed >= 1)
        began = process_time()
        await asyncio.sleep(2)
        assert process_time() - began < 1


@running
async def test_a_clock_that_jumps_is_told() -> None:
    async with Site() as site:
        await site.ask("a@example.org")
        site.now += 7200
        await until(lambda: site.events.of("clock_jumped"))
        ((seconds, pause),) = site.events.of("clock_jumped")
        assert seconds == pytest.approx(7200, abs=60)
        assert pause == AFTER_JUMP_AHEAD


@running
async def test_a_slow_store_is_told() -> None:
    async with Site() as site:
        site.store.gate.clear()
        answers = site.put("a@example.org", "b@example.org")
        await asyncio.sleep(0.15)
        site.store.gate.set()
        await asyncio.gather(*answers)
        await until(lambda: site.events.of("store_slow"))
        ((took, attempts),) = site.events.of("store_slow")
        assert took >= 0.1
        assert attempts == 2


@running
async def test_another_deadline_and_room_hold_from_then_on() -> None:
    async with Site() as site:
        room = Room(total=7)
        site.worker.use(0.1, room)
        assert site.worker.maintenance.quota.room is room
        site.store.gate.clear()
        assert await site.ask("a@example.org") == [None]
        assert site.events.of("store_failed") == [["no answer within 0.1 s"]]


@running
async def test_stopping_answers_and_writes_what_is_left() -> None:
    site = Site()
    async with site:
        await site.ask("a@example.org")
        assert isinstance(site.at_desk("a@example.org"), Decision)
        answers = site.put("b@example.org")
    (found,) = await asyncio.gather(*answers)
    assert found is not None
    assert found.decision.reason is Reason.NEW
    assert site.store.blocked("a@example.org") == 2
    assert site.store.closed == 1
    assert not site.worker._thread.is_alive()


@running
async def test_stopping_does_not_wait_for_a_store_that_hangs() -> None:
    async with Site() as site:
        site.store.gate.clear()
        site.put("a@example.org")
        await until(lambda: site.worker._flying)
        began = monotonic()
        await site.worker.stop(0.2)
        assert monotonic() - began < 5
        assert site.worker._thread.is_alive()
