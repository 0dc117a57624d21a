"""The question about a connection, as `native/jgreylist` puts it in the policy protocol.

    request=smtpd_access_policy          client_address=TCPREMOTEIP
    protocol_state=CONNECT               client_name=TCPREMOTEHOST
    greylag_client=jgreylist             greylag_jgreylist=JGREYLIST, greylag_norev=, greylag_byip=,
                                         greylag_holdtime=, greylag_relayclient=,
                                         greylag_tree=JGREYLIST_DIR

An attribute is missing where its variable is not set. Only a trusted socket is believed.
See docs/start/jgreylist.md, "The environment".
"""

from __future__ import annotations

from collections.abc import Mapping

from greylag.core.connection import HOLD, Connection
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.policy import Request
from greylag.wire.tempfail import read_number, refusal

JGREYLIST = b"jgreylist"  # its `greylag_client`
LISTED = b"% is not accepted here"  # for entries of our lists, which have no text
NOT_SERVED = b"greylag_tree=no\n\n"  # the one-shot has to answer for this tree


def tree_of(request: Request) -> bytes | None:
    """Return the folder of the record tree that a request is about; None: the store."""
    return request.get(b"greylag_tree")


def read_connection(request: Request) -> Connection:
    """Return the connection that a request describes. A number is read as far as it goes."""
    return Connection(
        client_address=request.get(b"client_address"),
        client_name=request.get(b"client_name") or b"",
        word=request.get(b"greylag_jgreylist"),
        no_reverse=request.get(b"greylag_norev") or b"",
        relay=request.get(b"greylag_relayclient") is not None,
        by_address=read_number(request.get(b"greylag_byip"), 0) != 0,
        hold=max(read_number(request.get(b"greylag_holdtime"), HOLD), 0),
    )


def read_environment(environ: Mapping[bytes, bytes]) -> Connection:
    """Return the connection that the variables of tcpserver and tcprules describe."""
    return Connection(
        client_address=environ.get(b"TCPREMOTEIP"),
        client_name=environ.get(b"TCPREMOTEHOST", b""),
        word=environ.get(b"JGREYLIST"),
        no_reverse=environ.get(b"JGREYLIST_NOREV", b""),
        relay=b"RELAYCLIENT" in environ,
        by_address=read_number(environ.get(b"JGREYLIST_BY_IP"), 0) != 0,
        hold=max(read_number(environ.get(b"JGREYLIST_HOLDTIME"), HOLD), 0),
    )


def outcome_of(decision: Decision) -> str:
    """Return what the log of jgreylist says of a decision, in the old program's words."""
    general = "OK" if decision.verdict is Verdict.PASS else "GREY"
    return decision.reason.jgreylist or f"{general} {decision.reason.value}"


def refusal_of(decision: Decision, connection: Connection) -> bytes:
    """Return the reply line for a connection that is not let in."""
    text = LISTED
    if decision.reason is Reason.NO_REVERSE_DNS:
        text = connection.no_reverse
    elif connection.word:
        text = connection.word
    return refusal(decision, text, connection.client_address or b"unknown")


def write_connection_action(
    decision: Decision, connection: Connection, *, by_tree: bool = False
) -> bytes:
    """Return the response: let in, or the reply that refuses; and the reason for the log.

    With `by_tree`, it says that the tree's records answered.
    """
    action = b"DUNNO"
    if decision.verdict is not Verdict.PASS:
        action = refusal_of(decision, connection).removesuffix(b"\r\n")
    tree = b"greylag_tree=yes\n" if by_tree else b""
    reason = decision.reason.value.encode("ascii")
    return b"action=%b\ngreylag_reason=%b\n%b\n" % (action, reason, tree)
