"""Reloading: a new policy, or the old one and the reason why (P10)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.daemon import Daemon, serving, write_config
from tests.server.test_serve import DEFERRED, start_and_fail

SOAK = os.environ.get("GREYLAG_SOAK") == "1"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path) as running:
        yield running


def test_reload_takes_a_new_policy_and_refuses_a_wrong_one_p10(daemon: Daemon) -> None:
    with daemon.connect() as client:
        write_config(daemon.folder, '[policy]\ndelay = "7m"\n')
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.logged("event=reloaded")
        assert b"in 420 seconds" in client.ask()
        for number in range(5):
            write_config(daemon.folder, f"[policy]\ndelay = {number}\n")
            daemon.process.send_signal(signal.SIGHUP)
            assert b"in 420 seconds" in client.ask(recipient=f"r{number}@example.net")
        assert daemon.logged("policy.delay: expected a duration")


def test_a_pipe_in_the_place_of_the_configuration_holds_no_reload_up(daemon: Daemon) -> None:
    """Nobody ever writes to it; the daemon reads its configuration in its loop."""
    (daemon.folder / "greylag.toml").unlink()
    os.mkfifo(daemon.folder / "greylag.toml")
    with daemon.connect() as client:
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.logged("greylag.toml: expected a plain file")
        assert client.ask().startswith(DEFERRED)


DURATIONS = ("3", "true", "[]", '"5"', '"-1m"', '"1x"', "{}", '""', '"m"', '"1 m 2"', "1.5")
NUMBERS = ('"24"', "2.5", "-1", "true", "[24]", "{}", '""', "1979-05-27")
BROKEN = [
    *(f"[policy]\ndelay = {value}\n" for value in DURATIONS),
    *(f"[policy]\nretry_window = {value}\n" for value in DURATIONS),
    *(f"[policy]\nipv4_prefix = {value}\n" for value in ("0", "33", *NUMBERS)),
    *(f"[policy]\nipv6_prefix = {value}\n" for value in ("0", "129", *NUMBERS)),
    *(f"[store]\nmax_waiting = {value}\n" for value in NUMBERS),
    *(f"[server]\nmax_connections = {value}\n" for value in NUMBERS),
    *(f"[store]\nurl = {value}\n" for value in ('"x"', '""', "1", '"sqlite://x"', '"redis://h"')),
    *(f"[server]\nsocket_mode = {value}\n" for value in ('"999"', "660", '"1777"', '"rw"')),
    *(f"[server]\npolicy = {value}\n" for value in ('"x"', "[1]", '["x"]', '["127.0.0.1:0"]')),
    *(f'[reply]\ndefer = "{text}"\n' for text in ("", "250 ok", "451", "451 {x}", "451 \\u0007")),
    *(f"[server]\nsocket = {value}\n" for value in ("1", "true", "[]", '"relative"', "{}")),
    *(f"[{word}]\n" for word in ("polcy", "servers", "policy.delay", "x")),
    *(f'{key} = "1"\n' for key in ("delay", "policy", "store", "sqlite")),
    *(f"[policy]\n{key} = 1\n" for key in ("dely", "Delay", "block_expire", "null")),
    '[policy]\ndelay = "2d"\nretry_window = "1d"\n',
    *("=", "[", '"', "a = ", "\x00", "[policy]\n[policy]\n", "\ufffd = 1"),
]


def test_a_hundred_broken_reloads_keep_the_old_settings_p10(daemon: Daemon) -> None:
    """Each is one that a start refuses with 78; the daemon answers all the while."""
    assert len(set(BROKEN)) >= 100
    place = daemon.folder / "greylag.toml"
    asked = 0
    with daemon.connect() as client:
        for text in BROKEN:
            place.write_text(text)
            daemon.process.send_signal(signal.SIGHUP)
            for _ in range(100 if SOAK else 10):
                asked += 1
                answer = client.ask(sender=f"s{asked}@example.org")
                assert answer.startswith(DEFERRED.partition(b" (id ")[0])  # of the old delay
    assert asked >= (10_000 if SOAK else 1000)
    assert "event=reloaded" not in daemon.log.read_text()
    assert daemon.logged("reason=config-error")


@pytest.mark.parametrize("text", BROKEN if SOAK else BROKEN[::9])
def test_a_broken_configuration_does_not_start_p10(tmp_path: Path, text: str) -> None:
    (tmp_path / "greylag.toml").write_text(text)
    code, said = start_and_fail(tmp_path)
    assert code == 78
    assert said.startswith("greylag: ")
    assert "Traceback" not in said
