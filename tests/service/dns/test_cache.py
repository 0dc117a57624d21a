"""Which answers are kept, for how long, and how many."""

from __future__ import annotations

import gc
import random
import tracemalloc

import pytest

from greylag.core.spf.questions import Answer, Query
from greylag.service.dns.cache import (
    ENTRY,
    ERROR,
    LEAST,
    MOST,
    MOST_BYTES,
    MOST_ENTRIES,
    MOST_NOTHING,
    RECORD,
    Cache,
)
from tests.strategies import SOAK

NOW = 1000.0


def query(number: int = 0) -> Query:
    return Query(f"n{number}.example.org", "TXT")


@pytest.mark.parametrize(
    ("answer", "ttl", "kept"),
    [
        ((b"x",), 600, 600),
        ((b"x",), 0, LEAST),
        ((b"x",), 2**31 - 1, MOST),
        ((), 60, 60),
        ((), 0, LEAST),
        ((), 2**31 - 1, MOST_NOTHING),
        (None, 0, ERROR),
        (None, 600, ERROR),
    ],
)
def test_how_long_an_answer_is_kept(answer: Answer, ttl: float, kept: float) -> None:
    cache = Cache()
    cache.put(query(), answer, ttl, NOW)
    assert cache.get(query(), NOW + kept - 0.001) == (answer,)
    assert cache.get(query(), NOW + kept) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_name_has_an_answer_for_each_type() -> None:
    cache = Cache()
    cache.put(query(), (b"x",), 60, NOW)
    assert cache.get(Query(query().name, "A"), NOW) is None


def test_what_was_not_used_for_longest_makes_room() -> None:
    cache = Cache(entries=3)
    for number in range(3):
        cache.put(query(number), (b"x",), 60, NOW)
    cache.get(query(0), NOW)
    cache.put(query(3), (b"x",), 60, NOW)
    kept = [number for number in range(4) if cache.get(query(number), NOW)]
    assert kept == [0, 2, 3]


def test_long_answers_are_bounded_in_bytes() -> None:
    cache = Cache(size=10_000)
    for number in range(1000):
        cache.put(query(number), (b"x" * 1000,), 60, NOW)
        assert cache.bytes <= 10_000
    assert len(cache) == 10_000 // (ENTRY + RECORD + 1000 + len(query(999).name))
    cache.put(query(), (b"x" * 10_000,), 60, NOW)
    assert cache.get(query(), NOW) is None
    assert cache.get(query(999), NOW) == ((b"x" * 1000,),)


def test_an_answer_takes_the_place_of_an_older_one() -> None:
    cache = Cache()
    cache.put(query(), (b"x" * 1000,), 60, NOW)
    cache.put(query(), (), 60, NOW)
    assert cache.get(query(), NOW) == ((),)
    assert (len(cache), cache.bytes) == (1, ENTRY + len(query().name))


def test_the_memory_that_answers_take_is_bounded() -> None:
    """A million answers of random length; 20,000 here, into a cache that is as much smaller."""
    rounds = 1_000_000 if SOAK else 20_000
    entries, size = MOST_ENTRIES * rounds // 1_000_000, MOST_BYTES * rounds // 1_000_000
    draw = random.Random(53)
    cache = Cache(entries, size)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(rounds):
            one = query(number)
            lengths = draw.choices((4, 16, 60, 500), (5, 1, 3, 1), k=draw.choice((0, 1, 1, 2, 5)))
            answer = None if number % 7 == 0 else tuple(map(draw.randbytes, lengths))
            cache.put(one, answer, 600.5, NOW + number)
        taken, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) <= entries
    assert cache.bytes <= size
    assert 0.9 * cache.bytes < taken < 1.1 * cache.bytes + 600_000, "the estimate"
