"""Attempts on one triplet at once: doubled or interleaved, they equal some serial order (P9).

Two layers. Without any transaction, the guards of `record.applied` alone make attempts of the same
moment agree. With the service's transaction, attempts of any moments equal a serial order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Verdict
from greylag.store.memory import MemoryStore
from tests.core.asking import DELAY, KEY, KNOWN, LIFETIME, WAITING, WINDOW, Given, T, ask, write
from tests.reports import PolicyService, no_failure
from tests.strategies import PROPERTY

ATTEMPT = Given().attempt()
Records = dict[Triplet, Record]
Outcome = tuple[tuple[Verdict, ...], Record | None]


def interleaved(records: Records, now: int, order: Sequence[int]) -> Outcome:
    """Let actors load and decide, then apply, when their number comes up for either."""
    decided: dict[int, Decision] = {}
    for actor in order:
        if actor in decided:
            write(decided[actor], records, now)
        else:
            decided[actor] = ask(ATTEMPT, records, Policy(), now)
    verdicts = tuple(decided[actor].verdict for actor in sorted(decided))
    return verdicts, records.get(KEY)


# As often as an actor is named it makes a step; two steps are an attempt.
ORDERS = sorted({*permutations([0, 0, 1, 1]), *permutations([0, 0, 1, 1, 2, 2])})
MOMENTS = [
    pytest.param(None, T, id="first contact"),
    pytest.param(WAITING, T + 1, id="early"),
    pytest.param(WAITING, T + DELAY - 1, id="the last early second"),
    pytest.param(WAITING, T + DELAY, id="the first good second"),
    pytest.param(WAITING, T + WINDOW - 1, id="the window's last second"),
    pytest.param(WAITING, T + WINDOW, id="after the window"),
    pytest.param(KNOWN, T, id="known"),
    pytest.param(KNOWN, T + LIFETIME, id="after the lifetime"),
    pytest.param(WAITING, T - 60, id="a clock that went back"),
]


@pytest.mark.parametrize(("record", "now"), MOMENTS)
def test_attempts_of_one_moment_equal_a_serial_order(record: Record | None, now: int) -> None:
    """All orders of two or three actors: the same verdicts, one record, every count."""
    start: Records = {} if record is None else {KEY: record}
    for order in ORDERS:
        serial = interleaved(dict(start), now, sorted(order))
        assert interleaved(dict(start), now, order) == serial
        assert len(set(serial[0])) == 1


@PROPERTY
@given(st.lists(st.integers(0, 9), min_size=2, max_size=6), st.integers(0, WINDOW))
def test_a_doubled_attempt_is_answered_alike(gaps: list[int], later: int) -> None:
    """The same attempt twice in one second, through one server or two: no other verdict."""
    once: Records = {}
    doubled: Records = {}
    now = T
    for seconds in [*(60 * gap for gap in gaps), later]:
        now += seconds
        single = ask(ATTEMPT, once, Policy(), now)
        write(single, once, now)
        first = ask(ATTEMPT, doubled, Policy(), now)
        second = ask(ATTEMPT, doubled, Policy(), now)
        write(first, doubled, now)
        write(second, doubled, now)
        assert first == second
        assert (first.verdict, first.reason) == (single.verdict, single.reason)
    assert doubled[KEY] == replace(
        once[KEY], blocked=2 * once[KEY].blocked, passed=2 * once[KEY].passed
    )


class SlowStore(MemoryStore):
    """A memory store that gives other threads every chance between reading and writing."""

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        found = super().load(triplets)
        time.sleep(0.0002)
        return found


Answers = tuple[tuple[tuple[str, int], ...], ...]


def run_threads(store: MemoryStore, policy: Policy, clocks: list[list[int]]) -> Answers:
    """Let one thread for each list of clock readings ask at those moments, all at once."""
    answers: list[list[tuple[str, int]]] = [[] for _ in clocks]
    together = threading.Barrier(len(clocks))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            together.wait()
            for now in clocks[number]:
                answers[number].append(answer(store, policy, now))
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(clocks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    return tuple(map(tuple, answers))


def answer(store: MemoryStore, policy: Policy, now: int) -> tuple[str, int]:
    service = PolicyService(policy, lambda: store, report=no_failure, clock=lambda: now)
    decision = service.decide(ATTEMPT)
    return decision.reason.value, decision.retry_after


def serial_outcomes(
    make: Callable[[], MemoryStore], policy: Policy, clocks: list[list[int]]
) -> Iterator[tuple[Answers, Records]]:
    """Yield what each order of the attempts gives, one after the other."""
    turns = [number for number, readings in enumerate(clocks) for _ in readings]
    for order in set(permutations(turns)):
        store, answers = make(), [list[tuple[str, int]]() for _ in clocks]
        for number in order:
            now = clocks[number][len(answers[number])]
            answers[number].append(answer(store, policy, now))
        yield tuple(map(tuple, answers)), store.load([KEY])


# Around every edge of a record that was made at T, so that answers depend on the order.
EDGES = [0, 1, DELAY - 1, DELAY, WINDOW - 1, WINDOW, WINDOW + DELAY, LIFETIME, -5, -6]
moments = st.sampled_from(EDGES).map(T.__add__)
two_by_two = st.lists(st.lists(moments, min_size=2, max_size=2), min_size=2, max_size=2)
three = st.lists(st.lists(moments, min_size=1, max_size=1), min_size=3, max_size=3)


@PROPERTY
@given(st.sampled_from([0, 1, DELAY]), st.booleans(), two_by_two | three)
def test_threads_equal_a_serial_order_p9(delay: int, known: bool, clocks: list[list[int]]) -> None:
    """P9: through Service and a store, with real threads and clocks that disagree."""

    def seeded(store: MemoryStore) -> MemoryStore:
        if known:
            answer(store, policy, T)
        return store

    policy = Policy(delay=delay)
    store = seeded(SlowStore())
    answers = run_threads(store, policy, clocks)
    outcomes = serial_outcomes(lambda: seeded(MemoryStore()), policy, clocks)
    assert (answers, store.load([KEY])) in list(outcomes)


def test_64_clients_make_one_record_p9() -> None:
    """P9: 64 first contacts at once: one record, 64 equal verdicts, no count lost."""
    store = SlowStore()
    answers = run_threads(store, Policy(), [[T]] * 64)
    assert sorted(answers) == [(("early", DELAY),)] * 63 + [(("new", DELAY),)]
    assert store.load([KEY]) == {KEY: replace(WAITING, blocked=64)}
