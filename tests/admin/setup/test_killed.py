"""Setup and undo that are killed before any of the things that they do to a file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from greylag.admin.setup import manifest
from greylag.admin.setup.applying import carry_through, undo
from greylag.admin.setup.place import Place
from tests.admin.setup.conftest import Look
from tests.admin.setup.test_applying import build, fill, no_check, untold

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
CHANGING = {"rename", "mkdir", "link", "symlink", "remove", "rmdir", "chmod", "chown", "utime"}
MOMENTS = 200  # more than there are


def killed(act: Callable[[], object], at: int) -> bool:
    """Act in a process of its own, which is killed before its change number `at`."""
    pid = os.fork()
    if pid == 0:
        left = at

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            written = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
            if written or event.removeprefix("os.") in CHANGING:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def set_up(place: Place) -> None:
    plan = build(place)
    if not plan.empty():
        carry_through(plan, place, untold, no_check)


def undone(place: Place) -> None:
    if manifest.load(place) is None:
        manifest.clear(place)  # as the command does
    else:
        back = undo(place, untold)
        assert (back.finished, back.left, back.edited) == (True, (), ())


@pytest.mark.parametrize("again", [False, True], ids=["undo", "again-and-undo"])
def test_a_setup_that_is_killed_anywhere(
    root: Path, place: Place, look: Look, *, again: bool
) -> None:
    """P19: byte for byte, and no file that was not complete stays."""
    fill(root)
    before = look()
    for at in range(MOMENTS):
        if not killed(lambda: set_up(place), at):
            break
        if again:
            set_up(place)
            made = (root / "var/lib/new").stat()  # the daemon's, and not root's own
            assert (made.st_uid, made.st_mode & 0o7777) == (8900, 0o2770), at
        undone(place)
        assert look() == before, at
    assert 40 < at < MOMENTS - 1


def test_an_undo_that_is_killed_anywhere(root: Path, place: Place, look: Look) -> None:
    fill(root)
    before = look()
    for at in range(MOMENTS):
        set_up(place)
        still = killed(lambda: undone(place), at)
        undone(place)
        assert look() == before, at
        if not still:
            break
    assert 10 < at < MOMENTS - 1


def test_records_stay_known_when_an_undo_is_killed(root: Path, place: Place, look: Look) -> None:
    """They can be deleted later."""
    fill(root)
    before = look()
    for at in range(MOMENTS):
        set_up(place)
        (root / "var/lib/new/records").touch()
        still = killed(lambda: undone(place), at)
        undone(place)
        assert (root / "var/lib/new/records").exists()
        assert undo(place, untold, purge=True).finished, at
        assert look() == before, at
        if not still:
            break
    assert 10 < at < MOMENTS - 1
