"""What jgreylist costs: letting a client in, and talking to those that are not.

usage: python -m bench.jgreylist [--rounds N] [--dialogues N]

Letting in is measured up to the end of /bin/true, which is executed in jgreylist's place, in empty
static programs; each round starts every program once, in turn. Then the daemon is handed clients
as fast as it takes them, and holds all of them in the middle of their conversations.
"""

from __future__ import annotations

import argparse
import resource
import socket
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.server.clients import ACCEPTED, hand_over, opening

from bench.common import build, heading, memory, serving, target, timed, write_config
from bench.plugin import install

LET_IN, KILOBYTES = 2.2, 2.0
FLOOR, TRUE = "empty static program", "/bin/true alone"
KNOWN, ALLOWED = "a client that is known", "a client that tcprules allow"
IN_TREE = "a client that is known in a record tree (JGREYLIST_DIR)"
TREE = "tree"
SPARE = 200  # descriptors of ours beside the clients'


def let_in(folder: Path, program: str, rounds: int) -> dict[str, float]:
    """Return the median seconds of each case."""
    environ = {"TCPREMOTEIP": "192.0.2.17", "JGREYLIST_HOLDTIME": "0", "JGREYLIST_LOG": "0"}
    command = [program, "/bin/true"]
    in_tree = environ | {"JGREYLIST_DIR": str(folder / TREE)}
    for _ in range(2):  # the first time it is new; held to no time, it is known from the second on
        timed(command, environ)
        timed(command, in_tree)
    cases = {
        FLOOR: ([str(folder / "empty")], environ),
        TRUE: (["/bin/true"], environ),
        KNOWN: (command, environ),
        IN_TREE: (command, in_tree),
        ALLOWED: (command, environ | {"JGREYLIST": ""}),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (words, variables) in cases.items():
            times[name].append(timed(words, variables))
    return {name: median(found) for name, found in times.items()}


def hold(folder: Path, listener: socket.socket, number: int) -> list[socket.socket]:
    """Hand so many clients over, each from a network of its own; return the clients."""
    clients = []
    for index in range(number):
        clients.append(socket.create_connection(listener.getsockname()))
        server, _address = listener.accept()
        with server:
            address = f"10.{index >> 8}.{index & 255}.1"
            request = opening(address, greylag_timeout="300", greylag_log="0")
            if hand_over(folder, [server.fileno()], request) != ACCEPTED:
                raise SystemExit(f"the daemon does not take client {index + 1}")
    return clients


def talk(clients: list[socket.socket]) -> None:
    """Bring every conversation to the middle of a line."""
    for client in clients:
        client.sendall(b"EHLO mx.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@exa")
    for client in clients:
        heard = b""
        while heard.count(b"\r\n") < 3:  # the banner and two replies
            heard += client.recv(4096)


def dialogues(folder: Path, pid: int, number: int) -> None:
    """Print what a crowd of greylisted clients costs the daemon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before, began = memory(pid), time.monotonic()
        clients = hold(folder, listener, number)
        rate = number / (time.monotonic() - began)
        talk(clients)
        each = (memory(pid) - before) * 1000 / number
        print(f"  handed over, one after the other: {rate:.0f} a second")
        target("kilobytes for each", each, KILOBYTES)
        began = time.monotonic()
        clients[0].sendall(b"mple.net>\r\n")
        clients[0].recv(4096)
        print(f"  one of them waits for a reply: {(time.monotonic() - began) * 1000:.2f} ms")
        for client in clients:
            client.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--dialogues", type=int, default=8000)
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    number = min(options.dialogues, hard // 2 - SPARE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        (folder / TREE).mkdir(mode=0o700)
        config = write_config(folder, f'[jgreylist]\ntrees = ["{folder / TREE}"]')
        program = str(Path(install(folder, config)).with_name("jgreylist"))
        with serving(config) as pid:
            found = let_in(folder, program, options.rounds)
            floor = found[FLOOR]
            heading(f"jgreylist /bin/true, in empty static programs ({floor * 1000:.2f} ms)")
            print(f"  {TRUE}: {found[TRUE] / floor:.3f}")
            for case in (KNOWN, IN_TREE, ALLOWED):
                target(case, found[case] / floor, LET_IN)
            heading(f"{number} greylisted clients held by the daemon at once")
            dialogues(folder, pid, number)


if __name__ == "__main__":
    main()
