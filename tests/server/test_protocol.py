"""What comes with a request, and what asks it, changes no verdict (P15)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.daemon import Daemon, request, serving
from tests.server.test_serve import DEFERRED, free_port, rows

SOAK = os.environ.get("GREYLAG_SOAK") == "1"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path) as running:
        yield running


GARBAGE: dict[str, bytes] = {
    "unknown names": b"".join(b"x%d=y\n" % n for n in range(2000)),
    "repeated names": b"client_address=203.0.113.9\nsender=\nrecipient=y@example.net\n",
    "lines without a value": b"nothing\n\x07\n=\n",
    "attributes for plugins alone": b"greylag_client=other\ngreylag_glblockexpire=9\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_the_verdict_does_not_depend_on_the_garbage_around_p15(
    daemon: Daemon, garbage: bytes
) -> None:
    with daemon.connect() as client:
        assert client.ask() == DEFERRED
        client.socket.sendall(request()[:-1] + garbage + b"\n")
        assert client.response().startswith(b"action=DEFER_IF_PERMIT 4.7.1 ")
    assert rows(daemon, "SELECT count(*) FROM records") == [(1,)]


@pytest.mark.parametrize("questions", [1, 3])
def test_who_has_no_more_questions_still_gets_the_answers(daemon: Daemon, questions: int) -> None:
    """As `printf ... | nc -N` asks: the store's answer comes after the end of the questions."""
    with daemon.connect() as client:
        client.socket.sendall(request() * questions)
        client.socket.shutdown(socket.SHUT_WR)
        found = [client.response() for _ in range(questions)]
        assert [answer[:22] for answer in found] == [b"action=DEFER_IF_PERMIT"] * questions
        assert client.closed()
    assert rows(daemon, "SELECT blocked FROM records") == [(questions,)]


def test_a_client_that_reads_64_bytes_once_gets_the_action(tmp_path: Path) -> None:
    """qmail-postgrey: no protocol_state, no instance, one read; all but the words is a pass."""
    port = free_port()
    asked = (
        b"request=smtpd_access_policy\nclient_address=192.0.2.17\nclient_name=\n"
        b"sender=a@example.org\nrecipient=b@example.net\n\n"
    )

    def once() -> bytes:
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(asked)
            return client.recv(64)

    text = 'policy.delay = "1s"\nreply.header = true'
    with serving(tmp_path, text, server=f'policy = ["127.0.0.1:{port}"]'):
        assert once().startswith(b"action=DEFER_IF_PERMIT")
        time.sleep(2.1)
        assert once().startswith(b"action=PREPEND")
        assert once() == b"action=DUNNO\n\n"
