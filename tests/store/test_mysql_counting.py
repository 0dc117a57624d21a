"""How many records there are, where a count would take long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from greylag.core.identity import Pool, PoolKind
from greylag.core.record import Created, Passed
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import Store, StoreConflict
from greylag.store.mysql import sql
from tests.servers.mariadb import Database

NOW = 1_750_000_000
KEYS = [Triplet(b"\xc0\0\2\0", f"{n}@example.org", "b@example.net") for n in range(7)]
POOL = Pool(PoolKind.SPF, "example.org").packed


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        opened.apply([Created(key, NOW, NOW + 300, NOW + 9000) for key in KEYS], {}, NOW)
        opened.apply([Passed(key, NOW + 400, NOW + 9000) for key in KEYS[:2]], {}, NOW + 400)
        pooled = Triplet(POOL, "a@example.org", "b@example.net")
        opened.apply([Created(pooled, NOW, NOW + 300, NOW + 9000)], {}, NOW)
        yield opened


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a count take longer than it may."""
    slow = sql.COUNT_IN_TIME.replace("COALESCE(", "COALESCE(SLEEP(2) + ", 1).replace("0.4", "0.1")
    monkeypatch.setattr(sql, "COUNT_IN_TIME", slow)


def walk(store: Store, now: int, limit: int = 3) -> None:
    after = None
    while True:
        page = store.expire(now, limit, after)
        after = page.after
        if after is None:
            return


def test_what_can_be_counted_is_counted_now(store: Store) -> None:
    walk(store, NOW + 500)
    assert store.count_in_time(NOW + 600) == (5, 2, NOW + 600)


@pytest.mark.usefixtures("slow")
def test_else_it_is_what_the_last_walk_found_and_when(store: Store) -> None:
    walk(store, NOW + 500)
    store.forget(KEYS[:1], NOW + 550)
    assert store.count_in_time(NOW + 600) == (5, 2, NOW + 500)
    walk(store, NOW + 700)
    assert store.count_in_time(NOW + 800) == (5, 1, NOW + 700)
    assert store.count(NOW + 800) == (5, 1)


@pytest.mark.usefixtures("slow")
def test_before_any_walk_it_is_counted_however_long_that_takes(store: Store) -> None:
    assert store.count_in_time(NOW + 600) == (5, 2, NOW + 600)


@pytest.mark.usefixtures("slow")
def test_half_a_walk_tells_nothing(store: Store, database: Database) -> None:
    after = store.expire(NOW + 500, 3).after
    with closing(open_store(database.url, timeout=4)) as other:  # as after a failure
        while after is not None:
            after = other.expire(NOW + 500, 3, after).after
        assert other.count_in_time(NOW + 600) == (5, 2, NOW + 600)


@pytest.mark.usefixtures("slow")
def test_a_step_that_lost_is_counted_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    after = store.expire(NOW + 500, 3).after

    def lose(*_given: object, **_named: object) -> None:
        raise StoreConflict("another node was faster")

    with monkeypatch.context() as patch:
        patch.setattr(store._session, "end", lose)  # type: ignore[attr-defined]
        with pytest.raises(StoreConflict):
            store.expire(NOW + 500, 3, after)
    store._session._roll_back()  # type: ignore[attr-defined]
    while after is not None:
        after = store.expire(NOW + 500, 3, after).after
    assert store.count_in_time(NOW + 600) == (5, 2, NOW + 500)
