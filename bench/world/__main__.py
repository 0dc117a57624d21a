"""The world: good mail delayed and bot mail passed, under each of the settings.

usage: python -m bench.world [--days N] [--bots N] [--seed N] [--settings NAME ...]

A private knot and unbound answer for all senders (`bench.world.population` says who they are). Time
is simulated: days of mail take seconds. All settings get the same mail.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.common import heading
from bench.world.claims import claims
from bench.world.population import population
from bench.world.report import print_claims, print_tables
from bench.world.servers import dns
from bench.world.settings import PLAIN, SETTINGS
from bench.world.simulation import fates


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--bots", type=float, default=40, help="mails a day, for each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    options = parser.parse_args()
    world = population(options.seed, options.days, options.bots)
    heading(f"{options.days} days, {len(world.traffic.mails)} mails, seed {options.seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with dns(folder, world.zones, world.refused) as resolver:
            chosen = dict.fromkeys((PLAIN, *options.settings))  # all are compared with plain
            found = fates(chosen, world.traffic, folder, resolver)
    print_tables(found)
    held = list(claims(found))
    print_claims(held)
    if not all(claim.holds for claim in held):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
