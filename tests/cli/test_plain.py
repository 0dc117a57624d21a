"""`--plain`: tables for awk; and with `--json` errors for programs."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest

from greylag.cli.main import cli
from tests.cli.conftest import EVIL, KEY, RECIPIENT, SENDER, Greylag
from tests.cli.runner import runner
from tests.cli.test_main import commands

SOURCE = Path(__file__).parents[2] / "src" / "greylag" / "cli"


@pytest.fixture
def filled(greylag: Greylag) -> Greylag:
    greylag.run("allow", "add", "192.0.2.0/24", "--comment", "one\ttab")
    greylag.run("deny", "add", "203.0.113.0/24")
    greylag.run("expect", RECIPIENT)
    greylag.run("trap", "add", "old@example.net")
    greylag.remember(KEY)
    return greylag


# Each command that prints a table, and how many cells a line has: None where lines differ.
TABLES: list[tuple[tuple[str, ...], int | None]] = [
    (("allow", "list"), 6),
    (("deny", "list"), 6),
    (("expect", "list"), 4),
    (("trap", "list"), 4),
    (("providers", "list"), 6),
    (("search",), 8),
    (("config",), 3),
    (("why", RECIPIENT), 2),
    (("stats",), 2),
    (("stats", "--by", "hour"), None),
    (("stats", "--by", "reason"), None),
    (("stats", "--by", "recipient"), None),
    (("top",), None),
    (("doctor",), 4),
]


@pytest.mark.parametrize(
    ("words", "cells"), TABLES, ids=lambda x: " ".join(x or ()) if not isinstance(x, int) else ""
)
def test_each_line_has_cells_between_tabs_and_there_is_no_header(
    filled: Greylag, words: tuple[str, ...], cells: int | None
) -> None:
    # A tab of a cell is escaped; `run` refuses tabs as control characters, so it is not used here.
    done = runner().invoke(cli, [*words, "--plain"], catch_exceptions=False)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines, done.stderr
    assert all(len(line) == cells if cells else len(line) > 1 for line in lines), lines
    assert lines[0][0] not in ("subject", "mailbox", "name", "setting", "hour")
    assert not [cell for line in lines for cell in line if cell != cell.strip()]
    assert "\x1b" not in done.stdout


def test_who_may_sign_in_is_plain_too(greylag: Greylag) -> None:
    pytest.importorskip("argon2")
    greylag.configure(f'web.users = "{greylag.home}/users"\n')
    greylag.run("web", "passwd", "alice", stdin="a long secret word 7\n")
    assert runner().invoke(cli, ["web", "users", "--plain"]).stdout == "alice\tadmin\n"


def test_lines_of_several_tables_begin_with_a_name(filled: Greylag) -> None:
    done = runner().invoke(cli, ["stats", "--by", "hour", "--plain"], catch_exceptions=False)
    names = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert names[:2] == ["since", "until"]
    assert "" not in names


def test_a_cell_cannot_hold_a_tab_or_a_line_of_its_own(greylag: Greylag) -> None:
    """T12: a comment cannot forge a column."""
    greylag.run("allow", "add", "example.org", "--comment", f"one\ttab {EVIL}")
    (line,) = runner().invoke(cli, ["allow", "list", "--plain"]).stdout.splitlines()
    assert line.count("\t") == 5
    assert "one\\x09tab" in line


@pytest.mark.parametrize(("words", "other"), [(("search", "--plain", "--json"), "--json"),
    (("search", "--csv", "--plain"), "--csv"), (("allow", "list", "--plain", "--json"), "--json"),
])  # fmt: skip
def test_one_form_at_a_time(greylag: Greylag, words: tuple[str, ...], other: str) -> None:
    done = greylag.run(*words)
    assert done.exit_code == 2
    assert f"--plain and {other} exclude each other" in done.stderr


def test_every_command_whose_module_writes_a_table_has_it() -> None:
    """`report` has its tables from `stats --by` and `top`, and is for people."""

    def at(path: tuple[str, ...]) -> click.Command:
        command: click.Command = cli
        for word in path:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        return command

    having = {p for p in commands() if "--plain" in {o for x in at(p).params for o in x.opts}}
    assert having == {words[: 2 if words[-1] == "list" else 1] for words, _ in TABLES} | {
        ("web", "users")
    }
    writing = {path.stem for path in SOURCE.glob("*.py") if "write_table(" in path.read_text()}
    assert writing - {"output", "statsby", "searchhistory"} == {
        *("search", "lists", "recipients", "providers", "why", "top", "config", "web", "doctor")
    }


# What went wrong, where a program reads it.


def error_of(greylag: Greylag, *words: str) -> tuple[int, str]:
    done = greylag.run(*words)
    assert done.stdout == ""
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["exit"] == done.exit_code
    return told["exit"], told["error"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("search", "--limit", "0", "--json"), 2, "--limit"),
        (("search", "--json", "--limt", "5"), 2, "Did you mean '--limit'?"),
        (("serch", "--json"), 2, "Did you mean 'search'?"),
        (("allow", "add", "x/99", "300.1.1.1", "--json"), 2, "\n"),
        (("--config", "none.toml", "search", "--json"), 78, "none.toml"),
        (("import", "smtp-log", "none", "--json"), 66, "none"),
        (("check", "nonsense", SENDER, RECIPIENT, "--json"), 2, "nonsense"),
    ],
)
def test_an_error_is_one_json_document_on_stderr(
    greylag: Greylag, words: tuple[str, ...], code: int, told: str
) -> None:
    found, error = error_of(greylag, *words)
    assert found == code
    assert told in error


def test_a_store_that_fails_is_told_as_json(greylag: Greylag) -> None:
    with closing(sqlite3.connect(greylag.database)) as db:
        db.execute("CREATE TABLE mine (x)")
    code, error = error_of(greylag, "search", "--json")
    assert code == 74
    assert "is a database, but not one of greylag's" in error


def test_errors_are_lines_where_json_is_no_option_of_the_command(greylag: Greylag) -> None:
    assert greylag.run("allow", "add", "--", "--json").stderr.startswith("greylag: ")
    assert greylag.run("search", "--limit", "0").stderr.startswith("greylag: ")


def test_an_error_in_json_shows_no_password(greylag: Greylag) -> None:
    """T43."""
    greylag.configure('store.url = "mysql://root:hunter2@127.0.0.1:1/x"\n')
    for words in (("search", "--json"), ("db", "copy", "--json", "mysql://a:hunter2@b/c")):
        assert "hunter2" not in greylag.run(*words).stderr


def test_the_commands_of_the_handbook_work(filled: Greylag) -> None:
    page = (SOURCE.parents[2] / "docs" / "reference" / "commands.md").read_text()
    section = page.partition("\n## For programs\n")[2].partition("\n## ")[0]
    shown = re.findall(r"^    (greylag .*)$", section, re.MULTILINE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    outputs = [
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in shown
    ]
    assert outputs[0].split() == ["1", SENDER]
    error = json.loads(section.partition("```json\n")[2].partition("\n")[0])
    assert error_of(filled, "search", "--limt", "5", "--json") == (error["exit"], error["error"])
