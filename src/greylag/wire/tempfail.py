"""The fake SMTP conversation of jgreylist: bytes in, complete reply lines out, no mail ever taken.

Commands are those of RFC 5321 4.1.1. The first word of each line decides, and no line is
remembered, so a client costs the same few bytes whatever it sends. CR, LF and CR LF all
end a line: no message is ever accepted here, so there is nothing that a bare one could smuggle,
and a client that ends its lines oddly is refused like any other.

    dialogue = Dialogue(refusal(decision, text, client_address), limit)
    send(BANNER)
    dialogue.feed(received)                    # at most ROOM bytes, so that memory stays constant
    while (turn := dialogue.next_turn()):      # one line, one reply, in its own time
        send(turn.reply)
        if turn.end: hang up
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from greylag.core.escape import PRINTABLE, QUESTION_MARKS, escapes
from greylag.core.value import value
from greylag.core.verdict import Decision, Reason, Verdict

ROOM = 512  # bytes to read at a time: at most as many lines wait for their replies
KEPT = 256  # bytes of a line that are kept, for the log; the first word needs five
MAX_LINES = 1000  # of one conversation; Postfix gives up after 100 junk commands, but RCPT are none
_SHORTEST, _LONGEST = 5, 300  # seconds that a conversation may be said to last
_MOST_DIGITS = 10
_LARGEST = 999_999_999
_MAX_REPLY = 500  # bytes; RFC 5321 4.5.3.1.5 allows 512 with CR LF

BANNER = b"220 jgreylist v8\r\n"  # this and what follows: the old program's texts
TIMEOUT = b"421 timeout\r\n"
BUSY = b"421 too many connections\r\n"
STOPPING = b"421 going down\r\n"
_TOO_MANY_RCPT = b"421 Too many RCPT commands, goodbye.\r\n"
_TOO_MANY_LINES = b"421 too many commands\r\n"
_GOODBYE = b"221 jgreylist v8\r\n"
_GREETING = b"250 jgreylist v8\r\n"
_OK = b"250 ok\r\n"
_REPLIES = {
    b"HELO": _GREETING,
    b"EHLO": _GREETING,
    b"MAIL": _GREETING,
    b"RSET": _GREETING,
    b"NOOP": _OK,  # RFC 5321 4.1.1.9; the old program refused it
}
_FIRST_TIME, _TOO_SOON = b"Try again later.", b"I said to try later."
_CR, _LF = b"\r", b"\n"
_ESCAPES = escapes(byte for byte in PRINTABLE if byte != 0x5C)


class End(Enum):
    """How a conversation ended: the words of the log and the figures."""

    QUIT = "quit"
    TOO_MANY_RCPT = "too-many-rcpt"
    TOO_MANY_LINES = "too-many-lines"
    HUNG_UP = "hung-up"  # the client closed, or half-closed: end of input ends it
    TIMEOUT = "timeout"
    IDLE = "idle"  # no complete line for too long
    BUSY = "busy"  # beyond a cap: hung up on at once
    STOPPED = "stopped"  # the daemon ends


@value
class Turn:
    """A line of the client, its reply, and what that ends. `line` is cut to KEPT + 1 bytes."""

    line: bytes
    reply: bytes
    end: End | None


def refusal(decision: Decision, text: bytes, client_address: bytes) -> bytes:
    """Return the reply line for a client that is deferred or rejected: bounded, printable ASCII.

    `text` is the operator's for a rejection (JGREYLIST, JGREYLIST_NOREV); the first `%` in it
    stands for the client's address. A deferral has the old program's own texts.
    """
    if decision.verdict is Verdict.REJECT:
        line = b"553 DENIED " + text
    else:
        line = b"450 GREYLIST " + (_TOO_SOON if decision.reason is Reason.EARLY else _FIRST_TIME)
    line = line.replace(b"%", client_address, 1)
    return line[:_MAX_REPLY].translate(QUESTION_MARKS) + b"\r\n"


def shown(line: bytes) -> str:
    """Return a line as the log has it: printable ASCII, the rest in hexadecimal."""
    text = "".join([_ESCAPES[byte] for byte in line[:KEPT]])
    return text + ("[...]" if len(line) > KEPT else "")


@value
class Manner:
    """How a conversation is to be held."""

    limit: int = 0  # the RCPT at which to hang up; 0: none
    seconds: int = 60  # the longest that it may last
    log: bool = True  # what became of the connection
    log_smtp: bool = False  # each line


def read_manner(get: Callable[[bytes], bytes | None]) -> Manner:
    """Return the manner that JGREYLIST_* variables ask for; `get` takes what follows JGREYLIST_.

    What is empty counts as unset.
    """
    usual = Manner()
    return Manner(
        limit=read_number(get(b"LIMIT"), usual.limit),
        seconds=min(max(read_number(get(b"TIMEOUT"), usual.seconds), _SHORTEST), _LONGEST),
        log=read_number(get(b"LOG"), usual.log) != 0,
        log_smtp=read_number(get(b"LOG_SMTP"), usual.log_smtp) != 0,
    )


def read_number(raw: bytes | None, default: int) -> int:
    """Return a number as the old program reads it: as far as it goes, `60s` and ` 60` are 60.

    What begins with no number is 0. Unset or empty is the default.
    """
    if not raw:
        return default
    rest = raw.lstrip(b" \t\n\v\f\r")
    unsigned = rest[rest[:1] in (b"+", b"-") :].lstrip(b"0")
    digits = unsigned[: len(unsigned) - len(unsigned.lstrip(b"0123456789"))]
    number = min(int(digits[:_MOST_DIGITS] or b"0"), _LARGEST)
    return -number if rest[:1] == b"-" else number


class Dialogue:
    """One conversation. `refusal` answers all commands not listed above, RCPT and DATA included.

    `limit` is the number of the RCPT at which to hang up; 0 is none.
    """

    __slots__ = ("_after_cr", "_held", "_limit", "_lines", "_over", "_rcpts", "_refusal")

    def __init__(self, refusal: bytes, limit: int = 0) -> None:
        self._refusal = refusal
        self._limit = limit
        self._held = b""
        self._after_cr = False
        self._lines = 0
        self._rcpts = 0
        self._over = False

    def feed(self, data: bytes) -> None:
        """Take received bytes. Take all turns that they complete before you feed more."""
        self._held += data

    def next_turn(self) -> Turn | None:
        """Return the next line with its reply, or None until more is fed, and after the end."""
        line = None if self._over else self._next_line()
        if line is None:
            return None
        self._lines += 1
        reply, end = self._answer(line.replace(b"\t", b" ").partition(b" ")[0].upper())
        self._over = end is not None
        return Turn(line, reply, end)

    def _next_line(self) -> bytes | None:
        held = self._held
        if self._after_cr and held:  # the second half of a CR LF is no line of its own
            held, self._after_cr = held.removeprefix(_LF), False
        end = min((at for at in (held.find(_CR), held.find(_LF)) if at >= 0), default=-1)
        if end < 0:
            self._held = held[: KEPT + 1]  # of a long line only the beginning is kept
            return None
        self._after_cr = held[end : end + 1] == _CR
        self._held = held[end + 1 :]
        return held[: min(end, KEPT + 1)]

    def _answer(self, word: bytes) -> tuple[bytes, End | None]:
        if word == b"QUIT":
            return _GOODBYE, End.QUIT
        if word == b"RCPT":
            self._rcpts += 1
            if self._limit and self._rcpts >= self._limit:
                return _TOO_MANY_RCPT, End.TOO_MANY_RCPT
        if self._lines >= MAX_LINES:
            return _TOO_MANY_LINES, End.TOO_MANY_LINES
        return _REPLIES.get(word, self._refusal), None
