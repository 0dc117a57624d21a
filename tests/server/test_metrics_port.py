"""The port of the figures: whoever connects to it holds little, and not for long."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from greylag.server import metrics_port
from greylag.server.metrics_port import MOST, PATIENCE, Port
from tests.e2e.postfix import free_port
from tests.server.daemon import Daemon, serving

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
IDLE = 1000 if SOAK else 100
LATE = 10.0  # seconds that a busy machine may be late


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def daemon(tmp_path: Path, port: int) -> Iterator[Daemon]:
    with serving(tmp_path, server=f'metrics = "127.0.0.1:{port}"') as running:
        yield running


def threads(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


def figures(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
        return str(page.read().decode())


def hung_up_on(peer: socket.socket) -> bool:
    """Wait for the end of a connection."""
    peer.settimeout(PATIENCE + LATE)
    with suppress(ConnectionResetError):
        while peer.recv(65536):
            pass
    return True


def test_idle_peers_hold_few_threads_and_not_for_long_t42(daemon: Daemon, port: int) -> None:
    assert "greylag_attempts_total" in figures(port)
    before, open_before = threads(daemon), daemon.descriptors()
    with ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            for _ in range(IDLE)
        ]
        assert threads(daemon) <= before + MOST
        assert daemon.descriptors() <= open_before + MOST + 2
        with daemon.connect() as client:
            assert client.ask().startswith(b"action=")
        assert all(map(hung_up_on, peers))
        end = time.monotonic() + LATE
        while threads(daemon) > before and time.monotonic() < end:
            time.sleep(0.05)
        assert threads(daemon) <= before
        assert "greylag_attempts_total" in figures(port)
    assert "Traceback" not in daemon.log.read_text()


def test_a_peer_that_dribbles_is_hung_up_on_t42(daemon: Daemon, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as peer:
        began = time.monotonic()
        with suppress(OSError):
            peer.sendall(b"GET /metrics HTTP/1.1\r\nX-Long: ")
            while time.monotonic() < began + PATIENCE + LATE:
                peer.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() < began + PATIENCE + LATE
    assert daemon.process.poll() is None


def test_a_peer_that_never_reads_is_hung_up_on_t42(daemon: Daemon, port: int) -> None:
    """The answer is some kilobytes: a small buffer holds less."""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        peer.connect(("127.0.0.1", port))
        peer.sendall(b"GET /metrics HTTP/1.1\r\n\r\n" + b"x" * 100_000)
        before = threads(daemon)
        time.sleep(PATIENCE + 2)
        assert threads(daemon) <= before
        assert hung_up_on(peer)
    assert "greylag_attempts_total" in figures(port)


@pytest.mark.parametrize(
    "text", [b"", b"\r\n\r\n", b"GET", b"\xff\0\n\n", b"POST / HTTP/1.1\r\n\r\n", b"x" * 100_000]
)
def test_nonsense_is_answered_with_the_end(daemon: Daemon, port: int, text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as peer:
        with suppress(OSError):
            peer.sendall(text)
            peer.shutdown(socket.SHUT_WR)
        assert hung_up_on(peer)
    assert "greylag_attempts_total" in figures(port)
    assert "Traceback" not in daemon.log.read_text()


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (socketserver.TCPServer, "get_request", MemoryError),
        (socketserver.TCPServer, "get_request", OSError),  # and then there is none to rest
        (Port, "service_actions", MemoryError),
    ],
)
def test_no_memory_ends_no_port_t39(
    owner: type, name: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: dict[str, list[type[Exception]]] = {name: [error] * 2, "rest": [MemoryError] * 2}

    def failing(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*words: object) -> object:
            if left[name]:
                raise left[name].pop()
            return real(*words)

        return call

    monkeypatch.setattr(owner, name, failing(name, getattr(owner, name)))
    monkeypatch.setattr(metrics_port, "rest", failing("rest", lambda _seconds: None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = Port(listener, CollectorRegistry()).start()
        (thread,) = (one for one in threading.enumerate() if one.name == "greylag-metrics")
        end = time.monotonic() + LATE
        while any(left.values()) and time.monotonic() < end:
            with suppress(OSError):
                figures(listener.getsockname()[1])
        assert left == {name: [], "rest": []}
        figures(listener.getsockname()[1])
        stop()
        thread.join(LATE)
        assert not thread.is_alive()
