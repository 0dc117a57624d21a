"""The daemon: listeners, sessions, worker and journal under one roof, from start to drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from time import monotonic

from greylag.core.policy import Room
from greylag.core.value import value
from greylag.core.verdict import INFO, WARN
from greylag.server.answering import Answering, Shared
from greylag.server.connections import Connections, Shares, shares
from greylag.server.fronts import Endpoint, Rules
from greylag.server.journal import Journal
from greylag.server.listeners import TcpListener, TcpPlace, UnixListener, listen
from greylag.server.metrics import Metrics
from greylag.server.providers import Refreshing
from greylag.server.reception import Reception, ReceptionPlan
from greylag.server.session import Limits, Session
from greylag.server.storeevents import StoreEvents
from greylag.server.storefigures import StoreFigures
from greylag.server.supervisor import Supervisor
from greylag.server.switching import Switching
from greylag.server.ticks import Ticks
from greylag.server.trees import Trees
from greylag.server.watch import Watch
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking, Sources
from greylag.store.base import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.server.fronts import Front

    Listener = UnixListener | TcpListener

SWEEP = 1.0  # seconds between looks at idle and slow connections
DRAIN = 5.0  # seconds that answers under way may still take at the end


@value
class Plan:
    """All that a daemon is made from. A reload brings a new one."""

    rules: Rules
    open_store: Callable[[], Store]
    store_name: str
    deadline: float  # seconds
    endpoints: tuple[Endpoint, ...]
    reception: ReceptionPlan
    limits: Limits
    room: Room
    log_file: str
    log_level: int
    log_times: str
    log_format: str
    metrics: TcpPlace | None
    sources: Sources = Sources()


class Daemon:
    """Serves until it is told to stop."""

    def __init__(self, plan: Plan, reload: Callable[[], Plan | None]) -> None:
        self._plan = plan
        self._reload = reload
        self.journal = Journal(plan.log_file, plan.log_level, plan.log_times, plan.log_format)
        self.metrics = Metrics()
        self.dns = Asking()
        self.desk = Desk(gather=self.dns, kept=self.dns.kept_about)
        self._stop = asyncio.Event()
        self._supervisor = Supervisor()
        self._watch: Watch | None = None
        # Bound before anything runs: what cannot be bound is an error of the start.
        with contextlib.ExitStack() as bound:
            self._listeners = []
            for endpoint, listener in self._bound(plan.endpoints):
                self._listeners.append((endpoint, listener))
                bound.callback(listener.close)
            self._reception = Reception(plan.reception, self.journal, self.metrics)
            bound.callback(self._reception.close)
            self._close_listeners = bound.pop_all().close
        self._connections = [Connections(str(e.place), self.journal) for e, _ in self._listeners]

    def _bound(self, endpoints: Iterable[Endpoint]) -> Iterator[tuple[Endpoint, Listener]]:
        for endpoint in endpoints:
            listener = listen(endpoint.place)
            if listener is not None:
                yield endpoint, listener
            else:
                self.journal.event(WARN, {"event": "no-ipv6", "place": str(endpoint.place)})

    async def serve(self) -> None:
        """Answer until SIGTERM or SIGINT; then let what is under way end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._internal_error)
        plan = self._plan
        self.dns.use(plan.sources)
        events = StoreEvents(self.journal, self.metrics)
        self.worker = Worker(
            self.desk, plan.open_store, events, deadline=plan.deadline, room=plan.room
        )
        self._trees = Trees(plan.rules.trees, events, self.journal, plan.deadline)
        self._shared = Shared(plan.rules, self.worker, self._trees, self.journal)
        self._answering = Answering(self.metrics)
        stop_export = self._export()
        self.worker.start()
        servers = await self._listen(loop)
        self._watch = watch = self._watching(loop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        self._refreshing = Refreshing(
            self.worker.errands, lambda: self.dns.resolver, self.journal, self.metrics
        )
        works = (self._sweep, self._reception.sweep, self._supervisor.go_on, self._refreshing.tick)
        figures = StoreFigures(self.worker.errands, self.metrics, self.journal)
        told = (Switching(self.desk, self.journal), figures)
        sweeper = Ticks(loop, SWEEP, *works, *(one.tick for one in told))
        sweeper.start()
        self.journal.event(INFO, {"event": "started", "store": plan.store_name, "pid": os.getpid()})
        self._supervisor.tell("READY=1")
        try:
            await self._stop.wait()
        finally:  # without memory, even waiting can fail
            watch.stopping()
        self._supervisor.tell("STOPPING=1")
        sweeper.end()
        await self._drain(servers)
        stop_export()

    def _watching(self, loop: asyncio.AbstractEventLoop) -> Watch:
        listeners = [listener.socket for _endpoint, listener in self._listeners]
        watch = Watch(loop, self._stop.set, list(zip(listeners, self._connections, strict=True)))
        watch.start()
        return watch

    def _internal_error(self, loop: object, context: Mapping[str, Any]) -> None:
        if isinstance(context.get("exception"), MemoryError) and self._watch is not None:
            self._watch.doubt()
        self.journal.internal_error(loop, context)

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> list[asyncio.Server]:
        share = self._share_out()
        makers = {endpoint.front for endpoint, _listener in self._listeners}
        fronts = {make: make(self._shared) for make in makers}  # one object, wherever it listens
        servers = [
            await listener.serve(
                loop,
                partial(self._session, fronts[endpoint.front], connections, local=listener.local),
                share.backlog,
            )
            for (endpoint, listener), connections in zip(
                self._listeners, self._connections, strict=True
            )
        ]
        self._reception.start(share)
        return servers

    def _share_out(self) -> Shares:
        """Share the descriptors out among all that take connections."""
        limits, dialogues = self._plan.limits, self._plan.reception.limits.total
        found = shares(limits, len(self._connections), dialogues)
        for connections in self._connections:
            connections.use(limits, found.connections)
        if found.connections < limits.connections or found.dialogues < dialogues:
            fields: dict[str, bytes | str | int] = {"event": "few-descriptors"}
            fields |= {"limit": found.limit, "connections": found.connections}
            self.journal.event(WARN, {**fields, "dialogues": found.dialogues})
        return found

    def _export(self) -> Callable[[], None]:
        if self._plan.metrics is None:
            return lambda: None
        from greylag.server.exporter import DaemonCollector, export

        collector = DaemonCollector(self.metrics, self.desk, self.worker, self.journal, self.dns)
        return export(self._plan.metrics, collector)

    def _session(self, front: Front, connections: Connections, *, local: bool) -> Session:
        codec = front.codec(local=local)
        return Session(codec, self._answering.answer, connections, self._is_crowded)

    def _is_crowded(self) -> bool:
        """Tell whether so many wait that a connection may not add more than one."""
        return self.worker.is_crowded or self._trees.are_crowded

    def _sessions(self) -> list[Session]:
        return [session for connections in self._connections for session in connections]

    def reload(self) -> None:
        """Use a new plan; what is bound, and the store, stay. An error keeps all as it was."""
        self._supervisor.tell("RELOADING=1")
        self.journal.reopen()
        plan = self._reload()
        if plan is not None:
            self._use(plan)
            self.journal.event(WARN, {"event": "reloaded"})
        self._supervisor.tell("READY=1")

    def _use(self, plan: Plan) -> None:
        self._plan = plan
        self.journal.use(plan.log_file, plan.log_level, plan.log_times, plan.log_format)
        self._shared.use(plan.rules)
        self._trees.use(plan.rules.trees, plan.deadline)
        self._reception.use(plan.reception, self._share_out())
        self.worker.use(plan.deadline, plan.room)
        self.dns.use(plan.sources)
        self.desk.forget_all()

    def _sweep(self) -> None:
        """Close connections that are idle or slow for too long."""
        now = monotonic()
        failed = None
        for session in [one for one in self._sessions() if one.deadline <= now]:
            try:
                session.abort()
            except Exception as error:  # noqa: BLE001 - no memory: the others all the same
                failed = error
        if failed is not None:
            raise failed

    async def _drain(self, servers: list[asyncio.Server]) -> None:
        self._reception.stop()
        for server in servers:
            server.close()
        for session in self._sessions():
            session.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                while any(session.busy for session in self._sessions()):
                    await asyncio.sleep(0.01)
        for session in self._sessions():
            session.abort()
        await self._refreshing.close()
        await self.worker.stop(DRAIN)
        await self._trees.stop(DRAIN)
        await self.dns.close()
        self.journal.event(INFO, {"event": "stopped"})
        self._close_listeners()
        self.journal.close()
