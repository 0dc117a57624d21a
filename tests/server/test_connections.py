"""T42: idle connections at one listener, or of one peer, shut nobody else out."""

from __future__ import annotations

import contextlib
import grp
import os
import resource
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from greylag.server.connections import HANDING_OVER, Connections, share_out
from greylag.server.fronts.policy import PolicyCodec
from greylag.server.journal import Journal
from greylag.server.listeners import BACKLOG
from greylag.server.session import Limits, Session
from tests.e2e.postfix import free_port
from tests.server.clients import talking
from tests.server.daemon import BIN, Connection, Daemon, serving

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
MOST = 4000 if SOAK else 40  # connections of each listener
FILES = (MOST + 200) * 2 if SOAK else 1024


@contextlib.contextmanager
def idle(port: int, number: int, address: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connect so often from an address, and say nothing."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0))
            )
            for _ in range(number)
        ]


@pytest.fixture
def files() -> Iterator[None]:
    """Room for thousands of connections of our own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answered(place: Path | int) -> bool:
    with Connection(place) as client:
        return client.ask().startswith(b"action=")


@pytest.mark.usefixtures("files")
def test_idle_connections_at_a_port_shut_nobody_else_out_t42(tmp_path: Path) -> None:
    """At the unix socket, at another port, or from another address at the same one."""
    port, other = free_port(), free_port()
    server = f'policy = ["127.0.0.1:{port}", "127.0.0.1:{other}"]\nmax_connections = {MOST}'
    # Else the dialogues' share would leave fewer connections where 20,000 files may be open.
    few = "[jgreylist]\nmax_dialogues = 100"
    with serving(tmp_path, few, server) as daemon:
        with idle(port, MOST + 50):
            assert answered(daemon.socket)
            assert answered(other)
            with idle(port, MOST // 4, "127.0.0.2") as others:
                others[0].sendall(b"request=smtpd_access_policy\n\n")
                assert others[0].recv(100).startswith(b"action=")
            with idle(port, MOST, "127.0.0.3"):  # now it is full
                assert answered(daemon.socket)
                assert answered(other)
                time.sleep(0.3)
                assert answered(port)  # its peer has too many, and one of these gives way
                with closing(
                    socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.4", 0))
                ) as new:
                    new.sendall(b"request=smtpd_access_policy\n\n")
                    assert new.recv(100).startswith(b"action=")
        told = f"too-many-connections place=127.0.0.1:{port} limit={MOST // 2} peer=127.0.0.1"
        assert daemon.logged(told)
        assert daemon.log.read_text().count("too-many-connections") < 10


def small(folder: Path, files: int, port: int) -> contextlib.AbstractContextManager[Daemon]:
    limited = ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", str(BIN / "greylag")]
    return serving(folder, server=f'policy = ["127.0.0.1:{port}"]', program=limited)


@pytest.mark.parametrize("files", [150, 256, 1024])
def test_few_descriptors_are_shared_out_t42(tmp_path: Path, files: int) -> None:
    """Idle peers of all kinds at once leave room at the unix socket, and for hand-overs."""
    port = free_port()
    with small(tmp_path, files, port) as daemon:
        assert daemon.logged(f"event=few-descriptors limit={files}")
        with contextlib.ExitStack() as stack:
            for host in range(2, 6):
                stack.enter_context(idle(port, files // 4, f"127.0.0.{host}"))
            assert answered(daemon.socket)
            for _ in range(files // 4):
                giver = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                stack.enter_context(giver)
                giver.connect(str(daemon.folder / "handover.sock"))
            assert answered(daemon.socket)
        with talking(daemon.folder) as client:
            assert client.reply().startswith(b"220")


def test_wishes_that_fit_are_fulfilled() -> None:
    found = share_out(1 << 20, 4000, 3, 10_000)
    assert (found.connections, found.backlog, found.handing_over, found.dialogues) == (
        *(4000, BACKLOG),
        *(HANDING_OVER, 10_000),
    )


@pytest.mark.parametrize("limit", [20, 64, 256, 1024, 4096, 20_000])
@pytest.mark.parametrize("listeners", [1, 2, 9])
def test_shares_stay_below_the_limit_and_nobody_gets_none(limit: int, listeners: int) -> None:
    found = share_out(limit, 4000, listeners, 10_000)
    used = listeners * (found.connections + found.backlog) + found.handing_over + found.dialogues
    assert used <= limit or limit < 4 * (listeners + 2)
    assert min(found.connections, found.backlog) >= 1


def test_queries_to_dns_have_descriptors_of_their_own() -> None:
    """50 of them, with three silent servers each; else clients could take these, too."""
    found = share_out(1024, 4000, 1, 10_000)
    used = found.connections + found.backlog + found.handing_over + found.dialogues
    assert used <= 1024 - 128 - 50 * 3


def test_of_peers_that_were_not_let_in_nothing_is_kept_t42(tmp_path: Path) -> None:
    """Whoever has a large range of addresses comes from each of them."""
    connections, sessions = connected(tmp_path, 1)
    sessions[0].asked = monotonic() + 60
    for number in range(100):
        assert not connections.admit(sessions[1], (f"192.0.2.{number}", 25))
    assert set(connections._of_peer) == {b""}


def test_an_ipv6_peer_is_its_64(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "log"))
    connections = Connections("[::1]:1", journal)
    connections.use(Limits(per_peer=2), 10)
    codec = PolicyCodec(lambda _request: b"", {})
    sessions = [Session(codec, lambda _inquiry, _owe: None, connections) for _ in range(5)]
    names = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "fe80::1%eth0"]
    let_in = [
        connections.admit(session, (name, 1, 0, 0))
        for session, name in zip(sessions, names, strict=True)
    ]
    assert let_in == [True, True, False, True, True]
    connections.leave(sessions[2])
    assert not connections.admit(sessions[2], (names[2], 1, 0, 0))
    connections.leave(sessions[0])
    assert connections.admit(sessions[2], (names[2], 1, 0, 0))
    journal.close()


class Wire:
    """A transport that keeps what was written for so long as is said."""

    def __init__(self) -> None:
        self.unread, self.is_open = 0, True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.is_open = False


def connected(folder: Path, number: int) -> tuple[Connections, list[Session]]:
    """Return a full listener, and its connections: all of them asked long ago."""
    connections = Connections("s", Journal(str(folder / "log")))
    connections.use(Limits(), number)
    codec = PolicyCodec(lambda _request: b"", {})
    made = [Session(codec, lambda _inquiry, _owe: None, connections) for _ in range(number + 1)]
    for at, session in enumerate(made):
        session._transport = Wire()  # type: ignore[assignment]
        session.asked = monotonic() - 5 + at / 1000
        if at < number:
            assert connections.admit(session, None)
    return connections, made


def still_open(sessions: list[Session]) -> list[int]:
    return [at for at, one in enumerate(sessions[:-1]) if one._transport.is_open]  # type: ignore[union-attr]


def test_who_asked_since_or_is_owed_an_answer_gives_no_way_t42(tmp_path: Path) -> None:
    connections, sessions = connected(tmp_path, 5)
    sessions[0].asked = monotonic()
    sessions[1]._owe()
    sessions[2]._transport.unread = 1  # type: ignore[union-attr]
    assert connections.admit(sessions[-1], None)
    assert still_open(sessions) == [0, 1, 2, 4]
    assert len(list(connections)) == 5


def test_who_does_not_read_the_answers_gives_way_t42(tmp_path: Path) -> None:
    connections, sessions = connected(tmp_path, 2)
    for session in sessions[:-1]:
        session._owe()
    sessions[1].asked = monotonic() - 11
    assert connections.admit(sessions[-1], None)
    assert still_open(sessions) == [0]


def test_where_all_ask_nobody_gives_way_and_few_are_looked_at(tmp_path: Path) -> None:
    connections, sessions = connected(tmp_path, 500)
    for session in sessions:
        session.asked = monotonic() + 60
    assert not connections.admit(sessions[-1], None)
    sessions[499].asked = 0  # behind those that are looked at
    assert not connections.admit(sessions[-1], None)
    for _ in range(16):  # each time others are looked at
        connections.admit(sessions[-1], None)
    assert still_open(sessions) == list(range(499))


def modes(folder: Path) -> list[tuple[int, int]]:
    found = [(folder / name).stat() for name in ("s", "handover.sock")]
    return [(stat.S_IMODE(one.st_mode), one.st_gid) for one in found]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to another group")
def test_the_handover_socket_has_a_mode_and_group_of_its_own(tmp_path: Path) -> None:
    """A mail server that asks need not be able to hand clients over; without a word it can."""
    mine, daemons = os.getegid(), "daemon"
    group = grp.getgrnam(daemons).gr_gid
    shared = f'socket_group = "{daemons}"\nsocket_mode = "0620"'
    with serving(tmp_path, server=shared) as daemon:
        assert modes(daemon.folder) == [(0o620, group)] * 2
    own = f'{shared}\nhandover_group = "{grp.getgrgid(mine).gr_name}"\nhandover_mode = "0600"'
    with serving(tmp_path, server=own) as daemon:
        assert modes(daemon.folder) == [(0o620, group), (0o600, mine)]
