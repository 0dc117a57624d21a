"""T44: what others planted under our names, where root's commands write."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from greylag.admin.folder import KEPT
from greylag.cli.plugins import PLUGINS
from greylag.cli.qmail import qmail
from tests.cli.runner import runner

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
SECRET = b"root:*:\n"
NOBODY = 65534
COMMAND = Path(sys.executable).with_name("greylag")
LONGEST = 20  # seconds: a command that a pipe holds never ends

Plant = Callable[[Path, Path], None]


def _link(at: Path, victim: Path) -> None:
    at.symlink_to(victim)


def _dangling(at: Path, victim: Path) -> None:
    at.symlink_to(victim.with_name("made-by-root"))


def _hard(at: Path, victim: Path) -> None:
    at.hardlink_to(victim)


def _pipe(at: Path, victim: Path) -> None:
    os.mkfifo(at)


def _to_folder(at: Path, victim: Path) -> None:
    at.symlink_to(victim.parent)


def _folder(at: Path, victim: Path) -> None:
    at.mkdir()
    (at / "kept").symlink_to(victim)


def _socket(at: Path, victim: Path) -> None:
    here = Path.cwd()
    os.chdir(at.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(at.name)
    finally:
        os.chdir(here)


def _endless(at: Path, victim: Path) -> None:
    at.symlink_to("/dev/zero")


def _loop(at: Path, victim: Path) -> None:
    at.symlink_to(at.name)


KINDS: tuple[Plant, ...] = (
    _link, _dangling, _hard, _pipe, _to_folder, _folder, _socket, _endless, _loop,
)  # fmt: skip
NAMES = ("greylisting", "greylisting.new", f"greylisting{KEPT}", "jgreylist", "jgreylist.new")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "shadow").write_bytes(SECRET)
    (folder / "shadow").chmod(0o600)
    return folder / "shadow"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "qmail" / "plugins").mkdir(parents=True)
    return tmp_path / "qmail"


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    def over(_number: int, _frame: object) -> None:
        raise TimeoutError("a pipe or a device holds the command")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(home: Path, command: str) -> Result:
    return runner().invoke(qmail, [command, "--qmail-home", str(home)])


def untouched(victim: Path) -> bool:
    found = victim.stat()
    alone = sorted(path.name for path in victim.parent.iterdir()) == ["shadow"]
    return alone and victim.read_bytes() == SECRET and stat.S_IMODE(found.st_mode) == 0o600


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plant", KINDS)
def test_install_and_uninstall_write_to_nothing_that_was_planted_t44(
    home: Path, victim: Path, plant: Plant, name: str
) -> None:
    """Each ends: with our programs in place, or with one line and nothing done."""
    folder = home / "plugins"
    plant(folder / name, victim)
    done = run(home, "install")
    assert untouched(victim)
    if done.exit_code:
        assert done.exit_code == 1
        assert len(done.stderr.splitlines()) == 1
        assert sorted(path.name for path in folder.iterdir()) == [name]
        return
    for plugin in PLUGINS:
        found = (folder / plugin).lstat()
        assert stat.S_ISREG(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o755
        assert found.st_nlink == 1
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert run(home, "uninstall").exit_code == 0
    assert untouched(victim)
    if not name.endswith((".new", KEPT)):
        assert os.path.lexists(folder / name), "what was there is back"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes another user's link")
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_the_folder_itself_may_be_roots_link_and_nobody_elses_t44(
    home: Path, victim: Path, command: str
) -> None:
    (home / "plugins").rmdir()
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (home / "plugins").symlink_to(elsewhere)
    assert run(home, "install").exit_code == 0
    assert {path.name for path in elsewhere.iterdir()} == set(PLUGINS)
    os.chown(home / "plugins", NOBODY, NOBODY, follow_symlinks=False)
    before = {path.name: path.stat().st_mtime_ns for path in elsewhere.iterdir()}
    done = run(home, command)
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(home / "plugins") in done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in elsewhere.iterdir()} == before


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("plant", [_link, _dangling, _hard, _pipe, _to_folder, _folder, _loop])
def test_db_init_writes_to_nothing_that_was_planted_t44(
    home: Path, victim: Path, plant: Plant, ending: str
) -> None:
    database = home / "greylag.db"
    plant(database.with_name(database.name + ending), victim)
    (home / "greylag.toml").write_text(f'store.url = "sqlite://{database}"\n')
    done = subprocess.run(
        [COMMAND, "--config", home / "greylag.toml", "db", "init"],
        capture_output=True, check=False, timeout=LONGEST,
    )  # fmt: skip
    assert done.returncode in (0, 74, 75), done.stderr
    assert b"Traceback" not in done.stderr
    assert untouched(victim)


SWAPPING = """
import os, sys
folder, victim = sys.argv[1:]
os.chdir(folder)
names = ["greylisting", "greylisting.new", "greylisting.before-greylag", "ifauthskip"]
os.symlink(victim, ".planted") if not os.path.lexists(".planted") else None
while True:
    for name in names:
        try:
            os.link(".planted", ".next", follow_symlinks=False)
            os.rename(".next", name)
            for found in os.listdir("."):
                if found.startswith(".") and found not in (".planted", ".next"):
                    os.rename(".planted", found)
                    os.symlink(victim, ".planted")
        except OSError:
            if not os.path.lexists(".planted"):
                os.symlink(victim, ".planted")
"""


def test_install_against_somebody_who_swaps_names_meanwhile_t44(home: Path, victim: Path) -> None:
    folder = home / "plugins"
    attacker = subprocess.Popen([sys.executable, "-c", SWAPPING, folder, victim])
    signal.alarm(0)
    end = time.monotonic() + (120 if SOAK else 2)
    try:
        while time.monotonic() < end:
            run(home, "install")
            assert untouched(victim)
            run(home, "uninstall")
            assert untouched(victim)
    finally:
        attacker.kill()
        attacker.wait()
    shutil.rmtree(folder)
