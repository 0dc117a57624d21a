"""What our own users send is told to the daemon, and nobody waits for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from greylag.wire.policy import RequestReader, read_plugin_attempt
from tests.e2e.plugin import Value
from tests.native.conftest import Client
from tests.native.daemon import PATIENCE, Daemon, answering, deaf, hanging, running
from tests.native.test_late import full_backlog

DEFER = answering(b"action=451 4.7.1 Greylisted\n\n")
OUT: dict[str, Value | None] = {"GREYLAG_LEARN": "", "GREYLISTING": None}
RELAY = {**OUT, "RELAYCLIENT": ""}
USER = {**OUT, "SMTPAUTHUSER": "alice"}


def told(daemon: Daemon) -> dict[bytes, bytes]:
    """Return the attributes of what was told, once it is there: the client does not wait."""
    end = time.monotonic() + PATIENCE
    while not daemon.questions and time.monotonic() < end:
        time.sleep(0.01)
    (attributes,) = daemon.parsed()
    return attributes


def silent(client: Client, changes: dict[str, Value | None], closed: str = "0<&-") -> None:
    answer = client.run(closed, **changes)
    assert (answer.output, answer.log) == (b"", "")
    assert not client.oneshot_ran()


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        (RELAY, b"greylag_relayclient"),
        (USER, b"sasl_username"),
        ({**RELAY, "GREYLISTING": ""}, b"greylag_relayclient"),
        ({**RELAY, "SMTPRCPTHOSTSOK": "0"}, b"greylag_relayclient"),
    ],
)
def test_who_writes_to_whom_is_told_where_that_is_wanted(
    client: Client, changes: dict[str, Value | None], attribute: bytes
) -> None:
    with running(client.socket, DEFER) as daemon:
        silent(client, changes)
        said = told(daemon)
    assert (said[b"sender"], said[b"recipient"]) == (b"a@example.org", b"b@example.net")
    assert attribute in said
    (request,) = RequestReader().feed(daemon.questions[0])
    attempt = read_plugin_attempt(request)  # type: ignore[arg-type]
    assert attempt.relay or attempt.authenticated


@pytest.mark.parametrize(
    "changes",
    [
        {**RELAY, "GREYLAG_LEARN": None},
        {**OUT, "SMTPAUTHUSER": ""},
        {**RELAY, "SMTPMAILFROM": None},
        {**RELAY, "SMTPMAILFROM": "a@example.org\nsender=x"},
        {**RELAY, "SMTPRCPTTO": "x" * 20000},
        {**RELAY, "GREYLAG_CONFIG": "/elsewhere"},
    ],
)
def test_nothing_is_told_where_there_is_nothing_to_learn(
    client: Client, changes: dict[str, Value | None]
) -> None:
    with running(client.socket, DEFER) as daemon:
        silent(client, changes)
    assert daemon.questions == []


def test_mail_from_outside_is_decided_as_without_it(client: Client) -> None:
    with running(client.socket, DEFER) as daemon:
        assert client.run(GREYLAG_LEARN="").deferred
    assert len(daemon.questions) == 1


def test_no_daemon_is_no_trouble(client: Client) -> None:
    silent(client, RELAY)
    client.socket.write_bytes(b"")  # no socket
    silent(client, RELAY)


@pytest.mark.parametrize("script", [hanging, deaf])
def test_no_answer_is_waited_for(client: Client, script: object) -> None:
    """Whoever waits says so in the log, after 5 seconds."""
    with running(client.socket, script, reads=script is hanging):  # type: ignore[arg-type]
        silent(client, RELAY)


def test_a_daemon_with_no_room_for_another_client_is_not_waited_for(client: Client) -> None:
    with full_backlog(client.socket):
        silent(client, RELAY)


@pytest.mark.parametrize("closed", ["0<&- 1>&- 2>&-", "0<&- 2>&-", "2>/dev/full"])
def test_closed_descriptors_do_not_matter(client: Client, closed: str) -> None:
    with running(client.socket, DEFER) as daemon:
        silent(client, USER, closed)
        assert told(daemon)[b"sasl_username"] == b"alice"


def test_a_path_that_is_too_long_is_told_of_by_those_who_wait_alone(client: Client) -> None:
    silent(client, {**RELAY, "GREYLAG_SOCKET": "/" + "x" * 200})


def test_the_answer_is_the_same_where_no_socket_is_to_be_had(client: Client) -> None:
    if client.environ:
        pytest.skip("a sanitizer needs descriptors of its own")
    program = client.program
    limited = Path(client.record).with_name("limited")
    limited.write_text(f'#!/bin/sh\nulimit -n 3\nexec {program} "$@"\n')
    os.chmod(limited, 0o755)
    with running(client.socket, DEFER) as daemon:
        silent(client.of(limited.parent, limited.name), RELAY)
    assert daemon.questions == []
