"""Where another writer was faster, the same is tried again: soon, a few times, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.service import Service, conflict
from greylag.service.conflict import ENOUGH, PAUSE, TRIES, Tries
from greylag.service.deciding import Deciding
from greylag.service.later import Later
from greylag.store.base import StoreConflict, StoreError, StoreUnavailable
from greylag.store.memory import MemoryStore


class Steps:
    """A step that meets so many conflicts, each of which takes so many seconds; and its pauses."""

    def __init__(self, patch: pytest.MonkeyPatch, conflicts: int, takes: float = 0.0) -> None:
        self.now = 0.0
        self.takes = takes
        self.left = conflicts
        self.tries = 0
        self.pauses: list[float] = []
        patch.setattr(conflict, "monotonic", lambda: self.now)
        patch.setattr(conflict, "sleep", self.pauses.append)

    def __call__(self) -> str:
        self.tries += 1
        self.now += self.takes
        if self.left:
            self.left -= 1
            raise StoreConflict("another was faster")
        return "done"


def settled(step: Callable[[], str]) -> str:
    tries = Tries()
    while True:
        try:
            return step()
        except StoreConflict as conflict:
            tries.lost(conflict)


def test_what_succeeds_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Steps(monkeypatch, 0)
    assert settled(step) == "done"
    assert (step.tries, step.pauses) == (1, [])


def test_pauses_grow_and_differ_between_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Steps(monkeypatch, TRIES - 1)
    assert settled(step) == "done"
    assert step.tries == TRIES
    assert len(step.pauses) == TRIES - 1
    for number, pause in enumerate(step.pauses):
        assert 0 <= pause <= 2 * PAUSE * 2**number
    assert len(set(step.pauses)) == TRIES - 1
    assert max(step.pauses) > 2 * PAUSE


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Steps(monkeypatch, 1000)
    with pytest.raises(StoreConflict):
        settled(step)
    assert step.tries == TRIES


@pytest.mark.parametrize(("takes", "tries"), [(ENOUGH * 2, 2), (ENOUGH / 2 + 0.01, 2), (0.3, 4)])
def test_who_waited_for_long_tries_once_more(
    monkeypatch: pytest.MonkeyPatch, takes: float, tries: int
) -> None:
    step = Steps(monkeypatch, 1000, takes)
    with pytest.raises(StoreConflict):
        settled(step)
    assert step.tries == tries
    step = Steps(monkeypatch, 1, takes)
    assert settled(step) == "done"


class Away(MemoryStore):
    """A store that is away, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        self.asked += 1
        raise StoreUnavailable("away")


def test_other_failures_are_not_tried_again() -> None:
    attempt = Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net")
    question = precheck(attempt, Policy())
    assert isinstance(question, Question)
    deciding = Deciding(lambda: lambda _question: True)
    told: list[StoreError] = []
    store = Away()
    Service(lambda: store, report=told.append).answer(question)
    assert (len(told), store.asked) == (1, 1)
    with pytest.raises(StoreUnavailable):
        deciding.look(store, [question], 1_700_000_000)
    with pytest.raises(StoreUnavailable):
        deciding.write(store, [question], Later(), 1_700_000_000)
    assert store.asked == 3
