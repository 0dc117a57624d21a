"""The ends of deferrals, where their records are removed (`store.history`)."""

from __future__ import annotations

from collections import Counter

import pytest

from greylag.core.accesslist import NEVER
from greylag.core.figures import DELAYED, EVICTED, STOPPED
from greylag.core.figures import NEVER as NEVER_NAMES
from greylag.core.history import By, Ended, LetIn, Outcome, Tally
from greylag.core.record import Blocked, Change, Created, Noted, Passed
from greylag.core.triplet import Triplet, connection_of
from greylag.core.value import replace
from greylag.store.base import HISTORY, Store
from tests.store.test_history_contract import (
    KEY,
    NOW,
    OTHER,
    POOL,
    SIXTH,
    all_deferrals,
    began,
    every_tally,
)

needs = pytest.mark.needs


POOLED = replace(KEY, network=POOL)
SIGNS = ("helo", "spf")


def created(*keys: Triplet, at: int = NOW) -> list[Change]:
    return [Created(key, at, at + 300, at + 1000) for key in keys]


def outcomes(store: Store) -> dict[tuple[Triplet, int], Outcome]:
    return {(d.triplet, d.first_seen): d.outcome for d in all_deferrals(store)}


def fates(store: Store) -> dict[str, int]:
    """Return the figures of what became of records."""
    found: Counter[str] = Counter()
    for hour in store.figures(0, NEVER).values():
        found.update({n: v for n, v in hour.items() if n.startswith(("fate:", "never:"))})
    assert found[STOPPED] == sum(found[name] for name in NEVER_NAMES.values())
    return dict(found)


@needs(HISTORY)
def test_what_never_came_back_is_classed_when_it_expires(store: Store) -> None:
    passed = replace(KEY, recipient="c@example.net")
    store.apply(created(KEY, OTHER, SIXTH, passed), {}, NOW)
    store.apply([Passed(passed, NOW + 2000)], {}, NOW + 400)
    first = [began(key, signs=SIGNS * (key == OTHER)) for key in (KEY, OTHER, passed)]
    store.remember([*first, Ended(passed, NOW + 400, Outcome.PASSED)], NOW)
    page = store.expire(NOW + 1000, 100)
    assert (page.stopped, page.delayed) == (3, 0)
    assert outcomes(store) == {
        (KEY, NOW): Outcome.UNKNOWN,
        (OTHER, NOW): Outcome.LIKELY_SPAM,
        (passed, NOW): Outcome.PASSED,
    }
    assert fates(store) == {STOPPED: 3, "never:unknown": 2, "never:likely-spam": 1}
    assert {d.ended for d in all_deferrals(store)} == {NOW + 1000, NOW + 400}
    assert every_tally(store) == {
        "b@example.net": Tally(2, likely_spam=1, never=2),
        "c@example.net": Tally(1, 1, 400),
    }
    assert store.expire(NOW + 2000, 100).delayed == 1
    assert fates(store)[DELAYED] == 1


@needs(HISTORY)
def test_what_passed_from_elsewhere_came_another_way(store: Store) -> None:
    store.apply(created(KEY, SIXTH), {}, NOW)
    store.remember([began(), began(SIXTH), Ended(SIXTH, NOW + 400, Outcome.PASSED)], NOW)
    store.apply([Passed(SIXTH, NOW + 9000)], {}, NOW + 400)
    store.expire(NOW + 1000, 100)
    assert outcomes(store) == {(KEY, NOW): Outcome.OTHER_WAY, (SIXTH, NOW): Outcome.PASSED}
    assert fates(store) == {STOPPED: 1, "never:other-way": 1}


@needs(HISTORY)
def test_what_its_pool_brought_has_passed_and_its_record_came_another_way(store: Store) -> None:
    store.apply(created(KEY, POOLED), {}, NOW)
    store.remember([began(pool=POOL), Ended(POOLED, NOW + 400, Outcome.PASSED)], NOW)
    store.apply([Passed(POOLED, NOW + 9000)], {}, NOW + 400)
    store.expire(NOW + 1000, 100)
    assert outcomes(store) == {(KEY, NOW): Outcome.PASSED}
    assert fates(store) == {STOPPED: 1, "never:other-way": 1}
    assert every_tally(store) == {"b@example.net": Tally(1, 1, 400)}


@pytest.mark.parametrize("by", [KEY, POOLED])
@needs(HISTORY)
def test_what_was_let_in_for_another_reason_came_another_way(store: Store, by: Triplet) -> None:
    store.apply(created(KEY, POOLED), {}, NOW)
    store.remember([began(pool=POOL), LetIn(by, NOW + 60)], NOW)
    assert outcomes(store) == {(KEY, NOW): Outcome.OTHER_WAY}
    assert every_tally(store) == {"b@example.net": Tally(1)}
    store.expire(NOW + 1000, 100)
    (found,) = all_deferrals(store)
    assert (found.outcome, found.ended) == (Outcome.OTHER_WAY, NOW + 60)
    assert fates(store) == {STOPPED: 1, "never:other-way": 1}
    assert every_tally(store) == {"b@example.net": Tally(1, never=1)}


@needs(HISTORY)
def test_what_was_let_in_and_then_passes_is_counted_once(store: Store) -> None:
    store.apply(created(KEY), {}, NOW)
    store.remember([began(), LetIn(KEY, NOW + 60), Ended(KEY, NOW + 400, Outcome.PASSED)], NOW)
    store.apply([Passed(KEY, NOW + 2000)], {}, NOW + 400)
    store.expire(NOW + 2000, 100)
    assert fates(store) == {DELAYED: 1}
    assert every_tally(store) == {"b@example.net": Tally(1, 1, 400)}


@needs(HISTORY)
def test_that_older_mail_was_let_in_says_nothing_of_a_newer_record(store: Store) -> None:
    store.apply(created(KEY), {}, NOW)
    store.remember([began(), LetIn(KEY, NOW + 60)], NOW)
    store.apply(created(KEY, at=NOW + 2000), {}, NOW + 2000)
    store.expire(NOW + 9000, 100)
    assert fates(store) == {STOPPED: 2, "never:other-way": 1, "never:unknown": 1}
    assert every_tally(store) == {"b@example.net": Tally(1, never=1)}


@needs(HISTORY)
def test_a_pools_record_ends_without_an_outcome(store: Store) -> None:
    store.apply(created(POOLED), {}, NOW)
    store.remember([began(pool=POOL)], NOW)
    store.expire(NOW + 1000, 100)
    store.apply(created(POOLED, at=NOW + 1000), {}, NOW + 1000)
    store.forget([POOLED], NOW + 1000)
    assert outcomes(store) == {(KEY, NOW): Outcome.WAITING}
    assert fates(store) == {}


@pytest.mark.parametrize("renewed", [True, False])
@needs(HISTORY)
def test_a_record_that_is_replaced_ends_its_deferral(store: Store, renewed: bool) -> None:
    store.apply(created(KEY), {}, NOW)
    store.remember([began(signs=SIGNS)], NOW)
    later = NOW + 2000
    new: list[Change] = created(KEY, at=later) if renewed else [Noted(KEY, later, later + 9)]
    store.apply(new, {}, later)
    store.remember([began(at=later)] if renewed else [], later)
    assert outcomes(store)[KEY, NOW] is Outcome.LIKELY_SPAM
    assert not renewed or outcomes(store)[KEY, later] is Outcome.WAITING
    assert fates(store) == {STOPPED: 1, "never:likely-spam": 1}


@needs(HISTORY)
def test_what_is_not_remembered_is_counted_and_not_by_name_t9(store: Store) -> None:
    """As the history is off, or it began in a flood: then nothing is kept of who mailed whom."""
    store.apply([*created(KEY, OTHER), Blocked(KEY, 3)], {}, NOW)
    store.expire(NOW + 1000, 100)
    assert fates(store) == {STOPPED: 2, "never:unknown": 2}
    assert all_deferrals(store) == []
    assert [every_tally(store, by) for by in By] == [{}] * len(By)


@needs(HISTORY)
def test_a_record_that_is_replaced_and_not_remembered_is_not_counted_by_name_t9(
    store: Store,
) -> None:
    store.apply(created(KEY), {}, NOW)
    store.apply(created(KEY, at=NOW + 2000), {}, NOW + 2000)
    assert fates(store) == {STOPPED: 1, "never:unknown": 1}
    assert [every_tally(store, by) for by in By] == [{}] * len(By)


@needs(HISTORY)
def test_what_is_evicted_or_forgotten_ends_so(store: Store) -> None:
    keys = [replace(KEY, recipient=f"{n}@example.net") for n in range(40)]
    store.apply(created(*keys, OTHER), {}, NOW)
    store.remember([began(key) for key in [*keys, OTHER]], NOW)
    store.forget([OTHER], NOW + 1)
    gone = store.trim(5, NOW + 1)
    step = {"passed": False, "look": 10, "part": 0.5, "now": NOW + 1, "after": None}
    gone += store.thin(KEY.network, **step).gone  # type: ignore[arg-type]
    assert {d.ended for d in all_deferrals(store)} == {0, NOW + 1}
    found = Counter(outcomes(store).values())
    left = len(store.load(keys))
    assert gone > 0
    assert found == {Outcome.EVICTED: gone, Outcome.FORGOTTEN: 1, Outcome.WAITING: left}
    assert fates(store) == {EVICTED: gone}
    waiting = {d.triplet for d in all_deferrals(store) if d.outcome is Outcome.WAITING}
    assert waiting == store.load(keys).keys()


@needs(HISTORY)
def test_connections_end_in_the_figures_alone(store: Store) -> None:
    key = connection_of(b"\xc0\x00\x02\x07", 24)
    store.apply(created(key), {}, NOW)
    store.expire(NOW + 1000, 100)
    assert fates(store)[STOPPED] == 1
    assert [every_tally(store, by) for by in By] == [{}] * len(By)
