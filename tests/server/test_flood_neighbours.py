"""A flood from the victim's own network, against a real daemon (T41)."""

from __future__ import annotations

import os
import threading
import time
from itertools import count
from pathlib import Path

from tests.server.daemon import Connection, Daemon, request, serving

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
ROUNDS = 30 if SOAK else 1  # of victims that come and try again
FLOODERS = 20
AT_ONCE, EVERY = 50, 0.025  # 2,000 first contacts a second
LET_IN = b"action=DUNNO"


def flood(daemon: Daemon, stop: threading.Event) -> None:
    numbers = count()
    with daemon.connect() as client:
        while not stop.wait(EVERY):
            fresh = [next(numbers) for _ in range(AT_ONCE)]
            client.socket.sendall(
                b"".join(
                    request(
                        client_address=f"198.51.100.{20 + n % FLOODERS}",
                        sender=f"f{n}@example.org",
                    )
                    for n in fresh
                )
            )
            for _ in fresh:
                assert client.response() != LET_IN


def let_in(client: Connection, sender: str) -> bool:
    return client.ask(client_address="198.51.100.9", sender=sender) == LET_IN


def test_a_flood_from_the_victims_own_network_t41(tmp_path: Path) -> None:
    """The victim passes at his second retry at the latest, whatever his neighbours do."""
    stop = threading.Event()
    room = "max_waiting_per_network = 2000"
    with serving(tmp_path, 'policy.delay = "2s"', store=room) as daemon:
        flooding = threading.Thread(target=flood, args=(daemon, stop))
        flooding.start()
        try:
            time.sleep(2)  # the share is used up
            with daemon.connect() as client:
                for number in range(ROUNDS):
                    victims = [f"victim{number}.{n}@example.org" for n in range(10)]
                    assert not any(let_in(client, victim) for victim in victims)
                    for _ in range(2):
                        time.sleep(3)
                        passed = [let_in(client, victim) for victim in victims]
                    assert all(passed)
        finally:
            stop.set()
            flooding.join()
