"""Who is read before the transaction: those for whom that is likely to be enough.

Statements are counted, not time: what a first contact costs is what its transaction costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from greylag.core.accessindex import AccessIndex
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.evidence import Needs
from greylag.core.question import Question
from greylag.core.verdict import Decision, Reason
from greylag.service.batch import Answered
from greylag.service.deciding import WINDOW, Deciding
from greylag.service.desk import TRUSTED_FOR, Desk
from greylag.service.later import Later
from greylag.store import open_store
from greylag.store.base import StoreConflict
from greylag.store.memory import MemoryStore
from tests.servers.mariadb import Database
from tests.service.asked import decided
from tests.service.test_batch import NOW, POLICY, Counted, asked, everyone, reasons

BATCH = 50


class Batches:
    """Answers batches as the daemon's thread does; keeps who was answered when."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.deciding = Deciding(everyone)
        self.before_commit: list[Question] = []

    def settle(self, items: Sequence[Question], now: int = NOW) -> list[Answered | None]:
        self.before_commit = []
        found = self.deciding.look(self.store, items, now)
        rest = [item for item, one in zip(items, found, strict=True) if one is None]
        answers = self.deciding.write(self.store, rest, Later(), now, self._tell)
        written = iter([None if isinstance(one, Needs) else one for one in answers])
        return [next(written) if one is None else one for one in found]

    def _tell(self, found: Any) -> None:
        self.before_commit += [item for item, _answered in found]

    def flood(self, name: str = "flood", most: int = 10 * WINDOW) -> None:
        """Meet first contacts, and nobody else."""
        for start in range(0, most, BATCH):
            self.settle([asked(f"{name}{start + n}@example.org") for n in range(BATCH)])


def test_first_contacts_are_read_once_where_nearly_all_are_new() -> None:
    store = Counted()
    batches = Batches(store)
    batches.flood(most=WINDOW)
    store.reads = 0
    batches.flood("more", most=10 * BATCH)
    assert store.reads == 10


def test_one_first_contact_after_the_other_is_read_once_too() -> None:
    store = Counted()
    batches = Batches(store)
    for number in range(3 * WINDOW):
        store.reads = 0
        batches.settle([asked(f"s{number}@example.org")])
    assert store.reads == 1


def test_after_a_start_all_are_read_first() -> None:
    """Memory knows nobody then, and most are repeats."""
    store = Counted()
    decided(store, [asked("early@example.org")], Later(), NOW)
    before = store.transactions
    assert reasons(Batches(store).settle([asked("early@example.org")])) == [Reason.EARLY]
    assert store.transactions == before


def test_whom_memory_knows_is_read_first_whatever_the_others_are() -> None:
    store = Counted()
    batches = Batches(store)
    batches.flood()
    before = store.transactions
    again = [asked("flood1@example.org", counts=True)]
    assert reasons(batches.settle(again)) == [Reason.EARLY]
    assert store.transactions == before


def test_who_is_to_be_written_is_read_once() -> None:
    """By what memory holds his delay is over, so to read first would be in vain."""
    store = Counted()
    batches = Batches(store)
    batches.settle([asked("waits@example.org")])
    store.reads = 0
    found = batches.settle([asked("waits@example.org", counts=False)], NOW + 60)
    assert reasons(found) == [Reason.RETRIED]
    assert store.reads == 1


def test_a_repeat_among_first_contacts_is_answered_before_the_commit() -> None:
    """Whoever asks after an attempt that is to be written is answered after it, too."""
    store = Counted()
    batches = Batches(store)
    batches.flood()
    repeat, first, second = map(asked, ("flood1@example.org", "x@example.org", "x@example.org"))
    found = batches.settle([first, repeat, second])
    assert reasons(found) == [Reason.NEW, Reason.EARLY, Reason.EARLY]
    assert batches.before_commit == [repeat]
    assert store.load([repeat.triplet])[repeat.triplet].blocked == 2


def test_repeats_are_read_first_again_once_there_are_many() -> None:
    store = Counted()
    batches = Batches(store)
    batches.flood()
    items = [asked(f"flood{n}@example.org") for n in range(BATCH)]
    for _ in range(WINDOW // BATCH):
        batches.settle(items)
    before = store.transactions
    batches.settle(items)
    assert store.transactions == before


class Beaten(MemoryStore):
    """A store in which another writer is faster, the first time."""

    tries = 0

    def apply(self, changes: Any, figures: Any, now: int) -> None:
        self.tries += 1
        if self.tries == 1:
            raise StoreConflict("another was faster")
        super().apply(changes, figures, now)


def test_who_was_answered_before_a_commit_that_is_tried_again_is_counted_once() -> None:
    store = Beaten()
    one = asked("a@example.org")
    MemoryStore.apply(store, decided(MemoryStore(), [one], Later(), NOW)[0].decision.changes,
                      {}, NOW)  # fmt: skip
    told: list[Any] = []
    decided(store, [one], Later(), NOW, before_commit=told.extend)
    assert [item for item, _answered in told] == [one, one]  # the second time nobody waits
    assert store.load([one.triplet])[one.triplet].blocked == 2


def test_memory_tells_who_only_counts_by_what_it_holds() -> None:
    """Too old to be believed, it still tells what is likely."""
    watch, clock = [0.0], [NOW]
    desk = Desk(clock=lambda: clock[0], stopwatch=lambda: watch[0])
    desk.use_lists(AccessIndex())
    store = MemoryStore()

    def ask() -> Question | Decision:
        question = precheck(Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net"), POLICY)
        assert not isinstance(question, Decision)
        return desk.look_up(question)

    found = ask()
    assert isinstance(found, Question)
    assert found.counts is None
    desk.learn(found, decided(store, [found], Later(), NOW)[0])
    assert isinstance(ask(), Decision)
    watch[0] += TRUSTED_FOR
    found = ask()
    assert isinstance(found, Question)
    assert found.counts is True
    clock[0] += POLICY.delay
    found = ask()
    assert isinstance(found, Question)
    assert found.counts is False


def test_a_batch_of_first_contacts_is_one_select_on_mysql(database: Database) -> None:
    """Beside the one that waits for our turn: as many as before repeats were read apart."""

    def selects() -> int:
        with database.server.connect() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")
            row = cursor.fetchone()
        assert row is not None
        return int(row[1])

    with closing(open_store(database.url, timeout=10)) as store:
        batches = Batches(store)
        batches.flood(most=WINDOW)
        before = selects()
        batches.flood("more", most=4 * BATCH)
        assert selects() - before == 4 * 2


def test_a_repeat_among_first_contacts_waits_for_no_other_writer(tmp_path: Path) -> None:
    """A long writer would cost it the deadline, and then it is let in."""
    path = tmp_path / "greylag.db"
    with (
        closing(open_store(f"sqlite://{path}", timeout=10)) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        batches = Batches(store)
        batches.settle([asked("early@example.org")])
        batches.flood(most=2 * WINDOW)
        other.execute("BEGIN IMMEDIATE")
        told: list[list[tuple[Question, Reason]]] = []

        def tell(found: Any) -> None:
            told.append([(item, answered.decision.reason) for item, answered in found])
            if other.in_transaction:
                other.execute("ROLLBACK")  # only now can the batch be written

        first, repeat = asked("x@example.org"), asked("early@example.org")
        answers = batches.deciding.write(store, [first, repeat], Later(), NOW, tell)
        assert reasons(answers) == [Reason.NEW, Reason.EARLY]
        assert told == [[(repeat, Reason.EARLY)]] * 2
        assert store.load([repeat.triplet])[repeat.triplet].blocked == 2
