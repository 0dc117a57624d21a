"""How much work the ends of deferrals are: a step holds up all who wait for the store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core import ends
from greylag.core.figures import STOPPED
from greylag.core.history import Begun, Deferral, Outcome
from greylag.core.record import Created
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import HISTORY, Store
from greylag.store.sqlite import remembering
from greylag.store.sqlite.store import SqliteStore
from tests.servers.mariadb import Database
from tests.store.test_history_contract import NOW, all_deferrals
from tests.work import calls

pytestmark = pytest.mark.needs(HISTORY)

STEP = 150
# Calls for each record: 1,200 to 3,200 are made, and 10,000 to 63,000 where each deferral is
# compared with all others of its pair.
AT_MOST = 5000


def of_one_pair(number: int) -> list[Triplet]:
    """Return triplets whose senders are long, and all new, as a flood of one sender has them."""
    words = (
        "-".join(f"{(k * 7919 + j * 104729) % 1000:03d}x" for j in range(48)) for k in range(number)
    )
    return [
        Triplet(bytes((20, k // 250, k % 250, 0)), f"{word}@example.org", "b@example.net")
        for k, word in enumerate(words)
    ]


def defer(store: Store, keys: Sequence[Triplet]) -> None:
    store.apply([Created(key, NOW, NOW + 300, NOW + 1000) for key in keys], {}, NOW)
    store.remember(
        [Begun(Deferral(key, NOW, NOW + 300, name="mx.example.org")) for key in keys], NOW
    )


def test_a_step_of_expiry_is_little_work_whatever_the_senders_are(store: Store) -> None:
    """T36: a step of maintenance must not take long."""
    defer(store, of_one_pair(STEP))
    with calls() as made:
        page = store.expire(NOW + 1000, STEP)
    assert made.number < AT_MOST * page.stopped
    stopped = page.stopped
    while page.after is not None:  # a step may end early
        page = store.expire(NOW + 1000, STEP, page.after)
        stopped += page.stopped
    assert stopped == STEP
    assert {d.outcome for d in all_deferrals(store)}.isdisjoint({Outcome.WAITING})


def test_dead_records_are_replaced_with_little_work_whatever_the_senders_are(store: Store) -> None:
    """T36: answers wait for it."""
    keys = of_one_pair(STEP)
    defer(store, keys)
    again = [Created(key, NOW + 1000, NOW + 1300, NOW + 2000) for key in keys]
    with calls() as made:
        store.apply(again, {}, NOW + 1000)
    assert made.number < AT_MOST * STEP
    assert sum(hour.get(STOPPED, 0) for hour in store.figures(0, NOW + 9999).values()) == STEP


def test_what_a_step_compares_is_bounded() -> None:
    """T36: what comes when a step has done its work is classed by its signs alone."""
    work = ends.Work(20)
    near = [Deferral(key, NOW, NOW + 300) for key in of_one_pair(40)]
    assert work.compare(near) == near[-ends.OTHERS :]
    assert work.compare(near)
    assert work.done
    assert not work.compare(near)


def test_a_step_that_has_much_to_compare_ends_early_and_leaves_nobody_out(
    tmp_path: Path,
) -> None:
    """T36: so all are classed by what is near them, and none in a step that takes long."""
    with closing(SqliteStore(str(tmp_path / "greylag.db"))) as store:
        assert max(_expire_all(store)) <= ends.MOST_OF_STEP / ends.OTHERS + ends.OTHERS


def test_a_step_whose_time_is_over_ends_and_leaves_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T36: however slow the disk is, or busy the machine, a step ends some records."""
    monkeypatch.setattr(remembering, "STEP_SECONDS", 0.0)
    with closing(SqliteStore(str(tmp_path / "greylag.db"))) as store:
        assert max(_expire_all(store)) == remembering.FEWEST


def test_a_step_of_mysql_ends_a_part_and_leaves_nobody_out(database: Database) -> None:
    """T36: what a step sends is done before its time can be looked at: so it sends less."""
    with closing(open_store(database.url, timeout=4)) as store:
        assert max(_expire_all(store)) <= STEP / 3


def _expire_all(store: Store) -> list[int]:
    """Let records expire, step by step; return how many ended in each step."""
    keys = of_one_pair(STEP)
    alive = Triplet(bytes((20, 0, 7, 0)), "alive@example.org", "b@example.net")
    defer(store, keys)
    store.apply([Created(alive, NOW + 900, NOW + 1200, NOW + 9000)], {}, NOW + 900)
    ended: list[int] = []
    waiting, after = 0, None
    while not ended or after is not None:
        page = store.expire(NOW + 1000, STEP, after)
        after = page.after
        ended.append(page.stopped)
        waiting += page.waiting
    assert len(ended) > 1
    assert (sum(ended), waiting) == (STEP, 1)
    assert sum(hour.get(STOPPED, 0) for hour in store.figures(0, NOW + 9999).values()) == STEP
    return ended
