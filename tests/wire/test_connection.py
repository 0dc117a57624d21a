"""The question about a connection and its answer, between jgreylist and the daemon."""

from __future__ import annotations

import re

import pytest

from greylag.core.connection import Connection
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.connection import (
    outcome_of,
    read_connection,
    read_environment,
    refusal_of,
    tree_of,
    write_connection_action,
)
from greylag.wire.policy import Request
from tests.wire.hostile import VALUES

QUESTION = b"request=smtpd_access_policy\nprotocol_state=CONNECT\ngreylag_client=jgreylist\n"
DENIED = Decision(Verdict.REJECT, Reason.DENYLISTED)
NAMELESS = Decision(Verdict.REJECT, Reason.NO_REVERSE_DNS)
EARLY = Decision(Verdict.DEFER, Reason.EARLY)


def read(text: bytes = b"") -> Connection:
    return read_connection(Request(QUESTION + text))


def test_what_is_not_set_is_not_there() -> None:
    assert read() == Connection(None)
    assert read(b"greylag_jgreylist=\n").word == b""
    assert read(b"greylag_relayclient=\n").relay


def test_everything_that_can_be_said() -> None:
    text = (
        b"client_address=192.0.2.17\nclient_name=mx.example.org\ngreylag_relayclient=x\n"
        b"greylag_jgreylist=no %\ngreylag_norev=no name\ngreylag_byip=1\ngreylag_holdtime=30\n"
    )
    assert read(text) == Connection(
        b"192.0.2.17", b"mx.example.org", b"no %", b"no name", True, True, 30
    )


@pytest.mark.parametrize(
    ("raw", "hold"),
    [
        (b"0", 0), (b"7", 7), (b"", 120), (b"60s", 60), (b" 60", 60), (b"\t+60 ", 60), (b"060", 60),
        (b"-1", 0), (b"- 1", 0), (b"x", 0), (b"9" * 12, 999_999_999), (b"\xd9\xa3", 0),
    ],
)  # fmt: skip
def test_a_number_is_read_as_far_as_it_goes(raw: bytes, hold: int) -> None:
    assert read(b"greylag_holdtime=" + raw + b"\n").hold == hold


def test_the_environment_says_the_same() -> None:
    assert read_environment({}) == Connection(None)
    environ = {
        b"TCPREMOTEIP": b"192.0.2.17",
        b"TCPREMOTEHOST": b"mx.example.org",
        b"RELAYCLIENT": b"",
        b"JGREYLIST": b"no %",
        b"JGREYLIST_NOREV": b"no name",
        b"JGREYLIST_BY_IP": b"1",
        b"JGREYLIST_HOLDTIME": b"30",
    }
    assert read_environment(environ) == Connection(
        b"192.0.2.17", b"mx.example.org", b"no %", b"no name", True, True, 30
    )


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        (EARLY, "GREY too soon"),
        (NAMELESS, "DENY no reverse DNS"),
        (Decision(Verdict.PASS, Reason.RELAY), "OK relay"),
        (Decision(Verdict.DEFER, Reason.STORE_UNAVAILABLE), "GREY store-unavailable"),
    ],
)
def test_what_the_log_says(decision: Decision, outcome: str) -> None:
    assert outcome_of(decision) == outcome


@pytest.mark.parametrize(
    ("decision", "connection", "reply"),
    [
        (DENIED, Connection(b"192.0.2.1", word=b"no, %"), b"553 DENIED no, 192.0.2.1"),
        (DENIED, Connection(b"192.0.2.1"), b"553 DENIED 192.0.2.1 is not accepted here"),
        (DENIED, Connection(None), b"553 DENIED unknown is not accepted here"),
        (NAMELESS, Connection(b"192.0.2.1", no_reverse=b"who?"), b"553 DENIED who?"),
        (EARLY, Connection(b"192.0.2.1"), b"450 GREYLIST I said to try later."),
    ],
)
def test_the_reply(decision: Decision, connection: Connection, reply: bytes) -> None:
    assert refusal_of(decision, connection) == reply + b"\r\n"
    wanted = b"action=" + reply + b"\ngreylag_reason=" + decision.reason.value.encode() + b"\n\n"
    assert write_connection_action(decision, connection) == wanted


def test_letting_in_says_why() -> None:
    known = Decision(Verdict.PASS, Reason.KNOWN)
    assert write_connection_action(known, Connection(None)) == (
        b"action=DUNNO\ngreylag_reason=known\n\n"
    )


def test_texts_of_every_kind_make_one_response_t13() -> None:
    for value in VALUES:
        for connection in (Connection(value, word=b"%"), Connection(b"::1", word=value or b"x")):
            response = write_connection_action(DENIED, connection)
            assert re.fullmatch(
                rb"action=553 [ -~]{1,500}\ngreylag_reason=denylisted\n\n", response
            )


def test_which_record_tree_a_question_is_about() -> None:
    assert tree_of(Request(QUESTION)) is None
    assert tree_of(Request(QUESTION + b"greylag_tree=/var/qmail/x\n")) == b"/var/qmail/x"
