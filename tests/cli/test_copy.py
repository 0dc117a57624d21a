"""`greylag db copy` between SQLite, a real MariaDB and jgreylist's tree, both ways."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.history import Action
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.policy import Greylist, Policy
from greylag.core.record import Record
from greylag.core.subject import RecipientMailbox, SenderDomain, parse_subject
from greylag.core.switch import Switch
from greylag.core.triplet import (
    SEVERAL,
    Triplet,
    connection_of,
    sent_of,
    trapped_of,
    triplet_of,
    trust_of,
)
from greylag.core.value import replace
from greylag.store import open_store
from greylag.store.base import Filter, Store, StoreUnavailable
from tests.admin.loglines import NOW as LOG_NOW
from tests.admin.loglines import accepted
from tests.cli.conftest import Greylag
from tests.cli.test_db import run
from tests.servers.mariadb import Database

NOW = 1_700_000_000
HOUR = NOW - NOW % 3600
WAITING = Record(NOW, NOW + 300, NOW + 9000, blocked=2)
PASSED = Record(NOW - 600, NOW - 300, NOW + 90000, blocked=1, passed=5)
V4 = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
V6 = Triplet(bytes.fromhex("20010db8") + bytes(12), "", r"odd\x20one@example.net")
CONNECTION = connection_of(b"\xc6\x33\x64\x07", 32)
RECORDS = {V4: WAITING, V6: PASSED, CONNECTION: PASSED}
# What stands under a name: a pool's triplet, trust, a trap's client, and who may answer whom.
POOL = Pool(PoolKind.SPF, "pool.example.org").packed
NAMED = {
    replace(V4, network=POOL): WAITING,
    trust_of(POOL, "xn--bcher-kva.example"): PASSED,
    trust_of(of_address(b"\xc0\0\2\1"), ""): PASSED,
    trapped_of(b"\xc0\0\2\1"): PASSED,
    sent_of("a@example.org", r"odd\x20one@example.net"): PASSED,
}


def opened(url: str) -> closing[Store]:
    return closing(open_store(url, timeout=4))


def fill(url: str) -> None:
    with opened(url) as store:
        store.merge(RECORDS)
        store.apply((), {"new": 7, "known": 2}, HOUR)
        for text, until in (("198.51.100.0/24", 0), ("example.net", NEVER)):
            store.put_entries([Entry(parse_subject(text), until, NEVER, "why", NOW)])


def contents(url: str) -> tuple[object, ...]:
    with opened(url) as store:
        entries = [replace(entry, number=0) for entry in store.entries()]
        return dict(store.search(Filter(), 99)), entries, store.figures(0, NEVER)


def copied(home: Path, source: str, target: str, *options: str) -> dict[str, object]:
    code, out, said = run(home, target, "db", "copy", "--json", *options, source, target)
    assert code == 0, said
    document: dict[str, object] = json.loads(out)
    return document


@pytest.mark.parametrize("to_mysql", [True, False])
def test_all_is_copied_and_a_second_time_nothing(
    database: Database, tmp_path: Path, to_mysql: bool
) -> None:
    source, target = f"sqlite://{tmp_path}/x.db", database.url
    if not to_mysql:
        source, target = target, source
    fill(source)
    with closing(open_store(source, timeout=4)) as store:
        store.note_action(Action(NOW, "admin", "off", ""))
        store.set_switch(Switch(Greylist.OFF, NEVER, NOW, "admin"))
    all_of_it = {
        "records": {"read": 3, "copied": 3, "left_out": 0},
        "entries": 2,
        "hours": 1,
        "changes": 1,
        "switch": True,
        "history_left_out": False,
    }
    assert copied(tmp_path, source, target, "--dry-run") == {"dry_run": True, **all_of_it}
    assert contents(target) == ({}, [], {})
    assert copied(tmp_path, source, target) == {"dry_run": False, **all_of_it}
    assert contents(target) == contents(source)
    nothing = {
        "records": {"read": 3, "copied": 0, "left_out": 0},
        "entries": 0,
        "hours": 0,
        "changes": 0,
        "switch": False,
        "history_left_out": False,
    }
    assert copied(tmp_path, source, target) == {"dry_run": False, **nothing}
    assert contents(target) == contents(source)


def test_what_stands_under_a_name_is_copied_there_and_back(
    database: Database, tmp_path: Path
) -> None:
    source, back = f"sqlite://{tmp_path}/x.db", f"sqlite://{tmp_path}/y.db"
    with opened(source) as store:
        store.merge({**RECORDS, **NAMED})
    for pair in ((source, database.url), (database.url, back)):
        found = copied(tmp_path, *pair)["records"]
        assert found == {"read": 8, "copied": 8, "left_out": 0}
        assert contents(pair[1])[0] == {**RECORDS, **NAMED}


KINDS = [
    Entry(SenderDomain("example.org"), 0, NEVER, "why", NOW, spoofable=True),
    Entry(parse_subject("192.0.2.0/24"), 0, created=NOW, purpose=Purpose.PROVIDER, origin="p"),
    Entry(RecipientMailbox("b@example.net"), 0, created=NOW, purpose=Purpose.TRAP),
]


def test_entries_of_every_kind_are_copied_there_and_back(
    database: Database, tmp_path: Path
) -> None:
    source, back = f"sqlite://{tmp_path}/x.db", f"sqlite://{tmp_path}/y.db"
    fill(source)
    with opened(source) as store:
        store.put_entries(KINDS)
    for pair in ((source, database.url), (database.url, back)):
        assert copied(tmp_path, *pair)["entries"] == 5
        assert contents(pair[1]) == contents(source)
        assert copied(tmp_path, *pair)["entries"] == 0


def test_what_a_target_without_its_table_cannot_keep_is_told(
    database: Database, tmp_path: Path
) -> None:
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", ["greylisting_data", "greylisting_lists"])
    source = f"sqlite://{tmp_path}/x.db"
    with opened(source) as store:
        store.merge({**RECORDS, **NAMED})
        store.put_entries([*KINDS, Entry(parse_subject("192.0.2.7"), 0)])
    code, out, said = run(tmp_path, "memory:", "db", "copy", source, database.url)
    assert code == 0, said
    assert "3 of 8 records" in out
    assert "there is no table greylag_records" in said
    assert "5 records of FROM are left out" in said
    assert "there is no table greylag_entries" in said
    assert "3 entries of FROM are left out" in said
    assert "1 entry\n" in out


def test_a_dry_run_makes_no_file(database: Database, tmp_path: Path) -> None:
    fill(database.url)
    found = copied(tmp_path, database.url, f"sqlite://{tmp_path}/new.db", "--dry-run")
    assert found["records"] == {"read": 3, "copied": 3, "left_out": 0}
    assert not (tmp_path / "new.db").exists()


def test_what_the_target_has_learned_meanwhile_stays(database: Database, tmp_path: Path) -> None:
    source = f"sqlite://{tmp_path}/x.db"
    fill(source)
    with opened(database.url) as store:
        store.merge({V4: replace(WAITING, passed=1, expires=NOW + 99000)})
        store.apply((), {"new": 9}, HOUR)
    copied(tmp_path, source, database.url)
    with opened(database.url) as store:
        assert store.load([V4])[V4] == replace(WAITING, passed=1, expires=NOW + 99000)
        assert store.figures(0, NEVER) == {HOUR: {"new": 9, "known": 2}}


def test_rows_of_the_old_program_are_found_by_their_new_key(
    database: Database, tmp_path: Path
) -> None:
    """It wrote whole addresses, and spelt senders as they came."""
    with database.server.connect(database.name) as cursor:
        for address in ("C0000207", "C0000208"):
            cursor.execute(
                "INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, create_time,"
                " block_expires, record_expires, blocked_count, passed_count, aborted_count)"
                f" VALUES (x'{address}', 'A@Example.org', 'b@example.net', '2023-11-14 22:13:20',"
                " '2023-11-14 22:18:20', '2023-11-15 22:13:20', 1, 2, 0)"
            )
    target = f"sqlite://{tmp_path}/x.db"
    copied(tmp_path, database.url, target)
    with opened(target) as store:
        assert list(store.load([V4])) == [V4]
        assert store.count(NOW) == (0, 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"b@b\xc3\xbccher.example", "b@xn--bcher-kva.example"),
        (r"b@B\xc3\x9ccher.example".lower(), "b@xn--bcher-kva.example"),
        (r"\xc3\xa4@xn--bcher-kva.example", r"\xc3\xa4@xn--bcher-kva.example"),
        (r"odd\x20one@example.net", r"odd\x20one@example.net"),
        (r"a\x5cx41@example.net", r"a\x5cx41@example.net"),
        (r"b@\xffcher.example", r"b@\xffcher.example"),
        ("b" * 200 + r"@b\xc3\xbc\#0123456789", "b" * 200 + r"@b\xc3\xbc\#0123456789"),
        (SEVERAL, SEVERAL),
    ],
)
def test_addresses_are_copied_as_they_are_called_now(
    tmp_path: Path, before: str, after: str
) -> None:
    """A domain in UTF-8 was written byte by byte before it had one form with its xn-- name."""
    source, target = f"sqlite://{tmp_path}/old.db", f"sqlite://{tmp_path}/new.db"
    with opened(source) as store:
        store.merge({replace(V4, recipient=before, sender=before): WAITING})
    copied(tmp_path, source, target)
    with opened(target) as store:
        wanted = replace(V4, recipient=after, sender=after)
        assert [triplet for triplet, _ in store.search(Filter(), 9)] == [wanted]
    assert copied(tmp_path, source, target)["records"] == {"read": 1, "copied": 0, "left_out": 0}


def test_names_become_those_that_the_target_looks_for(database: Database, tmp_path: Path) -> None:
    """Its tables have the old program's spelling and tags, SQLite greylag's own."""
    plain, old = Policy(), Policy(old_tables=True)
    raw = [
        (b"PRVS=12345=user@example.org", "b@b\u00fccher.example".encode()),
        (b"First Last@example.org", b"a\\b@example.net"),
        (b"prvs=a/b/1234@example.org", b"\xff@example.net"),
    ]
    theirs, ours = (
        [triplet_of(b"\xc0\0\2\x07", sender, recipient, policy) for sender, recipient in raw]
        for policy in (old, plain)
    )
    assert {*theirs} & {*ours} == {ours[1]}
    target = f"sqlite://{tmp_path}/x.db"
    with opened(database.url) as store:
        store.merge(dict.fromkeys(theirs, PASSED))
    assert b"First Last@example.org".lower().decode() in {
        row[0] for row in database.rows("SELECT mail_from FROM greylisting_data")
    }
    copied(tmp_path, database.url, target)
    with opened(target) as store:
        assert store.load(ours) == dict.fromkeys(ours, PASSED)
    database.rows("DELETE FROM greylisting_data")
    copied(tmp_path, target, database.url)
    with opened(database.url) as store:
        there = {key: store.load([key]).get(key) for key in theirs}
    assert there[theirs[1]] == PASSED  # a tag that was removed, and a domain's script, are gone


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("memory:", "sqlite:///x.db", "two different stores"),
        ("sqlite:///x.db", "sqlite:///x.db", "two different stores"),
        ("oracle:", "sqlite:///x.db", "got 'oracle:'"),
        ("mysql://u:secret@", "sqlite:///x.db", "not shown"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, source: str, target: str, expected: str) -> None:
    code, _out, said = run(tmp_path, "memory:", "db", "copy", source, target)
    assert (code, expected in said, "secret" in said) == (2, True, False), said


def test_a_source_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    where = f"sqlite://{tmp_path}/missing.db"
    code, _out, said = run(tmp_path, "memory:", "db", "copy", where, f"sqlite://{tmp_path}/x.db")
    assert code not in (0, 1), said
    assert "missing.db" in said


DAY = 86400
FILES = {  # first and last contact
    "192/000/002": (NOW - 9 * DAY, NOW - DAY),
    "198/051/100/007": (NOW - 500, NOW - 500),
    "198/051/100/000": (NOW - 90, NOW - 30),  # the /24 beside its addresses; came too soon
    "ipv6/2001/0db8/00000001": (NOW - 40 * DAY, NOW - 39 * DAY),  # dead by either count
}


def plant(root: Path, files: dict[str, tuple[int, int]]) -> str:
    root.mkdir(mode=0o700)
    for name, (first, last) in files.items():
        (root / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / name).touch(0o600)
        os.utime(root / name, (last, first))
    return f"tree://{root}"


def found(root: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): (int(path.stat().st_mtime), int(path.stat().st_atime))
        for path in files
    }


def test_a_tree_there_and_back_is_equal(tmp_path: Path) -> None:
    source, database = plant(tmp_path / "old", FILES), f"sqlite://{tmp_path}/x.db"
    target = plant(tmp_path / "new", {})
    all_of_it = {"read": 4, "copied": 4, "left_out": 0}
    assert copied(tmp_path, source, database)["records"] == all_of_it
    assert copied(tmp_path, database, target, "--dry-run")["records"] == all_of_it
    assert found(tmp_path / "new") == {}
    assert copied(tmp_path, database, target)["records"] == all_of_it
    assert found(tmp_path / "new") == FILES
    for again in ((source, database), (database, target)):
        assert copied(tmp_path, *again)["records"] == {"read": 4, "copied": 0, "left_out": 0}
    assert found(tmp_path / "old") == found(tmp_path / "new") == FILES


def test_what_comes_from_a_tree_is_forgotten_in_its_time(tmp_path: Path) -> None:
    source, database = plant(tmp_path / "old", FILES), f"sqlite://{tmp_path}/x.db"
    copied(tmp_path, source, database)
    with opened(database) as store:
        assert store.count(NOW) == (2, 1)
        known = connection_of(b"\xc0\x00\x02\x00", 24)
        assert store.load([known])[known].expires == NOW - DAY + 36 * DAY
        assert store.count(NOW + 36 * DAY) == (0, 0)


def test_recipients_and_lists_are_left_out_of_a_tree_and_counted(tmp_path: Path) -> None:
    source, target = f"sqlite://{tmp_path}/x.db", plant(tmp_path / "tree", {})
    fill(source)
    code, out, said = run(tmp_path, "memory:", "db", "copy", source, target)
    assert code == 0, said
    assert "1 of 3 records" in out
    assert "2 records of FROM are left out" in said
    assert "2 entries of FROM are left out" in said
    assert list(found(tmp_path / "tree")) == ["198/051/100/007"]


def test_a_tree_keeps_the_earlier_and_the_later(tmp_path: Path) -> None:
    source = plant(tmp_path / "one", {"192/000/002": (NOW - 50, NOW - 40)})
    target = plant(tmp_path / "two", {"192/000/002": (NOW - 90, NOW - 60)})
    copied(tmp_path, source, target)
    assert found(tmp_path / "two") == {"192/000/002": (NOW - 90, NOW - 40)}


def test_another_lifetime_makes_no_contact_of_the_future_t8(tmp_path: Path) -> None:
    source, target = f"sqlite://{tmp_path}/x.db", plant(tmp_path / "tree", {})
    with opened(source) as store:
        store.merge({CONNECTION: replace(PASSED, expires=int(time.time()) + 400 * DAY)})
    copied(tmp_path, source, target)
    ((first, last),) = found(tmp_path / "tree").values()
    assert (first, last <= time.time()) == (NOW - 600, True)


def test_a_planted_link_leads_nowhere_t21(tmp_path: Path) -> None:
    source, target = plant(tmp_path / "old", FILES), plant(tmp_path / "new", {})
    (tmp_path / "outside").mkdir()
    (tmp_path / "new" / "192").symlink_to(tmp_path / "outside")
    code, _out, said = run(tmp_path, "memory:", "db", "copy", source, target)
    assert (code != 0, "192" in said) == (True, True), said
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_mistyped_path_of_a_tree_is_told_by_each_command(tmp_path: Path) -> None:
    """As jgreylist-clean tells it: "0 copied" would say that all is well."""
    folder, tree = tmp_path / "etc", plant(tmp_path / "tree", FILES)
    (folder / "log").mkdir(parents=True)
    (folder / "README").touch()
    url, database = f"tree://{folder}", f"sqlite://{tmp_path}/x.db"
    (tmp_path / "mail").write_text(accepted("192.0.2.1", LOG_NOW - int(time.time()) + 60))
    told = f"greylag: {folder}: is no record tree: nothing in it is named as records are\n"
    for command in (
        ("db", "copy", url, database),
        ("db", "copy", tree, url),
        ("db", "copy", "--dry-run", tree, url),
        ("import", "smtp-log", "--tree", str(folder), "mail"),
    ):
        assert run(tmp_path, url, *command) == (74, "", told), command
    assert run(tmp_path, url, "search") == (1, "", f"{told}greylag: no record fits\n")
    assert sorted(path.name for path in folder.iterdir()) == ["README", "log"]
    assert not (tmp_path / "x.db").exists()


def test_a_copy_that_ends_before_its_end_says_how_it_goes_on(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    greylag.remember(V4, passed=True)
    ends = StoreUnavailable("the disk is full")
    urls = f"sqlite://{greylag.database}", f"sqlite://{greylag.home}/other.db"

    def full(_store: object) -> None:
        raise ends

    with monkeypatch.context() as patched:
        patched.setattr("greylag.store.sqlite.store.SqliteStore.entries", full)
        found = greylag.run("db", "copy", *urls)
    assert found.exit_code == 75
    assert "the disk is full" in found.stderr
    assert "what was copied before stays, and the same command goes on" in found.stderr
    assert "1 of 1 records" not in greylag.run("db", "copy", *urls).stdout
