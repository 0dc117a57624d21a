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
from bench.world.servers import Server, name_server

BIN = Path(sys.executable).parent
TARGET_MS, TARGET_RATIO, TARGET_EVIDENCE = 45.0, 5.0, 2.0
FLOOR = "python3 -I -S -c pass"
MEASURED = "greylisting: first contact, SQLite, greylag.toml"
EVIDENCE = "greylisting: the same, with names, SPF, DNSBL, DNSWL"
ALONE = "greylisting: the same settings, known triplet"
# What is asked for it: 8 queries, on loopback.
ZONES = {
    "example.org": '@ TXT "v=spf1 include:_a.example.org mx -all"\n@ MX 10 mx\nmx A 192.0.2.99\n'
    '_a TXT "v=spf1 ip4:198.51.100.0/24 ~all"\nhost A 192.0.2.17\n',
    "2.0.192.in-addr.arpa": "17 PTR host.example.org.\n",
    "bl.example.net": "2.0.0.127 A 127.0.0.2\n",
    "wl.example.net": "2.0.0.127 A 127.0.0.2\n",
}
WITH_DNS = """
[policy]
identity = "spf"
greylist = "suspicious"
[dns]
servers = ["{host}:{port}"]
dnsbl = ["bl.example.net"]
dnswl = ["wl.example.net"]
"""


def prepare(home: Path, server: Server) -> dict[str, str]:
    """Make a qmail home with the plugins in it; return the environment of an attempt."""
    (home / "control").mkdir()
    subprocess.run(
        [BIN / "greylag", "qmail", "install", "--qmail-home", home],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    text = f'[store]\nurl = "sqlite://{home}/greylag.db"\n'
    (home / "greylag.toml").write_text(text)
    (home / "evidence.toml").write_text(text + WITH_DNS.format(host=server[0], port=server[1]))
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


def measure(home: Path, rounds: int, server: Server) -> dict[str, list[float]]:
    """Return the times in milliseconds of each case."""
    environ, numbers = prepare(home, server), count()
    asks = environ | {"GREYLAG_CONFIG": str(home / "evidence.toml")}
    plugins = home / "plugins"
    off = {name: text for name, text in environ.items() if name != "GREYLISTING"}
    cases: dict[str, tuple[list[str], dict[str, str]]] = {
        FLOOR: ([str(BIN / "python3"), "-I", "-S", "-c", "pass"], environ),
        MEASURED: ([str(plugins / "greylisting")], environ),
        EVIDENCE: ([str(plugins / "greylisting")], asks),
        ALONE: ([str(plugins / "greylisting")], asks),
        "greylisting: a triplet that is known": ([str(plugins / "greylisting")], environ),
        "greylisting: not switched on": ([str(plugins / "greylisting")], off),
        "greylisting as pip installs it: first contact": ([str(BIN / "greylisting")], environ),
        "ifauthskip": ([str(plugins / "ifauthskip")], environ),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (argv, variables) in cases.items():
            fresh = {"SMTPRCPTTO": f"r{next(numbers)}@example.net"} if "known" not in name else {}
            times[name].append(timed(argv, variables | fresh, home))
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "knot").mkdir()
        with name_server(Path(folder) / "knot", ZONES) as server:
            times = measure(Path(folder), rounds, server)
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
    ratio = statistics.median(times[EVIDENCE]) / median
    print(
        f"target: with evidence at most {TARGET_EVIDENCE:g} times as long as without: "
        f"{'met' if ratio <= TARGET_EVIDENCE else 'NOT MET'} ({ratio:.2f} x)"
    )


if __name__ == "__main__":
    main()
