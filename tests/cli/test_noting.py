"""What a command changes is noted in the history, with who called it."""

from __future__ import annotations

import pytest

from greylag.admin.audit import told_of
from greylag.core.history import Action
from tests.cli.conftest import NOW, Greylag

CHANGES = [
    ("allow", "192.0.2.1 example.org", ["allow", "add", "192.0.2.1", "example.org"]),
    ("allow-remove", "192.0.2.1", ["allow", "remove", "192.0.2.1"]),
    ("deny", "bad@example.com", ["deny", "add", "--sender", "bad@example.com"]),
    ("deny-import", "3 entries", ["deny", "import", "-"]),
    ("expect", f"a@example.net until {NOW + 1800}", ["expect", "a@example.net"]),
    ("expect-end", "a@example.net", ["expect", "end", "a@example.net"]),
    ("trap", "old@example.net", ["trap", "add", "old@example.net"]),
    ("trap-remove", "old@example.net", ["trap", "remove", "old@example.net"]),
]
LINES = "198.51.100.1\n198.51.100.2\n198.51.100.3\n"


def noted(greylag: Greylag) -> list[tuple[str, str]]:
    with greylag.store() as store:
        return [(one.action, one.subject) for one in reversed(store.actions(99))]


def test_each_change_of_the_lists_is_noted_once(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greylag.cli.noting.who", lambda: "alice")
    for _action, _subject, words in CHANGES:
        result = greylag.run(*words, stdin=LINES if "import" in words else None)
        assert result.exit_code == 0, result.stderr
    assert noted(greylag) == [(action, subject) for action, subject, _words in CHANGES]
    with greylag.store() as store:
        assert {(one.who, one.at) for one in store.actions(99)} == {("alice", NOW)}


def test_what_changes_nothing_is_not_noted(greylag: Greylag) -> None:
    greylag.run("db", "init")
    for words in (
        ["allow", "remove", "192.0.2.1"],
        ["trap", "remove", "old@example.net"],
        ["trap", "release", "192.0.2.1"],
        ["expect", "end", "a@example.net"],
        ["forget", "192.0.2.1", "a@example.org", "b@example.net"],
        ["distrust", "192.0.2.1"],
    ):
        assert greylag.run(*words).exit_code == 1, words
    assert noted(greylag) == []


def test_an_end_is_shown_as_a_moment() -> None:
    shown = [
        told_of(Action(NOW, "alice", "off", one))
        for one in ("1795807263", "", "a until 1795807263")
    ]
    assert shown == ["until 2026-11-27 19:21:03 UTC", "", "a until 2026-11-27 19:21:03 UTC"]
