"""What is SQLite's own: its errors, its file, many writers, crashes."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from greylag.core.accessindex import AccessIndex
from greylag.core.accesslist import NEVER, Entry, Seen, last_word
from greylag.core.history import Action, Begun, By, Deferral, Ended, Outcome, Sought, Tried
from greylag.core.policy import Kept
from greylag.core.record import Blocked, Created
from greylag.core.subject import Domain, parse_subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store import open_store, without_password
from greylag.store.base import Filter, Store, StoreError, StoreRefused, StoreUnavailable
from greylag.store.sqlite import sql as sqlite_sql
from greylag.store.sqlite.store import SqliteStore

NOW = 1_700_000_000
KEY = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
SEEN = Seen(b"\xc0\x00\x02\x07", "example.net", "b@example.net", "a@example.org")
BORN = Created(KEY, NOW, NOW + 300, NOW + 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "greylag.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = SqliteStore(str(path))
    yield opened
    opened.close()


def test_durable_where_it_matters(store: Store, path: Path) -> None:
    """WAL, and what `apply` returned from can be read by another process's connection."""
    store.apply([BORN], {}, NOW)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("SELECT count(*) FROM records").fetchone() == (1,)
    assert isinstance(store, SqliteStore)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def synchronous(store: SqliteStore) -> int:
    return int(store._db.execute("PRAGMA synchronous").fetchone()[0])


def test_a_lazy_transaction_waits_for_no_disk_and_the_next_one_does(path: Path) -> None:
    full, normal = 2, 1
    with closing(SqliteStore(str(path))) as store:
        with store.transaction(lazy=True):
            assert synchronous(store) == normal
            store.apply([BORN], {}, NOW)
            with store.transaction():  # inside it is part of it
                pass
        assert synchronous(store) == full
        with store.transaction():
            assert synchronous(store) == full
        with pytest.raises(ZeroDivisionError), store.transaction(lazy=True):
            _ = 1 / 0
        assert synchronous(store) == full
        assert KEY in store.load([KEY])


def test_after_a_lazy_transaction_that_could_not_begin_the_next_waits_for_the_disk_p7(
    path: Path,
) -> None:
    with (
        closing(SqliteStore(str(path), timeout=0.05)) as store,
        closing(sqlite3.connect(path)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable), store.transaction(lazy=True):
            raise AssertionError
        assert synchronous(store) == 2
        other.close()


class Forgetful(sqlite3.Connection):
    """A connection that once finds no memory for what ends a lazy transaction."""

    fails = False

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if self.fails and sql == "PRAGMA synchronous = FULL":
            self.fails = False
            raise MemoryError
        return super().execute(sql, *args)


def test_a_lazy_transaction_that_ends_without_memory_makes_no_other_one_lazy_p7(path: Path) -> None:
    with closing(SqliteStore(str(path))) as store:
        store._db.close()
        store._db = forgetful = Forgetful(path, isolation_level=None)
        with pytest.raises(MemoryError), store.transaction(lazy=True):
            forgetful.fails = True
        with store.transaction():
            assert synchronous(store) == 2


def test_a_transaction_that_fails_leaves_the_state_before_p7(store: Store) -> None:
    store.apply([BORN], {"defer:new": 1}, NOW)

    def fail_in_the_middle() -> None:
        with store.transaction():
            store.apply([Blocked(KEY)], {"defer:early": 1}, NOW)
            assert store.load([KEY])[KEY].blocked == 2
            raise RuntimeError("mid")

    with pytest.raises(RuntimeError, match="mid"):
        fail_in_the_middle()
    assert store.load([KEY])[KEY].blocked == 1
    assert [*store.figures(0, NEVER).values()] == [{"defer:new": 1}]


class Short(sqlite3.Connection):
    """A connection that once finds no memory, when a transaction has just begun."""

    failed = True

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if self.in_transaction and "busy_timeout" in arguments[0] and not Short.failed:
            Short.failed = True
            raise MemoryError
        return super().execute(*arguments)


def test_a_transaction_that_hardly_began_is_ended_p7(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next would take itself for a part of it, and what it writes would be lost."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **b: connect(*a, **b, factory=Short))
    with closing(SqliteStore(str(path))) as short, closing(SqliteStore(str(path))) as other:
        Short.failed = False
        with pytest.raises(MemoryError):
            short.apply([BORN], {}, NOW)
        assert Short.failed
        short.apply([BORN], {}, NOW)
        assert other.load([KEY])


def test_the_files_are_for_owner_and_group_alone(store: Store, path: Path) -> None:
    """T9: who mails whom is nobody else's business, whatever the umask."""
    store.apply([BORN], {}, NOW)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o660, file


def test_the_umask_does_not_open_the_file(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        SqliteStore(str(tmp_path / "x.db")).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.db").stat().st_mode) == 0o660


def test_the_last_to_close_folds_the_log_in(store: Store, path: Path) -> None:
    store.apply([BORN], {}, NOW)
    store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def missing_folder(path: Path) -> Path:
    return path.parent / "missing" / "x.db"


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def below_a_file(path: Path) -> Path:
    path.write_text("x")
    return path / "x.db"


def not_a_database(path: Path) -> Path:
    path.write_bytes(b"not a database " * 1000)
    return path


def foreign_database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE addressbook (name)")
    return path


def foreign_database_of_our_version(path: Path) -> Path:
    with closing(sqlite3.connect(foreign_database(path))) as db:
        db.execute("PRAGMA user_version = 1")
    return path


def from_the_future(path: Path) -> Path:
    SqliteStore(str(path)).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    return path


def corrupt(path: Path) -> Path:
    """A database whose pages but the first are junk: opens, and fails when it is read."""
    opened = SqliteStore(str(path))
    opened.apply([BORN], {}, NOW)
    opened.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    return path


@pytest.mark.parametrize(
    "make",
    [
        missing_folder,
        a_folder,
        below_a_file,
        not_a_database,
        foreign_database,
        foreign_database_of_our_version,
        from_the_future,
        corrupt,
    ],
)
def test_what_cannot_be_used_is_a_store_error_with_the_path(
    path: Path, make: Callable[[Path], Path]
) -> None:
    place = make(path)

    def use() -> None:
        with closing(SqliteStore(str(place))) as opened:
            opened.load([KEY])
            opened.apply([BORN], {}, NOW)

    with pytest.raises(StoreError) as caught:
        use()
    assert str(place) in str(caught.value)


def test_a_foreign_database_is_not_touched(path: Path) -> None:
    before = foreign_database(path).read_bytes()
    with pytest.raises(StoreError, match="not one of greylag's"):
        SqliteStore(str(path))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("addressbook",)]
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert path.read_bytes() == before


def test_a_missing_file_is_not_made_unless_asked(path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        SqliteStore(str(path), create=False)
    assert not path.exists()


def test_a_lock_that_stays_is_an_error_in_time(path: Path, store: Store) -> None:
    with closing(SqliteStore(str(path), timeout=0.05)) as impatient:
        with store.transaction(), pytest.raises(StoreUnavailable, match="locked") as caught:
            impatient.apply([BORN], {}, NOW)
        assert str(path) in str(caught.value)
        impatient.apply([BORN], {}, NOW)  # and it works again once the lock is gone
    assert store.load([KEY])[KEY].blocked == 1


def test_nobody_is_left_out_among_many_writers(path: Path, store: Store) -> None:
    """P9: each gets its turn long before its time is up, however busy the others are.

    Ten writers hold the database for 5 ms at a time, with gaps of 2 ms: all in all they ask for
    seven times what there is. Left to SQLite's own waiting, one of them is out for seconds.
    """
    until = monotonic() + 3

    def write(number: int) -> int:
        turns = 0
        with closing(SqliteStore(str(path), timeout=1)) as mine:
            while monotonic() < until:
                with mine.transaction():
                    mine.apply([], {f"pass:{number}": 1}, NOW)
                    sleep(0.005)
                sleep(0.002)
                turns += 1
        return turns

    with ThreadPoolExecutor(10) as pool:
        turns = list(pool.map(write, range(10)))
    counted = store.figures(0, NOW * 2)
    assert list(counted.values()) == [{f"pass:{number}": n for number, n in enumerate(turns)}]


def test_readers_do_not_wait_for_a_writer(path: Path, store: Store) -> None:
    store.apply([BORN], {}, NOW)
    with closing(SqliteStore(str(path), timeout=0.05)) as reader, store.transaction():
        store.apply([Blocked(KEY)], {}, NOW)
        assert reader.load([KEY])[KEY].blocked == 1
        assert reader.matching(SEEN) == []


def test_a_full_disk_is_an_error_and_loses_nothing(store: Store, path: Path) -> None:
    """The file size limit stands for the full disk; real ones are in tests/e2e."""
    store.apply([BORN], {}, NOW)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (path.parent / f"{path.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.apply([Blocked(KEY)], {}, NOW)
        with pytest.raises(StoreUnavailable):
            store.prove()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in str(caught.value)
    store.apply([Blocked(KEY)], {}, NOW)
    assert store.load([KEY])[KEY].blocked == 2


def test_an_unwritable_file_is_an_error(path: Path, store: Store) -> None:
    assert isinstance(store, SqliteStore)
    store._db.execute("PRAGMA query_only = ON")  # what SQLite says of a read-only file
    with pytest.raises(StoreError) as caught:
        store.apply([BORN], {}, NOW)
    assert str(path) in str(caught.value)
    with pytest.raises(StoreError):
        store.prove()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://x.db",
        "sqlite:x.db",
        "sqlite:/var/lib/x.db",
        "sqlite://",
        "sqlite:///var/lib/",
        "sqlite:///var/lib/x\0.db",
        "postgres://x",
        "/var/lib/x.db",
        "",
        "memory",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        open_store(url, timeout=1)


def test_a_search_that_fails_half_way_is_a_store_error(store: Store) -> None:
    store.apply([BORN], {}, NOW)
    assert isinstance(store, SqliteStore)
    store._db.execute("ALTER TABLE records RENAME TO gone")
    with pytest.raises(StoreError):
        list(store.search(Filter(), 10))


@pytest.mark.parametrize("size", [4, 16])
def test_the_cost_of_a_look_up_does_not_grow_with_the_lists(store: Store, size: int) -> None:
    """Fault 11: 50,000 list rows cost the old program 50 ms for each RCPT, by scanning them."""

    assert isinstance(store, SqliteStore)
    for statement, parameters in (
        (sqlite_sql.ENTRIES_BY_NETWORK[size], [b"", 0] * (8 * size + 1)),
        (sqlite_sql.ENTRIES_BY_NAME, ["example.net"] * sqlite_sql.NAMES),
        (sqlite_sql.SOME_CLIENT_NAME, []),
    ):
        plan = store._db.execute("EXPLAIN QUERY PLAN " + statement, parameters).fetchall()
        steps = [step[3] for step in plan]
        assert any(step.startswith("SEARCH entries USING INDEX") for step in steps)
        assert "SCAN entries" not in steps


def test_a_bad_byte_that_somebody_else_put_in_stops_no_look_up_t26(store: Store) -> None:
    """One comment of invalid UTF-8 must not let in all that its entry speaks for."""
    assert isinstance(store, SqliteStore)
    entry = "INSERT INTO entries VALUES (1, 'access', 'network', x'C0000200', 24, NULL, 9999999999,"
    store._db.execute(entry + " 9999999999, 0, CAST(x'ff' AS TEXT), '', 0)")
    (found,) = store.matching(SEEN)
    assert found.denies(NOW)
    assert found.comment == "\ufffd"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///var/lib/x.db", "sqlite:///var/lib/x.db"),
        ("mysql:?default_file=/x.cnf", "mysql:?default_file=/x.cnf"),
        ("mysql://user@db.example.org/grey", "mysql://user@db.example.org/grey"),
        ("mysql://user:p@ss:w@db.example.org/grey", "mysql://user:***@db.example.org/grey"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
    if url.startswith("mysql"):
        with pytest.raises(StoreError) as caught:
            open_store(url, timeout=1)
        assert "p@ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("packed", "prefix"),
    [*((b"\xc0\x00\x02\x07", bits) for bits in (33, -1, 24)), (b"\0" * 5, 8), (b"", 0)],
)
def test_a_list_row_that_is_no_range_is_ignored_alone_t46(
    tmp_path: Path, packed: bytes, prefix: int
) -> None:
    """A prefix of 33 dropped every question of an IPv4 client."""
    with closing(SqliteStore(str(tmp_path / "x.db"))) as store:
        store.put_entries([Entry(Domain("example.net"), 0)])
        with closing(sqlite3.connect(tmp_path / "x.db")) as db, db:
            db.execute(
                "INSERT INTO entries (purpose, kind, network, prefix, denied_until, expires,"
                " comment, created, origin, spoofable)"
                " VALUES ('access', 'network', ?, ?, 0, 9999999999, '', 0, '', 0)",
                (packed, prefix),
            )
        found = AccessIndex(store.entries()).matching(SEEN)
        assert [str(entry.subject) for entry in found] == ["example.net"]
        assert last_word(store.entries(), SEEN, 1) == found[0]


SENDER = {"network": "NULL", "prefix": "NULL", "kind": "'sender'", "name": "'a@example.org'"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"network": "'text'"},
        {"prefix": "x'18'"},
        {"denied_until": "'soon'"},
        {"comment": "x'00'"},
        {"origin": "x'ff'"},
        {"spoofable": "'yes'"},
        {"purpose": "'colour'"},
        {"purpose": "x'00'"},
        {"kind": "'colour'"},
        {"kind": "7"},
        {"kind": "'domain'"},
        {**SENDER, "name": "x'00'"},
        {**SENDER, "name": "NULL"},
        {**SENDER, "kind": "'network'"},
        {**SENDER, "kind": "'colour'"},
    ],
)
def test_a_list_row_of_other_types_keeps_no_other_from_being_read_t46(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    path = tmp_path / "x.db"
    with closing(SqliteStore(str(path))) as store:
        store.put_entries([Entry(Domain("example.net"), 0)])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")  # the table is strict: only its enemies can
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'STRICT', '')")
    row = {"purpose": "'access'", "kind": "'network'", "network": "x'c0000207'", "prefix": "32"}
    row |= {"denied_until": "0", "expires": "9999999999", "created": "0", "comment": "''"}
    row |= {"origin": "''", "spoofable": "0", **wrong}
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        columns, values = ",".join(row), ",".join(row.values())
        db.execute(f"INSERT INTO entries ({columns}) VALUES ({values})")
    with closing(SqliteStore(str(path))) as store:
        page = store.entries_after(0, 10)
        assert [str(entry.subject) for entry in page.entries] == ["example.net"]
        assert (page.after, page.ignored) == (None, 1)
        assert store.entries_after(0, 2).after == 2
        assert len(store.matching(SEEN)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        *(f"{column} = x'ff00'" for column in ("sender", "signs", "name", "tries", "first_seen")),
        *(f"{column} = 'text'" for column in ("network", "pool", "client", "ended", "last_try")),
        *(f"{column} = 'colour'" for column in ("outcome", "defer_until", "released")),
        "outcome = 7",
        "first_seen = 1.5",
    ],
)
def test_a_row_of_the_history_of_other_types_hides_no_other_t46(path: Path, wrong: str) -> None:
    one, two = KEY, replace(KEY, sender="c@example.org")
    begun = [Begun(Deferral(triplet, 1, 2)) for triplet in (one, two)]
    action = Action(1, "admin", "allow", "192.0.2.7")
    with closing(SqliteStore(str(path))) as store:
        store.remember(begun, 1)
        store.note_action(action)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")  # the tables are strict: only an enemy can
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'STRICT', '')")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE deferrals SET {wrong} WHERE number = 1")
        db.execute("INSERT INTO actions SELECT 2, x'ff', at, who, action FROM actions")
        db.execute("UPDATE tallies SET deferred = 'x', never = x'00', waited = 1.5")
        db.execute("UPDATE tally_days SET names = 'many'")
    with closing(SqliteStore(str(path))) as store:
        assert [d.triplet for d in store.deferrals(Sought(), 9).deferrals] == [two]
        store.remember([Tried(one, 3), Tried(two, 3), Ended(one, 4, Outcome.PASSED)], 5)
        assert [d.tries for d in store.deferrals(Sought(), 9).deferrals] == [1]
        assert store.actions(9) == [action]
        assert store.tallies(0, 99, By.RECIPIENT, 9)["b@example.net"].passed == 1
        assert store.forget_history(Kept(1, 9), 10, 9) >= 1


@pytest.mark.parametrize("size", [1, 15, 99, 100, 512, 4095, 4096, 4097, 8192, 20_000])
def test_a_truncated_database_is_refused_whole_and_not_touched_t46(path: Path, size: int) -> None:
    """Not as one record is: it is of no use to anybody. SQLite fills a file of one byte."""
    SqliteStore(str(path)).close()
    with path.open("r+b") as file:
        file.truncate(size)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=str(path)) as caught:
        SqliteStore(str(path))
    assert not isinstance(caught.value, StoreRefused)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes to everybody's files")
def test_root_fills_an_empty_file_only_if_it_is_one_of_ours_t46(path: Path) -> None:
    """One with the mode that we give: who made it has died before it was filled."""
    path.touch(mode=0o644)
    with pytest.raises(StoreError, match="is empty"):
        SqliteStore(str(path))
    assert path.read_bytes() == b""
    path.chmod(0o660)
    SqliteStore(str(path)).close()
    assert path.stat().st_size > 4096


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/null", path)])
def test_what_is_no_plain_file_is_not_opened(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(StoreError, match="is no plain file"):
        SqliteStore(str(path))


def test_the_write_ahead_log_shrinks_when_a_long_reader_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(SqliteStore(str(path))) as store, closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        keys = [
            Triplet(bytes((10, n >> 8, n & 255, 0)), f"{n}{'x' * 200}@a.example", f"{'y' * 200}@b")
            for n in range(45_000)
        ]
        for start in range(0, len(keys), 500):
            part = [Created(key, 1, 2, 3) for key in keys[start : start + 500]]
            store.apply(part, {}, 1)
        log = path.with_name("x.db-wal")
        assert log.stat().st_size > 20_000_000
        reader.rollback()
        for hour in range(3):
            store.apply((), {"pass:known": 1}, hour * 3600)
        assert log.stat().st_size <= 16_777_216


def test_lists_of_another_file_that_changed_as_often_have_another_generation(
    tmp_path: Path,
) -> None:
    """The daemon reads lists again if their generation is another one, and not otherwise."""
    seen = set()
    for name in ("a", "b"):
        with closing(SqliteStore(str(tmp_path / "greylag.db"))) as store:
            store.put_entries([Entry(parse_subject("192.0.2.7"), NEVER)])
            seen.add(store.generation())
            assert store.generation() in seen
        (tmp_path / "greylag.db").unlink()  # the next one may get the same place on the disk
        (tmp_path / name).touch()
    assert len(seen) == 2


def test_an_expired_record_whose_text_is_none_does_not_stop_the_expiry_t46(tmp_path: Path) -> None:
    """No key finds it: all others go."""
    path = tmp_path / "greylag.db"
    with closing(SqliteStore(str(path))) as store:
        for number in range(3):
            key = Triplet(bytes((192, 0, 2, number)), f"s{number}@example.org", "b@example.net")
            store.apply([Created(key, NOW, NOW + 300, NOW + 1000)], {}, NOW)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "UPDATE records SET sender = CAST(x'61ff40622e63' AS TEXT) WHERE sender LIKE 's1%'"
        )
    with closing(SqliteStore(str(path))) as store:
        assert store.expire(NOW + 1000, 500).stopped == 2
        assert store.expire(NOW + 1000, 500).after is None
