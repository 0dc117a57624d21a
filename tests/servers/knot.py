"""A private knot for tests: a real name server, on a port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.plugin import needed

START = 10.0
_CONF = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}"
template:
  - id: default
    storage: "{folder}"
    journal-content: none
    zonefile-sync: -1
zone:
"""
_SOA = "@ 3600 SOA ns.example.org. hostmaster.example.org. 1 3600 600 86400 60\n@ 3600 NS @\n"


def free_port() -> int:
    """Return a port that is free for UDP and TCP alike."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


@contextlib.contextmanager
def running(folder: Path, zones: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Run a server with these zones, records by zone; give its address and port."""
    port = free_port()
    conf = _CONF.format(folder=folder, port=port)
    for zone, records in zones.items():
        (folder / f"{zone}.zone").write_text(f"$ORIGIN {zone}.\n$TTL 600\n{_SOA}{records}")
        conf += f'  - domain: {zone}\n    file: "{zone}.zone"\n'
    (folder / "knot.conf").write_text(conf)
    command = [needed("knotd", "knot"), "-c", str(folder / "knot.conf")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(process, port, folder / "log")
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(START)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise RuntimeError(log.read_text(errors="replace")[-2000:])
