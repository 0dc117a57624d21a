"""The group itself: help, how commands end, completion."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from json import loads
from pathlib import Path

import click
import pytest

from greylag.cli import home as home_module
from greylag.cli.common import INTERNAL_ERROR
from greylag.cli.main import cli
from greylag.store.base import StoreUnavailable
from tests.cli.conftest import EVIL, KEY, Greylag


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        here = (*path, name)
        found += commands(command, here) if isinstance(command, click.Group) else [here]
    return found


WITHOUT_DATA = ("qmail", "serve", "demo")
OUR_OWN = [
    path
    for path in commands()
    if path[0] not in WITHOUT_DATA and path not in (("web", "serve"), ("web", "passwd"))
]


@pytest.mark.parametrize("path", OUR_OWN, ids=" ".join)
def test_every_command_has_help_with_examples_and_json(
    greylag: Greylag, path: tuple[str, ...]
) -> None:
    result = greylag.run(*path, "--help")
    assert result.exit_code == 0
    assert f"  Examples:\n    {'eval' if path == ('completion',) else ''}" in result.stdout
    assert f"greylag {' '.join(path)}" in result.stdout.partition("Examples:")[2]
    assert "--json" in result.stdout


def test_help_documents_exit_codes_and_variables(greylag: Greylag) -> None:
    text = greylag.run("--help").stdout
    for code in ("0", "1", "2", "10", "11", "66", "70", "74", "75", "78", "130", "141"):
        assert f"\n    {code} " in text
    assert "GREYLAG_CONFIG" in text
    assert "..." not in text.partition("Commands:")[2].partition("Exit codes")[0]


def test_the_line_about_db_names_what_it_has(greylag: Greylag) -> None:
    line = next(x for x in greylag.run("--help").stdout.splitlines() if x.startswith("  db "))
    for word in ("check", "copy", "back up", "restore"):
        assert word in line


def test_version(greylag: Greylag) -> None:
    assert greylag.run("--version").stdout.startswith("greylag, version ")


@pytest.mark.parametrize("arguments", [(), ("allow",), ("deny",), ("qmail",), ("db",), ("import",)])
def test_no_command_shows_the_help(greylag: Greylag, arguments: tuple[str, ...]) -> None:
    result = greylag.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize(
    "arguments",
    [("chec",), ("allow", "ad", "192.0.2.1"), ("stats", "--js"), ("search", "--lim", "5"),
     ("search", "--limit", "0"), ("search", "--limit", "x"), ("allow", "add"), ("check",),
     ("completion", "csh"), ("stats", "more"), ("--confi", "x", "stats")],
)  # fmt: skip
def test_wrong_usage_is_one_line(greylag: Greylag, arguments: tuple[str, ...]) -> None:
    """No abbreviations among them: a script must not change its meaning with a later version."""
    result = greylag.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("greylag: ")
    assert "--help)" in result.stderr


def test_a_foreign_database_is_refused(greylag: Greylag) -> None:
    with closing(sqlite3.connect(greylag.database)) as db:
        db.execute("CREATE TABLE mine (x)")
    before = greylag.database.read_bytes()
    result = greylag.run("allow", "add", "example.org")
    assert result.exit_code == 74
    assert "is a database, but not one of greylag's" in result.stderr
    assert greylag.database.read_bytes() == before


def test_no_directory_for_the_database(greylag: Greylag) -> None:
    greylag.configure('store.url = "sqlite:///nowhere/at/all/x.db"\n')
    assert greylag.run("allow", "add", "example.org").exit_code == 74
    assert greylag.run("allow", "list").exit_code == 0


def test_a_locked_database_is_for_later(greylag: Greylag) -> None:
    greylag.run("allow", "add", "example.org")
    greylag.configure(f'store.url = "sqlite://{greylag.database}"\nstore.timeout = "1s"\n')
    with closing(sqlite3.connect(greylag.database, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        result = greylag.run("allow", "add", "example.net")
        assert (result.exit_code, result.stderr) == (
            75,
            f"greylag: {greylag.database}: database is locked\n",
        )
        assert greylag.run("allow", "list").exit_code == 0
    assert greylag.entries() == ["allow example.org"]


def test_the_memory_store_is_told(greylag: Greylag) -> None:
    greylag.configure('store.url = "memory:"\n')
    assert "ends with this command" in greylag.run("allow", "add", "example.org").stderr


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "\ngreylag: interrupted\n"),
        (StoreUnavailable("x.db: disk full"), 75, "greylag: x.db: disk full\n"),
        (
            PermissionError(13, "Permission denied", "x.db"),
            74,
            "greylag: x.db: Permission denied\n",
        ),
        (OSError(28, "No space left on device"), 74, "greylag: output: No space left on device\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_how_a_command_ends(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    def fails(*_arguments: object, **_options: object) -> None:
        raise error

    given_up: list[int] = []
    monkeypatch.setattr("greylag.cli.main.give_up_output", lambda: given_up.append(1))
    monkeypatch.setattr("greylag.cli.common.load", fails)
    result = greylag.run("stats")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", told)
    assert bool(given_up) == isinstance(error, OSError)


class Mute(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError(EVIL)


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize(
    ("bug", "told"),
    [
        (TypeError("a bug"), "TypeError: a bug"),
        (KeyError(7), "KeyError: 7"),
        (
            RuntimeError(f"{EVIL}\n\n  next\udcff"),
            "RuntimeError: \\x1b[2J\\x1b]0;owned\\x07 forged",
        ),
        (MemoryError(), "MemoryError"),
        (RecursionError("x" * 10_000), "RecursionError: xxx"),
        (Mute(), "Mute"),
    ],
)
def test_a_bug_is_one_line_and_an_exit_code_of_its_own_t46(
    greylag: Greylag,
    monkeypatch: pytest.MonkeyPatch,
    bug: Exception,
    told: str,
    json: tuple[str, ...],
) -> None:
    """Planted where the store is read, which is where hostile content has brought bugs out."""

    def stumbles(*_arguments: object) -> None:
        raise bug

    greylag.remember(KEY)
    monkeypatch.setattr("greylag.store.sqlite.store.SqliteStore.figures", stumbles)
    result = greylag.run("stats", *json)
    assert (result.exit_code, result.stdout) == (INTERNAL_ERROR, "")
    (line,) = result.stderr.splitlines()
    if json:
        line = f"greylag: {loads(line)['error']}"
    assert line.startswith(f"greylag: internal error: {told}"), line
    assert line.endswith(" (please report)")
    assert len(line) < 1500


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(greylag: Greylag, shell: str) -> None:
    script = greylag.run("completion", shell).stdout
    assert "_GREYLAG_COMPLETE" in script
    found = greylag.json("completion", shell)
    assert (found["shell"], found["script"].strip()) == (shell, script.strip())


def test_the_handbook_says_why_there_is_no_completion_for_tcsh(greylag: Greylag) -> None:
    from click.shell_completion import get_completion_class

    page = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text()
    section = page.partition("\n## greylag completion\n")[2]
    assert get_completion_class("tcsh") is None
    assert "There is none for tcsh: click" in section
    assert greylag.run("completion", "tcsh").exit_code == 2


def test_completion_answers(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("_GREYLAG_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "greylag allow ")
    monkeypatch.setenv("COMP_CWORD", "2")
    from tests.cli.runner import runner

    result = runner().invoke(cli, prog_name="greylag")
    assert result.stdout.split() == ["plain,add", "plain,import", "plain,list", "plain,remove"]


def test_the_settings_may_be_named_behind_the_command(greylag: Greylag) -> None:
    other = greylag.home / "other.toml"
    other.write_text('policy.delay = "9m"\n')
    for words in (
        ("--config", str(other), "config"),
        ("config", "--config", str(other)),
        ("config", f"--config={other}"),
    ):
        assert '"9m"' in greylag.run(*words).stdout, words
    assert '"9m"' not in greylag.run("config").stdout
    greylag.configure("nonsense =")
    other.write_text(f'store.url = "sqlite://{greylag.home}/b.db"\n')
    assert greylag.run("allow", "--config", str(other), "add", "192.0.2.1").exit_code == 0
    assert (greylag.home / "b.db").exists()
    assert "--config FILE" in greylag.run("allow", "add", "--help").stdout


def _by_a_link(home: Path) -> None:
    (home / "control").rename(home / "elsewhere")
    (home / "control").symlink_to(home / "elsewhere")


def _by_a_link_to_the_file(home: Path) -> None:
    (home / "control" / "greylisting").rename(home / "elsewhere")
    (home / "control" / "greylisting").symlink_to(home / "elsewhere")


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda _home: None, True),
        (lambda home: home.chmod(0o1777), False),
        (lambda home: (home / "control").chmod(0o775), False),
        (lambda home: (home / "control" / "greylisting").chmod(0o666), False),
        (lambda home: os.chown(home / "control", 1, -1), False),
        (_by_a_link, False),
        (_by_a_link_to_the_file, False),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_the_old_file_of_a_folder_that_others_can_change_is_passed_over_t44(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], read: bool
) -> None:
    """Root may stand in anybody's folder, and that file names the database."""
    home = greylag.home / "home"
    (home / "control").mkdir(parents=True)
    (home / "control" / "greylisting").write_text("block_expire=7\n")
    monkeypatch.chdir(home)
    monkeypatch.setattr(home_module, "DEFAULT_HOME", str(greylag.home / "nothing"))
    change(home)
    result = greylag.run("config")
    assert result.stderr.count("others may change it") == int(not read)
    assert ('"7m"' in result.stdout) == read
    assert '"7m"' in greylag.run("--qmail-home", ".", "config").stdout
    monkeypatch.setattr(home_module, "DEFAULT_HOME", str(home))
    assert '"7m"' in greylag.run("config").stdout
