"""Daemons on a real Galera cluster of three nodes (R7, P1, P8)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import Filter
from greylag.store.mysql_schema import DATA, FIGURES, LISTS
from tests.server.daemon import Daemon, serving
from tests.server.test_failure import DEFERRED, LET_IN, until_deferred
from tests.servers.galera import DATABASE, Node, cluster, url

CLIENTS, ROUNDS = 8, 25


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    with cluster(tmp_path_factory.mktemp("galera")) as made:
        with made[0].connect(DATABASE) as cursor:
            for statement in (LISTS, DATA, FIGURES):
                cursor.execute(statement)
        yield made


@contextmanager
def on(folder: Path, *nodes: Node, delay: str = "2s") -> Iterator[Daemon]:
    """Run a daemon on these nodes, the first of them first."""
    folder.mkdir()
    config = folder / "greylag.toml"
    config.write_text(
        f'[policy]\ndelay = "{delay}"\n[store]\nurl = "{url(*nodes)}"\n'
        f'[server]\nsocket = "{folder}/s"\n# {len(nodes)} nodes\n'
    )
    with serving(folder, config=config) as running:
        yield running


def found(node: Node, sender: str) -> list[tuple[Triplet, Record]]:
    with closing(open_store(url(node), timeout=4)) as store:
        return list(store.search(Filter(sender=sender), 9999))


def test_seen_first_on_one_node_passes_on_the_other_r7(nodes: list[Node], tmp_path: Path) -> None:
    with (
        on(tmp_path / "a", nodes[0]) as first,
        on(tmp_path / "b", nodes[1]) as second,
        first.connect() as one,
        second.connect() as other,
    ):
        sender = "both@example.org"
        assert one.ask(sender=sender).startswith(DEFERRED)
        assert other.ask(sender=sender).startswith(DEFERRED)
        time.sleep(3.1)
        assert other.ask(sender=sender) == LET_IN
        assert one.ask(sender=sender) == LET_IN
        assert one.ask(sender="x@example.org").startswith(DEFERRED), "let in, as it should be"


def test_two_nodes_that_write_the_same_rows_let_nobody_in_early_p8(
    nodes: list[Node], tmp_path: Path
) -> None:
    """Certification refuses one of two writes at once: it is tried again, or let in and told."""
    answers: list[bytes] = []

    def ask(daemon: Daemon) -> None:
        with daemon.connect() as client:
            answers.extend(client.ask(sender=f"same{n}@example.org") for n in range(ROUNDS))

    with (
        on(tmp_path / "a", nodes[0], delay="5m") as first,
        on(tmp_path / "b", nodes[1], delay="5m") as second,
    ):
        threads = [
            threading.Thread(target=ask, args=((first, second)[number % 2],))
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logs = first.log.read_text() + second.log.read_text()
    assert len(answers) == CLIENTS * ROUNDS
    early = sum(answer == LET_IN for answer in answers)
    assert early == logs.count("reason=store-unavailable")
    assert early < len(answers) / 4
    keys = {triplet for triplet, _ in found(nodes[2], "same")}
    assert len(keys) == ROUNDS


def test_a_node_without_its_majority_is_left_for_the_next_p1(
    nodes: list[Node], tmp_path: Path
) -> None:
    *_, last = nodes
    with on(tmp_path / "a", last, nodes[0]) as daemon, daemon.connect() as client:
        assert client.ask(sender="before@example.org").startswith(DEFERRED)
        last.isolate(True)
        try:
            last.wait("wsrep_cluster_status", "non-Primary")
            until_deferred(client, "during@example.org")
            assert found(nodes[1], "during@")
        finally:
            last.isolate(False)
            last.wait("wsrep_local_state_comment", "Synced")
    with on(tmp_path / "b", last) as daemon, daemon.connect() as client:
        time.sleep(2)
        assert client.ask(sender="during@example.org") == LET_IN
        assert daemon.logged("reason=retried")


def test_a_node_that_is_killed_under_load_costs_no_record_p1_p8(
    nodes: list[Node], tmp_path: Path
) -> None:
    """What was deferred is known to the others; who asks meanwhile has an answer in time."""
    *_, last = nodes
    answers: dict[str, bytes] = {}
    slowest = 0.0
    with on(tmp_path / "a", last, nodes[0]) as daemon, daemon.connect() as client:
        for number in range(120):
            if number == 40:
                last.stop(signal.SIGKILL)
            began = time.monotonic()
            sender = f"load{number}.@example.org"
            answers[sender] = client.ask(sender=sender)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.02)
        until_deferred(client, "after@example.org")
    last.start()
    last.wait("wsrep_local_state_comment", "Synced")
    known = {triplet.sender for triplet, _ in found(last, "load")}
    assert known >= {sender for sender, answer in answers.items() if answer.startswith(DEFERRED)}
    assert sum(answer.startswith(DEFERRED) for answer in answers.values()) >= 40
    assert slowest < 6
