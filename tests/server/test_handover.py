"""T20: what the hand-over socket takes, what it does not, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.clients import (
    ACCEPTED,
    connected_pair,
    hand_over,
    open_file,
    opening,
    send_along,
    talking,
)
from tests.server.daemon import Daemon, request, serving
from tests.wire.hostile import VALUES

SOAK = os.environ.get("GREYLAG_SOAK") == "1"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("handover")) as one:
        with one.connect() as client:
            client.ask()  # opens the database, and leaves it open
        yield one


@pytest.fixture(autouse=True)
def nothing_is_left(daemon: Daemon) -> Iterator[None]:
    before = daemon.descriptors()
    yield
    end = time.monotonic() + 5
    while daemon.descriptors() > before and time.monotonic() < end:
        time.sleep(0.02)
    assert daemon.descriptors() <= before
    with talking(daemon.folder) as client:
        assert client.reply()[:3] == b"220"


@contextlib.contextmanager
def something(kind: str) -> Iterator[int]:
    """Open what is no connected TCP socket."""
    with contextlib.ExitStack() as stack:
        if kind == "a file":
            descriptor = open_file()
            stack.callback(os.close, descriptor)
            yield descriptor
            return
        if kind == "a pipe":
            ends = os.pipe()
            for end in ends:
                stack.callback(os.close, end)
            yield ends[0]
            return
        if kind == "a unix socket":
            one, other = socket.socketpair()
            stack.enter_context(other)
        elif kind == "a listener":
            one = socket.create_server(("127.0.0.1", 0))
        elif kind == "UDP":
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.connect(("127.0.0.1", 9))
        else:
            one = socket.socket()
        yield stack.enter_context(one).fileno()


@pytest.mark.parametrize(
    "kind", ["a file", "a pipe", "a unix socket", "a listener", "UDP", "not connected"]
)
def test_only_connected_tcp_sockets_are_taken_t20(daemon: Daemon, kind: str) -> None:
    with something(kind) as descriptor:
        assert hand_over(daemon.folder, [descriptor], opening()) == b""


def test_without_a_descriptor_nothing_is_acknowledged(daemon: Daemon) -> None:
    assert hand_over(daemon.folder, [], opening()) == b""


def test_more_than_one_descriptor_is_refused_and_all_are_closed_t20(daemon: Daemon) -> None:
    client, server = connected_pair()
    with client, server:
        for number in (2, 3, 253):
            for _ in range(100 if SOAK else 10):
                assert hand_over(daemon.folder, [server.fileno()] * number, opening()) == b""
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"x" * 100,
        opening()[:-1],
        opening() * 2,
        request(),
        opening(greylag_client="qmail-spp"),
        opening(reply=b"250 ok"),
        opening(reply=b"450"),
        opening(reply=b"450 a\r"),
        opening(reply=b"450 " + b"x" * 500),
        opening(reply=b""),
        opening(helo_name="x" * 9000),
        opening(sender=b"a\0b"),
        *(opening(reply=b"450 " + value) for value in VALUES if b"\xff" in value[:10]),
    ],
)
def test_what_makes_no_sense_is_not_acknowledged(daemon: Daemon, text: bytes) -> None:
    client, server = connected_pair()
    with client, server:
        assert hand_over(daemon.folder, [server.fileno()], text) == b""
        server.close()
        assert client.recv(1) == b"", "it was talked to"


@pytest.mark.parametrize("address", ["", "not-an-ip", "999.1.1.1", "fe80::1%eth0", "2001:db8::1"])
def test_a_client_of_any_address_is_talked_to(daemon: Daemon, address: str) -> None:
    with talking(daemon.folder, address) as client:
        assert client.reply()[:3] == b"220"


def test_who_no_longer_waits_talks_himself(daemon: Daemon) -> None:
    """Never two at once: an acknowledgement that cannot be sent means that we keep silent."""
    client, server = connected_pair()
    with client, server:
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
                giver.connect(str(daemon.folder / "handover.sock"))
                socket.send_fds(giver, [opening()], [server.fileno()])
                giver.shutdown(socket.SHUT_RD)
                daemon.process.send_signal(signal.SIGCONT)
                giver.settimeout(5)
                assert giver.recv(100) == b""
                client.settimeout(1)
                with pytest.raises(TimeoutError):
                    client.recv(1)
        finally:
            daemon.process.send_signal(signal.SIGCONT)


def test_who_says_nothing_is_hung_up_on(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
        giver.settimeout(15)
        giver.connect(str(daemon.folder / "handover.sock"))
        began = time.monotonic()
        assert giver.recv(1) == b""
        assert 9 < time.monotonic() - began < 13


def test_the_socket_is_for_those_who_may_ask(daemon: Daemon) -> None:
    assert (daemon.folder / "handover.sock").stat().st_mode & 0o777 == 0o660


def test_it_can_be_elsewhere(tmp_path: Path) -> None:
    place = tmp_path / "other" / "handover.sock"
    place.parent.mkdir()
    with serving(tmp_path, server=f'handover = "{place}"'), talking(place.parent) as client:
        assert client.reply()[:3] == b"220"
    assert not place.exists()


def test_a_socket_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    with serving(tmp_path) as own:
        own.process.kill()
        own.process.wait()
        assert (tmp_path / "handover.sock").exists()
    with serving(tmp_path), talking(tmp_path) as client:
        assert client.reply()[:3] == b"220"


def test_the_policy_socket_takes_no_descriptor_t20(daemon: Daemon) -> None:
    """It reads the request as any other, and never talks to the client."""
    client, server = connected_pair()
    with client, server, daemon.connect() as asking:
        send_along(asking.socket, opening(), [server.fileno()])
        assert asking.response() + b"\n\n" not in (b"\n\n", ACCEPTED)
        server.close()
        assert client.recv(1) == b""
