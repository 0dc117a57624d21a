"""One connection of a mail server: requests in, answers out, in their order, within limits.

What the bytes mean is for the codec of the connection's front end (`fronts`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic

from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.server.answering import Inquiry
    from greylag.server.connections import Connections
    from greylag.server.fronts import Codec

    Owe = Callable[[], Callable[[bytes], None]]
    # Returns the answer; or takes a place for it from `Owe`, and fills that once, later.
    Answer = Callable[[Inquiry, Owe], bytes | None]


@value
class Limits:
    """What one connection, and all together, may take."""

    connections: int = 4000  # of one listener
    per_peer: int = 0  # of these, of one TCP peer; 0: half of them
    idle: float = 600.0  # seconds between requests; Postfix closes after 300
    request: float = 10.0  # seconds from the first byte of a request to its last
    total: float = 86400.0  # seconds of a connection's life
    pipelined: int = 64  # requests that wait for their answers


_IDLE = 0.1  # seconds: who has just connected is about to ask


class Slot:
    """The place of an answer among those of its connection."""

    __slots__ = ("answer",)

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer


class Session(asyncio.Protocol):
    """The protocol of one connection."""

    def __init__(
        self,
        codec: Codec,
        answer: Answer,
        connections: Connections,
        is_crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._codec = codec
        self._answer = answer
        self._is_crowded = is_crowded  # many wait: each connection may have only one among them
        self._connections = connections
        self._limits = limits = connections.limits
        self._slots: deque[Slot] = deque()
        self._held: deque[object] = deque()  # requests of a pipeline, not taken yet
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._slow_reader = False
        self._scheduled = False
        self._taking = False
        now = monotonic()
        self._ends_at = now + limits.total
        self.deadline = min(now + limits.idle, self._ends_at)
        self.asked = now  # when the last request was complete
        self._began: float | None = None

    @property
    def busy(self) -> bool:
        """Tell whether an answer is still owed."""
        return bool(self._slots or self._held)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        # uvloop's transports are no asyncio.Transport, but do all that one does.
        self._transport = transport  # type: ignore[assignment]
        if not self._connections.admit(self, transport.get_extra_info("peername")):
            self._closing = True
            transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the connection; answers that come later are dropped."""
        self._connections.leave(self)
        self._transport = None
        self._held.clear()

    def data_received(self, data: bytes) -> None:
        """Read requests, and have each answered."""
        if self._closing:
            return
        requests = self._codec.feed(data)
        self._set_deadline(complete=bool(requests))
        for request in requests:
            if self._held or (self._slots and self._waits()):
                self._held.append(request)
            elif not self._take(request):
                break
        if self._held or len(self._slots) >= self._limits.pipelined:
            self._write_ready()
        elif self._slots and self._slots[0].answer is not None:
            self._write_soon()

    def _take(self, request: object) -> bool:
        """Have a request answered; tell whether others may follow it."""
        found = self._codec.inquire(request)
        if found is None:  # answer what came before, then hang up
            self._closing = True
            self._write_soon()
            return False
        answer = found if isinstance(found, bytes) else self._answer(found, self._owe)
        if answer is not None:
            self._slots.append(Slot(answer))
        return True

    def _waits(self) -> bool:
        """Tell whether the next request has to wait until one before it is answered."""
        waiting = len(self._slots)
        return waiting > 0 and (waiting >= self._limits.pipelined or self._is_crowded())

    def _take_held(self) -> None:
        """Take requests that were held, as far as there is room; one at a time is always taken."""
        self._taking = False
        try:
            while self._held and not self._waits():
                if not self._take(self._held.popleft()):
                    self._held.clear()
        except Exception:
            self.abort()  # or the rest would never be taken
            raise
        self._set_deadline(complete=True)  # that it had to wait is not the client's fault
        self._write_ready()

    def gives_way(self, now: float) -> bool:
        """Tell whether it asks nothing, so that a new connection may have its place.

        Who is not answered after so long does not read the answers.
        """
        since, transport = now - self.asked, self._transport
        if self.busy or (transport is not None and transport.get_write_buffer_size()):
            return since > self._limits.request
        return since > _IDLE

    def eof_received(self) -> bool:
        """The client asks no more: stay open until its answers are out."""
        self._closing = True
        return self.busy

    def _set_deadline(self, *, complete: bool) -> None:
        """Set when to close: a request has to be complete within its seconds, however it comes."""
        now = monotonic()
        if complete:
            self.asked = now
        if complete or self._began is None:
            self._began = now if self._codec.inside else None
        allowed = (
            now + self._limits.idle if self._began is None else self._began + self._limits.request
        )
        self.deadline = min(allowed, self._ends_at)

    def _owe(self) -> Callable[[bytes], None]:
        """Take the next place for an answer; return what fills it."""
        slot = Slot()
        self._slots.append(slot)
        return partial(self._fill, slot)

    def _fill(self, slot: Slot, answer: bytes) -> None:
        slot.answer = answer
        self._write_ready()

    def _write_soon(self) -> None:
        """Write when all that came in this iteration of the loop is answered.

        A peer that waits for several answers then wakes once for all of them: that gives a quarter
        more answers in the same time. What the store has answered is written at once.
        """
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._write_ready)

    def _write_ready(self) -> None:
        self._scheduled = False
        transport = self._transport
        if transport is None:
            return
        ready = []
        while self._slots and (answer := self._slots[0].answer) is not None:
            ready.append(answer)
            self._slots.popleft()
        if ready:
            transport.write(b"".join(ready))
        if self._closing:
            if not self.busy:
                transport.close()
        elif self._held or len(self._slots) >= self._limits.pipelined or self._slow_reader:
            transport.pause_reading()
        elif not transport.is_reading():
            transport.resume_reading()
        if self._held and not (self._taking or self._slow_reader or self._waits()):
            self._taking = True
            asyncio.get_running_loop().call_soon(self._take_held)

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more requests from it."""
        self._slow_reader = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._slow_reader = False
        self._write_ready()

    def end(self) -> None:
        """Close when all answers are out."""
        self._closing = True
        if self._transport is not None and not self.busy:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()
