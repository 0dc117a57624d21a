"""What it costs to ask DNS: the daemon and the one-shot with evidence, against the same without.

usage: python -m bench.evidence [--rounds N] [--requests N]

A private knot answers, and the daemon has its answers in memory after the first of a load ("warm").
All servers have the load in turn; medians are printed, and ratios with the target beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.common import (
    BIN,
    build,
    heading,
    load,
    memory,
    processor,
    serving,
    target,
    timed,
    write_config,
)
from bench.world.servers import Server, name_server

# The load comes from 10.0.0.0/10, in the name of one domain, which lists four times the widest
# range that makes an identity.
ZONES = {
    "example.org": '@ TXT "v=spf1 ip4:10.0.0.0/12 ip4:10.16.0.0/12 ip4:10.32.0.0/12 '
    'ip4:10.48.0.0/12 -all"\n',
}
PLAIN = """[policy]
normalise = false
identity = "none"
trust_after = 0
trust_all_after = 0
correspondents = "off"
trapped_for = "off"
[dns]
servers = "off"
"""
MOST = 16_000  # requests of a load that are all in these ranges
REPEATED = 1000


def settings(asked: Server) -> dict[str, str]:
    """Return what is compared, by name."""
    return {
        "plain": PLAIN,
        "default, no DNS": '[dns]\nservers = "off"\n',
        "default": f'[dns]\nservers = ["{asked[0]}:{asked[1]}"]\n',
    }


@contextlib.contextmanager
def daemons(folder: Path, asked: Server) -> Iterator[dict[str, tuple[str, int]]]:
    """Run a daemon of each; give its socket and process, by name."""
    with contextlib.ExitStack() as stack:
        found = {}
        for number, (name, text) in enumerate(settings(asked).items()):
            home = folder / str(number)
            home.mkdir()
            pid = stack.enter_context(serving(write_config(home, text)))
            found[name] = f"{home}/s", pid
        yield found


def of_daemon(folder: Path, asked: Server, rounds: int, requests: int) -> None:
    """Measure all new and repeats."""
    rates: dict[tuple[str, str], list[float]] = {}
    costs: dict[tuple[str, str], list[float]] = {}
    with daemons(folder, asked) as found:
        for number in range(rounds):
            for name, (place, pid) in found.items():
                for kind, distinct in (("new", 10**9), ("repeats", REPEATED)):
                    prefix = f"n{number}" if kind == "new" else "r"
                    if kind == "repeats":
                        load(folder, place, REPEATED, REPEATED, prefix)
                    before = processor(pid)
                    one = load(folder, place, requests, distinct, prefix)
                    rates.setdefault((name, kind), []).append(one.rate)
                    spent = (processor(pid) - before) * 1000 / requests
                    costs.setdefault((name, kind), []).append(spent)
        sizes = {name: memory(pid) for name, (_place, pid) in found.items()}
    print(f"  {'':18} {'new':>8} {'cpu':>7} {'repeats':>9} {'cpu':>7} {'MB':>6}")
    for name, size in sizes.items():
        row = [(median(rates[name, k]), median(costs[name, k])) for k in ("new", "repeats")]
        (new, new_cost), (again, again_cost) = row
        print(f"  {name:18} {new:8.0f} {new_cost:7.4f} {again:9.0f} {again_cost:7.4f} {size:6.1f}")
    for kind, wanted in (("new", 0.5), ("repeats", 0.95)):
        ratio = median(rates["default", kind]) / median(rates["plain", kind])
        target(f"{kind}: with evidence, against plain", ratio, wanted, more=True)


def of_oneshot(folder: Path, asked: Server, rounds: int) -> None:
    """Measure first contacts of a process for each."""
    took: dict[str, list[float]] = {}
    command = ["/bin/sh", "-c", f"exec {BIN}/greylisting 2>/dev/null"]
    for number, (name, text) in enumerate(settings(asked).items()):
        home = folder / f"o{number}"
        home.mkdir()
        write_config(home, text)
        took[name] = []
    for turn in range(rounds):
        for number, name in enumerate(took):
            environ = {
                "GREYLAG_CONFIG": f"{folder}/o{number}/greylag.toml",
                "GREYLISTING": "",
                "TCPREMOTEIP": "10.1.2.3",
                "SMTPMAILFROM": "a@example.org",
                "SMTPRCPTTO": f"r{turn}@example.net",
                "SMTPHELOHOST": "mail.example.org",
            }
            took[name].append(1000 * timed(command, environ))
    for name, found in took.items():
        print(f"  {name:18} {median(found):8.1f} ms")
    ratio = median(took["default"]) / median(took["plain"])
    target("a first contact with evidence, against plain", ratio, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=MOST)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        with name_server(folder, ZONES) as asked:
            heading("50 connections: requests a second, processor for 1,000, memory")
            of_daemon(folder, asked, options.rounds, min(options.requests, MOST))
            heading("A process for each first contact")
            of_oneshot(folder, asked, 20 * options.rounds)


if __name__ == "__main__":
    main()
