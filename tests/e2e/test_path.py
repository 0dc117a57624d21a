"""How far a RCPT goes through the files, so that a reader can follow it (ARCHITECTURE.md).

The figures are what is reached. Who adds a file or a way back to the path sees it here. How it is
counted says `tests.traced`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from greylag.plugin.greylisting import Answer, Log, answer
from tests.server.daemon import Connection
from tests.traced import FLOORS, Call, Way, counted, requests, traced


def shortest(ways: list[Way]) -> Way:
    """Return the way that met the least of what comes once a second."""
    return min(ways, key=lambda way: len(way.entered))


def test_a_rcpt_through_the_daemon(tmp_path: Path) -> None:
    """A first contact: through the store's thread, and back."""
    config, out, place = tmp_path / "greylag.toml", tmp_path / "calls", tmp_path / "s"
    config.write_text(
        f'store.url = "sqlite://{tmp_path}/greylag.db"\nserver.socket = "{place}"\n'
        f'log.file = "{tmp_path}/log"\ndns.servers = "off"\n'
    )
    command = [sys.executable, "-m", "tests.traced", str(config), str(out)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], env=os.environ) as daemon:
        try:
            until = time.monotonic() + 30
            while not place.exists():
                assert time.monotonic() < until
                time.sleep(0.05)
            time.sleep(1)  # until the lists are read
            with Connection(place) as client:
                for number in range(8):
                    assert b"DEFER" in client.ask(sender=f"s{number}@example.org")
                    time.sleep(0.1)
        finally:
            daemon.send_signal(signal.SIGTERM)
    calls = [Call(*one) for one in json.loads(out.read_text())]
    way = shortest([counted(path, FLOORS["server"]) for path in requests(calls)])
    assert len(way.entered) <= 43, sorted(way.entered)
    assert len(way.stops) <= 22, sorted(way.stops)
    assert len(way.climbs) <= 4, way.climbs


def test_a_rcpt_through_the_plugin_without_a_daemon(tmp_path: Path) -> None:
    """A first contact, from `answer` on, with all modules loaded."""
    config = tmp_path / "greylag.toml"
    config.write_text(f'store.url = "sqlite://{tmp_path}/greylag.db"\ndns.servers = "off"\n')
    environ = {b"GREYLAG_CONFIG": os.fsencode(config), b"GREYLISTING": b""}
    environ |= {b"TCPREMOTEIP": b"192.0.2.17", b"SMTPMAILFROM": b"a@example.org"}
    output: list[bytes] = []

    class Kept(Answer):
        def give(self, output_: bytes) -> bool:
            output.append(output_)
            return True

    def ask(recipient: bytes) -> None:
        asked = {**environ, b"SMTPRCPTTO": recipient}
        answer(asked, Log(), Kept(), time.monotonic() + 5)

    ask(b"first@example.net")
    way = counted(traced(lambda: ask(b"b@example.net")), FLOORS["plugin"])
    assert [one[:4] for one in output] == [b"E451"] * 2
    assert len(way.entered) <= 46, sorted(way.entered)
    assert len(way.stops) <= 28, sorted(way.stops)
    assert len(way.climbs) <= 4, way.climbs
