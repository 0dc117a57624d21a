"""The fake conversations that the daemon holds, thousands at once, each within its limits.

What a client costs: a socket, the codec's few bytes, an entry of the poller. It is read from only
while nothing is owed to it, so whoever does not read his replies is not listened to either.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from functools import partial
from time import monotonic

from greylag.core.value import value
from greylag.core.verdict import INFO
from greylag.server.closing import unlinger
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.poller import BROKEN, NOTHING, READ, WRITE, Poller
from greylag.wire.handover import Opening
from greylag.wire.tempfail import BANNER, BUSY, ROOM, STOPPING, TIMEOUT, Dialogue, End

_AT_ONCE = 4096  # bytes of replies in one go: what a client may have unread, beside the kernel's
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
# What is thrown away before closing: unread bytes would take our reply with them. It stays empty.
_DISCARDED = bytearray(1 << 20)


@value
class DialogueLimits:
    """What all conversations together may take, and one."""

    total: int = 10_000
    per_network: int = 100  # one /24 or /64; tcpserver's own limit is 40 for everybody
    idle: float = 30.0  # seconds without a complete line
    tarpit: float = 0.0  # seconds that each reply waits


class Dialogues:
    """All conversations under way."""

    def __init__(
        self, poller: Poller, limits: DialogueLimits, journal: Journal, metrics: Metrics
    ) -> None:
        self.poller = poller
        self.limits = limits
        self.metrics = metrics
        self._journal = journal
        self._clients: set[_Client] = set()
        self._networks: Counter[bytes] = Counter()

    def open(self, connection: socket.socket, opening: Opening) -> None:
        """Hold the conversation with a client, or hang up on it where there are too many."""
        limits = self.limits
        client = _Client(self, connection, opening)
        full = len(self._clients) >= limits.total
        if full or self._networks[opening.network] >= limits.per_network:
            client.hang_up(End.BUSY, BUSY)
            return
        try:
            self.poller.watch(connection.fileno(), client)
        except OSError:  # the kernel's own limit on what is watched
            client.hang_up(End.BUSY, BUSY)
            return
        self._clients.add(client)
        self._networks[opening.network] += 1
        self.metrics.dialogues = len(self._clients)
        client.greet()

    def ended(self, client: _Client, end: End, lines: int) -> None:
        """Forget a client, and tell of it."""
        opening = client.opening
        if client in self._clients:
            self._clients.remove(client)
            self._networks[opening.network] -= 1
            if not self._networks[opening.network]:
                del self._networks[opening.network]
            self.metrics.dialogues = len(self._clients)
        self.metrics.dialogue_ends[end] += 1
        if opening.manner.log:
            fields: dict[str, bytes | str | int] = {"event": "dialogue", "end": end.value}
            fields |= {"client_address": opening.client_address, "lines": lines}
            self._journal.event(INFO, fields | {"seconds": int(monotonic() - client.began)})

    def log_line(self, opening: Opening, direction: str, line: bytes) -> None:
        """Log a line of a conversation, as JGREYLIST_LOG_SMTP asks."""
        fields: dict[str, bytes | str | int] = {"event": "dialogue"}
        fields |= {"client_address": opening.client_address, direction: line.rstrip(b"\r\n")}
        self._journal.event(INFO, fields)

    def sweep(self, now: float) -> None:
        """Go on where a reply has waited long enough; hang up on those whose time is over."""
        for client in list(self._clients):
            self.poller.guard(client, partial(client.look_at_clock, now))

    def stop(self) -> None:
        """Hang up on everybody: a temporary failure to them."""
        for client in list(self._clients):
            self.poller.guard(client, partial(client.hang_up, End.STOPPED, STOPPING))


class _Client:
    """One conversation."""

    __slots__ = (
        "_all", "_connection", "_dialogue", "_due", "_end", "_idle_at", "_lines", "_torn",
        "_unsent", "began", "opening",
    )  # fmt: skip

    def __init__(self, dialogues: Dialogues, connection: socket.socket, opening: Opening) -> None:
        self._all = dialogues
        self._connection = connection
        self._dialogue = Dialogue(opening.refusal, opening.manner.limit)
        self._lines = 0
        self._unsent = b""
        self._torn = False  # the beginning of the unsent reply is with the client
        self._end: End | None = None  # what comes when that is sent
        self._due = 0.0  # when a reply has waited long enough; 0: none waits
        self.opening = opening
        self.began = monotonic()
        self._idle_at = self.began + dialogues.limits.idle

    def greet(self) -> None:
        """Begin."""
        self._log("sent", BANNER)
        self.say(BANNER)

    def ready(self, events: int) -> None:
        """Read or write."""
        if events & BROKEN and (self._unsent or not events & READ):
            self.hang_up(End.HUNG_UP)
        elif self._unsent:
            self.say(self._unsent)
        else:
            self._read()

    def failed(self) -> None:
        """Hang up, after an exception that nobody foresaw."""
        self.hang_up(End.HUNG_UP)

    def _read(self) -> None:
        try:
            data = self._connection.recv(ROOM, _FLAGS)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.hang_up(End.HUNG_UP)
            return
        self._dialogue.feed(data)
        self._go_on()

    def _go_on(self) -> None:
        """Answer what is complete: line by line where replies wait, else together."""
        tarpit = self._all.limits.tarpit
        most = 1 if tarpit else _AT_ONCE
        while True:
            replies = self._replies(most)
            if not replies:
                return
            if tarpit:
                self._unsent = replies
                self._due = monotonic() + tarpit
                self._all.poller.change(self._connection.fileno(), NOTHING)
                return
            if not self.say(replies):
                return

    def _replies(self, most: int) -> bytes:
        """Return the next replies, until they are as many bytes or the conversation is over."""
        said: list[bytes] = []
        size = 0
        while size < most and (turn := self._dialogue.next_turn()) is not None:
            said.append(turn.reply)
            size += len(turn.reply)
            self._lines += 1
            self._end = turn.end
            self._log("received", turn.line)
            self._log("sent", turn.reply)
        if said:
            self._idle_at = monotonic() + self._all.limits.idle
        return b"".join(said)

    def say(self, data: bytes) -> bool:
        """Send; tell whether all of it is gone and the conversation goes on."""
        waited = bool(self._unsent)
        try:
            sent = self._connection.send(data, _FLAGS)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.hang_up(End.HUNG_UP)
            return False
        self._unsent = data[sent:]
        self._torn = bool(self._unsent) and (sent > 0 or self._torn)
        if self._unsent:
            self._all.poller.change(self._connection.fileno(), WRITE)
            return False
        if self._end is not None:
            self.hang_up(self._end)
            return False
        if waited:
            self._all.poller.change(self._connection.fileno(), READ)
            self._go_on()
            return False
        return True

    def look_at_clock(self, now: float) -> None:
        """Do what it is time for."""
        if now >= self.began + self.opening.manner.seconds:
            self.hang_up(End.TIMEOUT, TIMEOUT)
        elif self._due:
            if now >= self._due:
                self._due = 0.0
                self.say(self._unsent)
        elif now >= self._idle_at:
            self.hang_up(End.IDLE, TIMEOUT)

    def _log(self, direction: str, line: bytes) -> None:
        if self.opening.manner.log_smtp:
            self._all.log_line(self.opening, direction, line)

    def hang_up(self, end: End, reply: bytes = b"") -> None:
        """Close, after a last reply unless the one before it is torn."""
        with contextlib.suppress(OSError, MemoryError):
            if reply and not self._torn:
                self._log("sent", reply)
                self._connection.send(reply, _FLAGS)
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.recv_into(_DISCARDED, 0, _FLAGS | socket.MSG_TRUNC)
        unlinger(self._connection)
        self._all.poller.close(self._connection)
        self._all.ended(self, end, self._lines)
