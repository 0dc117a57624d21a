"""From the settings to a running daemon."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec

from greylag.app.config import ConfigError, Settings, load
from greylag.app.dns import sources_of
from greylag.app.options import OPTIONS
from greylag.core.verdict import ERROR, WARN
from greylag.server.daemon import Daemon, Plan
from greylag.server.dialogues import DialogueLimits
from greylag.server.fronts import Endpoint, Rules
from greylag.server.fronts.policy import PolicyDelegation
from greylag.server.listeners import ListenError, TcpPlace, UnixPlace
from greylag.server.reception import ReceptionPlan
from greylag.server.session import Limits
from greylag.server.watch import end_at_once, hold_signals
from greylag.store import open_store, without_password

_M_ARENA_MAX = -8  # of <malloc.h>
_STACK = 1 << 20  # bytes for each thread
STDERR = 2

_DASHBOARD = "web."  # settings of a process of its own


def plan_of(settings: Settings) -> Plan:
    """Return the plan that settings make."""
    server = settings.server
    return Plan(
        rules=Rules(
            settings.policy,
            settings.replies,
            settings.on_failure,
            settings.header,
            settings.values["jgreylist.trees"],
            server.trust_tcp,
            settings.recipients,
        ),
        open_store=lambda: open_store(settings.store_url, timeout=settings.store_timeout),
        store_name=without_password(settings.store_url),
        deadline=float(server.deadline),
        endpoints=_endpoints(settings),
        reception=_reception(settings),
        room=settings.room,
        limits=Limits(server.max_connections, server.max_connections_per_peer),
        log_file=server.log_file,
        log_level=settings.log_level,
        log_times=settings.values["log.times"],
        log_format=settings.values["log.format"],
        metrics=_tcp_place(server.metrics) if server.metrics else None,
        sources=sources_of(settings.dns),
    )


def _endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    server = settings.server
    socket = UnixPlace(server.socket, server.socket_mode, server.socket_group)
    tcp = [Endpoint(_tcp_place(text), PolicyDelegation) for text in server.policy]
    return (Endpoint(socket, PolicyDelegation), *tcp)


def _reception(settings: Settings) -> ReceptionPlan:
    server = settings.server
    mode, group = server.handover_mode, server.handover_group
    socket = UnixPlace(
        server.handover_path(),
        mode if isinstance(mode, int) else server.socket_mode,
        group or server.socket_group,
    )
    values = settings.values
    return ReceptionPlan(
        socket,
        DialogueLimits(
            total=values["jgreylist.max_dialogues"],
            per_network=values["jgreylist.max_per_network"],
            idle=float(values["jgreylist.idle"]),
            tarpit=float(values["jgreylist.tarpit"]),
        ),
        settings.policy,
    )


def _tcp_place(text: str) -> TcpPlace:
    host, _colon, port = text.rpartition(":")
    return TcpPlace(host.strip("[]"), int(port))


def serve(environ: Mapping[bytes, bytes], home: str) -> None:
    """Serve until told to stop. Raises ConfigError, ListenError, OSError before anything starts."""
    _fill_standard_descriptors()
    settings = load(environ, home)
    plan = plan_of(settings)
    if plan.metrics is not None and find_spec("prometheus_client") is None:
        raise ListenError(
            "server.metrics: needs prometheus-client (pip install 'greylag[daemon]'; with Debian's"
            " package of greylag, apt-get install python3-prometheus-client)"
        )
    _collect_rarely()
    _reserve_little()
    hold_signals()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_serve(plan, settings, environ, home))
        except MemoryError:  # in the loop itself; to close all in order takes memory, too
            end_at_once()


def _fill_standard_descriptors() -> None:
    """Open what is closed of 0 to 2, or a client's socket gets the number of stderr."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(handle)


def _need_restart(began_with: Settings, now: Settings) -> list[str]:
    """Return the changed settings that a running daemon cannot apply."""
    return [
        option.key
        for option in OPTIONS
        if option.restart
        and not option.key.startswith(_DASHBOARD)
        and began_with.values[option.key] != now.values[option.key]
    ]


async def _serve(
    plan: Plan, began_with: Settings, environ: Mapping[bytes, bytes], home: str
) -> None:
    daemon: Daemon

    def warn(lines: tuple[str, ...]) -> None:
        for line in lines:
            daemon.journal.event(WARN, {"reason": "config-warning", "error": line})

    def reload() -> Plan | None:
        try:
            settings = load(environ, home)
        except ConfigError as error:
            for line in error.errors:
                daemon.journal.event(ERROR, {"reason": "config-error", "error": line})
            return None
        warn(settings.warnings)
        if keys := _need_restart(began_with, settings):
            told = {"event": "restart-needed", "settings": ",".join(keys)}
            daemon.journal.event(WARN, told)
        return plan_of(settings)

    daemon = Daemon(plan, reload)
    warn(began_with.warnings)
    await daemon.serve()


def _reserve_little() -> None:
    """Keep the address space small, which `softlimit` and RLIMIT_AS bound (P2).

    Each thread would reserve 64 MB for its own part of malloc (mallopt(3)) and 8 MB for its stack.
    Only one thread of Python runs at a time, so one part serves them all.
    """
    with suppress(OSError, AttributeError):  # other C libraries than glibc reserve nothing
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    threading.stack_size(_STACK)


def _collect_rarely() -> None:
    """Let Python look for cycles seldom: answering makes none, and counting references frees all.

    With its own thresholds it walks over the whole cache several times a second: measured, a
    fifth of the processor's time, and pauses of 120 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's, which answers about twice as many attempts; asyncio's own without it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
