"""The stores that the contract is run over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greylag.store import open_store
from greylag.store.base import Store

URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda _path: "memory:",
    "sqlite": lambda path: f"sqlite://{path}/greylag.db",
}


@pytest.fixture(params=URLS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(URLS[request.param](tmp_path), timeout=4)
    yield opened
    opened.close()
