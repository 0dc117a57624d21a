"""The rules for connections (jgreylist), in their order.

    1  precheck   the operator's word on this client     allowlisted, denylisted, relay,
                  its address                            no-reverse-dns, invalid-client
    2  the lists and the record, as for a RCPT (`core.engine`): new, early, retried, known,
       provider, trusted (with any sender domain), dnswl, unsuspicious, observed

A connection has a record as a triplet has. `connection_of` makes its key. The order is that of the
old program, which did not look at RELAYCLIENT and knew no IPv6 (properties.md, faults 4 and 2
of jgreylist).
"""

from __future__ import annotations

from greylag.core.client import IPV4_BYTES, host_of, parse_address
from greylag.core.evidence import Kind
from greylag.core.policy import IdentityBy, Policy, with_evidence
from greylag.core.question import Question
from greylag.core.triplet import connection_of
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Reason, Verdict

HOLD = 120  # seconds: the old program's default
# The old cleaner removes a client that never came back after a day (jgreylist-clean.md).
_AT_LEAST_AFTER_HOLD = 86400
_IPV4_BITS = 32


@value
class Connection:
    """One connection as its environment tells it, in the bytes that came with it."""

    client_address: bytes | None
    client_name: bytes = b""  # empty: there is no reverse DNS
    word: bytes | None = None  # JGREYLIST: None if unset, empty lets in, else a text to refuse with
    no_reverse: bytes = b""  # JGREYLIST_NOREV: the text to refuse with where there is no name
    relay: bool = False  # the client may relay
    by_address: bool = False  # one record for each IPv4 address, not for each network
    hold: int = HOLD  # seconds after the first connection that another is let in


def precheck_connection(connection: Connection, policy: Policy) -> Decision | Question:
    """Answer what needs no store, or return the question for the store."""
    if connection.word is not None:
        if connection.word:
            return Decision(Verdict.REJECT, Reason.DENYLISTED)
        return Decision(Verdict.PASS, Reason.ALLOWLISTED)
    if connection.relay:
        return Decision(Verdict.PASS, Reason.RELAY)
    if connection.no_reverse and not connection.client_name:
        return Decision(Verdict.REJECT, Reason.NO_REVERSE_DNS)
    client = parse_address(connection.client_address or b"")
    if client is None:
        return Decision(Verdict.PASS, Reason.INVALID_CLIENT)
    client, carrier = host_of(client)
    by_address = connection.by_address and len(client) == IPV4_BYTES
    prefix = _IPV4_BITS if by_address else policy.prefix_of(client)
    key = connection_of(client, prefix)
    return Question(client, key, "", policy, connection=True, carrier=carrier)


def held(policy: Policy, hold: int) -> Policy:
    """Return the policy of connections, with a delay and a retry window of their own.

    They have no sender and no recipient, so SPF, correspondents and traps say nothing of them.
    """
    window = max(policy.retry_window, hold + _AT_LEAST_AFTER_HOLD)
    by = IdentityBy.NONE if policy.identity is IdentityBy.SPF else policy.identity
    changed = with_evidence(replace(policy, identity=by, correspondents=0, trapped_for=0))
    evidence = changed.evidence - {Kind.SPF}
    times = {"delay": hold, "retry_window": window}
    return replace(changed, **times, explicit=False, evidence=evidence)
