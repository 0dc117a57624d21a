"""What the plugin without a daemon costs for each recipient, against an empty Python process.

usage: python -m bench.oneshot [--rounds N]

Each round starts every program once, in turn, so that whatever else the machine does falls on all
of them. Quote the ratios: absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import greylag

BIN = Path(sys.executable).parent
TARGET_MS, TARGET_RATIO = 45.0, 5.0
FLOOR = "python3 -I -S -c pass"
MEASURED = "greylisting: first contact, SQLite, greylag.toml"


def prepare(home: Path) -> dict[str, str]:
    """Make a qmail home with the plugins in it; return the environment of an attempt."""
    (home / "control").mkdir()
    subprocess.run(
        [BIN / "greylag", "qmail", "install", "--qmail-home", home],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (home / "greylag.toml").write_text(f'[store]\nurl = "sqlite://{home}/greylag.db"\n')
    return {
        "PATH": os.defpath,
        "GREYLAG_CONFIG": str(home / "greylag.toml"),
        "GREYLISTING": "",
        "TCPREMOTEIP": "192.0.2.17",
        "SMTPMAILFROM": "a@example.org",
        "SMTPRCPTTO": "known@example.net",
        "SMTPAUTHUSER": "",
    }


def timed(argv: list[str], environ: Mapping[str, str], home: Path) -> float:
    """Run a program to its end; return the milliseconds it took."""
    began = time.perf_counter()
    subprocess.run(
        argv, env=environ, cwd=home, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return (time.perf_counter() - began) * 1000


def measure(home: Path, rounds: int) -> dict[str, list[float]]:
    """Return the times in milliseconds of each case."""
    environ, numbers = prepare(home), count()
    plugins = home / "plugins"
    off = {name: text for name, text in environ.items() if name != "GREYLISTING"}
    cases: dict[str, tuple[list[str], dict[str, str]]] = {
        FLOOR: ([str(BIN / "python3"), "-I", "-S", "-c", "pass"], environ),
        MEASURED: ([str(plugins / "greylisting")], environ),
        "greylisting: a triplet that is known": ([str(plugins / "greylisting")], environ),
        "greylisting: not switched on": ([str(plugins / "greylisting")], off),
        "greylisting as pip installs it: first contact": ([str(BIN / "greylisting")], environ),
        "ifauthskip": ([str(plugins / "ifauthskip")], environ),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (argv, variables) in cases.items():
            fresh = {"SMTPRCPTTO": f"r{next(numbers)}@example.net"} if "first" in name else {}
            times[name].append(timed(argv, variables | fresh, home))
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), rounds)
    print(
        f"greylag {greylag.__version__}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, medians of {rounds} rounds"
    )
    floor = statistics.median(times[FLOOR])
    for name, found in times.items():
        median = statistics.median(found)
        print(f"  {name:50} {median:6.1f} ms  {median / floor:5.2f} x")
    median = statistics.median(times[MEASURED])
    met = median <= TARGET_MS and median / floor <= TARGET_RATIO
    print(
        f"target: at most {TARGET_MS:g} ms and {TARGET_RATIO:g} times `{FLOOR}`: "
        f"{'met' if met else 'NOT MET'} ({median:.1f} ms, {median / floor:.2f} x)"
    )


if __name__ == "__main__":
    main()
