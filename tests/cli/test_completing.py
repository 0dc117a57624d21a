"""What a shell completes from the store: ids of mail that waits, and the entries of a list."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greylag.core.history import Begun, Deferral, Outcome
from greylag.core.shortid import shown_id
from greylag.core.value import replace
from tests.cli.conftest import EVIL, KEY, NOW, Greylag
from tests.e2e.plugin import held, needed

GREYLAG = Path(sys.executable).parent / "greylag"
OTHER, PASSED = replace(KEY, sender="b@example.org"), replace(KEY, sender="c@example.org")
SHELLS = {
    "bash": (
        "source ./script; COMP_WORDS=({words} '{begun}'); COMP_CWORD={count};"
        " _greylag_completion {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    ),
    "zsh": (
        "env COMP_WORDS='{words} {begun}' COMP_CWORD={count} _GREYLAG_COMPLETE=zsh_complete"
        " {program} | sed -n 2~3p"
    ),
    "fish": (
        "env COMP_WORDS='{words} {begun}' COMP_CWORD='{begun}' _GREYLAG_COMPLETE=fish_complete"
        " {program} | sed 's/^plain,//'"
    ),
}


def completed(greylag: Greylag, words: str, begun: str = "", shell: str = "bash") -> list[str]:
    """Press the key in a real shell, with the script that greylag prints."""
    program = needed(shell, shell)
    script = greylag.home / "script"
    script.write_text(greylag.run("completion", shell).stdout.replace("compopt", ": compopt"))
    line = SHELLS[shell].format(words=words, begun=begun, count=len(words.split()), program=GREYLAG)
    done = subprocess.run(
        [program, "-c", line],
        cwd=greylag.home,
        env={
            "PATH": "/usr/bin:/bin",
            "GREYLAG_CONFIG": str(greylag.config),
            "HOME": str(greylag.home),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("command", ["release", "why"])
def test_ids_of_mail_that_waits_are_completed(greylag: Greylag, command: str, shell: str) -> None:
    first, second = Deferral(KEY, NOW, NOW + 300), Deferral(OTHER, NOW, NOW + 300)
    passed = Deferral(PASSED, NOW, NOW + 300, outcome=Outcome.PASSED, ended=NOW + 400)
    with greylag.store() as store:
        store.remember([Begun(first), Begun(second), Begun(passed)], NOW)
    ids = {shown_id(one.id) for one in (first, second)}
    assert set(completed(greylag, f"greylag {command}", "", shell)) == ids
    one = shown_id(first.id)
    assert completed(greylag, f"greylag {command}", one[:6].lower(), shell) == [one]


@pytest.mark.parametrize("shell", SHELLS)
def test_entries_of_the_list_are_completed_where_they_are_removed(
    greylag: Greylag, shell: str
) -> None:
    greylag.run("allow", "add", "192.0.2.0/24", "partner.example", "part.example")
    greylag.run("deny", "add", "198.51.100.7")
    found = completed(greylag, "greylag allow remove", "part", shell)
    assert found == ["partner.example", "part.example"]
    assert completed(greylag, "greylag deny remove", "", shell) == ["198.51.100.7"]


def test_what_would_mean_something_to_a_shell_is_not_offered(greylag: Greylag) -> None:
    greylag.run("allow", "add", "a.example")
    greylag.sql("UPDATE entries SET name = ?", (f"$(touch${{IFS}}x){EVIL}`*",))
    assert completed(greylag, "greylag allow remove") == []
    assert not (greylag.home / "x").exists()


def test_nothing_is_said_or_made_where_there_is_no_store(greylag: Greylag) -> None:
    assert completed(greylag, "greylag release") == []
    assert not greylag.database.exists()
    greylag.config.write_text("nonsense")
    assert completed(greylag, "greylag why") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="leases need the owner or root")
def test_a_store_that_hangs_keeps_nobody_waiting(greylag: Greylag) -> None:
    greylag.run("allow", "add", "a.example")
    with held(greylag.database):
        assert completed(greylag, "greylag allow remove") == []
    assert completed(greylag, "greylag allow remove") == ["a.example"]


@pytest.mark.parametrize("shell", SHELLS)
def test_settings_that_can_be_explained_are_completed(greylag: Greylag, shell: str) -> None:
    assert completed(greylag, "greylag config", "e", shell) == ["explain"]
    found = completed(greylag, "greylag config explain", "policy.tr", shell)
    assert found == [
        "policy.trust_after",
        "policy.trust_all_after",
        "policy.trap",
        "policy.trapped_for",
    ]
