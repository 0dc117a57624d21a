"""T31: whoever reads the log stops, its disk is full, a FIFO stands at its path."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greylag.server.daemon import DRAIN
from greylag.server.journal import Journal
from tests.e2e.test_failure import fill, small_disk
from tests.server.daemon import BIN, Daemon, serving, wait_until_it_serves, write_config

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
ASKED = 100_000 if SOAK else 3000  # answers; a pipe holds the lines of some 500
PIPE = 4096  # bytes: the smallest
LINE = re.compile(r"greylag: (level=\w+ )?(event|verdict)=[\x20-\x7e]+")


@contextmanager
def piped(folder: Path) -> Iterator[tuple[Daemon, int]]:
    """A daemon whose stderr is a small pipe; its other end is ours to read, or not."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
    words: list[str | Path] = [BIN / "greylag", "--config", write_config(folder), "serve"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    daemon = Daemon(process, folder, folder / "none")
    daemon.log.touch()
    try:
        wait_until_it_serves(daemon)
        yield daemon, reader
    finally:
        os.close(reader)
        process.kill()
        process.wait()


def ask_often(daemon: Daemon, number: int) -> None:
    with daemon.connect() as client:
        for count in range(number):
            assert client.ask(recipient=f"r{count % 50}@example.net").startswith(b"action=")


def read_rest(reader: int, complete: Callable[[str], bool], seconds: float = 120) -> str:
    """Read what the log says, until it has said all."""
    os.set_blocking(reader, False)
    text, end = "", time.monotonic() + seconds
    while True:
        assert time.monotonic() < end, text[-300:]
        readable = select.select([reader], [], [], 0.1)[0]
        piece = os.read(reader, 65536) if readable else b""
        text += piece.decode("ascii")
        if not piece:
            if complete(text):
                return text
            time.sleep(0.05)  # who may still open a FIFO to write


def saying(event: str) -> Callable[[str], bool]:
    return lambda text: f"event={event}" in text


def test_answers_go_on_when_the_logs_reader_has_stopped_t31(tmp_path: Path) -> None:
    with piped(tmp_path) as (daemon, _reader):
        ask_often(daemon, ASKED)
        daemon.process.send_signal(signal.SIGHUP)
        ask_often(daemon, 10)


def test_sigterm_ends_the_daemon_whoever_reads_its_log_t31(tmp_path: Path) -> None:
    with piped(tmp_path) as (daemon, _reader):
        ask_often(daemon, 600)
        daemon.process.terminate()
        assert daemon.process.wait(DRAIN) == 0


def test_each_event_is_written_or_counted_t31(tmp_path: Path) -> None:
    """When the reader comes back it is told how much it has missed.

    All of it is read before the end: the daemon waits only a moment for its last lines.
    """
    number = 40_000  # some 5 MB: more than the daemon keeps

    def accounted(text: str) -> int:
        answers = text.count("verdict=") - text.count("client_address=not-an-ip")
        return answers + sum(map(int, re.findall(r"event=log-dropped lines=(\d+)", text)))

    with piped(tmp_path) as (daemon, reader):
        ask_often(daemon, number)
        text = read_rest(reader, lambda text: accounted(text) >= number)
        daemon.process.terminate()
        text += read_rest(reader, saying("stopped"))
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    assert "event=log-dropped" in text
    assert accounted(text) == number


def test_a_fifo_at_its_path_stops_nothing_t31(tmp_path: Path) -> None:
    """Nobody reads it at the start, then somebody does, then nobody any more."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with serving(tmp_path, f'[log]\nfile = "{fifo}"\n') as daemon:
        ask_often(daemon, 2000)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        read_rest(reader, saying("started"))
        os.close(reader)
        ask_often(daemon, 2000)
        daemon.process.send_signal(signal.SIGHUP)
        ask_often(daemon, 2000)
        daemon.process.terminate()
        assert daemon.process.wait(DRAIN) == 0


def test_a_fifo_that_comes_with_a_rotation_stops_nothing_t31(tmp_path: Path) -> None:
    log = tmp_path / "greylag.log"
    with serving(tmp_path, f'[log]\nfile = "{log}"\n') as daemon:
        ask_often(daemon, 5)
        log.unlink()
        os.mkfifo(log)
        daemon.process.send_signal(signal.SIGHUP)
        ask_often(daemon, 2000)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_line_that_a_full_disk_tore_is_closed_before_the_next_event_t31(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        log = disk / "greylag.log"
        with serving(tmp_path, f'[log]\nfile = "{log}"\n') as daemon:
            ask_often(daemon, 5)
            filler = disk / "filler"
            fill(filler)
            ask_often(daemon, 2000)
            filler.unlink()
            ask_often(daemon, 5)
            daemon.process.terminate()
            daemon.process.wait(20)
        lines = log.read_text().splitlines()
    assert any("event=log-dropped" in line for line in lines)
    assert len([line for line in lines if line.count("greylag: ") > 1]) == 0


def test_a_torn_line_of_the_last_daemon_is_closed_first_t31(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("greylag: verdict=def")
    journal = Journal(str(log))
    journal.event(3, {"event": "reloaded"})
    journal.close()
    assert log.read_text() == "greylag: verdict=def\ngreylag: level=warn event=reloaded\n"


def test_a_file_that_cannot_be_opened_anew_is_told_in_the_old_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    journal = Journal(str(log))
    log.rename(tmp_path / "old")
    log.mkdir()
    journal.reopen()
    end = time.monotonic() + 10
    while "log-not-reopened" not in (text := (tmp_path / "old").read_text()):
        assert time.monotonic() < end, text
        time.sleep(0.01)
    journal.close()


def test_systemd_that_does_not_listen_is_not_waited_for_t31(tmp_path: Path) -> None:
    """Its queue is full: what it was not told it is told later, in the same order."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        other.setblocking(False)
        other.connect(str(tmp_path / "notify"))
        filled = 0
        try:
            while True:
                other.send(b"x")
                filled += 1
        except BlockingIOError:
            pass
        with serving(tmp_path, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as daemon:
            ask_often(daemon, 5)
            assert {manager.recv(10) for _ in range(filled)} == {b"x"}
            assert manager.recv(100) == b"READY=1"


def test_the_same_internal_error_is_told_once_a_minute(tmp_path: Path) -> None:
    """As where each of a thousand connections meets the end of descriptors."""
    log = tmp_path / "log"
    journal = Journal(str(log))
    for _ in range(1000):
        journal.internal_error(None, {"message": "x", "exception": OSError(24, "Too many")})
    journal.close()
    assert log.read_text().count("event=internal-error") == 1


NO_UVLOOP = """
import sys
sys.modules["uvloop"] = None
import importlib.util
find = importlib.util.find_spec
from greylag.cli.main import main
sys.argv[0] = "greylag"
main()
"""


@pytest.mark.parametrize("program", [(BIN / "greylag",), (sys.executable, "-c", NO_UVLOOP)])
def test_no_descriptor_left_is_told_in_few_words_and_passes(
    tmp_path: Path, program: tuple[str | Path, ...]
) -> None:
    with serving(tmp_path, program=program) as daemon:
        pid = daemon.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (daemon.descriptors() + 2, usual[1]))
        waiting = [daemon.connect() for _ in range(20)]
        time.sleep(3)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        for one in waiting:
            one.socket.close()
        ask_often(daemon, 5)
        assert len(daemon.log.read_bytes()) < 10_000


def test_closed_standard_descriptors_are_opened_before_a_socket_takes_their_number(
    tmp_path: Path,
) -> None:
    """Else what is written to stderr goes to a client."""
    shell: list[str | Path]
    shell = ["/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", BIN / "greylag"]
    with serving(tmp_path, f'[log]\nfile = "{tmp_path}/log"\n', program=shell) as daemon:
        folder = Path(f"/proc/{daemon.process.pid}/fd")
        assert [os.readlink(folder / number) for number in "012"] == [os.devnull] * 3


@pytest.mark.parametrize("front", [{}, {"greylag_client": "qmail-spp"}])
def test_names_are_logged_of_deferrals_alone(tmp_path: Path, front: dict[str, str]) -> None:
    """From Postfix and from the C plugin, as each names them."""
    names = {"client_name": "mx.example.org", "helo_name": "x ip=203.0.113.1"}
    with serving(tmp_path) as daemon, daemon.connect() as client:
        assert client.ask(**front, **names) != b"action=DUNNO"
        assert client.ask(**front, **names, client_address="none") == b"action=DUNNO"
        assert daemon.logged("client_address=none")
        log = daemon.log.read_text()
    told = ' client_name=mx.example.org helo="x ip=203.0.113.1" retry_after='
    deferred = [line for line in log.splitlines() if "verdict=defer" in line]
    assert deferred
    assert all(told in line for line in deferred)
    assert log.count("helo=") == len(deferred)


def test_the_name_of_a_refused_connection_is_logged(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        asked = {"protocol_state": "CONNECT", "greylag_client": "jgreylist"}
        client.ask(**asked, client_name="mx.example.org")
        assert daemon.logged("at=connect client_address=192.0.2.17 client_name=mx.example.org re")
        client.ask(**asked, client_name="mx.example.org", greylag_jgreylist="")
        assert daemon.logged("reason=allowlisted at=connect client_address=192.0.2.17\n")
