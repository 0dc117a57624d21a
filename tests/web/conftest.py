"""One dashboard and one browser for all tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.web.dashboard import Dashboard, add_users, greylag, serving, write_config


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of users, made once: hashing takes its time."""
    folder = tmp_path_factory.mktemp("users")
    write_config(folder)
    add_users(folder)
    return (folder / "users").read_bytes()


def filled(folder: Path, users: bytes) -> Path:
    """Put users and an empty database into a folder."""
    write_config(folder)
    (folder / "users").touch(0o600)
    (folder / "users").write_bytes(users)
    assert greylag(folder, "db", "init").returncode == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path, users: bytes) -> Path:
    """A folder with users and an empty database."""
    return filled(tmp_path, users)


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory, users: bytes) -> Iterator[Dashboard]:
    """A dashboard for all tests that take nothing from each other."""
    folder = filled(tmp_path_factory.mktemp("standing"), users)
    with serving(folder, write_config(folder)) as made:
        yield made


@pytest.fixture
def dashboard(folder: Path) -> Iterator[Dashboard]:
    """A dashboard of a test's own."""
    with serving(folder, write_config(folder)) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        yield made
        made.close()
