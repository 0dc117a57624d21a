"""The stores that the contract is run over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from greylag.store import open_store
from greylag.store.base import Store
from greylag.store.mysql.schema import DATA, LISTS, TRIGGERS

URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda _path: "memory:",
    "sqlite": lambda path: f"sqlite://{path}/greylag.db",
}
STORES = (*URLS, "mysql")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param in URLS:
        with closing(open_store(URLS[request.param](tmp_path), timeout=4)) as opened:
            yield opened
        return
    database = request.getfixturevalue("mariadb").database(LISTS, DATA, *TRIGGERS.values())
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened
    database.drop()
