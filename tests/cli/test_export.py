"""`greylag export` and `greylag import FILE`: all of a store, between stores, and hostile files."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.history import Begun, Deferral
from greylag.core.policy import Greylist, Policy
from greylag.core.subject import (
    ClientName,
    Domain,
    RecipientMailbox,
    SenderDomain,
    parse_subject,
)
from greylag.core.switch import Switch
from greylag.core.value import replace
from greylag.store.base import Filter, Store
from tests.cli.conftest import KEY, NOW, Greylag
from tests.cli.test_copy import NAMED, PASSED, RECORDS
from tests.cli.test_db import run
from tests.servers.mariadb import MariaDb

HOUR = NOW - NOW % 3600
ALL = {
    key: replace(record, first_seen=NOW - 900, defer_until=NOW - 600, expires=NOW + 90_000)
    for key, record in (RECORDS | NAMED).items()
}
ENTRIES = [
    Entry(parse_subject("192.0.2.0/24"), 0, comment="a \u2603 office", created=NOW - 5),
    Entry(parse_subject("2001:db8::/32"), NOW + 900, created=NOW - 5),
    Entry(ClientName("mail.example.org"), 0, created=NOW - 5),
    Entry(SenderDomain("example.org", below=True), 0, spoofable=True, created=NOW - 5),
    Entry(Domain("example.net"), 0, created=NOW - 5, origin="a file"),
    Entry(RecipientMailbox("b@example.net"), 0, NOW + 900, purpose=Purpose.EXPECTED, created=NOW),
    Entry(RecipientMailbox("c@example.net"), 0, purpose=Purpose.TRAP, created=NOW),
    Entry(parse_subject("198.51.100.0/24"), 0, purpose=Purpose.PROVIDER, origin="provider:some"),
]
SWITCH = Switch(Greylist.OBSERVE, NOW + 9000, NOW - 9, "alice")


def fill(store: Store) -> None:
    store.merge(ALL)
    store.put_entries(ENTRIES)
    store.set_switch(SWITCH)
    store.apply((), {"pass:known": 3, "defer:new": 2}, HOUR)
    store.remember([Begun(Deferral(KEY, NOW, NOW + 300, signs=("no-name",)))], NOW)


def held(store: Store) -> list[Any]:
    """Return all that a store holds, without the numbers that it gives."""
    entries = [replace(entry, number=0, rank=None) for entry in store.entries()]
    return [
        sorted((tuple(k), r.expires, r.passed) for k, r in store.search(Filter(), 1000)),
        sorted(map(repr, entries)),
        store.switch(),
        {h: dict(sorted(f.items())) for h, f in store.figures(0, NOW + 1).items()},
    ]


@pytest.fixture
def exported(greylag: Greylag) -> Path:
    with greylag.store() as store:
        fill(store)
    path = greylag.home / "all.jsonl"
    assert greylag.run("export", str(path)).exit_code == 0
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def elsewhere(greylag: Greylag) -> None:
    """Go on with a new store."""
    greylag.database = greylag.home / "other.db"
    greylag.configure("")


def test_an_export_goes_into_another_store_and_is_the_same_there(
    greylag: Greylag, exported: Path
) -> None:
    with greylag.store() as store:
        before = held(store)
    elsewhere(greylag)
    found = greylag.json("import", str(exported))
    assert found["left"] == []
    assert found["taken"]["records"] == {"read": len(ALL), "new": len(ALL)}
    assert found["taken"]["entries"] == {"read": len(ENTRIES), "new": len(ENTRIES)}
    with greylag.store() as store:
        assert held(store) == before
    again = greylag.json("import", str(exported))
    assert [one["new"] for one in again["taken"].values()] == [0] * 4


def test_between_sqlite_and_mariadb_both_ways(
    greylag: Greylag, exported: Path, mariadb: MariaDb
) -> None:
    database = mariadb.database()
    with greylag.store() as store:
        before = held(store)
    try:
        home, url = greylag.home / "maria", database.url
        home.mkdir()
        assert run(home, url, "db", "init")[0] == 0
        greylag.configure(f'store.url = "{url}"\n')
        assert greylag.run("import", str(exported)).exit_code == 0
        back = greylag.home / "back.jsonl"
        assert greylag.run("export", str(back)).exit_code == 0
        elsewhere(greylag)
        assert greylag.run("import", str(back)).exit_code == 0
        with greylag.store() as store:
            assert held(store)[1:] == before[1:]
            assert set(greylag.keys()) == set(ALL)
    finally:
        database.drop()


def test_what_is_newer_here_stays(greylag: Greylag, exported: Path) -> None:
    elsewhere(greylag)
    newer = Entry(parse_subject("192.0.2.0/24"), NOW + 900, comment="newer", created=NOW)
    off = Switch(Greylist.OFF, NOW + 60, NOW, "bob")
    key = next(key for key, record in ALL.items() if not record.passed)
    with greylag.store() as store:
        store.merge({key: replace(PASSED, expires=NOW + 999_999, passed=7)})
        store.put_entries([newer])
        store.set_switch(off)
        store.apply((), {"pass:known": 30, "defer:new": 1}, HOUR)
    assert greylag.run("import", str(exported)).exit_code == 0
    with greylag.store() as store:
        assert "newer" in {entry.comment for entry in store.entries()}
        assert store.switch() == off
        assert store.figures(HOUR, HOUR + 1)[HOUR] == {"pass:known": 30, "defer:new": 2}
        record = store.load([key])[key]
        assert (record.passed, record.expires) == (7, NOW + 999_999)


def test_the_file_is_for_its_owner_and_takes_the_place_of_none(
    greylag: Greylag, exported: Path
) -> None:
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    before = exported.read_bytes()
    found = greylag.run("export", str(exported))
    assert (found.exit_code, exported.read_bytes()) == (1, before)
    told = greylag.json("export", "--force", "--history", str(exported))
    assert told == {"file": str(exported), "lines": len(lines(exported))}
    assert [line for line in lines(exported) if line["kind"] == "deferral"]
    assert not [name for name in greylag.home.iterdir() if name.suffix == ".part"]
    assert greylag.run("export", str(greylag.home / "no" / "x")).exit_code == 1
    # The history is told to be left out, and all else is taken.
    elsewhere(greylag)
    (left,) = greylag.json("import", str(exported))["left"]
    assert (left["count"], "history" in left["why"]) == (1, True)


def test_standard_output_and_input(greylag: Greylag, exported: Path) -> None:
    text = greylag.run("export", "-").stdout
    assert text.splitlines()[1:] == exported.read_text().splitlines()[1:]
    elsewhere(greylag)
    assert greylag.run("import", "--dry-run", "-", stdin=text).exit_code == 0
    assert not greylag.database.exists()
    assert greylag.run("import", "-", stdin=text).exit_code == 0
    assert len(greylag.keys()) == len(ALL)


def test_a_file_that_was_cut_is_told_and_what_was_whole_is_taken(
    greylag: Greylag, exported: Path
) -> None:
    whole = exported.read_text().splitlines(keepends=True)
    elsewhere(greylag)
    for text in ("".join(whole[:-1]), "".join(whole[:4]) + whole[4][:20], "".join(whole[::2])):
        found = greylag.run("import", "-", stdin=text)
        assert (found.exit_code, "it was cut" in found.stderr) == (66, True)
    assert greylag.keys()


GOOD: dict[str, object] = {
    "kind": "triplet",
    "network": "192.0.2.0",
    "sender": "a@e.org",
    "recipient": "b@e.net",
}
GOOD |= {"first_seen": NOW, "defer_until": NOW, "expires": NOW + 9, "blocked": 1, "passed": 0}
ENTRY: dict[str, object] = {
    "kind": "entry",
    "purpose": "access",
    "names": "network",
    "subject": "192.0.2.1",
}
ENTRY |= {"denied_until": 0, "expires": NOW + 9, "created": NOW, "comment": "", "origin": ""}
ENTRY |= {"spoofable": False}
OFF = {"kind": "switch", "mode": "off", "until": NEVER, "since": NOW, "who": "eve"}
WRONG: list[tuple[bytes | dict[str, object], str]] = [
    (b"x" * 70_000, "longer than 65536 bytes"),
    (b"\xff\xfe", "not UTF-8"),
    (b"[" * 60_000, "nested too deep"),
    (b'{"a":' * 10_000, "nested too deep"),
    (b"{", "not JSON"),
    (b"9" * 5000, "not JSON"),
    (b"[]", "no object of JSON"),
    (b'{"kind": NaN}', "a number is not whole"),
    (b'{"kind": 1e999}', "a number is not whole"),
    ({**GOOD, "kind": "nothing"}, "kind"),
    ({**GOOD, "kind": ["triplet"]}, "kind"),
    ({**GOOD, "kind": "trust"}, "kind"),
    ({**GOOD, "network": "192.0.2"}, "network is no address"),
    ({**GOOD, "network": "spf:" + "a" * 255}, "network is no address"),
    ({**GOOD, "network": "spf:\u00e4"}, "network is no address"),
    ({**GOOD, "network": 5}, "network is no text"),
    ({**GOOD, "sender": "a\nb@e.org"}, "sender is no address"),
    ({**GOOD, "sender": "\u00e4@e.org"}, "sender is no address"),
    ({**GOOD, "recipient": "b" * 256}, "recipient is no text"),
    ({**GOOD, "recipient": None}, "recipient is no text"),
    ({**GOOD, "first_seen": -1}, "first_seen is no whole number"),
    ({**GOOD, "expires": 1 << 70}, "expires is no whole number"),
    ({**GOOD, "passed": True}, "passed is no whole number"),
    ({**GOOD, "passed": "1"}, "passed is no whole number"),
    ({**ENTRY, "subject": "192.0.2.1/8"}, "without host bits"),
    ({**ENTRY, "subject": "example.org"}, "subject is no address"),
    ({**ENTRY, "names": "sender", "subject": ""}, "subject is empty"),
    ({**ENTRY, "names": "colour"}, "names is no kind"),
    ({**ENTRY, "purpose": "x"}, "purpose is none"),
    ({**ENTRY, "spoofable": 1}, "spoofable is neither"),
    ({**ENTRY, "comment": "x" * 300}, "comment is no text"),
    ({"kind": "switch", "mode": "on", "until": 1, "since": 1, "who": ""}, "mode is neither"),
    ({"kind": "figures", "hour": 5, "figures": {}}, "none of an hour"),
    ({"kind": "figures", "hour": 3600, "figures": {"a": -1}}, "a is no whole number"),
    ({"kind": "figures", "hour": 3600, "figures": {"a\u009b": 1}}, "a bad name"),
    ({**GOOD, "expires": NOW - 1}, "it has expired"),
    ({**GOOD, "first_seen": NOW + 900, "passed": 1}, "it is from the future"),
    ({**OFF, "since": NOW + 900}, "it is from the future"),
    ({**OFF, "until": NOW}, "it has expired"),
]


def test_each_hostile_line_is_refused_by_number_and_reason(greylag: Greylag) -> None:
    """And those around it are taken."""
    head = {"kind": "greylag-export", "version": 1, "made": NOW}
    raw = [json.dumps(head).encode()]
    raw += [one if isinstance(one, bytes) else json.dumps(one).encode() for one, _ in WRONG]
    raw += [json.dumps(GOOD).encode(), json.dumps(ENTRY).encode()]
    raw.append(json.dumps({"kind": "end", "lines": len(raw) + 1}).encode())
    path = greylag.home / "hostile.jsonl"
    path.write_bytes(b"\n".join(raw) + b"\n")
    found = greylag.json("import", str(path))
    told = {line: one["why"] for one in found["left"] for line in one["lines"]}
    for number, (_line, why) in enumerate(WRONG, 2):
        if why.startswith("it "):  # seen when it is taken, not when it is read
            assert [one for one in found["left"] if one["why"] == why]
        else:
            assert why in told.get(number, ""), (number, why, told.get(number))
    assert sum(one["count"] for one in found["left"]) == len(WRONG)
    assert greylag.keys() == [KEY._replace(sender="a@e.org", recipient="b@e.net")]
    assert greylag.entries() == ["allow 192.0.2.1"]


@pytest.mark.parametrize(
    "text", ["", "hello\n", "{}\n", '{"kind": "greylag-export", "version": 99, "made": 1}\n']
)
def test_what_is_no_export_is_refused_before_a_store_is_made(greylag: Greylag, text: str) -> None:
    found = greylag.run("import", "-", stdin=text)
    assert found.exit_code == 66
    assert "expected the first line" in found.stderr or "version 99" in found.stderr
    assert not greylag.database.exists()


def test_a_file_without_an_end_fills_no_memory(greylag: Greylag) -> None:
    found = greylag.run("import", "/dev/zero")
    assert (found.exit_code, "expected a line of at most 64 MiB" in found.stderr) == (66, True)


def test_of_two_entries_for_one_subject_in_a_file_the_newer_one_is_taken(
    greylag: Greylag, exported: Path
) -> None:
    found = lines(exported)
    newer = next(line for line in found if line["kind"] == "entry")
    older = newer | {"created": newer["created"] - 1, "comment": "older"}
    at = found.index(newer) + 1
    text = [json.dumps(line) for line in [*found[:at], older, *found[at:]]]
    exported.write_text("\n".join(text) + "\n")
    elsewhere(greylag)
    greylag.run("import", str(exported))
    with greylag.store() as store:
        assert "older" not in {entry.comment for entry in store.entries()}


def test_no_file_makes_mail_wait_longer_than_a_first_contact_now(
    greylag: Greylag, exported: Path
) -> None:
    """Else one number in a file that came from anywhere would defer known mail for ever."""
    found = lines(exported)
    for line in found:
        if line["kind"] == "triplet":
            line |= {"defer_until": NEVER, "expires": NEVER}
    exported.write_text("".join(json.dumps(line) + "\n" for line in found))
    elsewhere(greylag)
    greylag.run("import", str(exported))
    with greylag.store() as store:
        waiting = [r for key, r in store.search(Filter(), 99) if not r.passed]
        assert waiting
        assert max(record.defer_until for record in waiting) <= NOW + Policy().delay


def test_into_a_tree_go_the_connections_alone(greylag: Greylag, exported: Path) -> None:
    (greylag.home / "tree").mkdir()
    greylag.configure(f'store.url = "tree://{greylag.home}/tree"\n')
    found = greylag.json("import", str(exported))
    assert found["taken"]["records"]["new"] == 1
    assert sum(one["count"] for one in found["left"]) == len(ALL) - 1 + len(ENTRIES) + 1 + 1
