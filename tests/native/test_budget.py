"""One budget for a question: what the C program has used, the one-shot does not have (T33, P1)."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from greylag.cli.plugins import script as plugin_script
from tests.e2e.plugin import Value
from tests.native.building import Builder
from tests.native.conftest import Client
from tests.native.daemon import answering, running
from tests.native.greylisted import Jgreylist, write_recorder
from tests.native.test_jgreylist import GREY, taking

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
BUDGET_MS, HANGS_UP_MS = (5000, 4000) if SOAK else (2000, 1500)
MARGIN_MS = 1500  # for starting Python on a busy machine


def hanging_up_late(_connection: socket.socket, _question: bytes) -> None:
    time.sleep(HANGS_UP_MS / 1000)


@contextmanager
def locked_store(folder: Path, on_failure: str = "pass") -> Iterator[Path]:
    """Yield settings whose database another program holds."""
    config = folder / "greylag.toml"
    config.write_text(
        f'[store]\nurl = "sqlite://{folder}/greylag.db"\non_failure = "{on_failure}"\n'
    )
    with closing(sqlite3.connect(folder / "greylag.db")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield config


def real_oneshot(folder: Path, program: str, config: Path) -> Path:
    """Write the Python program that is run in the C program's place."""
    path = folder / f"{program}-oneshot"
    path.write_text(plugin_script(f"greylag.plugin.{program}", str(config)))
    path.chmod(0o755)
    return path


def write_budget_teller(folder: Path) -> Path:
    """Write a one-shot that says how often it was told of a budget, and of which."""
    path = folder / "teller"
    path.write_text(
        "#!/bin/sh\ntr '\\0' '\\n' </proc/$$/environ | sed -n 's/^GREYLAG_BUDGET_MS=//p'\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("on_failure", ["pass", "defer"])
def test_a_late_hang_up_and_a_locked_database_are_answered_in_one_budget_t33_p1(
    client: Client, build: Builder, tmp_path: Path, on_failure: str
) -> None:
    with locked_store(tmp_path, on_failure) as config:
        oneshot = real_oneshot(tmp_path, "greylisting", config)
        late = client.of(build(budget_ms=BUDGET_MS, oneshot=oneshot))
        with running(client.socket, hanging_up_late):
            began = time.monotonic()
            answer = late.run()
            took = (time.monotonic() - began) * 1000
    assert HANGS_UP_MS <= took < BUDGET_MS + MARGIN_MS, answer.log
    assert answer.deferred == (on_failure == "defer")
    assert "the daemon hung up: using the one-shot" in answer.log
    assert "reason=store-unavailable" in answer.log


def test_a_connection_too_is_answered_in_one_budget_t33_p1(build: Builder, tmp_path: Path) -> None:
    write_recorder(tmp_path / "smtpd")
    with locked_store(tmp_path) as config:
        oneshot = real_oneshot(tmp_path, "jgreylist", config)
        programs = build(budget_ms=BUDGET_MS, jgreylist_oneshot=oneshot)
        late = Jgreylist(programs / "jgreylist", tmp_path)
        with running(tmp_path / "s", hanging_up_late):
            began = time.monotonic()
            run = late.run(GREYLAG_BUDGET_MS="60000")
            took = (time.monotonic() - began) * 1000
    assert HANGS_UP_MS <= took < BUDGET_MS + MARGIN_MS, run.log
    assert run.said == [b"220 from smtpd"]
    assert late.recorded(GREYLAG_BUDGET_MS=None), "qmail-smtpd must not find the variable"


def test_a_hand_over_that_hangs_leaves_the_oneshot_its_time(build: Builder, tmp_path: Path) -> None:
    """Who is refused is not let in because the daemon does not take him."""
    write_recorder(tmp_path / "smtpd")
    config = tmp_path / "greylag.toml"
    config.write_text(f'store.url = "sqlite://{tmp_path}/greylag.db"\n')
    oneshot = real_oneshot(tmp_path, "jgreylist", config)
    hurried = build(budget_ms=5000, jgreylist_oneshot=oneshot) / "jgreylist"

    def dawdles(connection: socket.socket, _record: bytes, _descriptors: list[int]) -> None:
        with suppress(OSError):
            connection.recv(1)

    with running(tmp_path / "s", answering(GREY)), taking(tmp_path, dawdles):
        run = Jgreylist(hurried, tmp_path).run()
    assert "the daemon does not take the client: using the one-shot" in run.log[0]
    assert run.log[1].endswith("192.0.2.17: GREY first time")


def test_no_variable_that_is_set_outside_gives_more_time(
    client: Client, build: Builder, tmp_path: Path
) -> None:
    late = client.of(build(oneshot=write_budget_teller(tmp_path)))
    for given in ("60000", "-1", "", "5000 ", "x" * 9999):
        answer = late.run(GREYLAG_BUDGET_MS=given)
        (told,) = answer.output.split()
        assert 0 <= int(told) <= 5000, given


def test_an_environment_that_is_too_large_is_passed_as_it_is(client: Client) -> None:
    many: dict[str, Value | None] = {f"X{number}": "" for number in range(5000)}
    assert client.asks_oneshot(**many)
