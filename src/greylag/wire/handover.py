"""A client's socket changes hands: what `native/jgreylist` says of it, and the acknowledgement.

One record on a unix socket of kind SOCK_SEQPACKET carries a request in the form of the policy
protocol and one descriptor (unix(7), SCM_RIGHTS). It comes from the mail server's own user. What
goes to the client is checked here all the same.
"""

from __future__ import annotations

from greylag.core.client import format_address, host_of, network, parse_address
from greylag.core.escape import PRINTABLE
from greylag.core.policy import Policy
from greylag.core.value import value
from greylag.wire.policy import Request
from greylag.wire.tempfail import Manner, read_manner

ACCEPTED = b"action=OK\n\n"
_MAX_REPLY = 500  # bytes without CR LF: RFC 5321 4.5.3.1.5


@value
class Opening:
    """How the conversation with a client is to be held."""

    network: bytes  # packed; empty where the address is none
    client_address: str
    refusal: bytes  # a reply line
    manner: Manner


def read_opening(request: Request, policy: Policy) -> Opening | None:
    """Return what a hand-over says, or None if it is none or its reply is not legal."""
    reply = request.get(b"greylag_reply") or b""
    if request.get(b"greylag_client") != b"jgreylist" or not _refuses(reply):
        return None
    packed = parse_address(request.get(b"client_address") or b"")
    host = b"" if packed is None else host_of(packed)[0]
    return Opening(
        network=host and network(host, policy.prefix_of(host)),
        client_address="unknown" if packed is None else format_address(packed),
        refusal=reply + b"\r\n",
        manner=read_manner(lambda name: request.get(b"greylag_" + name.lower())),
    )


def _refuses(reply: bytes) -> bool:
    """Tell whether a reply is one line that refuses, for now or for good."""
    return (
        reply[:1] in (b"4", b"5")
        and reply[1:3].isdigit()
        and reply[3:4] == b" "
        and len(b"450 ") < len(reply) <= _MAX_REPLY
        and not reply.translate(None, PRINTABLE)
    )
