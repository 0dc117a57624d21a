"""P20: commands of the handbook that need no mail server, run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from greylag.core.retries import PROGRAMS, SERVICES
from tests.cli.conftest import Greylag

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "everyday/off", "everyday/observing", "everyday/lists", "everyday/reports",
    "expect/day-one", "expect/when-not", "expect/delays",
)  # fmt: skip


def commands(page: str) -> list[str]:
    """Return what stands in the page's blocks, without cron's times and comments."""
    lines = re.findall(
        r"^(?:    |        )(\S.*)$", (DOCS / f"{page}.md").read_text(), re.MULTILINE
    )
    return [line.partition("  greylag ")[2] or line.removeprefix("greylag ") for line in lines]


@pytest.fixture
def sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "sendmail"
    program.write_text("#!/bin/sh\nexec cat > /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setattr("greylag.cli.mailing.SENDMAIL", str(program))
    return program


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_works(greylag: Greylag, page: str, sendmail: Path) -> None:
    shown = commands(page)
    assert shown
    for line in shown:
        result = greylag.run(*shlex.split(line))
        assert result.exit_code == 0, f"{line}: {result.stderr}"


def test_the_table_of_delays_is_that_of_the_senders_schedules() -> None:
    rows = re.findall(
        r"^\| ([A-Za-z][^|]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$",
        (DOCS / "expect/delays.md").read_text(),
        re.MULTILINE,
    )
    wanted = [
        (one.name, *(str(round(one.next_after(0, delay) / 60)) for delay in (60, 300, 900, 1500)))
        for one in (*SERVICES, *PROGRAMS)
    ]
    assert rows == wanted
