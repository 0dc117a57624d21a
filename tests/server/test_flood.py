"""A flood of new triplets against a real daemon: bounded growth (P12, T5, T6)."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.server.daemon import Connection, Daemon, request, serving

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
FLOOD = 1_000_000 if SOAK else 15_000  # new triplets of each kind
ROOM = "max_waiting = 10000\nmax_waiting_per_network = 1000"
NETWORKS = 100_000 if SOAK else 10_000
PIPELINED = 50
LONGEST = 300  # seconds for each kind: on a busy machine it is fewer
MEGABYTE = 1 << 20


def flood(client: Connection, clients: list[str], tag: str) -> None:
    end = time.monotonic() + LONGEST
    for start in range(0, FLOOD, PIPELINED):
        if time.monotonic() > end:
            print(f"{start} of {FLOOD} new triplets")
            return
        batch = range(start, start + PIPELINED)
        client.socket.sendall(
            b"".join(
                request(
                    client_address=clients[number % len(clients)],
                    sender=f"{tag}{number}@example.org",
                )
                for number in batch
            )
        )
        for _ in batch:
            assert client.response().startswith(b"action=DEFER")


def waiting(daemon: Daemon) -> int:
    with closing(sqlite3.connect(daemon.database)) as db:
        return int(db.execute("SELECT count(*) FROM records WHERE passed = 0").fetchone()[0])


def settled(daemon: Daemon, most: int) -> bool:
    """Room is made between the answers: wait a moment for the last of it."""
    end = time.monotonic() + 10
    while waiting(daemon) > most and time.monotonic() < end:
        time.sleep(0.05)
    return waiting(daemon) <= most


def test_a_flood_fills_neither_disk_nor_memory_and_evicts_nobody_who_passed_p12_t5_t6(
    tmp_path: Path,
) -> None:
    text = 'policy.delay = "1s"'
    many = [f"{10 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.1" for n in range(NETWORKS)]
    with serving(tmp_path, text, store=ROOM) as daemon, daemon.connect() as client:
        friends = [f"friend{number}@example.org" for number in range(50)]
        for friend in friends:
            client.ask(client_address="198.51.100.9", sender=friend)
        time.sleep(1.1)
        for friend in friends:
            assert client.ask(client_address="198.51.100.9", sender=friend) == b"action=DUNNO"
        flood(client, ["192.0.2.66"], "one")
        assert settled(daemon, 1000)
        flood(client, many, "many")
        assert settled(daemon, 10_000)
        assert daemon.memory() < 128 * MEGABYTE  # with a full cache, some 100
        time.sleep(2.1)  # longer than what the daemon has in memory is believed
        for friend in friends:
            assert client.ask(client_address="198.51.100.9", sender=friend) == b"action=DUNNO"
    log = daemon.log.read_text()
    assert "maintenance-failed" not in log
    assert log.count("reason=known") == len(friends)
    assert "reason=store-unavailable" not in log
