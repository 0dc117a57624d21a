"""The native jgreylist: lets in as if it had never been, hands over, or has the one-shot do it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from greylag.core.connection import Connection
from greylag.core.policy import Policy
from greylag.wire.connection import JGREYLIST, read_connection
from greylag.wire.handover import read_opening
from greylag.wire.policy import Request, RequestReader
from greylag.wire.tempfail import Manner
from tests.evil import EVIL
from tests.native.building import Builder
from tests.native.conftest import SANITIZERS
from tests.native.daemon import Script, answering, hanging, running
from tests.native.greylisted import COMMAND, Jgreylist, sigpipe_is_ignored, write_recorder
from tests.work import LATE

GREY = b"action=450 GREYLIST Try again later.\ngreylag_reason=new\n\n"
KNOWN = b"action=DUNNO\ngreylag_reason=known\n\n"
ACCEPTED = b"action=OK\n\n"
BUDGET_MS = 400
ONESHOT_SAID = [b"220 from jgreylist-oneshot"]
SMTPD_SAID = [b"220 from smtpd"]


@pytest.fixture
def program(build: Builder, tmp_path: Path) -> Jgreylist:
    """The program with its default settings but for the paths; no daemon runs."""
    write_recorder(build.folder / "jgreylist-oneshot")
    write_recorder(tmp_path / "smtpd")
    return Jgreylist(build() / "jgreylist", tmp_path, SANITIZERS if build.sanitized else {})


def hurried(program: Jgreylist, build: Builder) -> Jgreylist:
    return replace(program, program=build(budget_ms=BUDGET_MS) / "jgreylist")


Taker = Callable[[socket.socket, bytes, list[int]], None]


@contextlib.contextmanager
def taking(folder: Path, taker: Taker) -> Iterator[list[bytes]]:
    """Run somebody at the hand-over socket, who does with a record what a test says."""
    records: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection:
                record, descriptors, _flags, _from = socket.recv_fds(connection, 65536, 10)
                records.append(record)
                with contextlib.suppress(BrokenPipeError):
                    taker(connection, record, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "handover.sock"))
        listener.listen(10)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield records
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def accepts(connection: socket.socket, _record: bytes, descriptors: list[int]) -> None:
    """Acknowledge, and talk to the client."""
    connection.send(ACCEPTED)
    (descriptor,) = descriptors
    with socket.socket(fileno=os.dup(descriptor)) as client:
        client.sendall(b"220 from the daemon\r\n")


def saying(answer: bytes) -> Taker:
    def taker(connection: socket.socket, _record: bytes, _descriptors: list[int]) -> None:
        if answer:
            connection.send(answer)

    return taker


def asked(questions: Sequence[bytes]) -> Connection:
    (question,) = questions
    (event,) = RequestReader().feed(question)
    assert isinstance(event, Request)
    assert event.get(b"greylag_client") == JGREYLIST
    return read_connection(event)


def test_who_is_let_in_finds_everything_untouched(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(KNOWN)):
        run = program.run()
    assert run.said == SMTPD_SAID
    assert run.log == [f"greylist[{run.pid}]: 192.0.2.17: OK known"]
    assert program.recorded() == [str(run.pid), str(program.smtpd), *COMMAND]
    assert not sigpipe_is_ignored(program.folder)


def test_an_ignored_sigpipe_stays_ignored(program: Jgreylist) -> None:
    wrapper = ["/usr/bin/env", "--ignore-signal=PIPE"]
    with running(program.folder / "s", answering(KNOWN)):
        program.run(wrapper)
    assert sigpipe_is_ignored(program.folder)


@pytest.mark.parametrize("closed", ["2>&-", "3>&-"])
def test_no_descriptor_is_filled_that_was_closed(program: Jgreylist, closed: str) -> None:
    """Where stderr is closed, neither our sockets nor the log take its place."""
    wrapper = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh"]
    with running(program.folder / "s", answering(KNOWN)):
        run = program.run(wrapper)
    assert run.said == SMTPD_SAID
    assert program.recorded()


def test_the_program_is_looked_for_in_path(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(KNOWN)), program.started() as (client, _process):
        assert client.reply() == SMTPD_SAID[0]
    elsewhere = f"/usr/bin:/bin:{program.folder}"
    by_name = replace(program, environ={**program.environ, "PATH": elsewhere})
    with running(program.folder / "s", answering(KNOWN)):
        run = by_name.run(
            ["/bin/sh", "-c", 'program=$1; shift 2; exec "$program" smtpd "$@"', "sh"]
        )
    assert run.said == SMTPD_SAID


def test_who_is_allowed_is_let_in_without_a_question(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(GREY)) as daemon:
        run = program.run(JGREYLIST="")
    assert daemon.questions == []
    assert run.said == SMTPD_SAID
    assert run.log == [f"greylist[{run.pid}]: 192.0.2.17: OK whitelisted"]


def test_the_daemon_is_asked_what_it_has_to_know(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(KNOWN)) as daemon:
        program.run()
        assert asked(daemon.questions) == Connection(b"192.0.2.17", b"mx.example.org")
        daemon.questions.clear()
        program.run(
            TCPREMOTEHOST=None,
            RELAYCLIENT="",
            JGREYLIST="no, %",
            JGREYLIST_NOREV="who?",
            JGREYLIST_BY_IP="1",
            JGREYLIST_HOLDTIME="7",
        )
        assert asked(daemon.questions) == Connection(
            b"192.0.2.17", b"", b"no, %", b"who?", True, True, 7
        )


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("new", "GREY first time"),
        ("early", "GREY too soon"),
        ("denylisted", "DENY blacklisted"),
        ("no-reverse-dns", "DENY no reverse DNS"),
        ("store-unavailable", "GREY store-unavailable"),
    ],
)
def test_who_is_refused_is_handed_over(program: Jgreylist, reason: str, outcome: str) -> None:
    refusal = f"action=450 x\ngreylag_reason={reason}\n\n".encode()
    with running(program.folder / "s", answering(refusal)), taking(program.folder, accepts):
        run = program.run()
    assert run.said == [b"220 from the daemon"]
    assert run.code == 0
    assert run.log == [f"greylist[{run.pid}]: 192.0.2.17: {outcome}"]
    assert not program.record.exists()


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("retried", "OK known"),
        ("known", "OK known"),
        ("allowlisted", "OK whitelisted"),
        ("relay", "OK relay"),
        ("invalid-client", "OK invalid-client"),
    ],
)
def test_what_the_log_says_of_whom_is_let_in(program: Jgreylist, reason: str, outcome: str) -> None:
    passing = f"greylag_reason={reason}\naction=DUNNO\n\n".encode()
    with running(program.folder / "s", answering(passing)):
        run = program.run()
    assert run.log == [f"greylist[{run.pid}]: 192.0.2.17: {outcome}"]


def test_the_daemon_is_told_how_to_talk(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(GREY)), taking(program.folder, accepts) as records:
        program.run(
            JGREYLIST_TIMEOUT="30",
            JGREYLIST_LIMIT="5",
            JGREYLIST_LOG="0",
            JGREYLIST_LOG_SMTP="1",
        )
    (event,) = RequestReader().feed(records[0])
    assert isinstance(event, Request)
    opening = read_opening(event, Policy())
    assert opening is not None
    assert opening.refusal == b"450 GREYLIST Try again later.\r\n"
    assert opening.manner == Manner(limit=5, seconds=30, log=False, log_smtp=True)
    assert opening.client_address == "192.0.2.17"


def test_the_log_as_configured(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(KNOWN)):
        assert program.run(JGREYLIST_LOG="0").log == []
        assert program.run(JGREYLIST_LOG_PID="0").log == ["jgreylist: 192.0.2.17: OK known"]


@pytest.mark.parametrize(
    "answer", [b"", b"action=OK", b"action=OK\n\nx", b"action=NO\n\n", b"x" * 99]
)
def test_what_is_not_acknowledged_is_for_the_oneshot(program: Jgreylist, answer: bytes) -> None:
    with (
        running(program.folder / "s", answering(GREY)),
        taking(program.folder, saying(answer)),
    ):
        run = program.run()
    assert run.said == ONESHOT_SAID
    assert "the daemon does not take the client: using the one-shot" in run.log[0]
    pid, name, *arguments = program.recorded()
    assert (pid, Path(name).name, arguments) == (
        str(run.pid),
        "jgreylist-oneshot",
        [str(program.smtpd), *COMMAND],
    )


def test_nobody_at_the_hand_over(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(GREY)):
        assert program.run().said == ONESHOT_SAID


def test_no_daemon_at_all_is_for_the_oneshot(program: Jgreylist) -> None:
    run = program.run()
    assert run.said == ONESHOT_SAID
    assert "the daemon cannot be reached: using the one-shot" in run.log[0]
    assert program.recorded()


def test_an_acknowledgement_that_is_too_late_cannot_be_sent(
    program: Jgreylist, build: Builder
) -> None:
    """Never two who talk to a client: either it is ours, or the daemon's."""
    results: list[str] = []

    def dawdles(connection: socket.socket, _record: bytes, _descriptors: list[int]) -> None:
        time.sleep(BUDGET_MS / 1000 * 2)
        try:
            connection.send(ACCEPTED)
            results.append("sent")
        except BrokenPipeError:
            results.append("refused")

    with running(program.folder / "s", answering(GREY)), taking(program.folder, dawdles):
        run = hurried(program, build).run()
        assert run.said == ONESHOT_SAID
    assert results == ["refused"]


def test_a_daemon_that_hangs_lets_in(program: Jgreylist, build: Builder) -> None:
    with running(program.folder / "s", hanging):
        began = time.monotonic()
        run = hurried(program, build).run()
        assert BUDGET_MS / 1000 <= time.monotonic() - began < BUDGET_MS / 1000 + LATE
    assert run.said == SMTPD_SAID
    assert "no answer from the daemon: letting the client in" in run.log[0]


GARBAGE: list[bytes] = [
    b"\n\n", b"x\n\n", b"action=DUNNO\n\n", b"greylag_reason=known\n\n", b"action=DUNNO\n",
    b"action=450 x\n\n", b"action=450\ngreylag_reason=new\n\n", b"action=OK\ngreylag_reason=x\n\n",
    b"action=250 x\ngreylag_reason=new\n\n", b"action=450 a\rb\ngreylag_reason=new\n\n",
    b"action=450 \xff\ngreylag_reason=new\n\n", b"action=450 x\ngreylag_reason=\n\n",
    b"action=450 x\ngreylag_reason=New\n\n", b"action=450 x\ngreylag_reason=a b\n\n",
    b"action=450 x\ngreylag_reason=\x1b[2J\n\n", b"action=DUNNO\ngreylag_reason=known\nother=1\n\n",
    b"action=450 x\naction=DUNNO\ngreylag_reason=new\n\n", b"x" * 5000, bytes(range(256)) * 8,
    b"action=450 " + b"x" * 497 + b"\ngreylag_reason=new\n\n",
    b"action=DUNNO\ngreylag_reason=" + b"x" * 65 + b"\n\n",
]  # fmt: skip


def test_garbage_is_for_the_oneshot(program: Jgreylist) -> None:
    for response in GARBAGE:
        with running(program.folder / "s", answering(response)):
            run = program.run()
        assert run.said == ONESHOT_SAID, response
        assert "using the one-shot" in run.log[0]


@pytest.mark.parametrize("script", [answering(), answering(GREY[:20])], ids=["at once", "half"])
def test_a_daemon_that_hangs_up(program: Jgreylist, script: Script) -> None:
    with running(program.folder / "s", script):
        run = program.run()
    assert run.said == ONESHOT_SAID
    assert "the daemon hung up: using the one-shot" in run.log[0]


def test_what_is_no_tcp_socket_is_for_the_oneshot(program: Jgreylist) -> None:
    """TLS wrappers give a pipe or a unix socket: that client is talked to in the process."""
    import subprocess

    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        running(program.folder / "s", answering(GREY)),
        taking(program.folder, accepts) as records,
    ):
        done = subprocess.run(
            [program.program, program.smtpd],
            env=program.variables({}),
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    assert done.stdout.strip() == ONESHOT_SAID[0]
    assert records == []


@pytest.mark.parametrize(
    "changes",
    [
        {"GREYLAG_CONFIG": "/x"},
        {"JGREYLIST_DIR": ""},
        {"JGREYLIST_DIR": "/a\nb"},
        {"JGREYLIST": "a\nb"},
        {"JGREYLIST_NOREV": "x" * 9000},
    ],
)
def test_what_cannot_be_asked_is_for_the_oneshot(
    program: Jgreylist, changes: dict[str, str]
) -> None:
    with running(program.folder / "s", answering(KNOWN)) as daemon:
        run = program.run((), **changes)
    assert daemon.questions == []
    assert (run.said, run.log) == (ONESHOT_SAID, [])


def test_a_tree_that_the_daemon_serves_is_asked_for(program: Jgreylist) -> None:
    served = KNOWN[:-1] + b"greylag_tree=yes\n\n"
    with running(program.folder / "s", answering(served)) as daemon:
        run = program.run(JGREYLIST_DIR="/var/qmail/jgreylist")
    assert b"\ngreylag_tree=/var/qmail/jgreylist\n" in daemon.questions[0]
    assert run.said == SMTPD_SAID


def test_a_tree_that_the_daemon_does_not_serve_is_for_the_oneshot(program: Jgreylist) -> None:
    with running(program.folder / "s", answering(b"greylag_tree=no\n\n")):
        run = program.run(JGREYLIST_DIR="/var/qmail/jgreylist")
    assert (run.said, run.log) == (ONESHOT_SAID, [])


@pytest.mark.parametrize(
    ("answer", "tree"),
    [
        (KNOWN, "/x"),  # of a daemon that knows nothing of trees
        (KNOWN[:-1] + b"greylag_tree=\n\n", "/x"),
        (KNOWN[:-1] + b"greylag_tree=yes\ngreylag_tree=yes\n\n", "/x"),
        (KNOWN[:-1] + b"greylag_tree=yes\n\n", None),
    ],
)
def test_what_other_records_say_is_not_believed(
    program: Jgreylist, answer: bytes, tree: str | None
) -> None:
    with running(program.folder / "s", answering(answer)):
        run = program.run(JGREYLIST_DIR=tree)
    assert run.said == ONESHOT_SAID
    assert "makes no sense" in run.log[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"TCPREMOTEIP": None}, "TCPREMOTEIP"), ({"TCPREMOTEIP": ""}, "TCPREMOTEIP")],
)
def test_a_missing_address_is_an_error(
    program: Jgreylist, changes: dict[str, str | None], told: str
) -> None:
    run = program.run((), **changes)
    assert (run.code, run.said) == (1, [])
    assert told in run.log[0]


def test_a_missing_command_is_an_error(program: Jgreylist) -> None:
    run = program.run(["/bin/sh", "-c", 'exec "$1"', "sh"])
    assert (run.code, run.said) == (1, [])
    assert "no command" in run.log[0]


def test_a_program_that_is_not_there_is_a_failure_for_now(program: Jgreylist) -> None:
    program.smtpd.unlink()
    run = program.run(JGREYLIST="")
    assert (run.code, run.said) == (111, [])
    assert "cannot be run" in run.log[-1]


def test_without_a_oneshot_the_client_is_let_in(program: Jgreylist, build: Builder) -> None:
    missing = build(jgreylist_oneshot=program.folder / "none") / "jgreylist"
    run = replace(program, program=missing).run()
    assert run.said == SMTPD_SAID
    assert "the one-shot cannot be run: letting the client in" in run.log[1]


def test_a_oneshot_that_is_this_program_does_not_go_round(
    program: Jgreylist, build: Builder
) -> None:
    place = program.folder / "jgreylist-oneshot"
    built = build(jgreylist_oneshot=place) / "jgreylist"
    place.write_bytes(built.read_bytes())
    place.chmod(0o755)
    run = replace(program, program=place).run()
    assert run.said == SMTPD_SAID
    assert "the one-shot is not one" in run.log[0]


def test_evil_addresses_make_one_line_of_ascii_p13(program: Jgreylist) -> None:
    for value in EVIL:
        if b"\0" in value or b"\n" in value or not value:
            continue
        with running(program.folder / "s", answering(KNOWN)):
            run = program.run(TCPREMOTEIP=value)
        (line,) = run.log
        assert line.isascii()
        assert line.isprintable()
        assert line.endswith(": OK known")
