"""What tests of several kinds share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from greylag.store.mysql_schema import DATA, LISTS
from tests.servers.mariadb import Database, MariaDb, running


def pytest_configure() -> None:
    """Undo what `nohup` and `&` leave ignored: programs under test would inherit it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A private server, for all tests of a run."""
    with running(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def database(mariadb: MariaDb) -> Iterator[Database]:
    """A database of a test's own with the old plugin's tables."""
    made = mariadb.database(LISTS, DATA)
    yield made
    made.drop()
