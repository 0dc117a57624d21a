"""The history of deferred mail, as a real daemon writes it."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.history import Deferral, Outcome, Sought
from greylag.store import open_store
from tests.server.daemon import Daemon, serving

SHORT = '[policy]\ndelay = "1s"'


def remembered(daemon: Daemon) -> list[Deferral]:
    with closing(open_store(f"sqlite://{daemon.database}", timeout=4)) as store:
        return store.deferrals(Sought(), 1000).deferrals


def until_remembered(daemon: Daemon, number: int) -> list[Deferral]:
    end = time.monotonic() + 20
    while len(found := remembered(daemon)) < number:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_a_life_is_remembered_also_if_the_daemon_ends_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, SHORT) as daemon:
        with daemon.connect() as client:
            deferred = {client.ask() for _ in range(4)}
            time.sleep(1.2)
            assert client.ask() == b"action=DUNNO"
            client.ask(sender="last@example.org")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(20) == 0
        last, first = remembered(daemon)
    assert b"action=DUNNO" not in deferred
    assert (last.triplet.sender, last.outcome) == ("last@example.org", Outcome.WAITING)
    assert (first.tries, first.outcome) == (3, Outcome.PASSED)
    assert first.client == bytes((192, 0, 2, 17))
    assert first.waited in (1, 2)


@pytest.mark.parametrize("table", ["deferrals", "tallies"])
def test_a_history_that_fails_costs_no_answer_and_opens_no_breaker_t34(
    tmp_path: Path, table: str
) -> None:
    with serving(tmp_path, SHORT) as daemon, daemon.connect() as client:
        client.ask()
        until_remembered(daemon, 1)
        with closing(sqlite3.connect(daemon.database)) as db, db:
            db.execute(f"DROP TABLE {table}")
        asked = [client.ask(sender=f"{n}@example.org") for n in range(9)]
        assert daemon.logged("event=history-failed")
        asked += [client.ask(sender=f"later{n}@example.org") for n in range(9)]
        time.sleep(1.5)
        passed = [client.ask(sender=f"{n}@example.org") for n in range(9)]
        assert passed == [b"action=DUNNO"] * 9
        assert b"action=DUNNO" not in asked
        log = daemon.log.read_text()
        assert log.count("event=history-failed") == 1
        assert "event=store-failed" not in log
