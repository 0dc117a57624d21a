"""Messages of DNS, by dnspython: a query as bytes, and what a reply says.

A reply may come from anybody who guesses, and a record from any stranger's name server. So what is
no reply to the query is told apart from a reply that is of no use: for the first the resolver goes
on to wait, because the true reply may follow (CVE-2023-29483: a forged reply that could not be read
ended the query).
"""

from __future__ import annotations

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA

from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.rdata import Rdata

    from greylag.core.spf.questions import Answer, Query

UDP_SIZE = 1232  # bytes of a reply over UDP: more may come in pieces, which are easier to forge
# And over TCP, in bytes, and in records of all its parts. Big senders have a hundred TXT records.
# Hostile ones take about 0.2 ms each, or 3 ms for each kB, and everybody waits meanwhile.
TCP_SIZE, MOST_RECORDS = 8 * 1024, 128
_HEADER = 12  # bytes; the last eight are the numbers of questions and of records in three parts
_RESPONSE, _TRUNCATED, _OPCODE = 0x80, 0x02, 0x78  # bits of the third byte
_ERRORS = (dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED)


@value
class Reply:
    """What a server replied."""

    answer: Answer
    ttl: float = 0.0  # seconds for which it holds
    truncated: bool = False  # it is to be asked for over TCP


USELESS = Reply(None)


class Asked:
    """A query with an id of its own, as it is sent."""

    def __init__(self, query: Query) -> None:
        """Raise ValueError if DNS cannot have such a name."""
        try:
            labels = [label.encode("ascii") for label in query.name.split(".")]
            name = dns.name.Name([*labels, b""])
        except (dns.exception.DNSException, UnicodeError):
            raise ValueError(query.name) from None
        message = dns.message.make_query(name, query.kind, use_edns=0, payload=UDP_SIZE)
        self.wire = message.to_wire()
        self._end = _HEADER + len(name.to_wire() or b"") + 4  # of the question
        self._question = self.wire[_HEADER : self._end].lower()

    def read(self, wire: bytes) -> Reply | None:
        """Return what a reply says, or None if it is no reply to this query."""
        if len(wire) < _HEADER or wire[:2] != self.wire[:2]:
            return None
        if wire[2] & (_RESPONSE | _OPCODE) != _RESPONSE:
            return None
        questions, *records = (int.from_bytes(wire[at : at + 2], "big") for at in (4, 6, 8, 10))
        if not questions and wire[3] & 0x0F in _ERRORS:
            return USELESS  # some servers do not repeat a question that they do not answer
        if questions != 1 or wire[_HEADER : self._end].lower() != self._question:
            return None
        if wire[2] & _TRUNCATED:
            return Reply(None, truncated=True)
        return USELESS if sum(records) > MOST_RECORDS else _parsed(wire)


def _parsed(wire: bytes) -> Reply | None:
    try:
        message = dns.message.from_wire(wire)
    except Exception:  # noqa: BLE001 - dnspython raises what it likes for hostile bytes
        return None
    try:
        return _meaning(message)
    except Exception:  # noqa: BLE001 - for example an endless chain of CNAMEs
        return USELESS


def _meaning(message: dns.message.Message) -> Reply:
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return USELESS
    if not isinstance(message, dns.message.QueryMessage):
        return USELESS
    found = message.resolve_chaining()
    if found.answer is None:
        return Reply((), found.minimum_ttl)
    return Reply(_records(found.answer), found.minimum_ttl)


def _records(found: Iterable[Rdata]) -> tuple[bytes, ...]:
    """Return records as `core.spf` wants them."""
    records = []
    for one in found:
        if isinstance(one, dns.rdtypes.ANY.TXT.TXT):
            records.append(b"".join(one.strings))
        elif isinstance(one, dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA):
            records.append(one.to_wire() or b"")
        elif isinstance(one, dns.rdtypes.ANY.MX.MX):
            records.append(_text(one.exchange))
        elif isinstance(one, dns.rdtypes.ANY.PTR.PTR):
            records.append(_text(one.target))
    return tuple(records)


def _text(name: dns.name.Name) -> bytes:
    """Return a name with dots; b"" if a dot inside of a label would make it another name."""
    labels = name.labels[:-1]
    return b"" if any(b"." in label for label in labels) else b".".join(labels)
