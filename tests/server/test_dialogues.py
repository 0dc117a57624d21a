"""The daemon's fake conversations: what they say, their limits, and what they cost the others."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.wire.tempfail import MAX_LINES
from tests.server.clients import (
    ACCEPTED,
    Talker,
    connected_pair,
    hand_over,
    opening,
    talking,
)
from tests.server.daemon import Daemon, serving
from tests.server.test_limits import waits
from tests.wire.hostile import VALUES
from tests.work import LATE

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
CROWD = 2000 if SOAK else 200
NOISE = (64 << 20) if SOAK else (4 << 20)
ONE_MORE = 2.5  # seconds in which whatever is due has happened: the daemon looks once a second


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("dialogues"), text="[jgreylist]\nidle = '5s'\n") as one:
        with one.connect() as client:
            client.ask()  # opens the database, and leaves it open
        yield one


def processor(daemon: Daemon) -> float:
    """Return the seconds of processor time that the daemon has used."""
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def left(daemon: Daemon, number: int, seconds: float = 10.0) -> bool:
    """Wait until the daemon holds so many descriptors again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if daemon.descriptors() <= number:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(autouse=True)
def nothing_is_left(daemon: Daemon) -> Iterator[None]:
    """T20: after whatever a test did, the daemon holds not one descriptor more, and answers."""
    before = daemon.descriptors()
    yield
    assert daemon.process.poll() is None
    assert left(daemon, before)
    with talking(daemon.folder) as client:
        assert client.reply().startswith(b"220 ")
    assert left(daemon, before)


def test_a_whole_conversation(daemon: Daemon) -> None:
    with talking(daemon.folder) as client:
        assert client.reply() == b"220 jgreylist v8"
        assert client.ask(b"EHLO mx.example.org").startswith(b"250 ")
        assert client.ask(b"MAIL FROM:<a@example.org>").startswith(b"250 ")
        assert client.ask(b"RCPT TO:<b@example.net>") == b"450 GREYLIST Try again later."
        assert client.ask(b"DATA") == b"450 GREYLIST Try again later."
        assert client.ask(b"NOOP").startswith(b"250 ")
        assert client.ask(b"QUIT").startswith(b"221 ")
        assert client.reply() == b""
    assert daemon.logged("event=dialogue end=quit client_address=192.0.2.17 lines=6")


def test_a_refusal_for_good(daemon: Daemon) -> None:
    with talking(daemon.folder, reply=b"553 DENIED no") as client:
        client.reply()
        assert client.ask(b"RCPT TO:<b@example.net>") == b"553 DENIED no"


def test_a_pipeline_is_answered_in_its_order(daemon: Daemon) -> None:
    with talking(daemon.folder) as client:
        client.socket.sendall(b"EHLO x\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<b>\n" * 300 + b"QUIT\r\n")
        codes = [line[:3] for line in client.rest()]
        assert codes == [b"220", b"250", b"250"] + [b"450"] * 300 + [b"221"]


def test_limit_is_a_temporary_failure(daemon: Daemon) -> None:
    with talking(daemon.folder, greylag_limit="2") as client:
        client.socket.sendall(b"RCPT\r\nRCPT\r\nRCPT\r\nQUIT\r\n")
        assert [line[:3] for line in client.rest()] == [b"220", b"450", b"421"]
    assert daemon.logged("end=too-many-rcpt")


def test_fault_1_end_of_input_is_the_end(daemon: Daemon) -> None:
    """The old program went on until the time-out: 64 MB of 450 in 5 s."""
    with talking(daemon.folder) as client:
        client.socket.sendall(b"EHLO x\r\nRCPT TO:<")
        client.socket.shutdown(socket.SHUT_WR)
        assert [line[:3] for line in client.rest()] == [b"220", b"250"]  # and no 421 for its time


def test_the_whole_time_is_bounded_t7(daemon: Daemon) -> None:
    """However busy the client is, and with less than the idle time between its lines."""
    with talking(daemon.folder, greylag_timeout="1") as client:
        began = time.monotonic()
        client.reply()
        while (reply := client.ask(b"NOOP")).startswith(b"250"):
            time.sleep(0.2)
        assert reply == b"421 timeout"
        assert 4.5 < time.monotonic() - began < 5 + LATE
    assert daemon.logged("end=timeout")


def test_dribbling_is_not_talking_t7(daemon: Daemon) -> None:
    """A byte now and then does not count: a line must be whole within the idle time."""
    with talking(daemon.folder) as client:
        client.reply()
        began = time.monotonic()
        while time.monotonic() - began < 5 + LATE:
            client.socket.sendall(b"x")
            if select.select([client.socket], [], [], 0.1)[0]:
                break
        assert client.reply() == b"421 timeout"
        assert 4.5 < time.monotonic() - began < 5 + LATE
    assert daemon.logged("end=idle")


def test_a_conversation_of_nothing_has_an_end(daemon: Daemon) -> None:
    with talking(daemon.folder) as client:
        client.socket.sendall(b"\n" * (MAX_LINES + 500))
        found = client.rest()
        assert found[-1][:3] == b"421"
        assert len(found) == 1 + MAX_LINES


def test_a_line_of_any_length_costs_no_memory_p2(daemon: Daemon) -> None:
    with talking(daemon.folder) as client:
        client.reply()
        before = daemon.memory()
        for _ in range(NOISE // 65536):
            client.socket.sendall(b"x" * 65536)
        assert client.ask(b"").startswith(b"450 ")
        assert daemon.memory() - before < 1 << 20


def test_who_does_not_read_is_not_read_from_p2(daemon: Daemon) -> None:
    before = daemon.memory()
    with contextlib.ExitStack() as stack:
        for number in range(20):
            client = stack.enter_context(talking(daemon.folder, f"198.51.100.{number}"))
            client.socket.settimeout(0.2)
            with contextlib.suppress(OSError):
                client.socket.sendall(b"\n" * (1 << 20))
        assert daemon.memory() - before < 2 << 20


def slow_reader(daemon: Daemon, lines: int) -> Iterator[Talker]:
    """Be a client that sends so many lines and reads nothing of the long replies."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with client, socket.create_server(("127.0.0.1", 0)) as listener:
        client.connect(listener.getsockname())
        client.settimeout(20)
        server, _address = listener.accept()
        with server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            request = opening(reply=b"450 " + b"x" * 496, greylag_timeout="5")
            assert hand_over(daemon.folder, [server.fileno()], request) == ACCEPTED
        client.sendall(b"RCPT\n" * lines)
        yield Talker(client)


def test_who_reads_late_gets_every_reply(daemon: Daemon) -> None:
    with contextlib.contextmanager(slow_reader)(daemon, 900) as client:
        time.sleep(0.5)
        before = processor(daemon)
        time.sleep(1.0)
        assert processor(daemon) - before < 0.5, "it turns in circles"
        client.reply()
        for _ in range(900):
            assert client.reply() == b"450 " + b"x" * 496


def test_nothing_is_said_after_half_a_reply_t13(daemon: Daemon) -> None:
    """Whoever reads nothing up to the time-out finds no 421 in the middle of a line."""
    with contextlib.contextmanager(slow_reader)(daemon, 900) as client:
        time.sleep(5 + ONE_MORE)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while more := client.socket.recv(65536):
                received += more
        assert received.startswith(b"220 ")
        assert len(received) < 900 * 502, "all of it went out: the test shows nothing"
        assert b"421" not in received


@pytest.mark.parametrize("seed", range(300 if SOAK else 30))
def test_noise_draws_nothing_but_complete_reply_lines_p3_t13(daemon: Daemon, seed: int) -> None:
    source = random.Random(seed)
    pieces = [source.choice(VALUES)[:2000] for _ in range(20)] + [source.randbytes(3000)]
    with talking(daemon.folder) as client:
        for piece in pieces:
            with contextlib.suppress(OSError):
                client.socket.sendall(piece + source.choice([b"", b"\n", b"\r\n", b"\r"]))
        with contextlib.suppress(OSError):
            client.socket.shutdown(socket.SHUT_WR)
        for line in client.rest():
            assert re.fullmatch(rb"(220|221|250|421|450) [ -~]{1,500}", line)


def test_each_line_is_logged_where_that_is_asked_for_p13(daemon: Daemon) -> None:
    with talking(daemon.folder, "203.0.113.9", greylag_log_smtp="1") as client:
        client.reply()
        client.ask(b"HELO \x1b[2J")
    before = "event=dialogue client_address=203.0.113.9 "
    assert daemon.logged(before + 'received="HELO \\x1b[2J"\n')
    assert daemon.logged(before + 'sent="250 jgreylist v8"\n')


def test_the_fate_is_not_logged_where_that_is_not_wanted(daemon: Daemon) -> None:
    with talking(daemon.folder, "203.0.113.10", greylag_log="0") as client:
        client.reply()
        client.ask(b"QUIT")
        client.rest()
    with talking(daemon.folder, "203.0.113.11") as client:
        client.reply()
        client.ask(b"QUIT")
    assert daemon.logged("203.0.113.11")
    assert "203.0.113.10" not in daemon.log.read_text()


def test_slow_loris_cost_the_others_nothing_t7(daemon: Daemon) -> None:
    """Neither other conversations nor the policy socket."""
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(talking(daemon.folder, f"10.{n >> 8}.{n & 255}.1"))
            for n in range(CROWD)
        ]
        for byte in b"EHLO x":
            for client in slow:
                client.socket.send(bytes((byte,)))
        taken = statistics.median(waits(daemon))
        assert not SOAK or taken < 0.25
        with talking(daemon.folder) as good:
            good.reply()
            assert good.ask(b"RCPT TO:<b>").startswith(b"450")
        for client in slow:
            assert client.reply().startswith(b"220")


def test_too_many_of_one_network_and_of_all_are_told_to_come_back(tmp_path: Path) -> None:
    text = "[jgreylist]\nmax_dialogues = 5\nmax_per_network = 3\n"
    with serving(tmp_path, text=text) as own, contextlib.ExitStack() as stack:

        def one_more(address: str) -> bytes:
            return stack.enter_context(talking(own.folder, address)).reply()

        assert [one_more(f"192.0.2.{n}")[:3] for n in range(4)] == [b"220"] * 3 + [b"421"]
        assert [one_more(f"198.51.100.{n}")[:3] for n in range(3)] == [b"220"] * 2 + [b"421"]
        stack.close()
        assert own.logged("end=hung-up", 5)
        time.sleep(0.2)
        assert one_more("192.0.2.1")[:3] == b"220"


def test_a_tarpit_makes_each_reply_wait(tmp_path: Path) -> None:
    with serving(tmp_path, text="[jgreylist]\ntarpit = '1s'\n") as own:
        with talking(own.folder) as client:
            client.reply()
            began = time.monotonic()
            client.socket.sendall(b"EHLO x\r\nRCPT TO:<b>\r\nQUIT\r\n")
            assert [line[:3] for line in client.rest()] == [b"250", b"450", b"221"]
            assert 2.9 < time.monotonic() - began < 3 + LATE
        with talking(own.folder) as client:  # who hangs up while he waits is let go at once
            client.reply()
            client.socket.sendall(b"EHLO x\r\n")
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
        assert own.logged("end=hung-up", 3)


def test_the_daemon_that_ends_says_so(tmp_path: Path) -> None:
    with serving(tmp_path) as own, talking(own.folder) as client:
        client.reply()
        own.process.terminate()
        assert client.rest() == [b"421 going down"]
        assert own.process.wait(10) == 0
        assert not (tmp_path / "handover.sock").exists()


def test_a_daemon_that_is_killed_closes_the_connections(tmp_path: Path) -> None:
    with serving(tmp_path) as own, talking(own.folder) as client:
        client.reply()
        own.process.kill()
        assert client.rest() == []
        own.process.wait(10)
        with pytest.raises(ConnectionRefusedError):
            hand_over(tmp_path, [], opening())


def test_a_reload_brings_other_limits(tmp_path: Path) -> None:
    with serving(tmp_path) as own, talking(own.folder) as client:
        client.reply()
        config = tmp_path / "greylag.toml"
        config.write_text("[jgreylist]\nmax_per_network = 0\n" + config.read_text())
        own.process.send_signal(signal.SIGHUP)
        assert own.logged("event=reloaded")
        with talking(own.folder) as another:
            assert another.rest() == [b"421 too many connections"]
        assert client.ask(b"NOOP")[:3] == b"250"


def test_few_descriptors_are_told_and_kept_to(tmp_path: Path) -> None:
    with serving(tmp_path, text="[jgreylist]\nmax_dialogues = 1000000\n") as own:
        assert own.logged("event=few-descriptors")


def test_a_client_that_is_gone_before_the_banner(daemon: Daemon) -> None:
    for _ in range(50):
        client, server = connected_pair()
        with server:
            client.close()
            hand_over(daemon.folder, [server.fileno()], opening(address="192.0.2.99"))
    with talking(daemon.folder) as good:
        assert isinstance(good, Talker)
        assert good.reply()[:3] == b"220"
