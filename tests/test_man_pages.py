"""The man pages: all programs and settings have one, and groff has nothing to complain about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from greylag.app.options import OPTIONS
from greylag.cli.main import cli
from tests.e2e.plugin import needed

ROOT = Path(__file__).parent.parent
SECTIONS = (
    "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "EXAMPLES", "SEE ALSO",
)  # fmt: skip
PROGRAMS = ("greylisting", "ifauthskip", "jgreylist", "jgreylist-clean", "greylisting_cleanup")
NAMES = (
    "greylag.1", "greylag.toml.5", *(f"{name}.8" for name in PROGRAMS),
    *(f"greylag-{name}.1" for name in cli.commands),
)  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "tools" / "man_pages.py", folder], check=True)
    return folder


def rendered(path: Path) -> str:
    """Return a page as a terminal shows it, without bold and underlined letters."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.stderr == ""
    return done.stdout.replace("\u2010", "-").replace("\u2212", "-").replace("\u2011", "-")


def test_there_are_these_pages_and_no_others(pages: Path) -> None:
    assert {path.name for path in pages.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_all_sections_and_no_warning(pages: Path, name: str) -> None:
    needed("groff", "groff-base")
    shown = rendered(pages / name)
    headings = re.findall(r"^(\S.*)$", shown, re.MULTILINE)
    wanted = [one for one in SECTIONS if one != "DESCRIPTION" or name != "x"]
    places = [headings.index(one) for one in wanted]
    assert places == sorted(places)
    for one in wanted:  # none is empty
        assert re.search(rf"^{one}\n\s+\S", shown, re.MULTILINE), one


def commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


@pytest.mark.parametrize("name", cli.commands)
def test_a_commands_page_has_each_of_its_options(pages: Path, name: str) -> None:
    needed("groff", "groff-base")
    shown = rendered(pages / f"greylag-{name}.1")
    command = cli.commands[name]
    for one in commands(command) if isinstance(command, click.Group) else (command,):
        for parameter in one.params:
            hidden = getattr(parameter, "hidden", False)
            for option in parameter.opts:
                assert option in shown or hidden or not option.startswith("-"), option


def test_the_page_of_settings_has_all_of_them(pages: Path) -> None:
    needed("groff", "groff-base")
    shown = " ".join(rendered(pages / "greylag.toml.5").split())
    for option in OPTIONS:
        assert option.key in shown
        assert f"Takes effect at a {'restart' if option.restart else 'reload'}." in shown


def test_an_option_is_spelt_with_hyphens_that_can_be_copied(pages: Path) -> None:
    assert "\\-\\-since" in (pages / "greylag-stats.1").read_text()
