"""A private knot for tests: a real name server, on a port of 127.0.0.1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.world.servers import Server, free_port, name_server

from tests.e2e.plugin import needed

__all__ = ["free_port", "running"]


@contextlib.contextmanager
def running(folder: Path, zones: dict[str, str]) -> Iterator[Server]:
    """Run a server with these zones, records by zone; give its address and port."""
    needed("knotd", "knot")
    with name_server(folder, zones) as server:
        yield server
