"""Where `native/jgreylist` hands clients' sockets over: a unix socket of its own.

The policy sockets take no descriptors. This one takes one with each request, checks that it is a
TCP connection, and closes all others. If the acknowledgement cannot be sent, the other side has
stopped waiting for it, and talks to the client itself. Then we must not.
"""

from __future__ import annotations

import array
import contextlib
import socket
from time import monotonic

from greylag.core.policy import Policy
from greylag.server.closing import Closing, unlinger
from greylag.server.connections import HANDING_OVER
from greylag.server.dialogues import Dialogues
from greylag.server.poller import BROKEN, NOTHING, READ, Poller
from greylag.wire.handover import ACCEPTED, Opening, read_opening
from greylag.wire.policy import Request, RequestReader

_MAX_RECORD = 8192  # bytes of a request: the longest text and a few numbers take a quarter of it
# As many as can be sent at once: what the kernel drops for want of room it closes in our thread.
_DESCRIPTORS = socket.CMSG_LEN(253 * array.array("i").itemsize)
_PATIENCE = 10.0  # seconds: that client itself gives up after 5
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_CMSG_CLOEXEC
_ADDRESS_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class HandOver:
    """Accepts those who hand over, and passes what they bring to the dialogues."""

    def __init__(
        self, poller: Poller, listener: socket.socket, dialogues: Dialogues, policy: Policy
    ) -> None:
        self._poller = poller
        self._listener = listener
        self._givers: set[_Giver] = set()
        self.dialogues = dialogues
        self.policy = policy
        self.most_waiting = HANDING_OVER
        self._wakes, self._wake = socket.socketpair()
        self.closing = Closing(self._wake_up)

    def start(self) -> None:
        """Begin to accept; to be called in the loop."""
        self._listener.setblocking(False)
        self._poller.watch(self._listener.fileno(), self)
        self._wakes.setblocking(False)
        self._wake.setblocking(False)
        self._poller.watch(self._wakes.fileno(), _Woken(self))

    def _wake_up(self) -> None:
        with contextlib.suppress(OSError):  # it was told before, or all is at its end
            self._wake.send(b".")

    def woken(self) -> None:
        """Accept again, if something can be closed again."""
        with contextlib.suppress(BlockingIOError):
            self._wakes.recv(64)
        self._go_on()

    def _go_on(self) -> None:
        if not self.closing.stuck:
            self._poller.change(self._listener.fileno(), READ)

    def ready(self, _events: int) -> None:
        """Accept one; if more wait, we are called again."""
        if self.closing.stuck:  # those who come wait outside
            self._poller.change(self._listener.fileno(), NOTHING)
            return
        try:
            connection, _address = self._listener.accept()
        except BlockingIOError:
            return  # gone again
        except OSError:  # no descriptor is left: wait for the next sweep, not in a circle
            self._poller.change(self._listener.fileno(), NOTHING)
            return
        giver = _Giver(self, connection)
        if len(self._givers) >= self.most_waiting:
            self.closing.put(connection.detach())
            return
        self._givers.add(giver)
        self._poller.watch(connection.fileno(), giver)

    def failed(self) -> None:
        """Go on: a connection that could not be accepted is no reason to stop."""

    def done(self, giver: _Giver, connection: socket.socket) -> None:
        """Forget a connection, with what it sent and we did not read."""
        self._givers.discard(giver)
        self._poller.forget(connection)
        self.closing.put(connection.detach())

    def sweep(self, now: float) -> None:
        """Close connections that said nothing for too long."""
        self.closing.step()  # those that a close has kept waiting
        self._go_on()
        for giver in [one for one in self._givers if one.until <= now]:
            self._poller.guard(giver, giver.close)

    def stop(self) -> None:
        """Accept no more, and close the connections that wait."""
        self._poller.close(self._listener)
        for giver in list(self._givers):
            self._poller.guard(giver, giver.close)
        self._poller.close(self._wakes)
        self._wake.close()


class _Woken:
    """Is ready when something can be closed again."""

    __slots__ = ("_place",)

    def __init__(self, place: HandOver) -> None:
        self._place = place

    def ready(self, _events: int) -> None:
        """Tell it."""
        self._place.woken()

    def failed(self) -> None:
        """Go on: the next sweep looks again."""


class _Giver:
    """One connection: a record with a descriptor, an acknowledgement, the end."""

    __slots__ = ("_connection", "_place", "until")

    def __init__(self, place: HandOver, connection: socket.socket) -> None:
        self._place = place
        self._connection = connection
        self.until = monotonic() + _PATIENCE

    def ready(self, events: int) -> None:
        """Take the client over, if the acknowledgement can be sent."""
        taken, opening = None, None
        try:
            if events & READ and not self._place.closing.stuck:
                taken, opening = self._receive()
            elif not events & (BROKEN | READ):
                return
            if taken is not None and opening is not None:
                self._connection.send(ACCEPTED, _FLAGS)
                self._place.dialogues.open(taken, opening)
                taken = None
        except OSError:
            pass  # the other side has gone, and talks to the client itself
        finally:
            if taken is not None:
                self._place.closing.put(taken.detach())
            self.close()

    def _receive(self) -> tuple[socket.socket | None, Opening | None]:
        data, ancillary, flags, _address = self._connection.recvmsg(
            _MAX_RECORD, _DESCRIPTORS, _FLAGS
        )
        taken = _client_socket(ancillary, self._place.closing)
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            return taken, None
        events = RequestReader().feed(data)
        if len(events) != 1 or not isinstance(events[0], Request):
            return taken, None
        return taken, read_opening(events[0], self._place.policy)

    def failed(self) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._place.done(self, self._connection)


def _client_socket(
    ancillary: list[tuple[int, int, bytes]], closing: Closing
) -> socket.socket | None:
    """Return the connected TCP socket that was sent alone, or None; all others are closed."""
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if len(descriptors) == 1 and (taken := _if_tcp(descriptors[0])) is not None:
        unlinger(taken)
        return taken
    closing.put(*descriptors)
    return None


def _if_tcp(descriptor: int) -> socket.socket | None:
    try:
        taken = socket.socket(fileno=descriptor)
    except OSError:
        return None  # no socket at all
    with contextlib.suppress(OSError):
        protocol = taken.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
        if taken.family in _ADDRESS_FAMILIES and protocol == socket.IPPROTO_TCP:
            taken.getpeername()  # raises where it is not connected
            return taken
    taken.detach()
    return None
