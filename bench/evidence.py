"""What it costs to ask DNS: the daemon and the one-shot with evidence, against the same without.

usage: python -m bench.evidence [--rounds N] [--requests N]

A private knot answers, and the daemon has its answers in memory after the first of a load ("warm").
Each round starts servers of its own, as one process can be slower than the next for all its
life, and all have the load in turn. Medians are printed, and with the target beside it the median
of the rounds' ratios.
"early" are retries before their time, "known" are triplets that passed: nearly all real mail.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
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
SHORT = 1  # seconds of delay, where triplets are to pass
KINDS = ("new", "early", "known")


def settings(asked: Server) -> dict[str, str]:
    """Return what is compared, by name."""
    return {
        "plain": PLAIN,
        "default, no DNS": '[policy]\n[dns]\nservers = "off"\n',
        "default": f'[policy]\n[dns]\nservers = ["{asked[0]}:{asked[1]}"]\n',
    }


@contextlib.contextmanager
def daemons(
    folder: Path, turn: int, asked: Server
) -> Iterator[dict[tuple[str, str], tuple[str, int]]]:
    """Run two daemons of each; give their sockets and processes, by name and kind of load.

    The first contacts of "known" are made, and their retries, so that all its triplets passed.
    """
    with contextlib.ExitStack() as stack:
        found = {}
        for number, (name, text) in enumerate(settings(asked).items()):
            for kind in ("early", "known"):
                home = folder / f"{turn}{number}{kind}"
                home.mkdir()
                short = f'[policy]\ndelay = "{SHORT}s"' if kind == "known" else "[policy]"
                config = write_config(home, text.replace("[policy]", short))
                pid = stack.enter_context(serving(config))
                found[name, kind] = f"{home}/s", pid
            found[name, "new"] = found[name, "early"]
        for _ in ("first contact", "retry", "known"):
            for place, _pid in found.values():
                load(folder, place, REPEATED, REPEATED, "r")
            time.sleep(2 * SHORT)
        yield found


def of_daemon(folder: Path, asked: Server, rounds: int, requests: int) -> None:
    """Measure all new, early retries, and known triplets."""
    rates: dict[tuple[str, str], list[float]] = {}
    costs: dict[tuple[str, str], list[float]] = {}
    sizes: dict[str, float] = {}
    for turn in range(rounds):
        with daemons(folder, turn, asked) as found:
            for (name, kind), (place, pid) in found.items():
                distinct, prefix = (10**9, "n") if kind == "new" else (REPEATED, "r")
                before = processor(pid)
                one = load(folder, place, requests, distinct, prefix)
                rates.setdefault((name, kind), []).append(one.rate)
                spent = (processor(pid) - before) * 1000 / requests
                costs.setdefault((name, kind), []).append(spent)
            for (name, kind), (_, pid) in found.items():
                if kind == "new":
                    sizes[name] = memory(pid)
    print(f"  {'':18} " + " ".join(f"{kind:>8} {'cpu':>7}" for kind in KINDS) + f" {'MB':>6}")
    for name, size in sizes.items():
        row = [(median(rates[name, k]), median(costs[name, k])) for k in KINDS]
        shown = " ".join(f"{rate:8.0f} {cost:7.4f}" for rate, cost in row)
        print(f"  {name:18} {shown} {size:6.1f}")
    for kind, wanted in zip(KINDS, (0.5, 0.95, 0.95), strict=True):
        pairs = zip(rates["default", kind], rates["plain", kind], strict=True)
        ratio = median(ours / theirs for ours, theirs in pairs)
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
    parser.add_argument("--rounds", type=int, default=7)
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
