"""The world of `bench.world` for tests: a private knot, and a private unbound before it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.world.population import Population
from bench.world.servers import Server, dns

from tests.e2e.plugin import needed


@contextlib.contextmanager
def resolving(folder: Path, world: Population) -> Iterator[Server]:
    """Answer for all who send; give the resolver's address and port."""
    needed("knotd", "knot")
    needed("unbound", "unbound")
    with dns(folder, world.zones, world.refused) as resolver:
        yield resolver
