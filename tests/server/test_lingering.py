"""T38: odd descriptors that are handed over cost those who send them, and nobody else."""

from __future__ import annotations

import os
import platform
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.server.clients import ACCEPTED, connected_pair, hand_over, opening
from tests.server.daemon import Daemon, request, serving
from tests.servers.fuse import silent

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
LINGER = 21 if SOAK else 4  # seconds
ROUNDS = 20 if SOAK else 1
MANY = 600  # connections: more than may wait while none is accepted
REFUSES = tuple(map(int, platform.release().split(".")[:2])) >= (6, 16)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("lingering")) as running:
        yield running


@pytest.mark.parametrize(
    "how", ["not a question", "two at once", "a second record", "a client", "policy socket"]
)
def test_a_socket_that_lingers_keeps_nobody_waiting_t38(daemon: Daemon, how: str) -> None:
    for _ in range(ROUNDS):
        client = lingering(daemon, how)
        began = time.monotonic()
        with daemon.connect() as asking:
            while time.monotonic() < began + (7 if how == "a client" else 1):
                before = time.monotonic()
                assert asking.ask().startswith(b"action=")
                assert time.monotonic() - before < LINGER - 0.5
                time.sleep(0.01)
        client.close()


def lingering(daemon: Daemon, how: str) -> socket.socket:
    """Send a socket that would linger over its unsent bytes; return the peer, who never reads."""
    client, server = connected_pair()
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            server.send(b"x" * 65536)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
    if how == "policy socket":
        if not REFUSES:
            pytest.skip("a known issue of older kernels")
        with daemon.connect() as asking:
            with suppress(PermissionError):  # refused: that is what keeps the daemon free of it
                socket.send_fds(asking.socket, [request()], [server.fileno()])
            threading.Thread(target=server.close).start()  # ours may linger
    elif how == "a second record":
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
            giver.connect(str(daemon.folder / "handover.sock"))
            with suppress(OSError):
                giver.send(b"nonsense")
                socket.send_fds(giver, [b"more"], [server.fileno()])
            server.close()
    else:
        text = b"nonsense" if how != "a client" else opening(timeout="5")
        number = 2 if how == "two at once" else 1
        duplicates = [os.dup(server.fileno()) for _ in range(number)]
        server.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
            giver.connect(str(daemon.folder / "handover.sock"))
            daemon.process.send_signal(signal.SIGSTOP)  # whoever closes last has to wait
            socket.send_fds(giver, [text], duplicates)
            for one in duplicates:
                os.close(one)
            daemon.process.send_signal(signal.SIGCONT)
            if how == "a client":
                assert giver.recv(100) == ACCEPTED
    return client


def closed(descriptor: int) -> None:
    with suppress(OSError):  # its file system may be gone by then
        os.close(descriptor)


@pytest.mark.parametrize("how", ["not a question", "a client", "many", "policy socket"])
def test_a_file_whose_close_never_ends_keeps_nobody_waiting_t38(
    daemon: Daemon, tmp_path: Path, how: str
) -> None:
    """A descriptor of a file system (FUSE) that has stopped answering."""
    with silent(tmp_path / "silent") as files:
        number = 100 if how == "many" else 1
        opened = [os.open(files.file, os.O_RDWR) for _ in range(number)]
        if how == "policy socket":
            with daemon.connect() as asking, suppress(PermissionError):
                socket.send_fds(asking.socket, [request()], opened)
        else:
            text = b"nonsense" if how == "not a question" else opening(timeout="5")
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
                giver.connect(str(daemon.folder / "handover.sock"))
                with suppress(OSError):
                    socket.send_fds(giver, [text], opened)
        with daemon.connect() as asking:
            until = time.monotonic() + 1
            while time.monotonic() < until:
                before = time.monotonic()
                assert asking.ask().startswith(b"action=")
                assert time.monotonic() - before < LINGER - 0.5
                time.sleep(0.01)
        until += 10
        while how != "policy socket" and not files.waiting:  # the daemon's closing does hang
            assert time.monotonic() < until
            time.sleep(0.05)
        for one in opened:  # ours hangs as well, until the end
            threading.Thread(target=closed, args=(one,), daemon=True).start()
    with daemon.connect() as asking:
        assert asking.ask().startswith(b"action=")


def test_who_comes_while_closing_hangs_takes_no_descriptors_t38(
    daemon: Daemon, tmp_path: Path
) -> None:
    """Else a few such files, and then connections without an end, would be all there may be."""
    before = daemon.descriptors()
    with silent(tmp_path / "silent") as files:
        opened = [os.open(files.file, os.O_RDWR) for _ in range(8)]
        try:
            for _ in range(12):  # a thread each may hang
                come(daemon, opened)
            until = time.monotonic() + 20
            while files.waiting < 8:
                assert time.monotonic() < until
                time.sleep(0.05)
            for _ in range(5 * MANY):
                come(daemon, [])
                time.sleep(0.0005)
            with daemon.connect() as asking:
                assert asking.ask().startswith(b"action=")
            assert daemon.descriptors() < before + 12 * 8 + MANY
        finally:
            for one in opened:
                threading.Thread(target=closed, args=(one,), daemon=True).start()
    end = time.monotonic() + 20
    while not takes_a_client(daemon):
        assert time.monotonic() < end
    while daemon.descriptors() > before + 100:
        assert time.monotonic() < end
        time.sleep(0.05)


def come(daemon: Daemon, descriptors: list[int]) -> None:
    """Hand over nothing that means anything, and go; where many wait, we are refused."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
        giver.setblocking(False)
        giver.connect(str(daemon.folder / "handover.sock"))
        if descriptors:
            socket.send_fds(giver, [b"nonsense"], descriptors)


def takes_a_client(daemon: Daemon) -> bool:
    client, server = connected_pair()
    with client, server, suppress(OSError):
        return hand_over(daemon.folder, [server.fileno()], opening()) == ACCEPTED
    return False
