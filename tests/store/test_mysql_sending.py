"""A MySQL server that reads slowly holds nobody, under TLS either (T37)."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymysql.err import OperationalError

from greylag.store.mysql.driver import Bounded
from greylag.store.mysql.tls import Tls
from tests.e2e.plugin import needed

TIMEOUT = 1.0
STATEMENT = b"x" * (2 << 20)  # far more than sockets take in advance


def small_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection that takes little in advance."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 << 10)
        ours.connect(listener.getsockname())
        return ours, listener.accept()[0]


@pytest.fixture
def under_tls(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection under TLS: ours, and the server's."""
    openssl = needed("openssl", "openssl")
    pair = [str(tmp_path / name) for name in ("cert", "key")]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=db.example.org",
         "-out", pair[0], "-keyout", pair[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*pair)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
    ours, theirs = small_pair()
    ended: list[socket.socket] = []
    shaking = threading.Thread(
        target=lambda: ended.append(server_side.wrap_socket(theirs, server_side=True))
    )
    shaking.start()
    with client_side.wrap_socket(ours) as client:
        shaking.join(10)
        with ended[0] as server:
            yield client, server


def test_the_time_of_sending_is_that_of_all_of_it(
    under_tls: tuple[socket.socket, socket.socket],
) -> None:
    """However many records of TLS a statement takes, its time is one."""
    client, server = under_tls
    over = threading.Event()

    def read_slowly() -> None:
        while not over.wait(TIMEOUT / 10):
            try:
                server.recv(32 << 10)
            except OSError:
                return

    reading = threading.Thread(target=read_slowly)
    reading.start()
    session = Bounded(Tls(), TIMEOUT, user="u", password="p", host="db.example.org")
    session._sock = client
    began = time.monotonic()
    try:
        with pytest.raises(OperationalError, match="cannot send"):
            session._write_bytes(STATEMENT)
    finally:
        over.set()
        reading.join()
    assert (
        time.monotonic() - began < 4 * TIMEOUT
    )  # at this pace all of it would take many times as long
