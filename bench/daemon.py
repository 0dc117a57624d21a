"""The daemon on SQLite against its peers, on the same work in one run.

usage: python -m bench.daemon [--rounds N] [--requests N]

Rounds go through all servers in turn; medians are printed, and ratios with the target beside them.
postgrey and sqlgrey are Debian's, as they are configured there but for their places.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.common import (
    BIN,
    Load,
    answers,
    build,
    free_port,
    heading,
    load,
    process,
    processor,
    serving,
    target,
    write_config,
)
from greylag.service.desk import CACHE_SIZE

BLOCKED = 1000  # triplets that are repeated
FEW = 16  # connections
SLOW_PEERS = ("postgrey", "sqlgrey")  # get a fifth of the requests, or nobody would wait for them


@dataclass
class Server:
    """A server under load: where it is, its process, and what was measured."""

    name: str
    place: str
    pid: int
    new: list[Load] = field(default_factory=list)
    repeats: list[Load] = field(default_factory=list)
    cpu_new: list[float] = field(default_factory=list)  # seconds for 1,000 requests
    cpu_repeats: list[float] = field(default_factory=list)

    def rates(self) -> tuple[float, float]:
        """Return the median of requests a second: all new, and repeats."""
        return median(x.rate for x in self.new), median(x.rate for x in self.repeats)


def sqlgrey_config(folder: Path, place: str, database: str) -> Path:
    """Write the settings of a sqlgrey that asks nobody on the net; `database` tells of its own."""
    config = folder / "sqlgrey.conf"
    config.write_text(
        f"conf_dir = /etc/sqlgrey\nuser = sqlgrey\ngroup = nogroup\ninet = {place}\n"
        f"pidfile = {folder}/sqlgrey.pid\n{database}db_cleandelay = 1800\nreconnect_delay = 5\n"
    )
    return config


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    """Run all servers there are on this machine."""
    with contextlib.ExitStack() as stack:
        found = []

        def add(name: str, place: str, command: list[str]) -> None:
            log = folder / f"{name.partition(' ')[0]}.log"
            pid = stack.enter_context(process(command, answers(place), log))
            found.append(Server(name, place, pid))

        def peer(name: str) -> Path | None:
            if not shutil.which(name, path=f"{os.defpath}:/usr/sbin"):
                print(f"no {name} here (apt-get install {name}): its rows are left out")
                return None
            home = folder / name
            home.mkdir()
            shutil.chown(home, name)
            return home

        constant = f"{folder}/constant"
        add("a constant answer", constant, [f"{BIN}/python", "-m", "bench.constant", constant])
        pid = stack.enter_context(serving(write_config(folder)))
        found.append(Server("greylag", f"{folder}/s", pid))
        load(folder, f"{folder}/s", CACHE_SIZE, 10**9, "full")  # its cache, as after some days
        if home := peer("postgrey"):
            place = f"127.0.0.1:{free_port()}"
            who = ["--user=postgrey", "--group=postgrey"]
            add(
                "postgrey",
                place,
                ["/usr/sbin/postgrey", f"--inet={place}", f"--dbdir={home}", *who],
            )
        if home := peer("sqlgrey"):
            place = f"127.0.0.1:{free_port()}"
            database = f"db_type = SQLite\ndb_name = {home}/sqlgrey.db\n"
            config = sqlgrey_config(home, place, database)
            add("sqlgrey", place, ["/usr/sbin/sqlgrey", "-f", str(config)])
        yield found


def measure(folder: Path, found: list[Server], rounds: int, requests: int) -> None:
    """Go through all servers, so many times."""
    for number in range(rounds):
        for server in found:
            size = requests // 5 if server.name in SLOW_PEERS else requests
            before = processor(server.pid)
            server.new.append(load(folder, server.place, size, 10**9, f"n{number}"))
            server.cpu_new.append((processor(server.pid) - before) * 1000 / size)
            load(folder, server.place, BLOCKED, BLOCKED, "r")
            before = processor(server.pid)
            server.repeats.append(load(folder, server.place, size, BLOCKED, "r"))
            server.cpu_repeats.append((processor(server.pid) - before) * 1000 / size)


def report(found: list[Server], few: list[Load]) -> None:
    """Print what was measured; `few` is of our own daemon, from a few connections."""
    heading("50 connections: requests a second, 99th percentile in ms, processor for 1,000")
    print(f"  {'':18} {'new':>8} {'p99':>7} {'cpu':>6} {'repeats':>9} {'p99':>7} {'cpu':>6}")
    for s in found:
        rates, waits = s.rates(), [median(x.high for x in kind) for kind in (s.new, s.repeats)]
        new = f"{rates[0]:8.0f} {waits[0]:7.2f} {median(s.cpu_new):6.3f}"
        print(f"  {s.name:18} {new} {rates[1]:9.0f} {waits[1]:7.2f} {median(s.cpu_repeats):6.3f}")
    by_name = {server.name: server for server in found}
    ours = by_name["greylag"]
    for name, peer in by_name.items():
        if name in SLOW_PEERS:
            new_ratio, again_ratio = (
                a / b for a, b in zip(ours.rates(), peer.rates(), strict=True)
            )
            if name == "postgrey":
                target(f"all new, against {name}", new_ratio, 8, more=True)
                target(f"repeats, against {name}", again_ratio, 14, more=True)
            else:
                print(f"  against {name}: all new {new_ratio:.1f}, repeats {again_ratio:.1f}")
    rate, high = median(x.rate for x in few), median(x.high for x in few)
    target(f"{FEW} connections, all new, a second", rate, 3000, more=True)
    target(f"{FEW} connections, all new, 99th percentile in ms", high, 5)
    target("processor seconds for 1,000 new", median(ours.cpu_new), 0.065)
    target("processor seconds for 1,000 repeats", median(ours.cpu_repeats), 0.035)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=30_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        with servers(folder) as found:
            measure(folder, found, options.rounds, options.requests)
            place, rounds = f"{folder}/s", range(options.rounds)
            few = [load(folder, place, options.requests, 10**9, f"f{n}", FEW) for n in rounds]
        report(found, few)


if __name__ == "__main__":
    main()
