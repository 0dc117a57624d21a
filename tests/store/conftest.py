"""The stores that the contract is run over: each runs the part of it that it claims to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from greylag.store import BACKENDS, kind_of_scheme, open_store
from greylag.store.base import Store
from greylag.store.mysql.schema import DATA, LISTS, TRIGGERS

Urls = Callable[[pytest.FixtureRequest, Path], Iterator[str]]


def at(text: str) -> Urls:
    """Return how to make a store that needs no more than a path, `{}`."""

    def url(_request: pytest.FixtureRequest, path: Path) -> Iterator[str]:
        yield text.format(path)

    return url


def _mysql(request: pytest.FixtureRequest, _path: Path) -> Iterator[str]:
    database = request.getfixturevalue("mariadb").database(LISTS, DATA, *TRIGGERS.values())
    yield database.url
    database.drop()


# By the scheme of the URL: a line for each backend.
STORES: dict[str, Urls] = {
    "memory": at("memory:"),
    "sqlite": at("sqlite://{}/greylag.db"),
    "mysql": _mysql,
    "tree": at("tree://{}"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test over the stores that keep what it needs."""
    if "store" in metafunc.fixturenames and not hasattr(metafunc.module, "store"):
        marks = metafunc.definition.iter_markers("needs")
        needed = {part for mark in marks for part in mark.args}
        names = [name for name in BACKENDS if not needed & kind_of_scheme(name).lacks.keys()]
        metafunc.parametrize("store", names, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with (
        contextmanager(STORES[request.param])(request, tmp_path) as url,
        closing(open_store(url, timeout=4)) as opened,
    ):
        yield opened
