"""`greylag demo`: what is shown is there, the programs answer, and nothing is left at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.server.daemon import Connection

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
SHARE = ("--share", "0.01")


def test_a_database_to_look_at(tmp_path: Path) -> None:
    folder = tmp_path / "month"
    made = subprocess.run(
        [BIN / "greylag", "demo", *SHARE, "--folder", folder, "--no-serve"],
        check=True,
        capture_output=True,
        text=True,
    )
    commands = re.findall(r"^  \S+ (--config .*)$", made.stdout, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        told = subprocess.run(
            [BIN / "greylag", *command.split()], check=True, capture_output=True, text=True
        )
        assert told.stdout, command
    again = subprocess.run(
        [BIN / "greylag", "demo", *SHARE, "--folder", folder, "--no-serve"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert again.returncode
    assert str(folder) in again.stderr


def test_its_commands_work_from_every_folder_and_it_says_that_it_takes_time(tmp_path: Path) -> None:
    made = subprocess.run(
        ["./greylag", "demo", *SHARE, "--folder", tmp_path / "month", "--no-serve"],
        check=True,
        capture_output=True,
        text=True,
        cwd=BIN,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert "making a month of mail" in made.stderr.splitlines()[0]
    assert set(re.findall(r"^  (\S+) --config", made.stdout, re.MULTILINE)) == {f"{BIN}/greylag"}


def test_without_a_folder_nothing_would_be_left() -> None:
    wrong = subprocess.run(
        [BIN / "greylag", "demo", "--no-serve"], check=False, capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert "--folder" in wrong.stderr


def test_daemon_and_dashboard_answer_and_end_with_it() -> None:
    with subprocess.Popen(
        [BIN / "greylag", "demo", *SHARE], stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        told = ""
        while "Ctrl-C" not in told:
            line = demo.stdout.readline()
            assert line, f"it ended: {told}"
            told += line
        folder = Path(re.search(r"--config (\S+)/greylag.toml", told)[1])  # type: ignore[index]
        with Connection(folder / "greylag.sock") as connection:
            assert connection.ask(client_address="198.51.100.9").startswith(
                b"action=DEFER_IF_PERMIT"
            )
        address = re.search(r"http://\S+", told)[0]  # type: ignore[index]
        with urllib.request.urlopen(address) as page:
            assert b"greylag" in page.read()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    assert not folder.exists()


def test_make_run_tells_all_in_its_order_where_the_output_is_a_file(tmp_path: Path) -> None:
    """What it writes itself is kept back then, and the command that it starts writes at once."""
    log = tmp_path / "log"
    with log.open("w") as out:
        subprocess.run(
            [sys.executable, "-m", "tests.host.demo"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            check=True,
            timeout=60,
        )
    told = log.read_text()
    parts = (
        "qmail-spp host under tcpserver",
        "What the plugin logged:",
        "See the records:",
        "What the first of these shows:",
        "first seen",
        "See a month of mail",
    )
    found = [told.find(part) for part in parts]
    assert -1 not in found, told
    assert found == sorted(found), told
