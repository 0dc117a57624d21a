"""The guide that qmail people install greylisting by, followed line by line with our programs.

The lines run unchanged, at their own paths: in a mount namespace of their own, where /var/qmail,
/usr/local and the others that they name are empty folders. Only root may make one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.guide import QMAIL, VPOPMAIL
from tests.servers.mariadb import MariaDb, running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
ROOT = Path(__file__).parents[2]
PATIENCE = 120


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MariaDb]:
    """A server of this test's own: the guide makes an account that other tests make, too."""
    (tmp_path / "mariadb").mkdir()
    with running(tmp_path / "mariadb") as made:
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What the namespace sees: folders for the absolute paths, and the server's socket."""
    for name in ("qmail", "local", "vpopmail", "log", "run"):
        (tmp_path / name).mkdir()
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("by_daemon", [False, True], ids=["alone", "with_the_daemon"])
def test_the_guides_lines_work_as_they_stand(place: Path, server: MariaDb, by_daemon: bool) -> None:
    there = [path.exists() for path in (QMAIL, VPOPMAIL)]
    command = [
        *("unshare", "--mount", "--net", "--propagation", "private"),
        *(sys.executable, "-m", "tests.e2e.guide", str(place), str(server.socket)),
        *(["daemon"] if by_daemon else []),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, textwrap.indent(done.stdout + done.stderr, "  ")
    assert [path.exists() for path in (QMAIL, VPOPMAIL)] == there  # in the system itself
