"""The jgreylist of Python: decides by the configured store, executes the program, or talks."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from greylag.cli.plugins import script
from tests.e2e.plugin import Value, held
from tests.evil import EVIL
from tests.native.greylisted import COMMAND, Jgreylist, sigpipe_is_ignored, write_recorder
from tests.server.clients import Talker

SMTPD_SAID = [b"220 from smtpd"]
BANNER = b"220 jgreylist v8"
PIPE = 1 << (signal.SIGPIPE - 1)
PIPE_AND_SIZE = PIPE | 1 << (signal.SIGXFSZ - 1)


@pytest.fixture
def program(tmp_path: Path) -> Jgreylist:
    """The program as `greylag qmail install` writes it, with a store of its own."""
    write_recorder(tmp_path / "smtpd")
    config = tmp_path / "greylag.toml"
    config.write_text(f'[store]\nurl = "sqlite://{tmp_path}/greylag.db"\n')
    path = tmp_path / "jgreylist"
    path.write_text(script("greylag.plugin.jgreylist"))
    path.chmod(0o755)
    return Jgreylist(path, tmp_path, {"GREYLAG_CONFIG": str(config), "GREYLAG_SOCKET": ""})


def test_first_too_soon_and_known(program: Jgreylist) -> None:
    assert program.run().log[0].endswith(": 192.0.2.17: GREY first time")
    run = program.run()
    assert run.said == [BANNER]
    assert run.code == 0
    assert run.log == [f"greylist[{run.pid}]: 192.0.2.17: GREY too soon"]
    assert not program.record.exists()
    run = program.run(JGREYLIST_HOLDTIME="0")  # what is said now counts
    assert run.said == SMTPD_SAID
    assert run.log == [f"greylist[{run.pid}]: 192.0.2.17: OK known"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide /dev")
@pytest.mark.parametrize("given", [{}, {"GREYLAG_BUDGET_MS": "x"}])
def test_without_dev_null_the_client_is_let_in_p1(
    program: Jgreylist, given: dict[str, Value]
) -> None:
    """As in a chroot that lacks it: what fails before anything is decided is our failure, too."""
    hidden = 'mount -t tmpfs none /dev && exec "$0" "$@"'
    run = program.run(("unshare", "--mount", "sh", "-c", hidden), **given)
    assert run.said == SMTPD_SAID
    assert len(run.log) == 1
    assert "/dev/null" in run.log[0]


def test_who_is_let_in_finds_everything_untouched(program: Jgreylist) -> None:
    program.run(JGREYLIST_HOLDTIME="0")
    run = program.run(JGREYLIST_HOLDTIME="0")
    assert run.said == SMTPD_SAID
    assert run.log == [f"greylist[{run.pid}]: 192.0.2.17: OK known"]
    recorded = program.recorded(JGREYLIST_HOLDTIME="0")
    assert recorded == [str(run.pid), str(program.smtpd), *COMMAND]
    assert not sigpipe_is_ignored(program.folder)


def test_the_settings_of_the_installation_do_not_reach_the_program(program: Jgreylist) -> None:
    """The name of its file is no variable of the environment."""
    program.program.write_text(
        script("greylag.plugin.jgreylist", str(program.folder / "greylag.toml"))
    )
    bare = replace(program, environ={})
    bare.run(JGREYLIST_HOLDTIME="0")
    assert bare.run(JGREYLIST_HOLDTIME="0").said == SMTPD_SAID
    assert b"GREYLAG_CONFIG" not in bare.record.read_bytes()
    assert (program.folder / "greylag.db").exists()


def test_a_closed_stderr_is_not_filled(program: Jgreylist) -> None:
    wrapper = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh"]
    run = program.run(wrapper, JGREYLIST="")
    assert run.said == SMTPD_SAID
    listed = program.record.with_name("record.descriptors").read_text()
    assert "/dev/null" not in listed


def test_fault_3_by_ip_on_and_off(program: Jgreylist) -> None:
    """The old program died of a tree that it had made without."""
    assert "first time" in program.run().log[0]
    assert "first time" in program.run(JGREYLIST_BY_IP="1").log[0]
    assert "too soon" in program.run().log[0]
    assert "too soon" in program.run(JGREYLIST_BY_IP="1").log[0]


def test_fault_2_ipv6_by_64(program: Jgreylist) -> None:
    assert "first time" in program.run(TCPREMOTEIP="2001:db8::1").log[0]
    assert "too soon" in program.run(TCPREMOTEIP="2001:db8::2").log[0]
    assert "first time" in program.run(TCPREMOTEIP="2001:db8:0:1::1").log[0]
    assert "first time" in program.run(TCPREMOTEIP="::ffff:198.51.100.1").log[0]
    assert "too soon" in program.run(TCPREMOTEIP="198.51.100.9").log[0]


def test_each_line_of_the_conversation_is_logged(program: Jgreylist) -> None:
    changes: dict[str, Value | None] = {"JGREYLIST_LOG_SMTP": "1", "JGREYLIST_LOG_PID": "0"}
    with program.started((), **changes) as (client, process):
        client.reply()
        client.ask(b"HELO \x1b[2J")
        client.ask(b"QUIT")
        log = process.communicate(timeout=20)[1].decode().splitlines()
    assert log == [
        "jgreylist: 192.0.2.17: GREY first time",
        "jgreylist: >>> 220 jgreylist v8",
        "jgreylist: <<< HELO \\x1b[2J",
        "jgreylist: >>> 250 jgreylist v8",
        "jgreylist: <<< QUIT",
        "jgreylist: >>> 221 jgreylist v8",
    ]


def test_limit_hangs_up_and_says_so(program: Jgreylist) -> None:
    with program.started((), JGREYLIST_LIMIT="2") as (client, process):
        client.socket.sendall(b"RCPT\r\nRCPT\r\nRCPT\r\n")
        assert [line[:3] for line in client.rest()] == [b"220", b"450", b"421"]
        log = process.communicate(timeout=20)[1].decode()
    assert log.endswith(": 192.0.2.17: HANGUP too many RCPT commands\n")
    assert process.returncode == 0


def test_a_client_that_does_not_read_is_gone_in_time(program: Jgreylist) -> None:
    with program.started((), JGREYLIST_TIMEOUT="5") as (_client, process):
        began = time.monotonic()
        assert process.wait(10) == 0
        assert 4 < time.monotonic() - began < 8


def test_a_client_that_is_gone_ends_it_quietly(program: Jgreylist) -> None:
    with program.started() as (client, process):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
        client.socket.close()
        log = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 0
    assert log.count("\n") == 1


def test_a_pipe_is_talked_to_as_well(program: Jgreylist) -> None:
    """Behind a TLS wrapper the descriptors are no sockets."""
    done = subprocess.run(
        [program.program, program.smtpd],
        env=program.variables({}),
        input=b"EHLO x\r\nRCPT TO:<b>\r\nQUIT\r\n",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert [line[:3] for line in done.stdout.splitlines()] == [b"220", b"250", b"450", b"221"]


@pytest.mark.parametrize("text", ["nonsense =", "[store]\nurl = 'sqlite:///'", "[policy]\nx = 1"])
def test_a_broken_configuration_lets_in_and_says_so(program: Jgreylist, text: str) -> None:
    (program.folder / "greylag.toml").write_text(text)
    run = program.run()
    assert run.said == SMTPD_SAID
    assert "config-error" in run.log[0]


def test_a_store_that_fails_lets_in_and_says_so(program: Jgreylist) -> None:
    (program.folder / "greylag.db").mkdir()
    run = program.run()
    assert run.said == SMTPD_SAID
    assert "store-unavailable" in run.log[0]
    assert run.log[1].endswith(": OK store-unavailable")


@pytest.mark.parametrize("blocked", [0, PIPE])
def test_a_hang_lets_in_and_leaves_the_signals_as_they_were(
    program: Jgreylist, blocked: int
) -> None:
    """The thread that watches the time starts the program then, not the main one."""
    program.run()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE] if blocked else [])
    try:
        with held(program.folder / "greylag.db"):
            done = subprocess.run(  # no shell: it would start from a mask of its own
                [program.program, "grep", "^Sig", "/proc/self/status"],
                env=program.variables({}),
                capture_output=True,
                timeout=20,
                check=False,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert b"store-unavailable: no answer within 5 s" in done.stderr
    found = dict(line.split(b":\t") for line in done.stdout.splitlines())
    assert int(found[b"SigIgn"], 16) & PIPE_AND_SIZE == 0
    assert int(found[b"SigBlk"], 16) & PIPE_AND_SIZE == blocked


def test_a_log_that_is_gone_is_no_signal_to_the_program(program: Jgreylist) -> None:
    """Writing to it failed while the signal was held back: it is not delivered later."""
    (program.folder / "greylag.toml").write_text("nonsense =")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as log:
        done = subprocess.run(
            [program.program, "echo", "started"],
            env=program.variables({}),
            stdout=subprocess.PIPE,
            stderr=log,
            timeout=20,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"started\n")


@pytest.mark.parametrize("address", [None, ""])
def test_a_missing_address_is_an_error(program: Jgreylist, address: str | None) -> None:
    run = program.run(TCPREMOTEIP=address)
    assert (run.code, run.said) == (1, [])
    assert "TCPREMOTEIP" in run.log[0]


def test_a_missing_command_is_an_error(program: Jgreylist) -> None:
    run = program.run(["/bin/sh", "-c", 'exec "$1"', "sh"])
    assert (run.code, run.said) == (1, [])
    assert "no command" in run.log[0]


def test_a_program_that_is_not_there_is_a_failure_for_now(program: Jgreylist) -> None:
    program.smtpd.unlink()
    run = program.run(JGREYLIST="")
    assert (run.code, run.said) == (111, [])
    assert "No such file" in run.log[-1]


def test_evil_values_make_lines_of_ascii_p13(program: Jgreylist) -> None:
    for value in EVIL[::4]:
        if b"\0" in value or not value:
            continue
        with program.started((), TCPREMOTEIP=value, JGREYLIST=value) as (client, process):
            assert isinstance(client, Talker)
            client.socket.shutdown(socket.SHUT_WR)
            log = process.communicate(timeout=20)[1].decode("ascii")
        assert log.count("\n") == 1
        assert log.removesuffix("\n").isprintable()


@pytest.mark.parametrize("changes", [{}, {"JGREYLIST": ""}], ids=["new", "allowed"])
def test_a_log_that_has_stopped_delays_nobody_t33(
    program: Jgreylist, changes: dict[str, Value]
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    environ = program.variables({"JGREYLIST_LOG_SMTP": "1", **changes})
    command = [str(program.program), "/bin/echo", "in"]
    done = subprocess.run(
        command,
        env=environ,
        input=b"HELO a\r\nRCPT b\r\n" * 20,
        stdout=subprocess.PIPE,
        stderr=writer,
        timeout=8,
        check=True,
    )
    assert done.stdout.startswith(b"in" if changes else BANNER)
    os.close(reader)
    os.close(writer)


def test_a_script_without_a_first_line_is_run_by_the_shell(program: Jgreylist) -> None:
    script = program.folder / "no-first-line"
    script.write_text('printf "%s\\n" "$0" "$@"\n')
    script.chmod(0o755)
    for name in (str(script), script.name):
        done = subprocess.run(
            [str(program.program), name, "a b", ""],
            env=program.variables({"JGREYLIST": "", "PATH": f"/bin:{program.folder}"}),
            capture_output=True,
            timeout=8,
            check=True,
        )
        assert done.stdout.decode().splitlines() == [str(script), "a b", ""]
