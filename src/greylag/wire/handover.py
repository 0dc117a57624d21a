"""A client's socket changes hands: what `native/jgreylist` says of it, and the acknowledgement.

One record on a unix socket of kind SOCK_SEQPACKET carries a request in the form of the policy
protocol and one descriptor (unix(7), SCM_RIGHTS). What is in it comes from the mail server's own
user; what goes to the client is checked here all the same.
"""

from __future__ import annotations

from greylag.core.client import format_address, network, parse_address
from greylag.core.policy import Policy
from greylag.core.value import value
from greylag.wire.connection import read_number
from greylag.wire.policy import Request

ACCEPTED = b"action=OK\n\n"
SHORTEST, LONGEST, USUAL = 5, 300, 60  # seconds of a conversation (JGREYLIST_TIMEOUT)
_MAX_REPLY = 500  # bytes without CR LF: RFC 5321 4.5.3.1.5


@value
class Opening:
    """How the conversation with a client is to be held."""

    network: bytes  # packed; empty where the address is none
    client_address: str
    refusal: bytes  # a reply line
    limit: int  # the RCPT at which to hang up; 0: none
    seconds: int  # the longest that it may last
    log: bool  # its end
    log_smtp: bool  # each line


def read_opening(request: Request, policy: Policy) -> Opening | None:
    """Return what a hand-over says, or None where it is none or its reply could not be one.

    Numbers are read as the environment of jgreylist has them: what is no number counts as unset.
    """
    reply = request.get(b"greylag_reply") or b""
    if request.get(b"greylag_client") != b"jgreylist" or not _refuses(reply):
        return None
    packed = parse_address(request.get(b"client_address") or b"")
    return Opening(
        network=b"" if packed is None else network(packed, policy.prefix_of(packed)),
        client_address="unknown" if packed is None else format_address(packed),
        refusal=reply + b"\r\n",
        limit=read_number(request.get(b"greylag_limit"), 0),
        seconds=min(max(read_number(request.get(b"greylag_timeout"), USUAL), SHORTEST), LONGEST),
        log=read_number(request.get(b"greylag_log"), 1) != 0,
        log_smtp=read_number(request.get(b"greylag_log_smtp"), 0) != 0,
    )


def _refuses(reply: bytes) -> bool:
    """Tell whether a reply is one line that refuses, for now or for good."""
    return (
        reply[:1] in (b"4", b"5")
        and reply[1:3].isdigit()
        and reply[3:4] == b" "
        and len(reply) <= _MAX_REPLY
        and all(0x20 <= byte < 0x7F for byte in reply)
    )
