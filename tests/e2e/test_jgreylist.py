"""jgreylist under real tcpserver, alone and compiled with the daemon, before a qmail-smtpd."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from greylag.core.identity import of_address
from greylag.core.record import Noted
from greylag.core.triplet import trust_of
from greylag.store import open_store
from tests.e2e.plugin import BIN, needed
from tests.host.server import PYTHON, SMTPD, Client, ConnectionLost, Host, Reply, make_home, running
from tests.server.daemon import Daemon, serving, write_config

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
CROWD = 2000 if SOAK else 300
HOLD = 2
RULES = """\
127.0.0.2:allow,JGREYLIST=""
127.0.0.3:allow,JGREYLIST="we do not know %, sorry"
127.0.0.4:allow,JGREYLIST_NOREV="% has no name"
127.0.0.5:allow,RELAYCLIENT=""
127.0.6.:allow,JGREYLIST_LIMIT="3"
127.0.0.7:allow,JGREYLIST_TIMEOUT="5"
127.0.0.8:allow,JGREYLIST_NOREV="no name",TCPREMOTEHOST="mx.example.org"
127.0.9.:allow,JGREYLIST_BY_IP="1"
:allow
"""
FIRST, SOON = (450, b"GREYLIST Try again later."), (450, b"GREYLIST I said to try later.")


@dataclass(frozen=True)
class Setup:
    """jgreylist before qmail-smtpd, under tcpserver."""

    host: Host
    daemon: Daemon | None

    def rcpt(self, source: str = "127.0.0.1") -> Reply:
        """Connect, and go as far as RCPT."""
        with self.host.connect(source) as client:
            return to_rcpt(client)

    def logged(self, text: str, seconds: float = 5.0) -> bool:
        """Wait for a line of jgreylist itself."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if re.search(rf"^greylist\[\d+\]: {text}$", self.host.log.read_text(), re.MULTILINE):
                return True
            time.sleep(0.02)
        return False

    def processes(self) -> int:
        """Return how many processes tcpserver has started that still live."""
        listed = Path(f"/proc/{self.host.pid}/task/{self.host.pid}/children").read_text()
        return len(listed.split())


def to_rcpt(client: Client) -> Reply:
    assert client.ehlo()[0] == 250
    assert client.mail("a@example.org")[0] == 250
    return client.rcpt("b@example.net")


@contextlib.contextmanager
def set_up(
    home: Path,
    *,
    native: bool,
    daemon: bool,
    tree: Path | None = None,
    program: Sequence[str] = (PYTHON, "-IS", str(SMTPD)),
    settings: str = "",
) -> Iterator[Setup]:
    """Run jgreylist before a program; a tree is named by JGREYLIST_DIR, or to the daemon."""
    needed("tcpserver", "ucspi-tcp")
    config = write_config(home, settings)
    if tree is not None and daemon:
        config.write_text(
            config.read_text().replace(f"sqlite://{home}/greylag.db", f"tree://{tree}")
        )
    command = [str(BIN / "greylag"), "--config", str(config), "qmail", "install", "--force"]
    if native:
        needed("cc", "gcc")
        command.append("--native")
    subprocess.run([*command, "--qmail-home", str(home)], check=True, timeout=120)
    make_home(home, [])
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serving(home, config=config)) if daemon else None
        host = stack.enter_context(
            running(
                home,
                rules=RULES,
                env={"JGREYLIST_HOLDTIME": str(HOLD)}
                | ({"JGREYLIST_DIR": str(tree)} if tree and not daemon else {}),
                program=program,
                wrapper=[str(home / "plugins" / "jgreylist")],
                log=home / "log",
            )
        )
        yield Setup(host, served)


WAYS = (
    "one-shot",
    "one-shot, tree",
    "native with daemon",
    "native with daemon, tree",
    "native, tree",
    "native alone",
)


@contextlib.contextmanager
def set_up_as(
    way: str,
    home: Path,
    program: Sequence[str] = (PYTHON, "-IS", str(SMTPD)),
    settings: str = "",
) -> Iterator[Setup]:
    """Run it in one of the ways in which it can be."""
    tree = None
    if "tree" in way:
        tree = home / "tree"
        tree.mkdir(mode=0o700)
    native, daemon = "native" in way, "daemon" in way
    given = {"tree": tree, "program": program, "settings": settings}
    with set_up(home, native=native, daemon=daemon, **given) as made:  # type: ignore[arg-type]
        yield made


@pytest.fixture(scope="module", params=WAYS)
def setup(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setup]:
    with set_up_as(request.param, tmp_path_factory.mktemp("jgreylist")) as made:
        yield made


@pytest.mark.parametrize("way", ["one-shot", "native with daemon", "native with daemon, tree"])
def test_who_is_trusted_is_let_in_at_once_but_not_by_a_tree(way: str, tmp_path: Path) -> None:
    """T2: the address, and not its neighbours. A tree keeps networks alone."""
    now = int(time.time())
    trust = Noted(trust_of(of_address(bytes((127, 0, 0, 1))), ""), now - 200_000, now + 9000, 20)
    with contextlib.closing(open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4)) as store:
        store.apply([trust], {}, now)
    (tmp_path / "greylag.db").chmod(0o666)
    with set_up_as(way, tmp_path, settings="policy.trust_all_after = 20\n") as made:
        if "tree" not in way:
            assert made.rcpt()[0] == 250
            assert made.logged("127.0.0.1: OK trusted")
        assert made.rcpt("127.0.0.10") == FIRST
        assert made.rcpt("127.0.0.10") == SOON


@pytest.mark.parametrize("way", ["one-shot", "native with daemon", "native alone"])
def test_connections_are_let_in_while_greylisting_is_off(way: str, tmp_path: Path) -> None:
    def greylag(*words: str) -> None:
        command = [str(BIN / "greylag"), "--config", str(tmp_path / "greylag.toml"), *words]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def until(reply: tuple[int, bytes] | None) -> None:
        """Connect from ever new networks until that is the answer; None is an accepted RCPT."""
        end = time.monotonic() + 10
        for number in itertools.count(20):
            found = made.rcpt(f"127.0.{number}.1")
            if found == reply or (reply is None and found[0] == 250):
                return
            assert time.monotonic() < end, found
            time.sleep(0.05)  # there are no more than 255 networks

    with contextlib.closing(open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4)):
        pass
    (tmp_path / "greylag.db").chmod(0o666)
    with set_up_as(way, tmp_path) as made:
        until(FIRST)
        greylag("off")
        until(None)
        assert made.logged(r"127\.0\.\d+\.1: OK off")
        greylag("on")
        until(FIRST)


def test_first_too_soon_and_then_a_whole_mail(setup: Setup) -> None:
    assert setup.rcpt() == FIRST
    assert setup.logged("127.0.0.1: GREY first time")
    assert setup.rcpt() == SOON
    assert setup.logged("127.0.0.1: GREY too soon")
    time.sleep(HOLD + 1)
    for _ in range(2):
        with setup.host.connect() as client:
            assert to_rcpt(client)[0] == 250
            assert client.data("Subject: x\n\nbody\n")[0] == 250
            assert client.quit()[0] == 221
    assert setup.logged("127.0.0.1: OK known")
    assert any(message.endswith(b"body\n") for message in setup.host.messages())
    if setup.daemon is not None:
        assert setup.daemon.logged("reason=retried at=connect client_address=127.0.0.1")


def test_who_is_allowed_is_let_in(setup: Setup) -> None:
    assert setup.rcpt("127.0.0.2")[0] == 250
    assert setup.logged("127.0.0.2: OK whitelisted")


def test_who_is_denied_hears_why(setup: Setup) -> None:
    assert setup.rcpt("127.0.0.3") == (553, b"DENIED we do not know 127.0.0.3, sorry")
    assert setup.logged("127.0.0.3: DENY blacklisted")


def test_who_has_no_name_hears_so(setup: Setup) -> None:
    assert setup.rcpt("127.0.0.4") == (553, b"DENIED 127.0.0.4 has no name")
    assert setup.logged("127.0.0.4: DENY no reverse DNS")
    assert setup.rcpt("127.0.0.8")[0] in (450, 250)


def test_fault_4_who_may_relay_is_let_in(setup: Setup) -> None:
    assert setup.rcpt("127.0.0.5")[0] == 250


def test_limit_hangs_up(setup: Setup) -> None:
    with setup.host.connect("127.0.6.1") as client:
        codes = [client.rcpt(f"r{number}@example.net")[0] for number in range(3)]
        assert codes == [450, 450, 421]
        with pytest.raises(ConnectionLost):
            client.rcpt("b@example.net")


def test_the_conversation_has_an_end(setup: Setup) -> None:
    with setup.host.connect("127.0.0.3") as client:
        client.ehlo()
        client.end_input()  # fault 1: that is the end
        began = time.monotonic()
        assert client.rest() == b""
        assert time.monotonic() - began < 2


def test_fault_5_noop(setup: Setup) -> None:
    with setup.host.connect("127.0.0.3") as client:
        assert client.command("NOOP")[0] == 250


def test_by_address(setup: Setup) -> None:
    assert setup.rcpt("127.0.9.1") == FIRST
    assert setup.rcpt("127.0.9.2") == FIRST
    assert setup.rcpt("127.0.9.1") == SOON


def crowd(
    host: Host, number: int, stack: contextlib.ExitStack, network: Callable[[int], str]
) -> list[Client]:
    return [stack.enter_context(host.connect(network(n))) for n in range(number)]


def test_fault_6_a_crowd_holds_no_process_and_no_slot(tmp_path: Path) -> None:
    """`tcpserver -c 40`: far more talk at once, and who is known is served at once."""
    with (
        set_up(tmp_path, native=True, daemon=True) as setup,
        contextlib.ExitStack() as stack,
    ):
        setup.rcpt("127.1.1.1")
        time.sleep(HOLD + 1)
        clients = crowd(setup.host, CROWD, stack, lambda n: f"127.{2 + n // 250}.{n % 250}.1")
        for client in clients:
            assert client.ehlo()[0] == 250
        end = time.monotonic() + 5
        while setup.processes() and time.monotonic() < end:
            time.sleep(0.02)
        assert setup.processes() == 0
        began = time.monotonic()
        assert setup.rcpt("127.1.1.1")[0] == 250
        assert time.monotonic() - began < 5  # a Python program starts on a busy machine
        for client in clients:
            assert client.rcpt("b@example.net") == FIRST
        assert setup.daemon is not None
        assert setup.daemon.descriptors() > CROWD


def test_a_daemon_that_is_killed_is_a_failure_for_now(tmp_path: Path) -> None:
    """And the next connection is served by the one-shot, from the same records."""
    with set_up(tmp_path, native=True, daemon=True) as setup:
        assert setup.daemon is not None
        with setup.host.connect("127.0.0.1") as client:
            assert client.ehlo()[0] == 250
            setup.daemon.process.send_signal(signal.SIGKILL)
            setup.daemon.process.wait()
            assert client.rest() == b""
        assert setup.rcpt("127.0.0.1") == SOON
        assert "using the one-shot" in setup.host.log.read_text()


def test_a_daemon_that_dies_between_question_and_hand_over(tmp_path: Path) -> None:
    """The daemon answers, and nobody takes the client: the one-shot talks to him."""
    with set_up(tmp_path, native=True, daemon=True) as setup:
        (tmp_path / "handover.sock").unlink()
        assert setup.rcpt("127.0.0.1")[0] == 450
        assert "does not take the client: using the one-shot" in setup.host.log.read_text()


@pytest.mark.parametrize("native", [False, True])
def test_the_time_is_bounded(tmp_path: Path, native: bool) -> None:
    with (
        set_up(tmp_path, native=native, daemon=native) as setup,
        setup.host.connect("127.0.0.7") as client,
    ):
        began = time.monotonic()
        while (reply := client.command("NOOP"))[0] == 250:
            time.sleep(0.5)
        assert reply == (421, b"timeout")
        assert client.rest() == b""
        assert 4.5 < time.monotonic() - began < 8
