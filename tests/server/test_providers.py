"""The daemon resolves the records of big senders once a day (T28)."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep, time

import pytest

from greylag.core.policy import Room
from greylag.core.value import replace
from greylag.server.errands import Errands
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.providers import DAY, Refreshing, due
from greylag.server.storeevents import StoreEvents
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.exchange import Server
from greylag.service.dns.resolver import Resolver
from greylag.service.providers import OWN, Known, Provider, known, put, read_known, take
from greylag.store import open_store
from greylag.store.base import Store, StoreError, StoreUnavailable
from greylag.store.memory import MemoryStore
from tests.server.daemon import serving
from tests.servers.knot import running
from tests.service.test_providers import let_in, ranges

NOW = int(time())
OLD = NOW - DAY - 60
PATIENCE = 20.0
OURS = Provider("ours", "_spf.example.org", status=OWN)
RECORD = "ip4:192.0.2.0/24"


@contextmanager
def name_server(folder: Path, **records: str) -> Iterator[Server]:
    zone = "".join(f'{name} TXT "v=spf1 {text} -all"\n' for name, text in records.items())
    with running(Path(tempfile.mkdtemp(dir=folder)), {"example.org": zone}) as server:
        yield server


def url(folder: Path) -> str:
    return f"sqlite://{folder}/greylag.db"


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    with closing(open_store(url(folder), timeout=4)) as store:
        yield store


def with_ours(folder: Path, record: str = RECORD, now: int = OLD) -> None:
    """Put our provider into the store, as it was resolved then."""
    with opened(folder) as store:
        found = known(store)
        put(store, found, OURS, now)
        if record:
            take(store, found, "ours", ranges(record.replace("ip4:", "")), now, force=False)


class World:
    """A worker with a store, and what refreshes in its loop."""

    def __init__(self, folder: Path, server: Server | None) -> None:
        self.folder = folder
        self.server = server
        self.metrics = Metrics()
        self.events: list[dict[str, object]] = []
        self.looks = 0

    def run(self, until: Callable[[], bool]) -> None:
        """Let it go on until something is so."""
        asyncio.run(self._run(until))

    async def _run(self, until: Callable[[], bool]) -> None:
        journal = Journal()
        journal.event = lambda _level, fields: self.events.append(dict(fields))  # type: ignore[method-assign, assignment]
        worker = Worker(
            Desk(),
            lambda: open_store(url(self.folder), timeout=4),
            StoreEvents(journal, self.metrics),
            deadline=2,
            room=Room(),
        )
        worker.start()
        resolver = Resolver([self.server]) if self.server else None

        def asked() -> Resolver | None:
            self.looks += 1
            return resolver

        refreshing = Refreshing(
            worker.errands, asked, journal, self.metrics, first=(0, 0), every=(0.3, 0.3)
        )
        try:
            async with asyncio.timeout(PATIENCE):
                while not until():
                    refreshing.tick()
                    await asyncio.sleep(0.02)
        finally:
            await refreshing.close()
            await worker.stop(4)

    def named(self, event: str) -> list[dict[str, object]]:
        return [told for told in self.events if told.get("event") == event]


def test_a_record_is_resolved_again_after_a_day(tmp_path: Path) -> None:
    with_ours(tmp_path)
    with name_server(tmp_path, _spf=f"{RECORD} ip4:198.51.100.7") as server:
        world = World(tmp_path, server)
        world.run(lambda: bool(world.named("providers-refreshed")))
    with opened(tmp_path) as store:
        assert let_in(store, "198.51.100.7") == {"ours"}
        assert known(store).providers["ours"].refreshed >= NOW
    assert (world.metrics.providers, world.metrics.provider_refused) == (1, 0)
    assert world.metrics.oldest_provider >= NOW


def test_a_change_of_30_percent_is_refused_and_told_once(tmp_path: Path) -> None:
    """T28."""
    with_ours(tmp_path)
    with name_server(tmp_path, _spf=f"{RECORD} ip4:198.51.100.0/25") as server:
        world = World(tmp_path, server)
        world.run(lambda: bool(world.metrics.provider_refused))
    (told,) = world.named("provider-refused")
    assert told["provider"] == "ours"
    assert told["error"] == "50 % of its IPv4 addresses would change"
    assert world.metrics.oldest_provider == OLD
    assert world.metrics.provider_refused >= NOW
    with opened(tmp_path) as store:
        assert let_in(store, "192.0.2.7") == {"ours"}
        assert let_in(store, "198.51.100.7") == set()


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ({"_spf": "exists:a.example.org"}, "has no ranges"),
        ({"other": RECORD}, "has no SPF record"),
        ({"_spf": "ip4:1"}, "is faulty"),
    ],
)
def test_an_empty_or_faulty_answer_changes_nothing_and_is_told(
    tmp_path: Path, records: dict[str, str], why: str
) -> None:
    """T28."""
    with_ours(tmp_path)
    with name_server(tmp_path, **records) as server:
        world = World(tmp_path, server)
        world.run(lambda: bool(world.named("provider-failed")))
    assert why in str(world.named("provider-failed")[0]["error"])
    with opened(tmp_path) as store:
        assert let_in(store, "192.0.2.7") == {"ours"}
        assert why in known(store).providers["ours"].outcome


@pytest.mark.parametrize("case", ["never resolved", "fresh", "another host tried just now"])
def test_nothing_is_resolved_that_is_not_due(tmp_path: Path, case: str) -> None:
    """One host of several is enough, and nothing is used before an admin asked for it."""
    with_ours(tmp_path, "" if case == "never resolved" else RECORD, NOW if case == "fresh" else OLD)
    if case == "another host tried just now":
        with opened(tmp_path) as store:
            found = known(store)
            put(store, found, replace(found.providers["ours"], tried=NOW), NOW)
    with name_server(tmp_path, _spf="ip4:198.51.100.0/24") as server:
        world = World(tmp_path, server)
        looked = iter(range(1000))
        world.run(lambda: next(looked) > 60)
    assert not world.events
    with opened(tmp_path) as store:
        assert let_in(store, "198.51.100.7") == set()


def test_where_nobody_is_asked_nothing_is_looked_at(tmp_path: Path) -> None:
    with_ours(tmp_path)
    world = World(tmp_path, None)
    world.run(lambda: world.looks > 20)
    assert not world.events
    assert not world.metrics.providers


def test_a_store_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_ours(tmp_path)
    fails = iter([True, True])

    def reading(store: Store) -> Generator[None, None, Known]:
        if next(fails, False):
            raise StoreError("the disk is full")
        return read_known(store)

    monkeypatch.setattr("greylag.server.providers.read_known", reading)
    with name_server(tmp_path, _spf=RECORD) as server:
        world = World(tmp_path, server)
        world.run(lambda: bool(world.named("providers-refreshed")))
    (told,) = world.named("provider-failed")
    assert told == {"event": "provider-failed", "error": "the disk is full"}


def test_dns_that_is_away_is_not_asked_about_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greylag.service.dns.published.published.__defaults__", (1,))
    with opened(tmp_path) as store:
        found = known(store)
        for number in range(9):
            one = Provider(f"p{number}", f"p{number}.example.com", status=OWN)
            put(store, found, one, OLD)
            take(store, found, one.name, ranges(f"192.0.2.{number}"), OLD, force=False)
    with name_server(tmp_path) as server:  # it refuses to answer about example.com
        world = World(tmp_path, server)
        world.run(lambda: len(world.named("provider-failed")) >= 3 and world.looks > 0)
    with opened(tmp_path) as store:
        tried = [p for p in known(store).providers.values() if p.tried >= NOW]
    assert len(tried) == 3


def test_the_oldest_is_due_first_and_a_wrong_clock_holds_nothing_up() -> None:
    def one(name: str, refreshed: int, tried: int = 0) -> Provider:
        return Provider(name, f"{name}.example.org", "", OWN, refreshed, tried or refreshed)

    all_of_them = [
        one("fresh", NOW - 10),
        one("old", NOW - DAY),
        one("older", NOW - 2 * DAY),
        one("tried", NOW - 3 * DAY, NOW - 60),
        one("ahead", NOW + 3 * DAY),
        Provider("never", "never.example.org", status=OWN),
    ]
    found = Known({provider.name: provider for provider in all_of_them}, {})
    assert [provider.name for provider in due(found, NOW)] == ["older", "old", "ahead"]


@pytest.mark.parametrize(
    ("error", "usable"),
    [(StoreError("x"), True), (StoreUnavailable("x"), False), (ValueError("x"), False)],
)
def test_an_errand_that_fails_ends_alone(
    error: Exception, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    errands, told, store = Errands(), list[object](), MemoryStore()

    def fails(_store: Store) -> Iterator[None]:
        yield
        raise error

    def works(_store: Store) -> Iterator[None]:
        yield

    errands.put(fails, told.append)
    errands.put(works, told.append)
    monkeypatch.setattr("greylag.server.errands.STEP_EVERY", 0.0)
    assert errands.step(store)
    assert errands.step(store) is usable
    assert [errands.step(store) for _ in range(4)] == [True] * 4
    assert told == [error, None]


def test_a_while_passes_between_two_steps() -> None:
    errands, told, store = Errands(), list[object](), MemoryStore()
    steps: list[int] = []

    def works(_store: Store) -> Iterator[None]:
        for number in range(1000):
            steps.append(number)
            yield

    errands.put(works, told.append)
    began = monotonic()
    while len(steps) < 3:
        assert errands.step(store)
    assert monotonic() - began > 0.19


def test_the_daemon_lets_a_big_sender_in_and_keeps_it_up_to_date(tmp_path: Path) -> None:
    """T28: from the record in DNS to the answer."""
    with_ours(tmp_path)
    with name_server(tmp_path, _spf=f"{RECORD} ip4:198.51.100.7") as (address, port):
        settings = f'[dns]\nservers = ["{address}:{port}"]\n'
        with serving(tmp_path, settings) as daemon, daemon.connect() as connection:
            assert daemon.logged("event=providers-refreshed providers=1", 40)
            assert daemon.logged("event=started")
            for number in range(200):  # until the lists are read again
                sender = f"{number}@example.org"
                if b"DUNNO" in connection.ask(client_address="198.51.100.7", sender=sender):
                    break
                sleep(0.05)
            assert daemon.logged("reason=provider")
    assert re.search(r"reason=provider .*entry=198\.51\.100\.7", daemon.log.read_text())
