"""A qmail home of its own for each test, with the plugins installed as an admin would."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, Plugin


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "control").mkdir()
    installed: list[str | Path] = [
        BIN / "greylag",
        "qmail",
        "install",
        "--qmail-home",
        str(tmp_path),
    ]
    subprocess.run(installed, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def plugin(home: Path) -> Plugin:
    """The plugin with a greylag.toml of defaults, but for a database below the home."""
    made = Plugin(
        home,
        home / "greylag.db",
        home / "plugins" / "greylisting",
        {"GREYLAG_CONFIG": str(home / "greylag.toml")},
    )
    made.write_toml("")
    return made
