"""Pictures of the dashboard for docs/: made where an environment variable asks for them.

GREYLAG_PICTURES=docs .venv/bin/python -m pytest --no-cov tests/web/test_pictures.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.web.browsing import STORY, go, visiting
from tests.web.conftest import filled
from tests.web.dashboard import greylag, serving, write_config

FOLDER = os.environ.get("GREYLAG_PICTURES", "")
_DNS = '[dns]\nservers = ["192.0.2.53"]\n'
PICTURES = {
    "dashboard-now": ("/", "light", 1200, 720),
    "dashboard-mail-dark": (STORY, "dark", 1200, 880),
    "dashboard-phone": ("/", "light", 360, 720),
}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a month of mail that nobody sent."""
    folder = tmp_path_factory.mktemp("month") / "demo"
    made = greylag(folder.parent, "demo", "--folder", str(folder), "--no-serve")
    assert made.returncode == 0, made.stderr
    return folder / "greylag.db"


@pytest.mark.skipif(not FOLDER, reason="GREYLAG_PICTURES names no folder")
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture(browser: Browser, tmp_path: Path, users: bytes, month: Path, name: str) -> None:
    path, scheme, width, height = PICTURES[name]
    folder = filled(tmp_path, users)
    port = write_config(folder, rest=_DNS, url=f"sqlite://{month}")
    size = {"width": width, "height": height}
    with (
        serving(folder, port) as made,
        visiting(browser, made, color_scheme=scheme, viewport=size) as page,
    ):
        go(page, path)
        page.wait_for_timeout(300)
        page.screenshot(path=f"{FOLDER}/{name}.png")
