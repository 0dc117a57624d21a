"""Hostile peers beside ordinary clients: how much longer the others wait for their answers.

usage: python -m bench.hostile [--rounds N] [--requests N]

Ten ordinary clients ask as fast as they are answered, about triplets that are known. Rounds go
through all kinds of hostile peers in turn, with a quiet one before each; the figure of a kind is
the median, over the rounds, of the 99th percentile beside it divided by that of the quiet one.
Before each, the clients ask unmeasured: a record that was not asked about for two seconds is the
store's to answer, and so the quiet would have been the only ones to be answered from memory.
Those that send again and again do so at a rate, and as processes of the lowest priority, or one
would measure who gets the processors: hostile peers have machines of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench.common import Load, build, heading, load, memory, serving, target, write_config

CLIENTS = 10
KNOWN = 1000  # triplets the ordinary clients ask about
IDLE, SLOW, DEAF = 1000, 2000, 20
HUGE, NOISE, UNPARSABLE = 10, 200, 500  # a second
MEGABYTE = 1 << 20
REQUEST = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.17\n"
    b"sender=a@example.org\nrecipient=b@example.net\n"
)


def steadily(rate: int) -> Iterator[None]:
    """Yield so many times a second, for ever."""
    began = time.monotonic()
    for number in itertools.count():
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield


def dial(place: str) -> socket.socket:
    """Connect to the daemon."""
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(place)
    return peer


def idle(place: str) -> None:
    """Hold connections and say nothing."""
    crowd = [dial(place) for _ in range(IDLE)]
    time.sleep(3600)
    del crowd


def slow(place: str) -> None:
    """Write one byte a second on each connection; those that are hung up on come again."""
    crowd = [dial(place) for _ in range(SLOW)]
    for turn, _ in enumerate(steadily(SLOW)):
        position, number = divmod(turn, SLOW)
        try:
            crowd[number].send(REQUEST[position % 100 : position % 100 + 1])
        except OSError:
            crowd[number].close()
            crowd[number] = dial(place)


def huge(place: str) -> None:
    """Send a request of 10 MB, again and again."""
    text = REQUEST + b"helo_name=" + b"x" * (10 * MEGABYTE) + b"\n\n"
    for _ in steadily(HUGE):
        with dial(place) as peer, contextlib.suppress(OSError):
            peer.sendall(text)


def noise(place: str) -> None:
    """Send random bytes, again and again."""
    source = random.Random(1)
    for _ in steadily(NOISE):
        with dial(place) as peer, contextlib.suppress(OSError):
            peer.sendall(source.randbytes(4000) + b"\n\n")
            peer.recv(1)


def unparsable(place: str) -> None:
    """Ask about clients that have no address."""
    text = REQUEST.replace(b"192.0.2.17", b"not-an-address") + b"\n"
    with dial(place) as peer:
        for _ in steadily(UNPARSABLE):
            peer.sendall(text)
            peer.recv(4096)


def deaf(place: str) -> None:
    """Ask, and never read an answer."""
    crowd = [dial(place) for _ in range(DEAF)]
    for peer in crowd:
        peer.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                peer.send((REQUEST + b"\n") * 100)
    time.sleep(3600)


PEERS: dict[str, tuple[str, Callable[[str], None]]] = {
    "idle": (f"{IDLE:,} idle connections", idle),
    "slow": (f"{SLOW:,} writers of one byte a second", slow),
    "huge": (f"{HUGE} requests of 10 MB a second", huge),
    "noise": (f"binary noise, {NOISE} times a second", noise),
    "unparsable": (f"{UNPARSABLE} unparsable client addresses a second", unparsable),
    "deaf": (f"{DEAF} clients that never read", deaf),
}


@contextlib.contextmanager
def hostile(kinds: list[str], place: str) -> Iterator[None]:
    """Run hostile peers of these kinds, each in a process of its own, until the end of a block."""
    command = [sys.executable, "-m", "bench.hostile", "--place", place, "--peer"]
    running = [subprocess.Popen([*command, kind]) for kind in kinds]
    try:
        time.sleep(1.0)  # until they are all connected
        yield
        for kind, peer in zip(kinds, running, strict=True):
            if peer.poll() is not None:
                raise SystemExit(f"the hostile peer {kind!r} has ended by itself")
    finally:
        for peer in running:
            peer.kill()
            peer.wait()


def measure(folder: Path, rounds: int, requests: int) -> dict[str, list[tuple[Load, Load]]]:
    """Return for each kind, and all together, what was measured: quiet, and beside the peers."""
    place = f"{folder}/s"
    found: dict[str, list[tuple[Load, Load]]] = {}

    def ordinary() -> Load:
        load(folder, place, 2 * KNOWN, KNOWN, "k", CLIENTS)
        return load(folder, place, requests, KNOWN, "k", CLIENTS)

    for _ in range(rounds):
        for name, kinds in {**{kind: [kind] for kind in PEERS}, "all": list(PEERS)}.items():
            quiet = ordinary()
            with hostile(kinds, place):
                found.setdefault(name, []).append((quiet, ordinary()))
            time.sleep(0.5)
    return found


def report(found: dict[str, list[tuple[Load, Load]]]) -> None:
    """Print what was measured."""
    heading(f"{CLIENTS} ordinary clients beside hostile ones: 99th percentile in ms, and its ratio")
    for name, pairs in found.items():
        what = PEERS[name][0] if name in PEERS else "all of these together"
        quiet, beside = (median(pair[side].high for pair in pairs) for side in (0, 1))
        print(f"  {what}: {quiet:.2f} alone, {beside:.2f} beside")
        ratio = median(beside.high / quiet.high for quiet, beside in pairs)
        target("", ratio, 2)


def main() -> None:
    """Measure and print; or be a hostile peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))
    if options.peer:
        os.nice(19)
        PEERS[options.peer][1](options.place)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        with serving(write_config(folder)) as pid:
            load(folder, f"{folder}/s", KNOWN, KNOWN, "k")
            before = memory(pid)
            report(measure(folder, options.rounds, options.requests))
            print(f"  the daemon's memory: {before:.0f} MB before, {memory(pid):.0f} MB after")
            os.kill(pid, 0)  # it is still there


if __name__ == "__main__":
    main()
