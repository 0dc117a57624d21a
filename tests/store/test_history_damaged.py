"""A damaged history costs no record and no answer: records are removed without it (SQLite)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.client import network, parse_address
from greylag.core.history import Begun, Deferral
from greylag.core.record import Created, Passed
from greylag.core.triplet import Triplet
from greylag.store.base import StoreError
from greylag.store.sqlite.store import SqliteStore

NOW = 1_800_000_000
WINDOW = 172_800
RECORDS = 40
LATER = NOW + WINDOW + 1


def key(number: int) -> Triplet:
    packed = parse_address(f"192.0.{number}.1".encode()) or b""
    return Triplet(network(packed, 24), f"sender{number}@example.org", "user@example.net")


def damage(path: Path, name: str) -> None:
    """Overwrite the root page of a table or an index."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
        size = db.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page[0] - 1) * size)
        file.write(b"\xff" * size)


@pytest.fixture(params=["deferrals", "deferrals_short"])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    """Return a store of records that wait, with a history that is damaged."""
    path = tmp_path / "greylag.db"
    with closing(SqliteStore(str(path))) as store:
        for number in range(RECORDS):
            made = Created(key(number), NOW, NOW + 300, NOW + WINDOW)
            store.apply([made], {}, NOW)
            store.remember([Begun(Deferral(key(number), NOW, NOW + 300))], NOW)
    damage(path, request.param)
    with closing(SqliteStore(str(path))) as store:
        yield store


def figures(store: SqliteStore) -> dict[str, int]:
    total: dict[str, int] = {}
    for hour in store.figures(0, 1 << 40).values():
        for name, number in hour.items():
            total[name] = total.get(name, 0) + number
    return total


def test_what_has_expired_is_removed_and_counted(damaged: SqliteStore) -> None:
    page = damaged.expire(LATER, 500)
    assert page.stopped == RECORDS
    assert damaged.load([key(number) for number in range(RECORDS)]) == {}
    found = figures(damaged)
    assert found["fate:stopped"] == RECORDS
    assert sum(n for name, n in found.items() if name.startswith("never:")) == RECORDS
    assert "damaged" in (damaged.warning() or "")


def test_records_make_room_and_are_forgotten(damaged: SqliteStore) -> None:
    gone = damaged.trim(10, NOW)  # about every second one of those it looks at
    assert gone
    left = [key(n) for n in range(RECORDS) if damaged.load([key(n)])]
    assert damaged.forget(left[:5], NOW) == 5
    assert len(left) == RECORDS - gone


def test_mail_is_answered_as_before(damaged: SqliteStore) -> None:
    damaged.apply([Created(key(0), LATER, LATER + 300, LATER + WINDOW)], {}, LATER)
    assert damaged.load([key(0)])[key(0)].first_seen == LATER
    damaged.apply([Passed(key(0), LATER + 999_999)], {}, LATER + 400)
    assert damaged.load([key(0)])[key(0)].passed == 1


def test_inside_a_transaction_the_caller_is_told_and_the_next_try_succeeds(
    damaged: SqliteStore,
) -> None:
    """As when a batch is cut in halves: nothing of the first try is left."""
    dead = Created(key(1), LATER, LATER + 300, LATER + WINDOW)

    def write() -> None:
        with damaged.transaction():
            damaged.apply([dead], {"defer:new": 1}, LATER)

    with pytest.raises(StoreError):
        write()
    write()
    assert damaged.load([key(1)])[key(1)].first_seen == LATER
    assert figures(damaged)["defer:new"] == 1
