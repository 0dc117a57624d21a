"""The history in MySQL: what it costs, who may not write it, what nobody of ours wrote in it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pymysql
import pytest

from greylag.core.history import Action, Begun, By, Deferral, Ended, Event, Outcome, Sought, Tried
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import Kept
from greylag.core.record import Created
from greylag.core.shortid import last_of_pair, pair_id
from greylag.core.tallies import DAY
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.service.collecting import Collector
from greylag.service.conflict import Tries
from greylag.store import open_store
from greylag.store.base import (
    HISTORY,
    Store,
    StoreConflict,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from greylag.store.mysql import history, historysql
from tests.servers.mariadb import USER, Database

NOW = 1_750_000_000
KEY = Triplet(b"\xc0\0\2\0", "a@example.org", "b@example.net")
POOL = Pool(PoolKind.SPF, "example.org").packed
TABLES = ("greylag_deferrals", "greylag_tallies", "greylag_days", "greylag_actions")
ANY = Sought()
HIGHEST = 2**63 - 1
WRITERS, ROUNDS = 4, 25


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened


def began(key: Triplet = KEY, at: int = NOW, pool: bytes = b"") -> Begun:
    return Begun(Deferral(key, at, at + 300, pool=pool))


def key(number: int) -> Triplet:
    """Return one of many triplets of many pairs."""
    return replace(KEY, sender=f"a@{number}.example.org", recipient=f"{number % 9}@example.net")


def counted(database: Database, name: str, call: Callable[[], object]) -> int:
    """Return by how much a counter of the whole server rises; nobody else uses it meanwhile."""

    def read() -> int:
        rows = database.rows(f"SHOW GLOBAL STATUS LIKE '{name}'")
        return sum(int(str(number)) for _name, number in rows)

    before = read()
    call()
    return read() - before


def outcomes(store: Store) -> list[Outcome]:
    return [one.outcome for one in store.deferrals(ANY, 1000).deferrals]


def test_many_events_are_a_handful_of_statements_whatever_their_number(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[str] = []
    execute = pymysql.cursors.Cursor.execute

    def counting(cursor: pymysql.cursors.Cursor, statement: str, arguments: object = None) -> int:
        trips.append(statement)
        return execute(cursor, statement, arguments)

    store.remember([began(key(n)) for n in range(50)], NOW)
    events: list[Event] = [Tried(key(n), NOW + 60) for n in range(25)]
    events += [Ended(key(n), NOW + 400, Outcome.PASSED) for n in range(25)]
    events += [began(key(n)) for n in range(50, 60)]
    monkeypatch.setattr(pymysql.cursors.Cursor, "execute", counting)
    store.remember(events, NOW)
    # To read ids, rows and figures of the day, to write, to commit. One more begins.
    assert len(trips) <= 6
    assert len(";\n".join(trips).split(";\n")) <= 14
    monkeypatch.undo()
    assert outcomes(store).count(Outcome.PASSED) == 25


def test_a_look_up_reads_few_rows_however_many_there_are(store: Store, database: Database) -> None:
    for part in range(8):
        store.remember([began(key(part * 500 + n), pool=POOL) for n in range(500)], NOW)
    database.rows("ANALYZE TABLE greylag_deferrals")
    pooled = replace(key(99), network=POOL)
    events: list[Event] = [Tried(key(77), NOW + 60), Ended(pooled, NOW + 400, Outcome.PASSED)]
    pair = pair_id(KEY.sender, KEY.recipient)
    calls: list[Callable[[], object]] = [
        lambda: store.remember(events, NOW),
        lambda: store.deferrals(Sought(first_id=pair, last_id=last_of_pair(pair)), 100),
        lambda: store.deferrals(ANY, 20),
        lambda: store.forget_history(Kept(NOW, 10_000), NOW, 10),
    ]
    for call in calls:
        assert counted(database, "Handler_read%", call) < 300
    assert [one.tries for one in store.deferrals(Sought(sender="@77."), 9999).deferrals] == [1]
    assert len(store.deferrals(ANY, 9999).deferrals) == 4000


def test_a_crowd_with_one_id_is_walked_past_t36(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can make many triplets that share one id: their number costs little."""
    store.remember([began(), began(key(1)), began(key(2), pool=POOL)], NOW)
    crowd = "REPEAT('x', 9), first_seen, defer_until, client, name, signs, pool, tries, first_try"
    columns = (
        "short, network, sender, recipient, first_seen, defer_until, client, name, signs,"
        " pool, tries, first_try, last_try, outcome, ended, released"
    )
    copied = f"SELECT short, network, sender, {crowd}, last_try, outcome, ended, released"
    for _ in range(9):
        database.rows(f"INSERT INTO greylag_deferrals ({columns}) {copied} FROM greylag_deferrals")
    monkeypatch.setattr(historysql, "MOST_NUMBERS", 300)
    monkeypatch.setitem(
        historysql.NUMBERS,
        3,
        historysql.NUMBERS[3].replace("LIMIT 2000", "LIMIT 300"),
    )
    store.remember([began(), began(key(1)), began(key(2), pool=POOL)], NOW)
    events: list[Event] = [
        Tried(KEY, NOW + 60),
        Tried(key(1), NOW + 60),
        Tried(replace(key(2), network=POOL), NOW + 60),
    ]
    assert counted(database, "Handler_read%", lambda: store.remember(events, NOW)) < 4000
    found = store.deferrals(Sought(sender="@"), 9999).deferrals
    assert {one.triplet for one in found if one.tries} >= {KEY, key(1)}
    monkeypatch.setattr(history, "MOST_OF_IDS", 100)
    pair = Sought(first_id=found[0].id, last_id=found[0].id)
    assert len(store.deferrals(pair, 10).deferrals) < 10


@pytest.mark.parametrize("rights", ["SELECT, INSERT, UPDATE, DELETE", "SELECT"])
def test_without_its_tables_or_rights_to_them_all_else_works_and_it_is_told_once_t10(
    database: Database, rights: str
) -> None:
    """An old installation whose account may make no table; one that may read what an admin made."""
    if rights == "SELECT":
        open_store(database.url, timeout=4).close()
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", ["greylisting_data", "greylisting_lists"])
    if rights == "SELECT":
        with database.server.connect() as root:
            for table in TABLES:
                root.execute(f"GRANT SELECT ON {database.name}.{table} TO {USER}@localhost")
    with closing(open_store(database.url, timeout=4)) as store:
        if rights == "SELECT":  # it is told when it fails, once
            with pytest.raises(StoreError, match="greylag_deferrals"):
                store.remember([began()], NOW)
        assert "greylag db init" in (store.lacks(HISTORY) or "")
        with store.transaction():
            store.apply([Created(KEY, NOW, NOW + 300, NOW + 9000)], {}, NOW)
            with pytest.raises(StoreError) as error:
                store.remember([began()], NOW)
        assert not isinstance(error.value, StoreUnavailable)
        assert store.load([KEY])
        with pytest.raises(StoreError):
            store.note_action(Action(NOW, "admin", "allow", "192.0.2.1"))
        assert store.deferrals(ANY, 9).deferrals == []
        assert store.actions(9) == []
        assert store.tallies(0, NOW, By.NETWORK, 9) == {}
        assert store.forget_history(Kept(1, 9), NOW + 1, 9) == 0
        assert store.expire(NOW + 9000, 99).stopped == 1
    with database.server.connect() as root:
        root.execute(f"GRANT ALL ON {database.name}.* TO {USER}@localhost")
    with closing(open_store(database.url, timeout=4)) as store:  # which makes them
        assert store.lacks(HISTORY) is None
        store.remember([began()], NOW)
        assert outcomes(store) == [Outcome.WAITING]


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE greylag_days",
        "ALTER TABLE greylag_deferrals DROP COLUMN signs",
        "ALTER TABLE greylag_deferrals ADD COLUMN extra INT NOT NULL",
        "ALTER TABLE greylag_deferrals DROP INDEX short",
    ],
)
@pytest.mark.parametrize("first", ["remember", "expire", "forget", "apply"])
def test_a_table_that_is_damaged_while_we_run_ends_the_history_alone(
    store: Store, database: Database, damage: str, first: str
) -> None:
    store.remember([began()], NOW)
    store.apply([Created(KEY, NOW, NOW + 300, NOW + 9000)], {}, NOW)
    with database.server.connect(database.name) as root:
        root.execute(damage)
    later = NOW + 9000
    if first == "remember":
        with pytest.raises(StoreError) as error:
            store.remember([began(), Tried(KEY, NOW)], NOW)
        assert not isinstance(error.value, StoreUnavailable)
        assert "greylag_deferrals" in (store.lacks(HISTORY) or "")
    if first == "forget":
        assert store.forget([KEY], NOW) == 1
    elif first == "apply":
        store.apply([Created(KEY, later, later + 300, later + 9000)], {}, later)
        assert store.load([KEY])[KEY].first_seen == later
    else:
        assert store.expire(later, 99).stopped == 1
    store.apply([Created(key(1), NOW, NOW + 300, NOW + 9000)], {}, NOW)
    assert store.load([key(1)])
    figures: Counter[str] = Counter()
    for hour in store.figures(0, 2 * NOW).values():
        figures.update(hour)
    assert figures["fate:stopped"] == figures["never:unknown"] == (first != "forget")


def test_a_daemon_that_loses_a_table_says_so_once(store: Store, database: Database) -> None:
    seconds = iter(range(0, 9000, 100))
    collector = Collector(Kept(), stopwatch=lambda: next(seconds))
    collector.opened(store)
    with database.server.connect(database.name) as root:
        root.execute("DROP TABLE greylag_deferrals")
    collector.counted([(KEY, 1)])
    assert collector.due()
    assert collector.step(store)
    assert "greylag_deferrals" in (collector.take_error() or "")
    collector.counted([(KEY, 1)])
    assert not collector.due()
    assert collector.take_error() is None


def test_a_row_that_is_refused_keeps_no_record_from_being_removed(
    store: Store, database: Database
) -> None:
    store.remember([began(), began(key(1))], NOW)
    store.apply([Created(KEY, NOW, NOW + 300, NOW + 9000)], {}, NOW)
    with database.server.connect(database.name) as root:
        root.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON greylag_deferrals FOR EACH ROW"
            " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'"
        )
    with pytest.raises(StoreRefused):
        store.remember([Tried(KEY, NOW)], NOW)
    assert store.expire(NOW + 9000, 99).stopped == 1
    assert store.load([KEY]) == {}
    assert store.lacks(HISTORY) is None
    store.remember([began(key(2))], NOW)
    assert len(outcomes(store)) == 3


def test_gaps_between_ids_take_no_room(store: Store, database: Database) -> None:
    """Nodes of a cluster leave some, and so does every insert that fails."""
    with database.server.connect(database.name) as root:
        root.execute("SET GLOBAL auto_increment_increment = 7")
    try:
        with closing(open_store(database.url, timeout=4)) as gapped:
            gapped.remember([began(key(n), NOW + n) for n in range(100)], NOW)
            assert gapped.forget_history(Kept(NOW, 100), NOW, 30) == 0
            assert gapped.forget_history(Kept(NOW, 90), NOW, 30) == 10
            assert gapped.forget_history(Kept(NOW, 90), NOW, 30) == 0
    finally:
        with database.server.connect(database.name) as root:
            root.execute("SET GLOBAL auto_increment_increment = 1")
    kept = store.deferrals(ANY, 1000).deferrals
    assert [one.first_seen for one in kept] == [NOW + n for n in reversed(range(10, 100))]


def test_planted_rows_hide_nothing_and_stop_nothing_t46(store: Store, database: Database) -> None:
    store.remember([began(), began(key(1))], NOW)
    store.note_action(Action(NOW, "admin", "allow", "192.0.2.1"))
    short = store.deferrals(ANY, 9).deferrals[-1].id
    columns = (
        "short, network, sender, recipient, first_seen, defer_until, client, name, signs,"
        " pool, tries, first_try, last_try, outcome, ended, released"
    )
    bad = [
        "UNHEX('C0'), 'a@example.org', 'b@example.net', 0, 0, '', '', '', '', 0, 0, 0, 'waiting'",
        "UNHEX('C0000200'), UNHEX('FF'), '', 0, 0, '', '', '', '', 0, 0, 0, 'waiting'",
        "UNHEX('C0000200'), 'a@example.org', 'b@example.net', 0, 0, '', '', '', '', 0, 0, 0, 'x'",
        f"UNHEX('C0000201'), '', '', -9, {HIGHEST}, 'x', '', '', 'y', {HIGHEST}, 0, 0, 'waiting'",
    ]
    values = ", ".join(f"({short}, {row}, 0, {HIGHEST})" for row in bad)
    day = NOW - NOW % DAY
    most = ", ".join([str(HIGHEST)] * 5)
    with database.server.connect(database.name) as root:
        root.execute(f"INSERT INTO greylag_deferrals ({columns}) VALUES {values}")
        root.execute(
            f"INSERT INTO greylag_tallies VALUES ('network', {day}, 1, UNHEX('FF'), {most}),"
            f" ('network', {day}, 9, '192.0.2.0', {most}), ('x', -{HIGHEST}, -1, '', {most})"
        )
        root.execute(f"UPDATE greylag_tallies SET passed = {HIGHEST} WHERE kind = 'recipient'")
        root.execute(f"INSERT INTO greylag_days VALUES ('network', -5, 1, {HIGHEST})")
        root.execute(f"INSERT INTO greylag_actions VALUES (0, -{HIGHEST}, '', '', UNHEX('00'))")
    assert [one.triplet for one in store.deferrals(ANY, 99).deferrals] == [key(1), KEY]
    store.remember([Ended(KEY, NOW + 400, Outcome.PASSED), Tried(KEY, NOW)], NOW)
    assert outcomes(store)[-1] is Outcome.PASSED
    for by in By:
        found = store.tallies(0, NOW + DAY, by, 9)
        assert all(
            abs(number) <= HIGHEST
            for tally in found.values()
            for number in (tally.deferred, tally.passed)
        )
    assert len(store.actions(9)) == 2
    for _ in range(99):
        if not store.forget_history(Kept(1, 1000), NOW - DAY + 1, 2):
            break
    else:
        raise AssertionError("it never ends")
    assert len(outcomes(store)) >= 2


@pytest.mark.parametrize("client", [b"\xc0\0\2\x11", b"\xc0\0\2\0", b""])
@pytest.mark.parametrize("network", [b"\xc0\0\2\0", b"\xc0\0\2\x11"])
def test_rows_with_a_whole_address_end_the_deferral_of_its_network(
    store: Store, client: bytes, network: bytes
) -> None:
    """As the old program writes them; under a longer prefix the address is the network."""
    expired, evicted, thinned, forgotten, replaced = (
        replace(KEY, network=network, recipient=f"{number}@example.net") for number in range(5)
    )

    def create(one: Triplet, at: int) -> None:
        store.apply([Created(one, at, at + 300, at + 1000, client)], {}, at)
        store.remember([began(one, at)], at)

    for one in (expired, replaced):
        create(one, NOW)
    create(replaced, NOW + 1000)
    assert store.expire(NOW + 1000, 99).stopped == 1
    store.forget([replaced], NOW)
    create(evicted, NOW + 1000)
    assert sum(store.trim(9, NOW + 1000) for _ in range(20)) == 1
    create(thinned, NOW + 1000)
    given = {"look": 9, "part": 1.0, "now": NOW + 1000, "after": None}
    assert store.thin(network, passed=False, **given).gone == 1  # type: ignore[arg-type]
    create(forgotten, NOW + 1000)
    assert store.forget([forgotten], NOW) == 1
    found = {(d.triplet, d.first_seen): d.outcome for d in store.deferrals(ANY, 99).deferrals}
    assert found == {
        (expired, NOW): Outcome.UNKNOWN,
        (replaced, NOW): Outcome.UNKNOWN,
        (replaced, NOW + 1000): Outcome.FORGOTTEN,
        (evicted, NOW + 1000): Outcome.EVICTED,
        (thinned, NOW + 1000): Outcome.EVICTED,
        (forgotten, NOW + 1000): Outcome.FORGOTTEN,
    }


def test_a_step_of_the_expiry_is_a_handful_of_statements_whatever_it_ends(
    store: Store, database: Database
) -> None:
    keys = [key(n) for n in range(50)]
    store.apply([Created(one, NOW, NOW + 300, NOW + 1000) for one in keys], {}, NOW)
    store.remember([began(one) for one in keys], NOW)
    assert counted(database, "Questions", lambda: store.expire(NOW + 1000, 99)) <= 24
    assert set(outcomes(store)) == {Outcome.UNKNOWN}


@pytest.mark.parametrize("tables", [["*"], ["greylisting_data", "greylisting_lists", *TABLES]])
def test_no_try_is_lost_between_writers_p9(database: Database, tables: list[str]) -> None:
    """Nor where they take turns at the old table's first row, or there is not even that."""
    with closing(open_store(database.url, timeout=4)) as first:
        first.remember([began()], NOW)
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", tables)
    together = threading.Barrier(WRITERS)

    def write(store: Store, number: int) -> None:
        for part in range(ROUNDS):
            together.wait(20)
            tries = Tries()
            while True:
                try:
                    new = began(key(number * ROUNDS + part))
                    store.remember([Tried(KEY, NOW + 60), new], NOW)
                    break
                except StoreConflict as conflict:
                    tries.lost(conflict)

    with ExitStack() as stack:
        stores = [
            stack.enter_context(closing(open_store(database.url, timeout=4)))
            for _ in range(WRITERS)
        ]
        with ThreadPoolExecutor(WRITERS) as pool:
            for done in [pool.submit(write, one, number) for number, one in enumerate(stores)]:
                done.result()
        found = stores[0].deferrals(ANY, 1000).deferrals
        assert [one.tries for one in found if one.triplet == KEY] == [WRITERS * ROUNDS]
        assert len(found) == WRITERS * ROUNDS + 1
        tallies = stores[0].tallies(0, 2 * NOW, By.RECIPIENT_DOMAIN, 9)
        assert tallies["example.net"].deferred == WRITERS * ROUNDS + 1
    names = database.rows("SELECT names FROM greylag_days WHERE kind = 'sender-domain'")
    assert names == ((WRITERS * ROUNDS + 1,),)


def test_a_history_whose_times_mean_nothing_is_not_deleted_for_ever_t46(database: Database) -> None:
    """What is no time is too old for us, and not for the server: `greylag expire` never ended."""
    with closing(open_store(database.url, timeout=4)) as store:
        store.remember([Begun(Deferral(KEY, NOW, NOW + 300))], NOW)
        store.remember([Begun(Deferral(KEY, NOW, NOW + 300))], NOW + 2 * 86400)
        database.rows("ALTER TABLE greylag_deferrals MODIFY first_seen VARCHAR(20)")
        database.rows("UPDATE greylag_deferrals SET first_seen = '9999999999x'")
        database.rows("ALTER TABLE greylag_days MODIFY kind VARBINARY(20) NOT NULL DEFAULT ''")
        steps = 0
        while store.forget_history(Kept(1, 1000), NOW + 86400 + 1, 100):
            steps += 1
            assert steps < 50
