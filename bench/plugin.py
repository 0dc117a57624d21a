"""What the compiled plugin costs with the daemon for each recipient, in empty static programs.

usage: python -m bench.plugin [--rounds N]

Each round starts every program once, in turn. There are two daemons: the lists of the one are
empty, those of the other hold 100,000 entries. An answer must not cost more for that.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
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
    folder: Path, plugins: list[str], rounds: int, commit: Callable[[], float]
) -> list[dict[str, float]]:
    """Return the median seconds of each case, for each plugin; `commit` times a transaction.

    They take turns, in either order, so that whatever the machine does meets them all alike.
    """
    environ = {"GREYLISTING": "", "TCPREMOTEIP": "192.0.2.17", "SMTPMAILFROM": "a@example.org"}
    environ["SMTPRCPTTO"] = "known@example.net"
    shared: dict[str, list[float]] = {FLOOR: [], COMMIT: []}
    own: list[dict[str, list[float]]] = [{REPEAT: [], FIRST: []} for _ in plugins]
    for plugin in plugins:
        timed([plugin], environ)
    for number in range(rounds):
        fresh = environ | {"SMTPRCPTTO": f"r{number}@example.net"}
        shared[FLOOR].append(timed([str(folder / "empty")], environ))
        shared[COMMIT].append(commit())
        for at in sorted(range(len(plugins)), reverse=bool(number % 2)):
            own[at][REPEAT].append(timed([plugins[at]], environ))
            own[at][FIRST].append(timed([plugins[at]], fresh))
    return [{name: median(took) for name, took in (shared | times).items()} for times in own]


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
        configs, plugins = [], []
        for home in (folder / "few", folder / "many"):
            home.mkdir()
            configs.append(write_config(home))
            plugins.append(install(home, configs[-1]))
        fill_lists(folder, configs[1])
        wanted, libc = (1.0, "musl") if shutil.which("musl-gcc") else (1.5, "glibc")
        with serving(configs[0]), serving(configs[1]):
            empty, full = measure(folder, plugins, rounds, committing(folder))
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
