"""Messages of DNS (RFC 1035, RFC 6891): a query as bytes, and what a reply to it says.

A reply may come from anybody who guesses, and a record from any stranger's name server. So what is
no reply to the query is told apart from a reply that is of no use: for the first the resolver goes
on to wait, because the true reply may follow (CVE-2023-29483: a forged reply that could not be read
ended the query).

Reading a reply takes a bounded time, whatever it is: records are few and stepped over once, names
are read only where they matter, pointers go back only, and `MOST_STEPS` bounds all names and texts
together. What is refused beyond the RFC: two aliases of one name, and whatever exceeds a bound.
"""

from __future__ import annotations

from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.spf.questions import Answer, Query

UDP_SIZE = 1232  # bytes of a reply over UDP: more may come in pieces, which are easier to forge
# And over TCP, in bytes, and in records of all its parts. Big senders have a hundred TXT records.
# The worst replies of this size take less than 2 ms (measured), and everybody waits meanwhile.
TCP_SIZE, MOST_RECORDS = 16 * 1024, 512
MOST_STEPS = 4096  # labels and pointers of names, and strings of texts, that are read in a reply
MOST_ALIASES = 16  # CNAME records, one after the other
MOST_TTL = 2**31 - 1  # seconds; more than that means none (RFC 2181, 8)

TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
_A, _CNAME, _SOA, _MX, _TXT, _AAAA, _OPT, _IN = 1, 5, 6, 15, 16, 28, 41, 1
_SIZES = {_A: 4, _AAAA: 16}
_HEADER = 12  # bytes; the last eight are the numbers of questions and of records in three parts
_AFTER_NAME = 10  # bytes of a record: type, class, TTL, and how many bytes of data follow
_SHORTEST_SOA = 22  # bytes: two names and five numbers, the last of which is for what is not there
_RESPONSE, _TRUNCATED, _OPCODE = 0x80, 0x02, 0x78  # bits of the third byte
_POINTER = 0xC0  # bits of a length that is none
_LONGEST_LABEL, _LONGEST_NAME = 63, 255  # bytes, the second with all lengths
_NOERROR, _NXDOMAIN = 0, 3
_ERRORS = (1, 2, 4, 5)  # FORMERR, SERVFAIL, NOTIMP, REFUSED

Name = tuple[bytes, ...]  # labels in lower case


class _BrokenError(Exception):
    """The bytes are no message, or one that is too costly to read."""


@value
class Reply:
    """What a server replied."""

    answer: Answer
    ttl: int = 0  # seconds for which it holds
    truncated: bool = False  # it is to be asked for over TCP


USELESS = Reply(None)


@value
class _Record:
    owner: int  # where its name is
    kind: int  # 0: of a class that nobody asked for
    ttl: int
    start: int  # where its data is
    stop: int


class Asked:
    """A query as it is sent, with an id that nobody can guess."""

    def __init__(self, query: Query, number: int) -> None:
        """Raise ValueError if DNS cannot have such a name."""
        labels = [label.encode("ascii") for label in query.name.split(".")]
        name = b"".join([bytes((len(label),)) + label for label in labels if len(label) < 256])
        name += b"\0"
        if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
            raise ValueError(query.name)
        if len(name) > _LONGEST_NAME:
            raise ValueError(query.name)
        self._kind = TYPES[query.kind]
        question = name + self._kind.to_bytes(2, "big") + _IN.to_bytes(2, "big")
        # Recursion is desired; one question, and one record that says how long a reply may be.
        header = number.to_bytes(2, "big") + b"\1\0" + b"\0\1" + b"\0\0" + b"\0\0" + b"\0\1"
        option = b"\0" + _OPT.to_bytes(2, "big") + UDP_SIZE.to_bytes(2, "big") + bytes(6)
        self.wire = header + question + option
        self._end = _HEADER + len(question)
        self._question = question.lower()

    def read(self, wire: bytes) -> Reply | None:
        """Return what a reply says, or None if it is no reply to this query."""
        if len(wire) < _HEADER or wire[:2] != self.wire[:2]:
            return None
        if wire[2] & (_RESPONSE | _OPCODE) != _RESPONSE:
            return None
        questions, *counts = [int.from_bytes(wire[at : at + 2], "big") for at in (4, 6, 8, 10)]
        if not questions and wire[3] & 0x0F in _ERRORS:
            return USELESS  # some servers do not repeat a question that they do not answer
        if questions != 1 or wire[_HEADER : self._end].lower() != self._question:
            return None
        if wire[2] & _TRUNCATED:
            return Reply(None, truncated=True)
        if sum(counts) > MOST_RECORDS or len(wire) > TCP_SIZE:
            return USELESS
        try:
            return self._meaning(_Reader(wire), counts)
        except (_BrokenError, IndexError):
            return None

    def _meaning(self, reader: _Reader, counts: list[int]) -> Reply:
        records, rcode = reader.records(self._end, counts)
        if rcode not in (_NOERROR, _NXDOMAIN):
            return USELESS
        found: dict[Name, list[_Record]] = {}
        aliases: dict[Name, tuple[int, Name]] = {}
        for one in records[: counts[0]]:
            if one.kind == self._kind:
                found.setdefault(reader.name(one.owner)[0], []).append(one)
            elif one.kind == _CNAME:
                owner, target = reader.name(one.owner)[0], reader.only_name(one.start, one.stop)
                if aliases.setdefault(owner, (one.ttl, target))[1] != target:
                    return USELESS
        name, least = reader.name(_HEADER)[0], MOST_TTL
        for _alias in range(MOST_ALIASES):
            if name in found:
                if rcode == _NXDOMAIN:
                    return USELESS
                answers = dict([reader.data(one) for one in found[name]])
                return Reply(tuple(answers.values()), min(least, *[o.ttl for o in found[name]]))
            if name not in aliases:
                authority = records[counts[0] : counts[0] + counts[1]]
                return Reply((), min(least, reader.nothing_for(name, authority)))
            ttl, name = aliases[name]
            least = min(least, ttl)
        return USELESS


class _Reader:
    """Reads a message. What is read beyond its end is an IndexError, or found to be broken."""

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self._steps = MOST_STEPS
        self._known: dict[int, Name] = {}  # the names that pointers lead to

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.wire[at : at + size], "big")

    def records(self, at: int, counts: list[int]) -> tuple[list[_Record], int]:
        """Return all records, which must fill the message, and the code of its result."""
        wire, records, extended = self.wire, [], None
        for number in range(sum(counts)):
            owner = at
            while 0 < wire[at] <= _LONGEST_LABEL:
                at += 1 + wire[at]
            if 0 < wire[at] < _POINTER:
                raise _BrokenError
            start = at + (2 if wire[at] else 1) + _AFTER_NAME
            stop = start + self.number(start - 2, 2)
            if stop > len(wire):
                raise _BrokenError
            kind, class_, ttl = (
                self.number(start - 10, 2),
                self.number(start - 8, 2),
                self.number(start - 6, 4),
            )
            if kind == _OPT:
                if wire[owner] or extended is not None or number < counts[0] + counts[1]:
                    raise _BrokenError
                extended = ttl >> 24
            ttl = ttl if ttl <= MOST_TTL else 0
            records.append(_Record(owner, kind if class_ == _IN else 0, ttl, start, stop))
            at = stop
        if at != len(wire):
            raise _BrokenError
        return records, (extended or 0) << 4 | wire[3] & 0x0F

    def name(self, at: int) -> tuple[Name, int]:
        """Return the labels of a name, and where it ends."""
        wire, labels = self.wire, list[bytes]()
        begin, limit, end, target, before = at, len(wire), 0, 0, 0
        while length := wire[at]:
            self._step()
            if length <= _LONGEST_LABEL:
                labels.append(wire[at + 1 : at + 1 + length].lower())
                at += 1 + length
            elif length < _POINTER:
                raise _BrokenError
            else:
                end = end or at + 2
                at, limit = (length & ~_POINTER) << 8 | wire[at + 1], begin
                if at >= limit:
                    raise _BrokenError
                begin = at
                if at in self._known:
                    labels += self._known[at]
                    break
                if not target:
                    target, before = at, len(labels)
            if at >= limit:  # what a pointer leads to ends before what led there
                raise _BrokenError
        if sum(map(len, labels)) + len(labels) >= _LONGEST_NAME:
            raise _BrokenError
        if target:
            self._known[target] = tuple(labels[before:])
        return tuple(labels), end or at + 1

    def only_name(self, start: int, stop: int) -> Name:
        """Return the name that fills some data."""
        name, end = self.name(start)
        if end != stop:
            raise _BrokenError
        return name

    def data(self, record: _Record) -> tuple[object, bytes]:
        """Return what tells a record from others of its name and type, and what it says."""
        start, stop = record.start, record.stop
        raw = self.wire[start:stop]
        if record.kind in _SIZES:
            if len(raw) != _SIZES[record.kind]:
                raise _BrokenError
            return raw, raw
        if record.kind == _TXT:
            return raw, self._text(raw)
        name = self.only_name(start + 2 if record.kind == _MX else start, stop)
        # A dot inside of a label would make it another name.
        text = b"" if any(b"." in label for label in name) else b".".join(name)
        return (raw[:2] if record.kind == _MX else b"", name), text

    def nothing_for(self, name: Name, authority: list[_Record]) -> int:
        """Return for how many seconds there is nothing: 0 if nobody says so (RFC 2308, 5)."""
        ttls = []
        for one in authority:
            if one.kind == _SOA:
                zone, _end = self.name(one.owner)
                if one.stop - one.start < _SHORTEST_SOA:
                    raise _BrokenError
                if name[len(name) - len(zone) :] == zone:
                    ttls.append(min(one.ttl, self.number(one.stop - 4, 4)))
        return min(ttls, default=0)

    def _text(self, raw: bytes) -> bytes:
        strings, at = [], 0
        while at < len(raw):
            self._step()
            end = at + 1 + raw[at]
            strings.append(raw[at + 1 : end])
            at = end
        if at != len(raw) or not strings:
            raise _BrokenError
        return b"".join(strings)

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise _BrokenError
