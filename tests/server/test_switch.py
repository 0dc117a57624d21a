"""`greylag off`, `observe` and `on`, as real daemons and plugins go by them."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from greylag.core.policy import Greylist
from greylag.core.switch import Switch
from greylag.store import open_store
from tests.server.daemon import BIN, Connection, Daemon, serving, write_config
from tests.server.test_failure import DEFERRED, LET_IN
from tests.server.test_serve import free_port
from tests.servers.mariadb import Database

SOON = 10.0  # seconds: a daemon follows in about one, but other tests may use the machine meanwhile
GREY = b"action=450"
HOSTILE = "\x1b[2J\r\ngreylag: level=fatal forged\x9b\u202e"


def greylag(config: Path, *args: str) -> str:
    """Run the command; return what it prints and says."""
    done = subprocess.run(
        [BIN / "greylag", "--config", config, *args],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def until(client: Connection, answer: bytes, **asked: str) -> bytes:
    """Ask for new mail, again and again, until the answer begins so; return it."""
    end = time.monotonic() + SOON
    number = 0
    while True:
        number += 1
        sender = f"new{time.monotonic_ns()}-{number}@example.org"
        found = client.ask(**{"sender": sender, **asked})
        if found.startswith(answer):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.05)


def configured(daemon: Daemon) -> Path:
    return daemon.folder / "greylag.toml"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path) as running:
        yield running


def test_off_lets_in_soon_and_ends_by_itself(daemon: Daemon) -> None:
    with daemon.connect() as client:
        until(client, DEFERRED)
        said = greylag(configured(daemon), "off", "--for", "4s")
        assert "greylisting is off until " in said
        ended = time.monotonic() + 4
        until(client, LET_IN)
        assert time.monotonic() < ended
        assert daemon.logged("level=warn event=switched mode=off until=")
        assert daemon.logged("verdict=pass reason=off")
        until(client, DEFERRED)
        assert time.monotonic() > ended - 1.5  # whole seconds
        assert daemon.logged("level=warn event=switched mode=on")


def test_on_ends_it_and_nothing_new_was_recorded_meanwhile(daemon: Daemon) -> None:
    with daemon.connect() as client:
        greylag(configured(daemon), "off")
        until(client, LET_IN)
        before = greylag(configured(daemon), "stats", "--json")
        for number in range(20):
            assert client.ask(sender=f"during{number}@example.org") == LET_IN
        after = greylag(configured(daemon), "stats", "--json")
        waiting = [json.loads(text)["records"]["waiting"] for text in (before, after)]
        assert waiting[0] == waiting[1]
        assert "goes by the settings again" in greylag(configured(daemon), "on")
        until(client, DEFERRED)
        assert client.ask(sender="during1@example.org").startswith(DEFERRED)


def test_known_and_waiting_mail_is_let_in_while_it_is_off_and_the_denylist_refuses(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, '[policy]\ndelay = "1s"') as daemon, daemon.connect() as client:
        config = configured(daemon)
        assert client.ask(sender="known@example.org").startswith(DEFERRED)
        time.sleep(2.1)
        assert client.ask(sender="known@example.org") == LET_IN
        greylag(config, "deny", "add", "198.51.100.0/24")
        greylag(config, "off")
        until(client, LET_IN)
        assert client.ask(sender="known@example.org") == LET_IN
        until(client, b"action=553", client_address="198.51.100.7")
        greylag(config, "on")
        until(client, DEFERRED)
        assert client.ask(sender="known@example.org") == LET_IN


def test_observe_lets_in_and_records(daemon: Daemon) -> None:
    with daemon.connect() as client:
        greylag(configured(daemon), "observe", "--for", "1h")
        until(client, LET_IN)
        assert client.ask(sender="observed@example.org") == LET_IN
        assert daemon.logged("reason=observed")
        assert daemon.logged("instead=new")
        greylag(configured(daemon), "on")
        until(client, DEFERRED)
        assert client.ask(sender="observed@example.org") == LET_IN  # it was remembered


def test_a_recipient_for_whom_it_is_off_stays_so_while_it_observes(tmp_path: Path) -> None:
    table = '[[recipient]]\nmatch = ["postmaster@"]\ngreylist = "off"\n'
    config = write_config(tmp_path)
    config.write_text(config.read_text() + table)
    with serving(tmp_path, config=config) as daemon, daemon.connect() as client:
        greylag(config, "observe")
        until(client, LET_IN)
        assert client.ask(recipient="postmaster@example.net") == LET_IN
        assert daemon.logged("recipient=postmaster@example.net")
        log = daemon.log.read_text()
        (line,) = [one for one in log.splitlines() if "recipient=postmaster@" in one]
        assert "reason=off" in line


def test_a_daemon_that_starts_while_it_is_off_defers_nobody(tmp_path: Path) -> None:
    """Not the first one either: what it is asked before it knows waits for the store's word."""
    greylag(write_config(tmp_path), "off")
    for _ in range(3):
        with serving(tmp_path) as daemon, daemon.connect() as client:
            assert client.ask(sender="first@example.org") == LET_IN
            assert "reason=off" in daemon.log.read_text() or daemon.logged("reason=off")
            assert daemon.logged("event=switched mode=off")


def test_connections_go_by_it_too(daemon: Daemon) -> None:
    def asked(client: Connection, answer: bytes) -> None:
        end = time.monotonic() + SOON
        while True:
            address = f"192.0.2.{time.monotonic_ns() % 251}"
            found = client.ask(
                protocol_state="CONNECT", greylag_client="jgreylist", client_address=address
            )
            if found.startswith(answer):
                return
            assert time.monotonic() < end, found
            time.sleep(0.05)

    with daemon.connect() as client:
        asked(client, GREY)
        greylag(configured(daemon), "off")
        asked(client, LET_IN)
        greylag(configured(daemon), "on")
        asked(client, GREY)


@contextmanager
def beside(folder: Path, url: str) -> Iterator[Daemon]:
    """Run a daemon of its own folder on a store."""
    folder.mkdir()
    config = write_config(folder, url=url)
    with serving(folder, config=config) as running:
        yield running


def both_follow(folder: Path, url: str) -> None:
    with (
        beside(folder / "a", url) as one,
        beside(folder / "b", url) as other,
        one.connect() as first,
        other.connect() as second,
    ):
        clients = (first, second)
        for client in clients:
            until(client, DEFERRED)
        greylag(configured(one), "off", "--for", "5s")
        for answer in (LET_IN, DEFERRED):
            for client in clients:
                until(client, answer)
        for turned, answer in (("observe", LET_IN), ("on", DEFERRED)):
            greylag(configured(other), turned)
            for client in clients:
                until(client, answer)


def test_two_daemons_on_one_database_both_follow(tmp_path: Path) -> None:
    both_follow(tmp_path, f"sqlite://{tmp_path}/shared.db")


def test_two_daemons_on_mariadb_both_follow(tmp_path: Path, database: Database) -> None:
    both_follow(tmp_path, database.url)


def test_a_hostile_name_in_the_store_is_escaped_in_the_log_t12(daemon: Daemon) -> None:
    with closing(open_store(f"sqlite://{daemon.database}", timeout=4)) as store:
        store.set_switch(Switch(Greylist.OFF, who=HOSTILE))
    assert daemon.logged("event=switched mode=off who=")
    assert set(daemon.log.read_text()) <= {*map(chr, range(0x20, 0x7F)), "\n"}
    lines = [line for line in daemon.log.read_text().splitlines() if "forged" in line]
    assert [line.partition(" event=switched ")[1] for line in lines] == [" event=switched "]


def test_where_the_store_is_away_the_failure_is_answered_and_the_last_word_holds(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, store='on_failure = "defer"') as daemon, daemon.connect() as client:
        greylag(configured(daemon), "off")
        until(client, LET_IN)
        for path in tmp_path.glob("greylag.db*"):
            path.unlink()
        tmp_path.chmod(0o500)
        try:
            for number in range(5):
                assert client.ask(sender=f"away{number}@example.org") == LET_IN
        finally:
            tmp_path.chmod(0o700)
        # A new database has no switch in it: the settings hold.
        until(client, DEFERRED)


def test_the_figures_for_prometheus_tell_it(tmp_path: Path) -> None:
    port = free_port()

    def figures() -> list[float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        found = {name: float(number) for name, _blank, number in pairs}
        return [found[f'greylag_switch{{mode="{mode}"}}'] for mode in ("off", "observe")] + [
            found["greylag_switch_ends_timestamp_seconds"]
        ]

    def shows(*wanted: int) -> None:
        end = time.monotonic() + SOON
        while figures() != [*wanted]:
            assert time.monotonic() < end, figures()
            time.sleep(0.1)

    with serving(tmp_path, server=f'metrics = "127.0.0.1:{port}"') as daemon:
        shows(0, 0, 0)
        greylag(configured(daemon), "off")
        shows(1, 0, 0)
        said = greylag(configured(daemon), "observe", "--for", "7d", "--json")
        shows(0, 1, json.loads(said)["switch"]["until"])
