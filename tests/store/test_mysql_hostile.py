"""MySQL servers that are not ours (T37): the password stays here, bytes and time are bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from greylag.store import open_store
from greylag.store.base import StoreError
from tests.servers.hostile_mysql import END, OK, Peer, greeting, hostile, packet

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
TIMEOUT = 4.0 if SOAK else 1.0
PASSWORD = "canary-p4ssword"
# A public key of which the server has the other half, for whoever encrypts his password with it.
KEY = subprocess.run(
    ["openssl", "rsa", "-pubout"],
    input=subprocess.run(["openssl", "genrsa", "1024"], check=True, capture_output=True).stdout,
    check=True,
    capture_output=True,
).stdout


def url(port: int) -> str:
    return f"mysql://u:{PASSWORD}@127.0.0.1:{port}/d"


def switch(plugin: bytes) -> Callable[[Peer], None]:
    """Return a server that asks its clients to log in by another method."""

    def play(peer: Peer) -> None:
        peer.send(greeting())
        peer.hear()
        prompt = b"\x04Password: " if plugin == b"dialog" else b""
        peer.send(packet(2, b"\xfe" + plugin + b"\0" + prompt))
        peer.hear()
        peer.send(packet(4, OK))
        peer.answer_until(b"never")

    return play


def sha2(plugin: bytes) -> Callable[[Peer], None]:
    """Return a server that wants the password encrypted with a key of its own."""

    def play(peer: Peer) -> None:
        peer.send(greeting(plugin))
        peer.hear()
        if plugin.startswith(b"caching"):
            peer.send(packet(2, b"\x01\x04"))
            peer.hear()
            peer.send(packet(4, b"\x01" + KEY))
        else:
            peer.send(packet(2, b"\x01" + KEY))
        peer.hear()
        peer.send(packet(6, OK))
        peer.answer_until(b"never")

    return play


@pytest.mark.parametrize(
    ("play", "told"),
    [
        (switch(b"mysql_clear_password"), "asks for the password in clear text"),
        (switch(b"dialog"), "asks for the password in clear text"),
        (switch(b"mysql_old_password"), "asks for the password in clear text"),
        (switch(b"authentication_of_tomorrow"), "asks for the password in clear text"),
        (sha2(b"caching_sha2_password"), "needs TLS"),
        (sha2(b"sha256_password"), "needs TLS"),
    ],
)
def test_a_server_that_proves_nothing_does_not_get_the_password_t37(
    play: Callable[[Peer], None], told: str
) -> None:
    with hostile(play) as (port, met), pytest.raises(StoreError, match=told) as error:
        open_store(url(port), timeout=TIMEOUT)
    assert PASSWORD not in str(error.value)
    (peer,) = met
    assert PASSWORD.encode() not in peer.heard
    assert len(peer.heard) < 400  # a scramble, and no RSA block after it


def test_the_cause_is_told_where_a_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greylag.store.mysql.driver.find_spec", lambda _name: None)
    with hostile(sha2(b"caching_sha2_password")) as (port, _met):
        cnf = tmp_path / "my.cnf"
        cnf.write_text(
            f"[client]\nhost=127.0.0.1\nport={port}\nuser=u\npassword={PASSWORD}\ndatabase=d\n"
            "get-server-public-key\n"
        )
        with pytest.raises(StoreError, match="needs the Python package cryptography"):
            open_store(f"mysql:?default_file={cnf}", timeout=TIMEOUT)


def dribbled_greeting(peer: Peer) -> None:
    peer.dribble(greeting(), 0.3)


def dribbled_login(peer: Peer) -> None:
    peer.send(greeting())
    peer.hear()
    peer.dribble(packet(2, OK) * 100, 0.3)


def dribbled_tls(peer: Peer) -> None:
    peer.send(greeting(tls=True))
    peer.hear()
    peer.dribble(b"\x16\x03\x03\x40\x00" + bytes(16384), 0.3)


def dribbled_settings(peer: Peer) -> None:
    """Each of the statements that make a session is answered at the last moment."""
    peer.log_in()
    while True:
        peer.hear()
        time.sleep(TIMEOUT * 0.9)
        peer.send(packet(1, OK))


def how_long_until_refused(play: Callable[[Peer], None]) -> float:
    with hostile(play) as (port, _met):
        began = time.monotonic()
        with pytest.raises(StoreError):
            open_store(url(port), timeout=TIMEOUT)
        return time.monotonic() - began


@pytest.mark.parametrize(
    "play", [dribbled_greeting, dribbled_login, dribbled_tls, dribbled_settings]
)
def test_connecting_is_bounded_as_a_whole_t37(play: Callable[[Peer], None]) -> None:
    assert how_long_until_refused(play) < 2.5 * TIMEOUT + 0.5


def columns(number: int) -> bytes:
    """Return the head of an answer with so many columns."""
    name = b"\3def\0\0\0\1a\1a\x0c\x21\0\xff\0\0\0\xfd\0\0\0\0\0"
    count = bytes([number]) if number < 251 else b"\xfc" + number.to_bytes(2, "little")
    head = [packet(1, count), *(packet(2 + n, name) for n in range(number))]
    return b"".join((*head, packet(2 + number, END)))


def dribbled_rows(peer: Peer) -> None:
    peer.log_in()
    peer.answer_until(b"@@")
    peer.dribble(columns(1) + b"".join(packet(4 + n, b"\1x") for n in range(1000)), 0.3)


def test_an_answer_is_bounded_as_a_whole_t37() -> None:
    assert how_long_until_refused(dribbled_rows) < 2.5 * TIMEOUT + 0.5


def endless_rows(peer: Peer) -> None:
    peer.log_in()
    peer.answer_until(b"@@")
    peer.send(columns(1))
    number = 4
    while True:
        part = b"".join(packet(number + n, b"\1x") for n in range(256))
        peer.send(part * 64)


def endless_nulls(peer: Peer) -> None:
    peer.log_in()
    peer.answer_until(b"@@")
    peer.send(columns(1000))
    while True:
        peer.send(b"".join(packet(1003 + n, b"\xfb" * 1000) for n in range(256)))


def endless_packet(peer: Peer) -> None:
    peer.log_in()
    peer.answer_until(b"@@")
    for number in range(1, 1 << 20):
        peer.send(packet(number, b"\xff" * 0xFFFFFF))


def a_long_error(peer: Peer) -> None:
    peer.log_in()
    peer.answer_until(b"@@")
    peer.send(packet(1, b"\xff\x29\x04#HY000" + b"x" * 1_000_000))


MEMORY = """
import resource, sys
from greylag.store import open_store
from greylag.store.base import StoreError
try:
    open_store(sys.argv[1], timeout=float(sys.argv[2]))
except StoreError as error:
    print(len(str(error)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("play", [endless_rows, endless_nulls, endless_packet, a_long_error])
def test_what_is_endless_costs_little_memory_t37(play: Callable[[Peer], None]) -> None:
    with hostile(play) as (port, _met):
        command = [sys.executable, "-c", MEMORY, url(port), "10"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    length, megabytes = map(int, done.stdout.split())
    assert length < 500
    assert megabytes < 600
