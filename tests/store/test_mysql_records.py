"""What stands under a name has a table of its own in MySQL: greylag_records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pymysql
import pytest

from greylag.core.identity import Pool, PoolKind
from greylag.core.record import Blocked, Change, Created, Noted, Passed, Record
from greylag.core.triplet import Triplet, sent_of, trapped_of, trust_of
from greylag.core.value import replace
from greylag.service.conflict import Tries
from greylag.store import open_store
from greylag.store.base import NAMES, Filter, Store, StoreConflict
from tests.servers.mariadb import USER, Database

NOW = 1_750_000_000
POOL = Pool(PoolKind.SPF, "pool.example.org").packed
NET = Triplet(b"\xc0\0\2\0", "a@example.org", "b@example.net")
NAMED = [
    replace(NET, network=POOL),
    trust_of(POOL, ""),
    trapped_of(b"\xc0\0\2\1"),
    sent_of("a@example.org", "b@example.net"),
]
OLD_TABLES = ["greylisting_data", "greylisting_lists"]
ADD = """INSERT INTO greylag_records (identity, sender, recipient, first_seen, defer_until,
    expires, blocked, passed) VALUES """


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened


def born(*keys: Triplet) -> list[Change]:
    return [Created(key, NOW, NOW + 300, NOW + 9000) for key in keys]


def keep(store: Store, keys: list[Triplet]) -> None:
    """Do as the daemon does with a batch of first contacts."""
    with store.transaction():
        store.load(keys)
        store.apply(born(*keys), {"deferred": len(keys)}, NOW)


def counted(database: Database, name: str, call: Callable[[], object]) -> int:
    """Return how much a counter of the server grew by a call, but for the asking."""

    def number() -> int:
        return int(str(database.rows(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1]))

    number()
    before = number()
    nothing = number() - before
    before = number()
    call()
    return number() - before - nothing


def test_nothing_under_a_name_is_in_the_old_tables(store: Store, database: Database) -> None:
    keep(store, [NET, *NAMED])
    store.apply([Noted(key, NOW, NOW + 9999) for key in NAMED], {}, NOW)
    assert database.rows("SELECT LENGTH(relay_ip) FROM greylisting_data") == ((4,),)
    assert len(database.rows("SELECT 1 FROM greylag_records")) == len(NAMED)
    assert database.rows("SELECT COUNT(*) FROM greylisting_lists") == ((0,),)


def test_a_batch_with_names_is_two_statements_more(store: Store, database: Database) -> None:
    """And none of them is a trip of its own: what is asked goes together, and what is written."""
    nets = [replace(NET, sender=f"{n}@example.org") for n in range(20)]
    names = [replace(key, sender=f"{n}@example.org") for n in range(5) for key in NAMED]
    assert counted(database, "Questions", partial(keep, store, nets)) == 6
    assert counted(database, "Questions", partial(keep, store, names + nets)) <= 6 + 2
    assert len(store.load(names)) == len(names)


def test_networks_alone_cost_no_trip_for_names(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[str] = []
    query = pymysql.cursors.Cursor.execute

    def counting(cursor: Any, text: str, arguments: Any = None) -> int:
        trips.append(text)
        return query(cursor, text, arguments)

    monkeypatch.setattr(pymysql.cursors.Cursor, "execute", counting)
    keep(store, [NET])
    assert len(trips) == 2
    assert not any("greylag_records" in text for text in trips)
    trips.clear()
    keep(store, [replace(NET, sender="c@example.org"), *NAMED])
    assert len(trips) == 2


def test_a_look_up_reads_few_rows_however_many_there_are(store: Store, database: Database) -> None:
    many = [sent_of(f"a{n}@example.org", f"b{n % 7}@example.net") for n in range(2000)]
    store.apply([Noted(key, NOW, NOW + 9999) for key in many], {}, NOW)
    store.apply([Noted(key, NOW, NOW + 9999) for key in NAMED], {}, NOW)
    wanted = [many[3], many[77], NAMED[0], sent_of("no@example.org", "b1@example.net")]
    assert counted(database, "Handler_read_next", lambda: store.load(wanted)) < 20
    assert counted(database, "Handler_read_rnd_next", lambda: store.load(wanted)) < 20
    few = database.rows("SELECT COUNT(*) FROM greylag_records")
    assert few == ((2004,),)


@pytest.mark.parametrize("tables", [["*"], OLD_TABLES])
def test_without_the_table_all_else_works_and_it_is_told_once_t10(
    database: Database, tables: list[str]
) -> None:
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", tables)
    with closing(open_store(database.url, timeout=4)) as store:
        assert store.warning() is None  # nobody missed it yet
        keep(store, [NET, *NAMED])
        assert store.load([NET, *NAMED]).keys() == {NET}
        store.apply([Noted(key, NOW, NOW + 9999) for key in NAMED], {}, NOW)
        store.merge({NAMED[0]: Record(NOW, NOW, NOW + 9)})
        assert store.load(NAMED) == {}
        assert store.forget([NET, *NAMED], NOW) == 1
        assert [key for key, _ in store.search(Filter(), 9)] == []
        assert store.expire(NOW, 9).after is None
        assert store.trim(9, NOW) == 0
        assert "greylag db init --print" in (store.warning() or "")
        assert store.warning() is None
        assert store.lacks(NAMES) is not None
    with database.server.connect() as root:
        root.execute(f"GRANT ALL ON {database.name}.* TO {USER}@localhost")
    with closing(open_store(database.url, timeout=4)) as store:  # which makes it
        keep(store, NAMED)
        assert store.load(NAMED).keys() == set(NAMED)
        assert store.lacks(NAMES) is store.warning() is None


def test_waiting_pools_are_room_and_go_with_the_others_t6(store: Store) -> None:
    """Each table loses as many as it has more: a few of pools are not all that goes."""
    nets = [replace(NET, sender=f"{n}@example.org") for n in range(1000)]
    pools = [replace(NAMED[0], sender=f"{n}@example.org") for n in range(200)]
    keep(store, nets + pools)
    store.apply([Noted(key, NOW, NOW + 9999) for key in NAMED[1:]], {}, NOW)
    assert store.expire(NOW, 5000).waiting == 1200
    gone = 0
    for _ in range(60):
        gone += store.trim(10, NOW)
    left_nets, left_pools = len(store.load(nets)), len(store.load(pools))
    assert gone == 1200 - left_nets - left_pools > 500
    assert 20 < 200 - left_pools < 250
    assert len(store.load(NAMED[1:])) == len(NAMED) - 1
    for _ in range(300):
        gone += store.trim(10, NOW)
    assert store.load(nets) == store.load(pools) == {}
    assert gone == 1200


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_expiry_walks_over_both_tables(store: Store, limit: int) -> None:
    keys = [replace(NET, sender=f"{n}@example.org") for n in range(3)] + NAMED
    store.apply([Created(key, NOW, NOW, NOW + 50) for key in keys], {}, NOW)
    store.apply([Noted(NAMED[1], NOW, NOW + 500)], {}, NOW)
    after, stopped, waiting, steps = None, 0, 0, 0
    while steps == 0 or after is not None:
        page = store.expire(NOW + 50, limit, after)
        after, stopped, steps = page.after, stopped + page.stopped, steps + 1
        waiting += page.waiting
    assert (stopped, waiting) == (3, 0)
    assert steps == -(-len(keys) // limit)
    assert store.load(keys).keys() == {NAMED[1]}
    figures = store.figures(0, NOW + 99)[NOW - NOW % 3600]
    assert figures == {"fate:stopped": 3, "never:unknown": 3}


def test_planted_rows_are_nobodys_records(store: Store, database: Database) -> None:
    """A row of a network has its table; text that is no ASCII is no key. No count goes round."""
    highest = 2**63 - 1
    rows = [
        f"(UNHEX('C0000200'), 'a@example.org', 'b@example.net', 0, 0, {highest}, 0, 9)",
        f"(UNHEX('{'20' * 16}'), '', '', 0, 0, {highest}, 0, 9)",
        f"(UNHEX('{POOL.hex()}'), UNHEX('FF'), '', 0, 0, {highest}, 0, 9)",
        f"(UNHEX('{POOL.hex()}'), '', '\\\\trusted', -{highest}, 0, {highest}, 0, {highest})",
    ]
    with database.server.connect(database.name) as cursor:
        cursor.execute(ADD + ",".join(rows))
    assert store.load([NET]) == {}
    assert [key for key, _ in store.search(Filter(), 9)] == [NAMED[1]]
    store.apply([Noted(NAMED[1], NOW, NOW + 9), Blocked(NAMED[1])], {}, NOW)
    store.apply([Passed(NAMED[1], NOW + 9, 7)], {}, NOW)
    assert store.load([NAMED[1]])[NAMED[1]].passed == highest
    assert store.expire(NOW, 9).after is None
    assert len(database.rows("SELECT 1 FROM greylag_records")) == 4


@pytest.mark.parametrize("tables", [["*"], [*OLD_TABLES, "greylag_records"]])
def test_no_count_is_lost_between_writers_p9(database: Database, tables: list[str]) -> None:
    """Nor where they take turns at the old table's first row."""
    open_store(database.url, timeout=4).close()
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", tables)
    writers, rounds = 4, 25
    together = threading.Barrier(writers)

    def write(store: Store) -> None:
        for number in range(rounds):
            together.wait(20)
            tries = Tries()
            while True:
                try:
                    store.apply([Noted(NAMED[0], NOW, NOW + 9999 + number)], {}, NOW)
                    break
                except StoreConflict as conflict:
                    tries.lost(conflict)

    with ExitStack() as stack:
        stores = [
            stack.enter_context(closing(open_store(database.url, timeout=4)))
            for _ in range(writers)
        ]
        with ThreadPoolExecutor(writers) as pool:
            for done in [pool.submit(write, store) for store in stores]:
                done.result()
        found = stores[0].load(NAMED[:1])[NAMED[0]]
        assert found == Record(NOW, NOW, NOW + 9999 + rounds - 1, passed=writers * rounds)
    assert len(database.rows("SELECT 1 FROM greylag_records")) == 1


def test_names_that_differ_in_a_byte_are_keys_of_their_own(store: Store) -> None:
    short, blank = Pool(PoolKind.SPF, "a.example").packed, b"a.example "
    keys = [
        Triplet(short, "a@example.org", "b@example.net"),
        Triplet(short, "A@example.org", "b@example.net"),
        Triplet(short, "a@example.org ", "b@example.net"),
        Triplet(short + b"\0", "a@example.org", "b@example.net"),
        Triplet(b"\1" + blank.ljust(17, b"\0"), "a@example.org", "b@example.net"),
    ]
    keep(store, keys)
    store.apply([Noted(key, NOW, NOW + 9999, n) for n, key in enumerate(keys, 1)], {}, NOW)
    assert {key: one.passed for key, one in store.load(keys).items()} == {
        key: n for n, key in enumerate(keys, 1)
    }


def test_names_that_are_text_are_nobodys_t46(store: Store, database: Database) -> None:
    """Of a column that somebody gave another type: `greylag search` ended with an error of ours."""
    keep(store, NAMED)
    database.rows("ALTER TABLE greylag_records MODIFY identity VARCHAR(300) NOT NULL DEFAULT ''")
    with closing(open_store(database.url, timeout=4)) as opened:
        assert list(opened.search(Filter(), 10)) == []
        assert opened.expire(NOW, 10).waiting == 0
        assert opened.load(NAMED) == {}
