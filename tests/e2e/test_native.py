"""The compiled plugin, the daemon and the one-shot together, under real tcpserver."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from greylag.core.triplet import sent_of
from greylag.store import open_store
from tests.e2e.plugin import BIN, needed
from tests.host.server import Host, Reply, bare, make_home, running
from tests.server.daemon import Daemon, serving, write_config

RULES = '127.0.0.2:allow,RELAYCLIENT=""\n127.0.0.5:allow,GREYLISTING="",GLBLOCKEXPIRE="1"\n'
DEFERRED = (451, b"4.7.1 Greylisted, please try again in 300 seconds")


@pytest.fixture
def home(tmp_path: Path, url: str) -> Path:
    """A qmail home with the compiled plugins, for a daemon that will run in its folder."""
    needed("tcpserver", "ucspi-tcp")
    needed("cc", "gcc")
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace(f"sqlite://{tmp_path}/greylag.db", url))
    install = ["--config", str(config), "qmail", "install", "--native", "--force"]
    command = [str(BIN / "greylag"), *install, "--qmail-home", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return make_home(tmp_path, ["plugins/ifauthskip", "plugins/greylisting"])


@contextmanager
def host_in(home: Path) -> Iterator[Host]:
    rules = RULES + ':allow,GREYLISTING=""\n'
    with running(home, rules=rules, log=home / "log") as host:
        yield host


def ask(host: Host, recipient: str, source: str = "127.0.0.1") -> Reply:
    with host.connect(source) as client:
        client.ehlo()
        client.mail("a@example.org")
        return client.rcpt(recipient)


@pytest.mark.sqlite
def test_the_installed_programs_are_compiled(home: Path) -> None:
    plugins = home / "plugins"
    for name in ("greylisting", "ifauthskip", "skipifauth"):
        assert (plugins / name).read_bytes().startswith(b"\x7fELF")
    assert (plugins / "greylisting-oneshot").read_text().startswith("#!")


def test_with_the_daemon(home: Path) -> None:
    with serving(home, config=home / "greylag.toml") as daemon, host_in(home) as host:
        assert bare(ask(host, "b@example.net")) == DEFERRED
        assert ask(host, "x@example.net", source="127.0.0.2")[0] == 250
        told = ask(host, "c@example.net", source="127.0.0.5")
        assert bare(told) == (451, b"4.7.1 Greylisted, please try again in 60 seconds")
        with host.connect() as client:
            client.ehlo()
            client.mail("")
            assert client.rcpt("b@example.net")[0] == 250
            assert bare(client.command("DATA")) == DEFERRED
        assert daemon.logged("reason=new client_address=127.0.0.1")
    assert host.log.read_text().count("greylisting: ") == 0


def test_with_the_daemon_stopped_the_one_shot_answers_from_the_same_state(home: Path) -> None:
    with host_in(home) as host:
        with serving(home, config=home / "greylag.toml"):
            assert bare(ask(host, "b@example.net")) == DEFERRED
        assert bare(ask(host, "c@example.net")) == DEFERRED
        assert "reason=early" not in host.log.read_text()
        ask(host, "b@example.net")
        assert "reason=early" in host.log.read_text()
        assert "the daemon cannot be reached: using the one-shot" in host.log.read_text()
        with serving(home, config=home / "greylag.toml") as daemon:
            ask(host, "c@example.net")
            assert daemon.logged("reason=early")


@pytest.mark.sqlite
def test_whom_a_relaying_client_writes_to_may_answer_at_once(home: Path) -> None:
    rules = '127.0.0.2:allow,RELAYCLIENT="",GREYLAG_LEARN=""\n:allow,GREYLISTING=""\n'
    config = home / "greylag.toml"
    config.write_text(f'policy.correspondents = "90d"\n{config.read_text()}')
    key = sent_of("a@example.org", "b@example.net")
    with (
        serving(home, config=config) as daemon,
        running(home, rules=rules, log=home / "log") as host,
        host.connect("127.0.0.2") as client,
    ):
        client.ehlo()
        for sender in ("b@example.net", ""):
            client.mail(sender)
            assert client.rcpt("a@example.org")[0] == 250
            client.command("RSET")
        with closing(open_store(f"sqlite://{daemon.database}", timeout=4)) as store:
            end = time.monotonic() + 10
            while key not in store.load([key]) and time.monotonic() < end:
                time.sleep(0.05)
        assert ask(host, "b@example.net")[0] == 250
        assert daemon.logged("verdict=pass reason=correspondent client_address=127.0.0.1")
        assert bare(ask(host, "c@example.net")) == DEFERRED
    assert host.log.read_text().count("greylisting: ") == 0


def stopped(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)


def test_a_daemon_that_accepts_and_never_answers(home: Path) -> None:
    with serving(home, config=home / "greylag.toml") as daemon, host_in(home) as host:
        stopped(daemon)
        began = time.monotonic()
        assert ask(host, "b@example.net")[0] == 250
        assert 4.5 < time.monotonic() - began < 8
        assert "no answer from the daemon within 5 s" in host.log.read_text()
        daemon.process.send_signal(signal.SIGCONT)
        # An answer of the database that was under way may have come too late meanwhile; then the
        # store is tried again after a second.
        end = time.monotonic() + 5
        answers: list[tuple[int, bytes]] = []
        while DEFERRED not in answers and time.monotonic() < end:
            answers.append(bare(ask(host, f"c{len(answers)}@example.net")))
            time.sleep(0.2)
        assert answers[-1] == DEFERRED
        assert {code for code, _text in answers} <= {250, DEFERRED[0]}


@pytest.mark.sqlite
def test_uninstall_takes_all_of_it_away(home: Path) -> None:
    command = [str(BIN / "greylag"), "qmail", "uninstall", "--qmail-home", str(home)]
    subprocess.run(command, check=True, capture_output=True)
    assert list((home / "plugins").iterdir()) == []
