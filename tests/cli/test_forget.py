"""`greylag forget`."""

from __future__ import annotations

import pytest

from greylag.cli.common import NO_TERMINAL
from greylag.core.triplet import Triplet
from tests.cli.conftest import CLIENT, KEY, NETWORK, RECIPIENT, SENDER, Greylag

EXACT = ("forget", CLIENT, SENDER, RECIPIENT)
MANY = [Triplet(NETWORK, f"s{n}@example.org", RECIPIENT) for n in range(7)]


def test_an_exact_triplet(greylag: Greylag) -> None:
    greylag.remember(KEY, *MANY)
    result = greylag.run(*EXACT)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "greylag: forgot 1 record\n")
    assert greylag.keys() == MANY
    assert greylag.json("stats")["never_came_back"]["count"] == 0


def test_an_exact_triplet_that_is_not_there(greylag: Greylag) -> None:
    greylag.remember(*MANY)
    result = greylag.run(*EXACT)
    assert (result.exit_code, result.stderr) == (1, "greylag: no record fits: nothing to forget\n")
    assert greylag.json(*EXACT, code=1) == {"found": 0, "forgotten": 0, "dry_run": False}


def test_filters_need_yes_without_a_terminal(greylag: Greylag) -> None:
    greylag.remember(*MANY)
    result = greylag.run("forget", "--client", CLIENT)
    assert result.exit_code == 1
    assert "  192.0.2.0/24 s4@example.org info@example.net\n  ... and 2 more\n" in result.stderr
    assert result.stderr.endswith(f"greylag: {NO_TERMINAL}\ngreylag: nothing was deleted\n")
    assert greylag.keys() == MANY


def test_filters_with_yes(greylag: Greylag) -> None:
    greylag.remember(KEY, *MANY)
    assert greylag.json("forget", "--sender", "s", "--recipient", "info", "--yes")["forgotten"] == 8
    greylag.remember(KEY, *MANY)
    result = greylag.run("forget", "--sender", SENDER, "--yes")
    assert (result.exit_code, greylag.keys()) == (0, MANY)
    with greylag.store() as store:
        noted = [(one.action, one.subject) for one in store.actions(9)]
    assert noted == [("forget", "user@example.org info@example.net"), ("forget", "8 records")]


@pytest.mark.parametrize("how", [EXACT[1:], ("--client", CLIENT), ("--client", CLIENT, "--yes")])
def test_dry_run(greylag: Greylag, how: tuple[str, ...]) -> None:
    greylag.remember(KEY)
    before = greylag.database.read_bytes()
    result = greylag.run("forget", *how, "--dry-run")
    assert result.exit_code == 0
    assert result.stderr.endswith(
        "user@example.org info@example.net\ngreylag: would forget 1 record\n"
    )
    assert greylag.json("forget", *how, "--dry-run") == {
        "found": 1,
        "forgotten": 0,
        "dry_run": True,
    }
    assert greylag.database.read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 7), ("\n", 1, 7), ("", 130, 7)]
)
def test_on_a_terminal_it_asks(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    greylag.remember(*MANY)
    monkeypatch.setattr("greylag.cli.forget.interactive", lambda: True)
    monkeypatch.setattr("greylag.cli.forget.ask", lambda text: ask(text, answer))
    asked: list[str] = []

    def ask(text: str, answer: str) -> bool:
        asked.append(text)
        if not answer:
            raise KeyboardInterrupt
        return answer == "y\n"

    result = greylag.run("forget", "--waiting")
    assert (result.exit_code, len(greylag.keys())) == (code, left)
    assert asked == ["Forget 7 records?"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--yes"],
        [CLIENT],
        [CLIENT, SENDER],
        [*EXACT[1:], "more"],
        [*EXACT[1:], "--waiting"],
        ["x", SENDER, RECIPIENT],
        [CLIENT, SENDER, ""],
    ],
)
def test_wrong_usage_forgets_nothing(greylag: Greylag, arguments: list[str]) -> None:
    greylag.remember(KEY)
    assert greylag.run("forget", *arguments).exit_code == 2
    assert greylag.keys() == [KEY]


def test_a_missing_database(greylag: Greylag) -> None:
    assert greylag.run(*EXACT).exit_code == 1
    assert not greylag.database.exists()
