"""While an admin's long work is under way, first contacts are answered by the store (T45)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.server.daemon import BIN, Daemon, serving, write_config
from tests.server.test_failure import DEFERRED

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
MANY = 200_000 if SOAK else 20_000  # records, and entries


def filled(folder: Path) -> Path:
    """Return the path of a database with many records and list entries."""
    config = write_config(folder)
    subprocess.run([BIN / "greylag", "--config", config, "db", "init"], check=True)
    now = int(time.time())
    with closing(sqlite3.connect(folder / "greylag.db")) as db, db:
        db.executemany(
            "INSERT INTO records (settled, network, sender, recipient, first_seen, defer_until,"
            " expires, blocked, passed) VALUES (0, ?, ?, 'b@example.net', ?, ?, ?, 1, 0)",
            (
                (bytes((10, n >> 8 & 255, n & 255, 0)), f"s{n}@old.example", now, now, now + 9999)
                for n in range(MANY)
            ),
        )
    names = folder / "names"
    names.write_text("".join(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(MANY)))
    imports: list[str | Path] = ["allow", "import", names, "--yes"]
    subprocess.run([BIN / "greylag", "--config", config, *imports], check=True)
    names.write_text("192.0.2.200\n")
    return folder / "greylag.db"


def let_in_meanwhile(daemon: Daemon, config: Path, *words: str | Path) -> int:
    """Run a command; return how many first contacts pass while it runs."""
    asked = passed = 0
    with (
        daemon.connect() as client,
        subprocess.Popen([BIN / "greylag", "--config", config, *words]) as command,
    ):
        while command.poll() is None or not asked:
            asked += 1
            answer = client.ask(client_address="198.51.100.9", sender=f"n{asked}@example.org")
            passed += not answer.startswith(DEFERRED)
            time.sleep(0.01)
    assert command.returncode == 0
    return passed


@pytest.mark.parametrize("work", ["forget", "replace", "copy"])
def test_first_contacts_are_answered_during_long_work_t45(tmp_path: Path, work: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    database = filled(here)
    folder = there if work == "copy" else here
    config = write_config(folder)
    words: dict[str, list[str | Path]] = {
        "forget": ["forget", "--sender", "@old.example", "--yes"],
        "replace": ["allow", "import", here / "names", "--replace", "--yes"],
        "copy": ["db", "copy", f"sqlite://{database}", f"sqlite://{folder}/greylag.db"],
    }
    with serving(folder, config=config) as daemon:
        assert let_in_meanwhile(daemon, config, *words[work]) == 0
        assert "event=store-failed" not in daemon.log.read_text()
    with closing(sqlite3.connect(folder / "greylag.db")) as db:
        old = db.execute("SELECT count(*) FROM records WHERE sender LIKE '%@old.example'")
        assert old.fetchone() == (0 if work == "forget" else MANY,)
        entries = db.execute("SELECT count(*) FROM entries").fetchone()
        assert entries == (1 if work == "replace" else MANY,)
