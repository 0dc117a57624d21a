"""The question about a connection, as `native/jgreylist` puts it in the policy protocol.

    request=smtpd_access_policy          client_address=TCPREMOTEIP
    protocol_state=CONNECT               client_name=TCPREMOTEHOST
    greylag_client=jgreylist             greylag_jgreylist=JGREYLIST, greylag_norev=, greylag_byip=,
                                         greylag_holdtime=, greylag_relayclient=

What is not set in the environment is not there. To be believed of a trusted socket only.
Source: spec/jgreylist.md.
"""

from __future__ import annotations

from greylag.core.connection import HOLD, Connection
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.policy import Request
from greylag.wire.tempfail import refusal

LISTED = b"% is not accepted here"  # where a list of greylag refuses, which has no text
_MOST_DIGITS = 9


def from_jgreylist(request: Request) -> bool:
    """Tell whether `native/jgreylist` asks about a connection."""
    state = request.get(b"protocol_state")
    return state == b"CONNECT" and request.get(b"greylag_client") == b"jgreylist"


def read_connection(request: Request) -> Connection:
    """Return the connection that a request describes. What is no number counts as unset."""
    return Connection(
        client_address=request.get(b"client_address"),
        client_name=request.get(b"client_name") or b"",
        word=request.get(b"greylag_jgreylist"),
        no_reverse=request.get(b"greylag_norev") or b"",
        relay=request.get(b"greylag_relayclient") is not None,
        by_address=read_number(request.get(b"greylag_byip"), 0) != 0,
        hold=read_number(request.get(b"greylag_holdtime"), HOLD),
    )


def read_number(raw: bytes | None, default: int) -> int:
    """Return a whole number from the environment, or the default where it is none."""
    return int(raw) if raw and raw.isdigit() and len(raw) <= _MOST_DIGITS else default


def refusal_of(decision: Decision, connection: Connection) -> bytes:
    """Return the reply line for a connection that is not let in."""
    text = LISTED
    if decision.reason is Reason.NO_REVERSE_DNS:
        text = connection.no_reverse
    elif connection.word:
        text = connection.word
    return refusal(decision, text, connection.client_address or b"unknown")


def write_connection_action(decision: Decision, connection: Connection) -> bytes:
    """Return the response: let in, or the reply that refuses; and the reason for the log."""
    action = b"DUNNO"
    if decision.verdict is not Verdict.PASS:
        action = refusal_of(decision, connection).removesuffix(b"\r\n")
    return b"action=%b\ngreylag_reason=%b\n\n" % (action, decision.reason.value.encode("ascii"))
