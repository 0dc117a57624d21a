"""Finds evidence in a process that lives for one question: the `Gather` of `service.evidence`.

It does what `gatherer` and `resolver` do in the daemon, with `poll` in the place of an event loop:
importing asyncio would take longer than all else that such a process does. All kinds that the
attempt needs go on side by side. Each name is asked for once. What has not ended when the time is
over is left out, so it is unknown.

Nothing is raised and nothing is printed. All sockets are closed at the end, and no program that
this process starts inherits one.
"""

from __future__ import annotations

import _socket
from errno import EINPROGRESS
from select import POLLIN, POLLOUT, poll
from time import monotonic

from greylag.service.dns.servers import asked_now, family_of, in_turn
from greylag.wire.dns import TCP_SIZE, UDP_SIZE, USELESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greylag.core.evidence import Evidence, Kind
    from greylag.core.question import Question
    from greylag.core.spf.questions import Answer, Query, Steps
    from greylag.service.dns.gatherer import Recipes
    from greylag.service.dns.servers import Server
    from greylag.wire.dns import Asked, Reply

_TICK = 0.001  # seconds: poll does not wait for less


class OneShot:
    """Gathers. `caution` is told of bugs; they cost the evidence that they are about."""

    def __init__(
        self,
        recipes: Recipes,
        servers: Sequence[Server],
        caution: Callable[[str], None] | None = None,
    ) -> None:
        self._recipes = recipes
        self._servers = servers
        self._caution = caution

    def __call__(self, question: Question, kinds: frozenset[Kind], seconds: float) -> Evidence:
        """Return what is found within so many seconds."""
        search = _Search(self._servers, monotonic() + seconds - _TICK)
        try:
            for kind, recipe in self._recipes.items():
                if kind in kinds:
                    search.begin(kind, recipe(question))
            search.run()
        except Exception as error:  # noqa: BLE001 - no bug of ours may cost more than evidence
            search.bugs.append(error)
        finally:
            search.close()
        if self._caution is not None:
            for bug in search.bugs:
                self._caution(f"evidence: cannot be gathered: {type(bug).__name__}: {bug}")
        return search.found


class _ByUdp:
    """One query to one server. Its socket is used once, so it has a port of its own."""

    events = POLLIN

    def __init__(self, asked: Asked, server: Server) -> None:
        self.asked, self.server = asked, server
        self.socket = _opened(_socket.SOCK_DGRAM, server)
        try:
            self.socket.connect(server)  # the kernel takes no reply from elsewhere
            self.socket.send(asked.wire)
        except OSError:
            self.socket.close()
            raise

    def go_on(self) -> Reply | None:
        """Return the reply, if it is there. What is no reply to this query is ignored."""
        wire = self.socket.recv(UDP_SIZE + 1)
        return self.asked.read(wire) if len(wire) <= UDP_SIZE else None


class _ByTcp:
    """The same over TCP, because the reply is too long."""

    def __init__(self, asked: Asked, server: Server) -> None:
        self.asked, self.server = asked, server
        self.events = POLLOUT
        self._received = bytearray()
        self.socket = _opened(_socket.SOCK_STREAM, server)
        error = self.socket.connect_ex(server)
        if error not in (0, EINPROGRESS):
            self.socket.close()
            raise OSError(error, "")

    def go_on(self) -> Reply | None:
        """Send the query once the connection is there, then receive the reply."""
        if self.events == POLLOUT:
            message = len(self.asked.wire).to_bytes(2, "big") + self.asked.wire
            if self.socket.send(message) < len(message):
                return USELESS
            self.events = POLLIN
            return None
        more = self.socket.recv(2 + TCP_SIZE - len(self._received))
        self._received += more
        size = int.from_bytes(self._received[:2], "big")
        if not more or size > TCP_SIZE:
            return USELESS
        if len(self._received) < 2 + max(size, 1):
            return None
        reply = self.asked.read(bytes(self._received[2 : 2 + size]))
        return USELESS if reply is None or reply.truncated else reply


class _Lookup:
    """What is under way about one query, or its answer."""

    def __init__(self, query: Query, servers: Sequence[Server]) -> None:
        self.query = query
        self.servers = in_turn(servers)  # which are still to be asked
        self.next_at = 0.0  # when the next of them is asked, if the others are still silent
        self.open: set[_ByUdp | _ByTcp] = set()
        self.waiting: list[tuple[Kind, Steps[object]]] = []
        self.answer: Answer = None
        self.has_ended = False


class _Search:
    """All that is under way for one question."""

    def __init__(self, servers: Sequence[Server], ends_at: float) -> None:
        self._servers = servers
        self._ends_at = ends_at
        self._poll = poll()
        self._open: dict[int, tuple[_ByUdp | _ByTcp, _Lookup]] = {}
        self._lookups: dict[Query, _Lookup] = {}
        self.found: dict[Kind, object] = {}
        self.bugs: list[Exception] = []

    def begin(self, kind: Kind, steps: Steps[object], answer: Answer = None) -> None:
        """Go on with a kind until it has ended, or waits for a server."""
        try:
            while True:
                query = steps.send(answer)
                lookup = self._lookups.get(query)
                if lookup is None:
                    lookup = _Lookup(query, self._servers)
                    self._lookups[query] = lookup
                    self._ask_next(lookup)
                if not lookup.has_ended:
                    lookup.waiting.append((kind, steps))
                    return
                answer = lookup.answer
        except StopIteration as end:
            self.found[kind] = end.value
        except Exception as error:  # noqa: BLE001 - a bug costs its kind alone
            self.bugs.append(error)

    def run(self) -> None:
        """Wait for servers until all has ended, or the time is over."""
        while self._open and (now := monotonic()) < self._ends_at:
            lookups = [one for one in self._lookups.values() if one.open]
            until = min(self._ends_at, *[one.next_at for one in lookups])
            for descriptor, _event in self._poll.poll(max(until - now, 0) * 1000):
                if descriptor in self._open:  # or it was closed by what came before it
                    self._receive(*self._open[descriptor])
            now = monotonic()
            for lookup in lookups:
                if lookup.open and lookup.servers and lookup.next_at <= now:
                    self._ask_next(lookup)

    def close(self) -> None:
        """Close all sockets."""
        for one, _lookup in self._open.values():
            one.socket.close()

    def _ask_next(self, lookup: _Lookup) -> None:
        """Ask the next server. The others may still reply: they are not given up for it."""
        while lookup.servers:
            server = lookup.servers.pop(0)
            left = self._ends_at - monotonic()
            try:
                self._keep(_ByUdp(asked_now(lookup.query), server), lookup)
            except (OSError, ValueError):  # it cannot be reached; a name that cannot be
                continue
            lookup.next_at = self._ends_at - left + left / (len(lookup.servers) + 1)
            return
        lookup.next_at = self._ends_at
        if not lookup.open:
            self._end(lookup, None)

    def _receive(self, one: _ByUdp | _ByTcp, lookup: _Lookup) -> None:
        try:
            reply = one.go_on()
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            reply = USELESS
        if reply is None:
            self._poll.modify(one.socket, one.events)
            return
        self._let_go(one, lookup)
        if reply.truncated:
            try:
                self._keep(_ByTcp(one.asked, one.server), lookup)
                return
            except OSError:
                pass
        if reply.answer is not None:
            self._end(lookup, reply.answer)
        else:
            self._ask_next(lookup)

    def _end(self, lookup: _Lookup, answer: Answer) -> None:
        lookup.answer, lookup.has_ended = answer, True
        for one in tuple(lookup.open):
            self._let_go(one, lookup)
        waiting, lookup.waiting = lookup.waiting, []
        for kind, steps in waiting:
            self.begin(kind, steps, answer)

    def _keep(self, one: _ByUdp | _ByTcp, lookup: _Lookup) -> None:
        self._open[one.socket.fileno()] = one, lookup
        lookup.open.add(one)
        self._poll.register(one.socket, one.events)

    def _let_go(self, one: _ByUdp | _ByTcp, lookup: _Lookup) -> None:
        self._poll.unregister(one.socket)
        del self._open[one.socket.fileno()]
        lookup.open.remove(one)
        one.socket.close()


def _opened(kind: int, server: Server) -> _socket.socket:
    # Python makes sockets that no other program inherits.
    return _socket.socket(family_of(server[0]), kind | _socket.SOCK_NONBLOCK)
