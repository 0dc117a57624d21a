"""`reply.header`: one header a message, whatever its recipients."""

from __future__ import annotations

import time
from pathlib import Path

from greylag.core.attempt import Attempt
from greylag.server.fronts.policy import MOST, Headers
from greylag.wire.policy import POSTFIX
from tests.server.daemon import Connection, serving

POLICY = '[policy]\ndelay = "1s"\n[reply]\nheader = true\n'


def test_one_header_for_each_message(tmp_path: Path) -> None:
    recipients = [f"r{number}@example.net" for number in range(6)]
    with serving(tmp_path, POLICY) as daemon, daemon.connect() as client:
        for recipient in recipients:
            assert client.ask(recipient=recipient).startswith(b"action=DEFER_IF_PERMIT")
        time.sleep(2)
        instances = ["1.a", "1.a", "2.b", "2.b", "", ""]
        answers = [
            client.ask(recipient=recipient, instance=instance)
            for recipient, instance in zip(recipients, instances, strict=True)
        ]
    told = [answer.startswith(b"action=PREPEND X-Greylist: delayed") for answer in answers]
    assert told == [True, False, True, False, True, True]
    assert b"action=DUNNO" in answers


def test_qmails_plugin_gets_it_for_the_first_recipient_alone(tmp_path: Path) -> None:
    """The host adds a header for each run of a plugin."""
    counts = ["1", "2", "3"]

    def answers(client: Connection) -> list[bytes]:
        return [
            client.ask(recipient=f"r{n}@example.net", greylag_client="qmail-spp",
                       greylag_rcptcountall=n)
            for n in counts
        ]  # fmt: skip

    with serving(tmp_path, POLICY) as daemon, daemon.connect() as client:
        assert all(answer.startswith(b"action=451") for answer in answers(client))
        time.sleep(2)
        passed = answers(client)
    told = [answer.startswith(b"action=PREPEND X-Greylist: delayed") for answer in passed]
    assert told == [True, False, False]


def of_message(instance: bytes, sender: bytes = b"a@example.org") -> Attempt:
    told = {b"instance": instance}
    return Attempt(b"192.0.2.1", sender, b"b@example.net", told=told, words=POSTFIX)


def test_a_front_end_with_one_word_for_all_messages_gets_a_header_for_each_sender() -> None:
    headers = Headers()
    attempts = [of_message(b"0", sender) for sender in (b"a@x", b"b@x")]
    assert [headers.is_first(attempt) for attempt in attempts * 2] == [True] * 2 + [False] * 2


def test_the_memory_of_messages_is_bounded() -> None:
    headers = Headers()
    for number in range(3 * MOST):
        assert headers.is_first(of_message(b"%d" % number))
    assert not headers.is_first(of_message(b"%d" % (3 * MOST - 1)))
    assert headers.is_first(of_message(b"0"))
