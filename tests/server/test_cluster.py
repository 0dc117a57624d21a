"""Daemons on a real Galera cluster of three nodes (R7, P1, P8)."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from greylag.admin.deferrals import meant, of_id
from greylag.admin.release import release
from greylag.core.history import Begun, By, Deferral, Ended, Event, Outcome, Sought, Tally, Tried
from greylag.core.policy import SPARING, Kept
from greylag.core.record import Blocked, Created
from greylag.core.shortid import short_id
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.service.conflict import Tries
from greylag.store import open_store
from greylag.store.base import Filter, Store, StoreConflict, StoreError
from greylag.store.mysql.schema import ACTIONS, DATA, DAYS, DEFERRALS, FIGURES, LISTS, TALLIES
from tests.server.daemon import Daemon, serving, write_config
from tests.server.test_failure import DEFERRED, LET_IN, Load, until_deferred
from tests.servers.galera import DATABASE, NODES, Node, cluster, url
from tests.servers.mariadb import PASSWORD
from tests.work import LATE

NOW = 1_800_000_000
KEY = Triplet(b"\xc0\0\2\0", "a@example.org", "b@example.net")
FIRST = Created(KEY, NOW, NOW + 300, NOW + 172_800)
CLIENTS, ROUNDS, RECIPIENTS = 8, 30, 5


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    with cluster(tmp_path_factory.mktemp("galera")) as made:
        with made[0].connect(DATABASE) as cursor:
            for statement in (LISTS, DATA, FIGURES, DEFERRALS, TALLIES, DAYS, ACTIONS):
                cursor.execute(statement)
        yield made


@pytest.fixture
def nodes(started: list[Node]) -> list[Node]:
    """Three nodes that are one, with nothing in their tables."""
    until_whole(started)
    with started[0].connect(DATABASE) as cursor:
        cursor.execute("DELETE FROM greylisting_data")
        for table in ("figures", "deferrals", "tallies", "days", "actions"):
            cursor.execute(f"DELETE FROM greylag_{table}")
    return started


def until_whole(nodes: list[Node]) -> None:
    for node in nodes:
        node.wait("wsrep_cluster_size", str(NODES))
        node.wait("wsrep_local_state_comment", "Synced")


@contextmanager
def on(folder: Path, *nodes: Node, delay: str = "5m") -> Iterator[Daemon]:
    """Run a daemon on these nodes, the first of them first."""
    folder.mkdir()
    config = write_config(folder, f'[policy]\ndelay = "{delay}"', url=url(*nodes))
    with serving(folder, config=config) as running:
        yield running


def rows(node: Node, statement: str) -> tuple[tuple[object, ...], ...]:
    """Return what root sees on a node, which waits for all that was committed on any."""
    with node.connect(DATABASE) as cursor:
        cursor.execute("SET SESSION wsrep_sync_wait = 1")
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def senders(node: Node) -> set[object]:
    return {row[0] for row in rows(node, "SELECT mail_from FROM greylisting_data")}


def reasons(daemon: Daemon) -> set[str]:
    """Return why it let in, but for the question by which a test finds out that it runs."""
    found = re.findall(r"verdict=pass reason=(\S+)", daemon.log.read_text())
    return {*found} - {"invalid-client"}


def test_seen_first_on_one_node_passes_on_the_other_r7(nodes: list[Node], tmp_path: Path) -> None:
    """RFC 6647 5.4: each MX asks another node."""
    with (
        on(tmp_path / "a", *nodes, delay="4s") as first,
        on(tmp_path / "b", *reversed(nodes), delay="4s") as second,
        first.connect() as one,
        second.connect() as other,
    ):
        assert other.ask(sender="opens@example.org").startswith(
            DEFERRED
        )  # its store, which takes time
        assert one.ask().startswith(DEFERRED)
        assert other.ask().startswith(DEFERRED)
        time.sleep(5.1)
        assert other.ask() == LET_IN
        assert one.ask() == LET_IN
        assert one.ask(sender="x@example.org").startswith(DEFERRED), "let in, as it should be"
    counts = "SELECT COUNT(*), SUM(blocked_count), SUM(passed_count) FROM greylisting_data"
    assert rows(nodes[1], f"{counts} WHERE mail_from LIKE 'a@%'") == ((1, 2, 2),)


def ask_about_the_same(daemons: tuple[Daemon, Daemon]) -> list[bytes]:
    """Ask two daemons about the same triplets, and others between, all at once."""
    answers: list[bytes] = []

    def ask(number: int) -> None:
        with daemons[number % 2].connect() as client:
            for part in range(ROUNDS):
                recipient = f"r{part % RECIPIENTS}@example.net"
                answers.append(client.ask(recipient=recipient))
                answers.append(client.ask(sender=f"{number}-{part}@example.org"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_two_nodes_that_write_the_same_rows_count_each_attempt_p8(
    nodes: list[Node], tmp_path: Path
) -> None:
    """Who loses against the other node tries again: no attempt is let in, and none is lost."""
    with on(tmp_path / "a", nodes[0]) as first, on(tmp_path / "b", nodes[1]) as second:
        answers = ask_about_the_same((first, second))
        logs = first.log.read_text() + second.log.read_text()
    assert len(answers) == 2 * CLIENTS * ROUNDS
    assert all(answer.startswith(DEFERRED) for answer in answers)
    assert "event=store-failed" not in logs
    until_whole(nodes)
    for node in (nodes[0], nodes[2]):  # where rows doubled, all readers see the record they mean
        assert len(rows(node, "SELECT id FROM greylisting_data")) >= CLIENTS * ROUNDS + RECIPIENTS
        with closing(open_store(url(node), timeout=4)) as store:
            keys = {triplet for triplet, _record in store.search(Filter(sender="a@"), 1000)}
            blocked = [record.blocked for record in store.load(list(keys)).values()]
            assert blocked == [CLIENTS * ROUNDS // RECIPIENTS] * RECIPIENTS
            figures = list(store.figures(0, 2 * NOW).values())
            assert sum(sum(hour.values()) for hour in figures) == len(answers)


def test_a_commit_that_loses_is_a_conflict_and_leaves_no_lock_p8(nodes: list[Node]) -> None:
    """1213 at COMMIT: nothing was done, nobody is kept waiting, and the same again works."""
    with (
        closing(open_store(url(nodes[0]), timeout=2)) as one,
        closing(open_store(url(nodes[0]), timeout=2)) as beside,
        closing(open_store(url(nodes[1]), timeout=2)) as other,
    ):
        one.apply([FIRST], {}, NOW)
        assert rows(nodes[1], "SELECT blocked_count FROM greylisting_data") == ((1,),)
        transaction = one.transaction()
        transaction.__enter__()
        one.apply([Blocked(KEY, 10)], {}, NOW)
        other.apply([Blocked(KEY, 100)], {}, NOW)
        with pytest.raises(StoreConflict):
            transaction.__exit__(None, None, None)
        beside.apply([Blocked(KEY, 1000)], {}, NOW)
        one.apply([Blocked(KEY, 10)], {}, NOW)
    assert rows(nodes[2], "SELECT blocked_count FROM greylisting_data") == ((1111,),)


def remember(store: Store, together: threading.Barrier, *events: Event) -> None:
    """Write into the history at the same moment as others do, again where another was faster."""
    together.wait(20)
    tries = Tries()
    while True:
        try:
            return store.remember(events, NOW)
        except StoreConflict as conflict:
            tries.lost(conflict)


def test_what_two_nodes_see_at_once_is_remembered_and_ends_together_p8(nodes: list[Node]) -> None:
    """Each makes a deferral of the same first contact; what happens later happens to both."""
    keys = [replace(KEY, recipient=f"r{number}@example.net") for number in range(20)]
    first: list[Event] = [Begun(Deferral(key, NOW, NOW + 300)) for key in keys]
    together = threading.Barrier(2)
    with (
        closing(open_store(url(nodes[0]), timeout=4)) as one,
        closing(open_store(url(nodes[1]), timeout=4)) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        for part in ([began] for began in first):
            for done in [pool.submit(remember, store, together, *part) for store in (one, other)]:
                done.result()
        until_whole(nodes)
        tries = [Tried(key, NOW + 60) for key in keys]
        for done in [pool.submit(remember, store, together, *tries) for store in (one, other)]:
            done.result()
        rows(nodes[0], "SELECT 1")
        one.remember([Ended(key, NOW + 400, Outcome.PASSED) for key in keys], NOW)
    rows(nodes[2], "SELECT 1 FROM greylag_deferrals")
    with closing(open_store(url(nodes[2]), timeout=4)) as reader:
        found = reader.deferrals(Sought(), 1000).deferrals
        assert len(found) == 2 * len(keys)
        assert {one.outcome for one in found} == {Outcome.PASSED}
        assert {one.tries for one in found} == {2}
        sums = reader.tallies(0, 2 * NOW, By.RECIPIENT_DOMAIN, 9)
        assert sums == {"example.net": Tally(2 * len(keys), len(keys), 400 * len(keys))}
        assert reader.forget_history(Kept(NOW, 3 * len(keys)), NOW, 7) == 0
    assert len(rows(nodes[2], "SELECT DISTINCT node FROM greylag_tallies")) == 2


def test_nodes_count_in_rows_of_their_own(nodes: list[Node]) -> None:
    """Else each commit of a node would be in the way of one of another's: all count."""
    stores = [open_store(url(node), timeout=2) for node in nodes]
    for number, store in enumerate(stores):
        store.apply([], {"defer:new": 10**number}, NOW)
    assert len(rows(nodes[0], "SELECT name FROM greylag_figures WHERE hour >= 0")) == NODES
    for store in stores:
        store.check()
        assert list(store.figures(0, 2 * NOW).values()) == [{"defer:new": 111}]
        store.close()


def test_a_node_without_its_majority_is_left_for_the_next_p1_p8(
    nodes: list[Node], tmp_path: Path
) -> None:
    """Its clients reach it, and it answers; the next host is used instead."""
    *_, last = nodes
    with on(tmp_path / "a", last, nodes[0]) as daemon, daemon.connect() as client:
        assert client.ask(sender="before@example.org").startswith(DEFERRED)
        last.isolate(True)
        try:
            last.wait("wsrep_cluster_status", "non-Primary")
            until_deferred(client, "during@example.org")
            assert recovered(daemon)
            with pytest.raises(StoreError, match=str(last.port)):
                open_store(url(last), timeout=2).check()
            for dirty_reads in (0, 1):  # 1: it reads its tables, and refuses to write alone
                with last.connect() as cursor:
                    cursor.execute("SET GLOBAL wsrep_dirty_reads = %s", (dirty_reads,))
                with on(tmp_path / f"b{dirty_reads}", last, nodes[1]) as late:
                    with late.connect() as newcomer:
                        sender = f"late{dirty_reads}@example.org"
                        assert newcomer.ask(sender=sender).startswith(DEFERRED)
                    assert "event=store-failed" not in late.log.read_text()
        finally:
            last.isolate(False)
            with last.connect() as cursor:
                cursor.execute("SET GLOBAL wsrep_dirty_reads = 0")
        assert reasons(daemon) <= {"store-unavailable"}
    until_whole(nodes)
    kept = {f"{name}@example.org" for name in ("before", "during", "late0", "late1")}
    assert kept <= senders(last)


def recovered(daemon: Daemon) -> bool:
    """Tell whether a failure that was told has ended; none is told where another host took over.

    So it is where what happened to mail is written just then, and finds that the node is gone.
    """
    log = daemon.log.read_text()
    return "event=store-failed" not in log or daemon.logged("event=store-recovered", 60)


def how_long(daemon: Daemon, number: int) -> float:
    """Return how many seconds an answer takes."""
    time.sleep(0.02)
    began = time.monotonic()
    with daemon.connect() as client:
        client.ask(sender=f"took{number}@example.org")
    return time.monotonic() - began


def test_a_node_that_is_killed_under_load_costs_no_record_p1_p8(
    nodes: list[Node], tmp_path: Path
) -> None:
    """What was deferred is known to the others, nobody is let in as known, and work goes on."""
    *_, second, last = nodes
    with on(tmp_path / "a", last, nodes[0]) as struck, on(tmp_path / "b", second) as spared:
        clients = [Load((struck, spared)[number % 2], f"c{number}") for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            time.sleep(1)
            last.stop(signal.SIGKILL)
            took = [how_long(spared, number) for number in range(100)]
            with struck.connect() as asker:  # the node that is left has to keep it
                until_deferred(asker, "meanwhile@example.org")
            assert recovered(struck)
        finally:
            for client in clients:
                client.stop.set()
            for client in clients:
                client.join()
            last.start()
        for daemon in (struck, spared):
            with daemon.connect() as asker:
                until_deferred(asker, "after@example.org")
            assert reasons(daemon) <= {"store-unavailable"}
            assert "Traceback" not in daemon.log.read_text()
            assert PASSWORD not in daemon.log.read_text()
    assert max(took) < 1 + LATE
    deferred = {sender for client in clients for sender in client.deferred}
    assert len(deferred) > 100
    assert {answer for client in clients for answer in client.others} <= {LET_IN}
    until_whole(nodes)
    for node in (second, last):
        assert deferred <= senders(node)


def test_mail_that_two_admins_release_on_two_nodes_is_let_in_on_the_third_p8(
    nodes: list[Node], tmp_path: Path
) -> None:
    """At the same moment, and the daemon that lets it in has it in memory."""
    keys = [replace(KEY, sender=f"s{number}@example.org") for number in range(10)]

    def release_all(node: Node) -> None:
        with closing(open_store(url(node), timeout=4)) as store:
            for key in keys:
                end = time.monotonic() + 10
                wanted = of_id(short_id(key))
                while not (found := meant(store, wanted, SPARING, int(time.time())).standings):
                    assert time.monotonic() < end
                    time.sleep(0.05)
                release(store, [one.deferral for one in found], int(time.time()), who="admin")

    with on(tmp_path / "d", nodes[0]) as daemon, daemon.connect() as client:
        for key in keys * 2:
            assert client.ask(sender=key.sender).startswith(DEFERRED)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(release_all, nodes[1:]))
        end = time.monotonic() + 10
        while not all(client.ask(sender=key.sender).startswith(LET_IN) for key in keys):
            assert time.monotonic() < end
            time.sleep(0.1)
