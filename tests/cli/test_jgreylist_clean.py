"""jgreylist-clean, as cron runs it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, TIMEOUT

DAY = 86400
ONCE, OLD = "came once and never again, over 1 day ago", "not seen for 30 days"


def clean(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "jgreylist-clean", *arguments],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def plant(tree: Path, name: str, first: int, last: int) -> Path:
    file = tree / name
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(0o600)
    now = int(time.time())
    os.utime(file, (now - last, now - first))
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    plant(root, "192/000/002", 40 * DAY, 31 * DAY)
    plant(root, "192/000/003", 2 * DAY, 2 * DAY)
    plant(root, "192/001/003/017", 2 * DAY, 2 * DAY)
    plant(root, "203/000/113", 90 * DAY, DAY)
    plant(root, "203/000/114", 60, 60)
    plant(root, "ipv6/2001/0db8/00000000", 3 * DAY, 3 * DAY)
    return root


def left(tree: Path) -> list[str]:
    return sorted(str(p.relative_to(tree)) for p in tree.rglob("*"))


KEPT = ["203", "203/000", "203/000/113", "203/000/114"]


def test_what_is_removed_and_counted(tree: Path) -> None:
    done = clean(str(tree))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"removed: 3 {ONCE}\nremoved: 1 {OLD}\nkept: 2\n"
    assert left(tree) == KEPT


def test_quiet_is_quiet(tree: Path) -> None:
    done = clean("-q", JGREYLIST_DIR=str(tree))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert left(tree) == KEPT


def test_d_lists_removals_and_v_all(tree: Path, tmp_path: Path) -> None:
    lines = clean("-d", str(tree)).stdout.splitlines()
    assert [line.partition(" (")[0] for line in lines[:-3]] == [
        f"192.0.2.0/24: {OLD}",
        f"192.0.3.0/24: {ONCE}",
        f"192.1.3.17: {ONCE}",
        f"2001:db8::/64: {ONCE}",
    ]
    assert "203.0.113.0/24: kept (first " in clean("-v", str(tree)).stdout


def test_json(tree: Path) -> None:
    told = json.loads(clean("--json", "-v", str(tree)).stdout)
    assert told == {"removed": {"once": 3, "old": 1}, "kept": 2}


def test_what_is_not_ours_stays(tree: Path) -> None:
    (tree / "README").write_text("of the admin")
    os.utime(tree / "README", (1, 1))
    assert clean(str(tree)).returncode == 0
    assert left(tree) == [*KEPT, "README"]


def test_a_name_cannot_speak_to_the_terminal_t12(tree: Path) -> None:
    """One that is no record's is passed over; one that only looks like it is shown as it is."""
    planted = plant(tree, "\x1b[2J/x\n/y", 2 * DAY, 2 * DAY)
    plant(tree, "999/000/000", 2 * DAY, 2 * DAY)
    shown = clean("-d", str(tree)).stdout
    assert "\x1b" not in shown
    assert "999/000/000: came once" in shown
    assert planted.exists()


def test_a_clock_that_jumped_removes_nothing_p18(tree: Path) -> None:
    for number in range(120):
        plant(tree, f"198/051/{number:03d}", 50 * DAY, 40 * DAY)
    for name in KEPT[2:]:
        (tree / name).unlink()
    before = left(tree)
    done = clean(str(tree))
    assert done.returncode == 1
    assert "has the clock jumped? --yes goes on" in done.stderr
    assert left(tree) == before
    assert clean("--yes", str(tree)).returncode == 0
    assert left(tree) == []


@pytest.mark.parametrize(("arguments", "code"), [(("/nowhere",), 75), (("-x", "/"), 2)])
def test_what_cannot_be_done_is_told(arguments: tuple[str, ...], code: int) -> None:
    done = clean(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("greylag: ")


def test_a_folder_that_is_no_tree_loses_nothing(tree: Path) -> None:
    """A path that was mistyped, run by root: only what is named as records are is a tree's."""
    others = [
        plant(tree, name, 40 * DAY, 40 * DAY)
        for name in ("lock", "pid/of/daemon", "192/lost", "192/000/old.d/a", "ipv6/2001/name")
    ]
    empty = tree / "opt" / "local"
    empty.mkdir(parents=True)
    done = clean(str(tree))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"removed: 3 {ONCE}\nremoved: 1 {OLD}\nkept: 2\n"
    assert all(path.exists() for path in (*others, empty))


@pytest.mark.parametrize("option", [(), ("-q",), ("--json",), ("--yes",)])
def test_a_mistyped_path_is_told(tmp_path: Path, option: tuple[str, ...]) -> None:
    """With -q in a crontab, nobody would ever learn that nothing is cleaned."""
    (tmp_path / "log").mkdir()
    (tmp_path / "README").touch()
    done = clean(*option, str(tmp_path))
    assert (done.returncode, done.stdout) == (74, "")
    told = f"{tmp_path}: is no record tree: nothing in it is named as records are"
    as_json = json.dumps({"error": told, "exit": 74})
    assert done.stderr == f"{as_json if '--json' in option else f'greylag: {told}'}\n"


@pytest.mark.parametrize("names", [(), ("lost+found", ".keep"), ("log", "203"), ("log", "ipv6")])
def test_a_tree_without_records_is_one(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    done = clean("-q", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
