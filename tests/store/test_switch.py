"""The switch in the stores that keep one, and in those that do not."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from greylag.core.policy import Greylist
from greylag.core.switch import Switch
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store import open_store
from greylag.store.base import LISTS, RECIPIENTS, SWITCH, TABLES, Glance, Store, StoreError
from greylag.store.mysql import sql
from tests.servers.mariadb import Database, MariaDb

NOW = 1_700_000_000
OFF = Switch(Greylist.OFF, NOW + 60, NOW, "alice")
OBSERVE = Switch(Greylist.OBSERVE, since=NOW + 1, who="o'bob \\ \u00fc%s")
needs = pytest.mark.needs


@needs(SWITCH)
def test_it_is_kept_replaced_and_removed(store: Store) -> None:
    assert store.lacks(SWITCH) is None
    assert store.switch() is None
    store.set_switch(None)
    for switch in (OFF, OBSERVE, OFF, replace(OFF, until=NOW - 1), None):
        store.set_switch(switch)
        assert store.switch() == switch
        assert store.glance() == Glance(store.removals(), switch)


@needs(SWITCH, LISTS, RECIPIENTS)
def test_it_is_read_in_a_transaction_and_stays_out_of_all_else(store: Store) -> None:
    generation = store.generation()
    with store.transaction():
        store.set_switch(OFF)
        assert store.switch() == OFF
    assert store.generation() == generation
    assert store.figures(0, 1 << 40) == {}
    store.forget([Triplet(bytes(4), "a@example.org", "b@example.net")], NOW)
    glance = store.glance()
    assert glance == Glance(store.removals(), OFF)
    assert glance.removals


@needs(SWITCH, TABLES)
def test_what_fails_inside_a_transaction_leaves_the_switch_of_before(store: Store) -> None:
    store.set_switch(OFF)
    with suppress(ZeroDivisionError), store.transaction():
        store.set_switch(OBSERVE)
        raise ZeroDivisionError
    assert store.switch() == OFF


def test_a_tree_says_that_it_has_no_place_for_one(tmp_path: Path) -> None:
    with closing(open_store(f"tree://{tmp_path}", timeout=1)) as store:
        assert store.switch() is None
        assert store.glance() == Glance(None, None)
        why = store.lacks(SWITCH)
        assert why is not None
        with pytest.raises(StoreError, match="has no place for the switch"):
            store.set_switch(OFF)


def test_another_process_sees_it(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/greylag.db"
    with closing(open_store(url, timeout=4)) as one, closing(open_store(url, timeout=4)) as other:
        one.set_switch(OFF)
        assert other.switch() == OFF
        other.set_switch(None)
        assert one.switch() is None


def test_rows_that_nobody_of_greylag_wrote_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "greylag.db"
    with closing(open_store(f"sqlite://{path}", timeout=4)) as store:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("INSERT INTO state VALUES ('switch:all:1:x', 9), ('switch', 9)")
        assert store.switch() is None
        store.set_switch(OFF)
        assert store.switch() == OFF
        store.set_switch(None)
        assert store.switch() is None


def test_mysql_without_the_table_goes_by_the_settings_and_says_what_to_do(
    database: Database,
) -> None:
    rights = "SELECT, INSERT, UPDATE, DELETE"
    database.grant_only(rights, ("greylisting_lists", "greylisting_data"))
    with closing(open_store(database.url, timeout=4)) as store:
        assert store.lacks(SWITCH) is not None
        assert store.switch() is None
        assert store.glance() == Glance(None, None)
        with pytest.raises(StoreError, match="greylag db init"):
            store.set_switch(OFF)


def test_mysql_keeps_it_in_a_table_that_is_there_already(database: Database) -> None:
    """So nothing has to be made before it can be used."""
    with closing(open_store(database.url, timeout=4)) as store:
        store.set_switch(OFF)
    rows = database.rows("SELECT hour, name, number FROM greylag_figures WHERE name LIKE 'switch%'")
    assert rows == ((-1, f"switch:off:{NOW}:alice", NOW + 60),)


def test_mysql_reads_it_by_the_key_however_many_figures_there_are(
    mariadb: MariaDb, database: Database
) -> None:
    """A daemon does so once a second."""
    with closing(open_store(database.url, timeout=4)) as store:
        store.set_switch(OFF)
    with mariadb.connect(database.name) as cursor:
        cursor.execute(
            "INSERT INTO greylag_figures SELECT 1600000000 + 3600 * (seq DIV 40),"
            " CONCAT('name', seq MOD 40), 1 FROM seq_1_to_20000"
        )
        cursor.execute("ANALYZE TABLE greylag_figures")
        cursor.fetchall()
        for statement in (sql.GLANCE, sql.SWITCH):
            cursor.execute(f"EXPLAIN {statement}")
            ((_, _, _, how, _, key, _, _, rows, _),) = cursor.fetchall()
            assert (how, key) == ("range", "PRIMARY")
            assert int(rows) < 10
