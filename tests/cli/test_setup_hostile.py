"""`greylag setup` where others than files and folders stand: they are refused, and left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.admin.setup.conftest import root
from tests.cli.test_setup import postfix, qmail, run

__all__ = ["root"]  # a fixture
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="setup is for root")
REPLACED = (
    "etc/greylag/greylag.toml",
    "etc/systemd/system/greylag.service",
    "etc/systemd/system/multi-user.target.wants/greylag.service",
    "usr/local/share/bash-completion/completions/greylag",
    "var/qmail/control/smtpplugins",
    "var/qmail/plugins/greylisting",
)
FOLDERS = "var/lib/greylag", "var/qmail/plugins", "etc/systemd/system/multi-user.target.wants"


def paths(root: Path) -> list[tuple[object, ...]]:
    found = []
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            seen = os.lstat(f"{folder}/{name}")
            found.append((folder, name, seen.st_mode, seen.st_uid, seen.st_ino))
    return sorted(found)


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
@pytest.mark.parametrize("path", REPLACED)
def test_what_undo_could_not_make_again_is_not_replaced(root: Path, path: str, kind: str) -> None:
    qmail(root)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(root / path)
    elif kind == "device":
        os.mknod(root / path, 0o020666, os.makedev(1, 5))
    else:
        (root / path).mkdir()
    before = paths(root)
    told = run(root, "qmail", "--yes", code=1).stderr
    assert f"/{path}: is " in told
    assert paths(root) == before


@pytest.mark.parametrize("path", FOLDERS)
def test_what_stands_for_a_folder_is_told_before_anything_is_changed(root: Path, path: str) -> None:
    qmail(root)
    (root / path).write_text("a file\n")
    before = paths(root)
    assert f"/{path}: has to be a folder" in run(root, "qmail", "--yes", code=1).stderr
    assert paths(root) == before


@pytest.mark.parametrize("path", ["var/qmail/plugins/greylisting", REPLACED[1], REPLACED[2]])
def test_a_link_of_another_user_is_his_again(root: Path, path: str) -> None:
    """Setup replaces it by its own, which nobody else may change."""
    qmail(root)
    there = root / path
    there.parent.mkdir(parents=True, exist_ok=True)
    there.symlink_to("/etc/other")
    os.lchown(there, 8900, 8901)
    run(root, "qmail", "--yes")
    assert there.lstat().st_uid == 0
    run(root, "qmail", "--undo", "--yes")
    assert there.readlink() == Path("/etc/other")
    assert (there.lstat().st_uid, there.lstat().st_gid) == (8900, 8901)


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop"])
def test_a_manifest_that_cannot_be_read_is_not_written_over(root: Path, kind: str) -> None:
    """What was before the first setup would be lost."""
    postfix(root)
    kept = root / "var/lib/greylag-setup"
    kept.mkdir(mode=0o700)
    path = kept / "manifest.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("manifest.json")
    before = paths(root)
    for words in (("--yes",), ("--undo", "--yes")):
        told = run(root, "postfix", *words, code=1).stderr
        assert "manifest.json: cannot be read, so what was before is not known" in told
    assert paths(root) == before


def test_what_a_setup_left_that_was_killed_at_once_goes_with_undo(root: Path) -> None:
    kept = root / "var/lib/greylag-setup"
    kept.mkdir(mode=0o700)
    (kept / ".manifest.json.0123456789abcdef").touch()
    assert "nothing to undo" in run(root, "postfix", "--undo", "--yes", "--dry-run", code=1).stdout
    assert kept.exists()
    assert "nothing to undo" in run(root, "postfix", "--undo", "--yes", code=1).stdout
    assert not kept.exists()
