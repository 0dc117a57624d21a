"""What deletes something that was named: it asks on a terminal, and `--dry-run` shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import RECIPIENT, SENDER, Greylag
from tests.cli.test_dry_run import filled, rows
from tests.cli.test_process import on_a_terminal

__all__ = ["filled"]

DELETING = [
    (("allow", "remove", "192.0.2.0/24", "example.net", "10.0.0.1"), "example.net", 2),
    (("deny", "remove", "198.51.100.1"), "198.51.100.1", 1),
    (("trap", "remove", "old@example.net"), "old@example.net", 1),
    (("providers", "remove", "partner"), "partner", 1),
    (("distrust", "192.0.2.1"), "trust in 192.0.2.1 with example.org", 2),
    (("distrust", "--correspondent", SENDER, RECIPIENT), f"{SENDER} may answer", 1),
]


@pytest.mark.parametrize(("words", "named", "count"), DELETING, ids=lambda x: str(x)[:30])
def test_a_terminal_is_asked_with_how_many_and_which(
    filled: Greylag, words: tuple[str, ...], named: str, count: int
) -> None:
    before = rows(filled)
    code, shown = on_a_terminal(*words, typed=b"n\n", NO_COLOR="1")
    assert code == 1, shown
    assert f"greylag: {named}" in shown
    assert f"({count})? [y/N]" in shown
    assert "nothing was deleted" in shown
    assert rows(filled) == before
    code, shown = on_a_terminal(*words, typed=b"y\n", NO_COLOR="1")
    assert "[y/N]" in shown
    assert rows(filled) != before


@pytest.mark.parametrize("words", [words for words, *_ in DELETING], ids=" ".join)
def test_with_yes_or_without_a_terminal_nobody_is_asked(
    filled: Greylag, words: tuple[str, ...]
) -> None:
    before = rows(filled)
    _, shown = on_a_terminal(*words, "--yes", NO_COLOR="1")
    assert "[y/N]" not in shown
    assert rows(filled) != before
    again = filled.run(*words)
    assert again.exit_code == 1, "there is nothing left of it"


def test_nobody_is_asked_where_nothing_would_go(filled: Greylag) -> None:
    code, shown = on_a_terminal("allow", "remove", "10.0.0.1", NO_COLOR="1")
    assert code == 1
    assert "[y/N]" not in shown
    assert "not on the allowlist" in shown


@pytest.fixture
def users(greylag: Greylag) -> Path:
    pytest.importorskip("argon2")
    path = greylag.home / "users"
    greylag.configure(f'web.users = "{path}"\n')
    made = greylag.run("web", "passwd", "alice", stdin="a long secret word 7\n")
    assert made.exit_code == 0, made.stderr
    return path


def test_a_user_of_the_dashboard_is_deleted_after_a_yes(greylag: Greylag, users: Path) -> None:
    before = users.read_bytes()
    dry = greylag.run("web", "passwd", "--remove", "alice", "--dry-run")
    assert dry.stderr.splitlines()[-1] == "greylag: alice: deleted"
    assert users.read_bytes() == before
    code, shown = on_a_terminal("web", "passwd", "--remove", "alice", typed=b"n\n", NO_COLOR="1")
    assert (code, "Delete the user (1)? [y/N]" in shown) == (1, True)
    assert users.read_bytes() == before
    code, _ = on_a_terminal("web", "passwd", "--remove", "alice", "--yes", NO_COLOR="1")
    assert code == 0
    assert b"alice" not in users.read_bytes()


@pytest.mark.parametrize(
    ("user", "told"),
    [("alice", "alice: has a new password, as admin"), ("bob", "bob: may sign in, as viewer")],
)
def test_a_dry_run_asks_for_no_password_and_sets_none(
    greylag: Greylag, users: Path, user: str, told: str
) -> None:
    before = users.read_bytes()
    dry = greylag.run("web", "passwd", user, "--dry-run")
    assert dry.exit_code == 0
    assert dry.stderr.splitlines()[-1] == f"greylag: {told} ({users})"
    assert users.read_bytes() == before
