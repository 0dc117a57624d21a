"""What takes long to count holds up no page."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event

import pytest

from greylag.store import backend_of
from greylag.store.base import Store, StoreUnavailable
from greylag.web.kept import OLDEST, PATIENCE, Kept
from greylag.web.stores import Stores


def test_a_page_waits_for_a_moment_and_shows_what_was_counted_before(tmp_path: Path) -> None:
    stores = Stores(backend_of("memory:"), 4, read_only=False)
    kept, go_on, asked = Kept(stores), Event(), [0]

    def slowly(store: Store) -> int:
        asked[0] += 1
        go_on.wait(20)
        return asked[0]

    began = time.monotonic()
    assert kept.of("x", 1000, 60, slowly) is None
    assert kept.of("x", 1001, 60, slowly) is None  # and is not begun twice
    assert time.monotonic() - began < 20 * PATIENCE
    go_on.set()
    while kept.of("x", 1002, 60, slowly) is None:
        assert time.monotonic() - began < 20
    assert kept.of("x", 1003, 60, slowly) == 1
    go_on.clear()
    assert kept.of("x", 1000 + OLDEST - 1, 60, slowly) == 1  # the old one, while it is counted anew
    assert kept.of("x", 1000 + OLDEST, 60, slowly) is None  # it is too old for that
    assert kept.of("x", 999, 60, slowly) is None  # the clock was set back
    go_on.set()
    while kept.of("x", 1001 + OLDEST, 60, slowly) is None:
        assert time.monotonic() - began < 20
    assert asked == [2]
    stores.close()


def test_a_store_that_fails_is_asked_again(tmp_path: Path) -> None:
    stores = Stores(backend_of("memory:"), 4, read_only=False)
    kept = Kept(stores)

    def failing(store: Store) -> int:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        kept.of("x", 1000, 60, failing)
    assert kept.of("x", 1000, 60, lambda _store: 7) == 7
    stores.close()
