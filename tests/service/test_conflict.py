"""Where another writer was faster, the same is tried again: soon, a few times, and not for ever."""

from __future__ import annotations

import pytest

from greylag.service import conflict
from greylag.service.conflict import ENOUGH, PAUSE, TRIES, settled
from greylag.store.base import StoreConflict, StoreUnavailable


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


def test_other_failures_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Steps(monkeypatch, 0)

    def fails() -> str:
        step()
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        settled(fails)
    assert step.tries == 1
