"""Many plugins at once on one database, and plugins that are killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count

import pytest

from tests.e2e.plugin import CLOSED_STDIN, Plugin

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
TRIPLETS = 200 if SOAK else 30


def test_16_at_once_ten_attempts_of_each_triplet_p9(plugin: Plugin) -> None:
    """Fault 7: no error, one record for each triplet, counters exact."""
    order = 10 * list(range(TRIPLETS))
    random.Random(7).shuffle(order)

    def ask(number: int) -> str:
        answer = plugin.run(SMTPRCPTTO=f"r{number}@example.net")
        assert answer.code == 0
        assert answer.deferred, answer.log
        return "new" if "reason=new" in answer.log else "early"

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(ask, order))
    assert (told.count("new"), told.count("early")) == (TRIPLETS, 9 * TRIPLETS)
    records = plugin.records().values()
    assert [record.blocked for record in records] == [10] * TRIPLETS
    assert plugin.figures() == {"defer:early": 9 * TRIPLETS, "defer:new": TRIPLETS}
    assert sound(plugin)


def sound(plugin: Plugin) -> bool:
    """Tell whether the database is whole; a server looks after its own."""
    if not plugin.url.startswith("sqlite:"):
        return True
    with closing(sqlite3.connect(plugin.database)) as db:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def run_and_kill(plugin: Plugin, recipient: str, after: float) -> bytes:
    """Start the plugin, kill it with -9 after so many seconds; return what it had printed."""
    process = subprocess.Popen(
        [*CLOSED_STDIN, str(plugin.program)],
        env=plugin.variables({"SMTPRCPTTO": recipient}),
        cwd=plugin.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    with process.stdout:
        printed = process.stdout.read()
    process.wait()
    return printed


def test_kill_9_never_loses_a_triplet_whose_451_was_printed_p6(plugin: Plugin) -> None:
    """Two loops of plugins, killed at random: what was answered is there when it is reopened."""
    kills = 1000 if SOAK else 100
    numbers, answered = count(), set[str]()
    plugin.run(SMTPRCPTTO="first@example.net")

    def loop(seed: int) -> None:
        dice = random.Random(seed)
        # Up to twice the time that one run takes: some die early, some late, some not at all.
        began = time.monotonic()
        plugin.run(SMTPRCPTTO=f"timing{seed}@example.net")
        longest = 2 * (time.monotonic() - began)
        for _ in range(kills // 2):
            recipient = f"r{next(numbers)}@example.net"
            if run_and_kill(plugin, recipient, dice.uniform(0, longest)).startswith(b"E451"):
                answered.add(recipient)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(loop, range(2)))
    kept = {triplet.recipient for triplet in plugin.records()}
    new = plugin.figures()["defer:new"]
    assert sound(plugin)
    assert answered <= kept
    assert new == len(kept)  # a record and its figure are one step
    assert kills * 0.1 < len(answered) < kills * 0.95, "kills must fall on both sides of the answer"
    assert "reason=early" in plugin.run(SMTPRCPTTO=min(answered)).log


@pytest.mark.sqlite
def test_the_log_of_killed_plugins_is_folded_in(plugin: Plugin) -> None:
    """SQLite's -wal must not grow for ever where nobody closes it."""
    for number in range(5):
        run_and_kill(plugin, f"r{number}@example.net", 0.06)
    plugin.run()
    assert not plugin.database.with_name("greylag.db-wal").exists()
