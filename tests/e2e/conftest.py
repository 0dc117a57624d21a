"""A qmail home of its own for each test, with the plugins installed as an admin would.

What is about the plugin holds for whatever keeps its records: those tests run on SQLite and on
MariaDB. A test that is about the file of SQLite is marked `sqlite`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.store.mysql.schema import DATA, LISTS
from tests.e2e.packaged import Built, build_both
from tests.e2e.plugin import BIN, Plugin
from tests.servers.mariadb import MariaDb

ON_BOTH = (
    *("test_plugin", "test_session", "test_many", "test_hostile", "test_native"),
    *("test_switch", "test_release"),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "url" not in metafunc.fixturenames:
        return
    both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
    alone = metafunc.definition.get_closest_marker("sqlite") is not None
    stores = ["sqlite", "mysql"] if both and not alone else ["sqlite"]
    metafunc.parametrize("url", stores, indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What is to be `store.url`: an empty place of the test's own."""
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/greylag.db"
        return
    mariadb: MariaDb = request.getfixturevalue("mariadb")
    database = mariadb.database(LISTS, DATA)
    yield database.url
    database.drop()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A qmail home as `greylag qmail install` leaves it, to be copied."""
    home = tmp_path_factory.mktemp("installed")
    (home / "control").mkdir()
    command: list[str | Path] = [
        BIN / "greylag",
        "qmail",
        "install",
        "--force",  # the checkout may lie in a closed home
        "--qmail-home",
        str(home),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return home


@pytest.fixture
def home(installed: Path, tmp_path: Path) -> Path:
    shutil.copytree(installed, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def plugin(home: Path, url: str) -> Plugin:
    """The plugin with a greylag.toml of defaults, but for its own records."""
    made = Plugin(
        home,
        home / "greylag.db",
        home / "plugins" / "greylisting",
        {"GREYLAG_CONFIG": str(home / "greylag.toml")},
        url,
    )
    made.write_toml("")
    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The Debian package, built in a chroot."""
    return build_both(tmp_path_factory.mktemp("build"))
