"""A wall clock that jumps under a daemon (P18, T30)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from greylag.core.accessindex import AccessIndex
from greylag.core.policy import Room
from greylag.server.exporter import DaemonCollector
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.storeevents import StoreEvents
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking
from greylag.store.memory import MemoryStore

NOW = 1_700_000_000.0


@pytest.mark.parametrize(("jump", "pause"), [(400 * 86400, 86400), (-2 * 86400, 3600)])
def test_a_jump_of_the_clock_is_told_in_the_log_and_the_figures_p18_t30(
    tmp_path: Path, jump: int, pause: int
) -> None:
    async def serve() -> str:
        journal, metrics, desk = Journal(str(tmp_path / "log"), 5), Metrics(), Desk()
        desk.use_lists(AccessIndex([]))
        clock = [NOW]
        events = StoreEvents(journal, metrics)
        worker = Worker(
            desk, MemoryStore, events, deadline=5.0, room=Room(), clock=lambda: clock[0]
        )
        worker.start()
        await asyncio.sleep(0.2)
        clock[0] += jump
        for _ in range(100):
            await asyncio.sleep(0.1)
            if "clock-jumped" in (tmp_path / "log").read_text():
                break
        registry = CollectorRegistry()
        registry.register(DaemonCollector(metrics, desk, worker, journal, Asking()))
        await worker.stop(5)
        return generate_latest(registry).decode()

    figures = asyncio.run(serve())
    log = (tmp_path / "log").read_text()
    assert log.count("event=clock-jumped") == 1
    assert f"pause={pause}" in log
    assert "greylag_clock_jumps_total 1.0" in figures
    assert "greylag_expiry_paused 1.0" in figures
