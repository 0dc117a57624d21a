"""What the plugins share as processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from greylag.plugin.greylisting import Answer, Log, answer
from greylag.plugin.process import BUDGET, BUDGET_VARIABLE, left_of_budget, write_in_time


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        *((b"0", 0), (b"1", 0.001), (b"4999", 4.999), (b"0005", 0.005)),
        *((b"5000", 5), (b"5001", 5), (b"60000", 5), (b"9" * 5000, 5), (b"-1", 5), (b"+1", 5)),
        *((b"", 5), (b" 1", 5), (b"1e3", 5), (b"\xd9\xa1", 5), (b"\xb2", 5), (b"0x10", 5)),
    ],
)  # fmt: skip
def test_what_is_left_is_a_number_of_milliseconds_within_the_budget(
    given: bytes, seconds: float
) -> None:
    assert left_of_budget({BUDGET_VARIABLE: given}) == seconds


def test_without_a_word_all_of_it_is_left() -> None:
    assert left_of_budget({}) == BUDGET


def test_who_writes_to_a_log_learns_whether_it_took_the_line() -> None:
    """So that one that has stopped is waited for just once (T33)."""
    reading, writing = os.pipe()
    try:
        assert write_in_time(writing, b"line\n", 1000)
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        assert not write_in_time(writing, b"line\n", 0)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("name", ["oneshot", "ifauthskip", "jgreylist"])
def test_plugins_that_were_installed_earlier_go_on(name: str) -> None:
    """They name these modules; one that is gone would be a crash, and so a refusal (P1)."""
    line = f"from greylag.cli.{name} import main; main()"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {line}", "true"],
        env={"TCPREMOTEIP": "192.0.2.17", "RELAYCLIENT": ""},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"" or b"OK" in done.stderr


def test_a_table_of_greylag_toml_holds_for_its_recipients(tmp_path: Path) -> None:
    """In the process that a mail server starts for one recipient."""
    config = tmp_path / "greylag.toml"
    config.write_text(
        f'store.url = "sqlite://{tmp_path}/greylag.db"\n'
        '[[recipient]]\nmatch = ["postmaster@"]\ngreylist = "off"\n'
    )
    environ = {b"GREYLAG_CONFIG": os.fsencode(config), b"GREYLISTING": b""}
    environ |= {b"TCPREMOTEIP": b"192.0.2.17", b"SMTPMAILFROM": b"a@example.org"}
    given: list[bytes] = []

    class Kept(Answer):
        def give(self, output: bytes) -> bool:
            given.append(output)
            return True

    for recipient in (b"postmaster@example.net", b"other@example.net"):
        asked = {**environ, b"SMTPRCPTTO": recipient}
        answer(asked, Log(), Kept(), time.monotonic() + 5)
    assert [output[:4] for output in given] == [b"", b"E451"]
