"""What tests of several kinds share."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from greylag.store.mysql.schema import DATA, LISTS
from tests.servers.mariadb import Database, MariaDb, running
from tests.strategies import SOAK

_ROOT = "PYTEST_DEBUG_TEMPROOT"

# Before any module of tests is read: what a property does not set for itself is set here.
settings.register_profile("same", derandomize=not SOAK, deadline=None, database=None)
settings.load_profile("same")


def pytest_configure() -> None:
    """Undo what `nohup` and `&` leave ignored: programs under test would inherit it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
    # A run begins by closing pytest's common folder to all but its user. Servers of another run
    # that have users of their own would be shut out of theirs: so each run has a folder to itself.
    if _ROOT not in os.environ:
        os.environ[_ROOT] = tempfile.mkdtemp(prefix="gl-")


def pytest_sessionfinish(exitstatus: int) -> None:
    """Leave the folder where something failed."""
    if exitstatus == pytest.ExitCode.OK and "gl-" in os.environ[_ROOT]:
        shutil.rmtree(os.environ.pop(_ROOT), ignore_errors=True)


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
