"""`greylag import` of other programs' files, as the command tells of it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.triplet import connection_of
from tests.cli.conftest import NOW, Greylag
from tests.cli.test_endless_files import run

SPAMDB = (
    f"GREY|192.0.2.7|mail.example.org|<a@example.org>|<b@example.net>|{NOW - 9}|{NOW}|{NOW}|1|0\n"
    f"WHITE|192.0.2.8|||{NOW - 9000}|{NOW - 7000}|{NOW + 9000}|2|7\n"
    f"TRAPPED|192.0.2.9|{NOW + 86400}\n"
    "SPAMTRAP|trap@example.net\n"
    "nonsense\n"
)


def test_what_was_taken_and_what_was_left_out_is_told(greylag: Greylag) -> None:
    found = greylag.json("import", "spamdb", "-", stdin=SPAMDB)
    assert found["dry_run"] is False
    assert {kind: one["new"] for kind, one in found["taken"].items()} == {
        "passed": 0,
        "waiting": 1,
        "trust": 1,
        "connections": 1,
        "trapped": 1,
        "entries": 1,
    }
    (left,) = found["left"]
    assert (left["count"], left["lines"]) == (1, [5])
    said = greylag.run("import", "spamdb", "-", stdin=SPAMDB)
    assert said.exit_code == 0
    assert "triplets that wait" in said.stdout
    assert "left out: 1: the line begins with none of GREY" in said.stdout
    assert "(line 5)" in said.stdout
    with greylag.store() as store:
        assert store.actions(5)[0].action == "import"
        assert store.actions(5)[0].subject == "5 facts spamdb"


def test_into_a_tree_go_the_connections_alone(greylag: Greylag) -> None:
    (greylag.home / "tree").mkdir()
    greylag.configure(f'store.url = "tree://{greylag.home}/tree"\n')
    found = greylag.json("import", "spamdb", "-", stdin=SPAMDB)
    assert found["taken"]["connections"] == {"read": 1, "new": 1}
    assert sum(one["new"] for one in found["taken"].values()) == 1
    again = greylag.json("import", "spamdb", "-", stdin=SPAMDB)
    assert sum(one["new"] for one in again["taken"].values()) == 0


def test_a_pipe_in_the_place_of_postgreys_lock_holds_nobody(greylag: Greylag) -> None:
    folder = greylag.home / "postgrey"
    folder.mkdir()
    os.mkfifo(folder / "postgrey.lock")
    done = run("import", "postgrey", str(folder))
    assert (done.returncode, "has no postgrey.db" in done.stderr) == (66, True)


def test_an_import_that_ends_before_its_end_says_what_was_taken(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greylag.admin.taking._TOGETHER", 2)
    path = greylag.home / "spamdb"
    path.write_text(SPAMDB)
    found = greylag.run("import", "spamdb", str(path), str(greylag.home / "missing"))
    assert found.exit_code == 66
    assert "facts were taken before, and stay" in found.stderr
    with greylag.store() as store:
        assert store.load([connection_of(bytes((192, 0, 2, 0)), 24)])


CONNECT = "connect (sender_name TEXT, sender_domain TEXT, src TEXT, rcpt TEXT, first_seen INTEGER)"
AWL = "(sender_name TEXT, sender_domain TEXT, src TEXT, first_seen INTEGER, last_seen INTEGER)"
ENDLESS = (
    "CREATE VIEW connect AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    " SELECT 'a' AS sender_name, 'e.org' AS sender_domain, '192.0.2.1' AS src, 'b@e.net' AS rcpt,"
    " x AS first_seen FROM n"
)


@pytest.mark.parametrize(
    ("connect", "told"),
    [
        ((ENDLESS,), "connect is a view"),
        (
            (f"CREATE TABLE {CONNECT}", "INSERT INTO connect VALUES (zeroblob(99999999), 1,2,3,4)"),
            "too big",
        ),
    ],
    ids=["view", "blob"],
)
def test_a_database_that_never_ends_is_refused(
    greylag: Greylag, tmp_path: Path, connect: tuple[str, ...], told: str
) -> None:
    path = tmp_path / "sqlgrey.db"
    with closing(sqlite3.connect(path)) as db, db:
        for statement in (
            *connect,
            f"CREATE TABLE from_awl {AWL}",
            f"CREATE TABLE domain_awl {AWL}",
        ):
            db.execute(statement)
    done = run("import", "sqlgrey", str(path))
    assert (done.returncode, told in done.stderr) == (66, True), done.stderr
    assert len(done.stderr) < 500
