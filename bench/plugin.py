"""What the compiled plugin costs with the daemon for each recipient, in empty static programs.

usage: python -m bench.plugin [--rounds N]

Each round starts every program once, in turn. The lists are empty first, and then hold 100,000
entries: an answer must not cost more for that.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

from bench.common import BIN, build, heading, serving, target, timed, write_config

ENTRIES = 100_000
FLOOR, REPEAT, FIRST = "empty static program", "a triplet that waits", "a first contact"
COMMIT = "(of which is one synced transaction alone"
NOISE = 1.1  # two runs of the same program differ by this much on a quiet machine


def install(folder: Path, config: Path) -> str:
    """Install the compiled plugin below a qmail home; return its path."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    words = ["--config", str(config), "qmail", "install", "--native", "--force"]
    command = [f"{BIN}/greylag", *words, "--qmail-home", str(home)]
    subprocess.run(command, check=True, capture_output=True)
    return str(home / "plugins" / "greylisting")


def committing(folder: Path) -> Callable[[], float]:
    """Return what times the least that a first contact needs: one row, synced, by SQLite itself."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE IF NOT EXISTS one (at REAL PRIMARY KEY) WITHOUT ROWID")

    def commit() -> float:
        began = time.perf_counter()
        db.execute("INSERT INTO one VALUES (?)", (began,))
        return time.perf_counter() - began

    return commit


def measure(
    folder: Path, plugin: str, rounds: int, tag: str, commit: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of each case; `commit` times a transaction of the database."""
    environ = {"GREYLISTING": "", "TCPREMOTEIP": "192.0.2.17", "SMTPMAILFROM": "a@example.org"}
    environ["SMTPRCPTTO"] = "known@example.net"
    numbers = count()
    times: dict[str, list[float]] = {FLOOR: [], REPEAT: [], FIRST: [], COMMIT: []}
    timed([plugin], environ)
    for _ in range(rounds):
        times[FLOOR].append(timed([str(folder / "empty")], environ))
        times[REPEAT].append(timed([plugin], environ))
        fresh = environ | {"SMTPRCPTTO": f"{tag}{next(numbers)}@example.net"}
        times[FIRST].append(timed([plugin], fresh))
        times[COMMIT].append(commit())
    return {name: median(found) for name, found in times.items()}


def fill_lists(folder: Path, config: Path) -> None:
    """Put addresses and ranges on the allowlist, none of which is the client's."""
    half = ENTRIES // 2
    lines = [f"10.{n >> 8 & 255}.{n & 255}.{n >> 16}\n" for n in range(half)]
    lines += [f"2001:db8:{n:x}::/48\n" for n in range(half)]
    (folder / "list").write_text("".join(lines))
    command = [f"{BIN}/greylag", "--config", str(config), "allow", "import", str(folder / "list")]
    subprocess.run(command, check=True, capture_output=True)


def report(found: dict[str, float], wanted: float) -> None:
    """Print the cases in empty programs."""
    for name in (REPEAT, FIRST):
        target(name, found[name] / found[FLOOR], wanted)
    print(f"  {COMMIT:52} {found[COMMIT] / found[FLOOR]:9.3f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        config = write_config(folder)
        plugin = install(folder, config)
        wanted, libc = (1.0, "musl") if shutil.which("musl-gcc") else (1.5, "glibc")
        with serving(config):
            empty = measure(folder, plugin, rounds, "r", committing(folder))
        fill_lists(folder, config)
        with serving(config):
            full = measure(folder, plugin, rounds, "s", committing(folder))
    heading(
        f"plugin of {libc} with the daemon, for each RCPT, in empty static programs of glibc "
        f"({empty[FLOOR] * 1000:.2f} ms)"
    )
    report(empty, wanted)
    print(f"with {ENTRIES} list entries:")
    report(full, wanted)
    change = (full[REPEAT] / full[FLOOR]) / (empty[REPEAT] / empty[FLOOR])
    target(f"the one against the other ({NOISE:g} is noise)", change, NOISE)


if __name__ == "__main__":
    main()
