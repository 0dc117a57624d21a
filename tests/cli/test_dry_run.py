"""`--dry-run`: it tells what the command would tell, and changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from greylag.cli.dryrun import TOLD
from greylag.core.identity import of_address
from greylag.core.record import Created, Noted
from greylag.core.triplet import sent_of, trapped_of, trust_of
from tests.cli.conftest import KEY, NOW, RECIPIENT, SENDER, Greylag

CLIENT = bytes((192, 0, 2, 1))
HERE = of_address(CLIENT)


@pytest.fixture
def filled(greylag: Greylag, tmp_path: Path) -> Greylag:
    """Have something of each kind that can be changed."""
    for words in (
        ("allow", "add", "192.0.2.0/24", "example.net"),
        ("deny", "add", "198.51.100.1"),
        ("expect", "bob@example.net"),
        ("trap", "add", "old@example.net"),
        ("providers", "add", "partner", "_spf.example.org"),
    ):
        assert greylag.run(*words).exit_code == 0
    (tmp_path / "list").write_text("192.0.2.0/24\n203.0.113.0/24 a branch\n")
    assert greylag.run("allow", "import", "--source", "file", str(tmp_path / "list")).exit_code == 0
    (tmp_path / "list").write_text("203.0.113.0/25\n")
    with greylag.store() as store:
        noted = [
            *(Noted(trust_of(HERE, name), NOW, NOW + 9999) for name in ("", "example.org")),
            Noted(trapped_of(CLIENT), NOW, NOW + 9999),
            Noted(sent_of(SENDER, RECIPIENT), NOW, NOW + 9999),
        ]
        store.apply([Created(KEY, NOW, NOW + 300, NOW + 9999), *noted], {}, NOW)
    return greylag


def rows(greylag: Greylag) -> list[str]:
    with closing(sqlite3.connect(greylag.database)) as database:
        return list(database.iterdump())


COMMANDS = [
    ("allow", "add", "192.0.2.7", "198.51.100.1", "--comment", "moved from the denylist"),
    ("allow", "remove", "192.0.2.0/24", "10.0.0.1"),
    ("allow", "import", "--replace", "--source", "file", "LIST"),
    ("deny", "add", "example.net", "--yes"),
    ("deny", "remove", "198.51.100.1"),
    ("deny", "import", "LIST"),
    ("expect", "eve@example.net"),
    ("expect", "end", "bob@example.net", "eve@example.net"),
    ("trap", "add", "new@example.net"),
    ("trap", "remove", "old@example.net"),
    ("trap", "release", "192.0.2.1"),
    ("distrust", "192.0.2.1"),
    ("distrust", "192.0.2.1", "example.org"),
    ("distrust", "--correspondent", SENDER, RECIPIENT),
    ("release", SENDER, RECIPIENT),
    ("providers", "add", "other", "_spf.example.com"),
    ("providers", "remove", "partner", "nobody"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_dry_run_tells_what_is_told_then_and_changes_nothing(
    filled: Greylag, words: tuple[str, ...], tmp_path: Path
) -> None:
    words = tuple(str(tmp_path / "list") if word == "LIST" else word for word in words)
    before = rows(filled)
    dry = filled.run(*words, "--dry-run")
    as_json = filled.json(*words, "--dry-run", code=dry.exit_code)
    assert rows(filled) == before
    assert as_json["dry_run"] is True
    first, *told = dry.stderr.splitlines()
    assert first == f"greylag: {TOLD}"
    done = filled.run(*words)
    assert (done.exit_code, done.stdout, done.stderr.splitlines()) == (
        dry.exit_code,
        dry.stdout,
        told,
    )
    assert rows(filled) != before


def test_what_was_changed_does_not_say_that_it_was_a_dry_run(filled: Greylag) -> None:
    assert "dry_run" not in filled.json("allow", "add", "192.0.2.7")


def test_nobody_is_asked_for_what_does_not_happen(filled: Greylag) -> None:
    refused = filled.run("deny", "add", "0.0.0.0/0")
    assert refused.exit_code == 1
    dry = filled.run("deny", "add", "0.0.0.0/0", "--dry-run")
    assert dry.exit_code == 0
    assert "1 added" in dry.stderr


def test_no_database_is_made(greylag: Greylag) -> None:
    result = greylag.run("allow", "add", "192.0.2.7", "--dry-run")
    assert result.exit_code == 0
    assert f"{greylag.database}: no database yet" in result.stderr
    assert "1 added" in result.stderr
    assert not greylag.database.exists()


def test_what_is_typed_wrong_is_told_all_the_same(filled: Greylag) -> None:
    assert filled.run("allow", "add", "300.0.0.1", "--dry-run").exit_code == 2
    assert filled.run("distrust", "--dry-run", "@@").exit_code == 2
