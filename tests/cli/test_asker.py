"""The checks look as the user that asks: root is refused nothing, the plugin and daemon may be."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from greylag.store import open_store
from tests.server.daemon import BIN

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")

USER = "nobody"
CHECKS = {
    "config": ("config", "--check"),
    "check": ("check", "192.0.2.1", "a@example.org", "b@example.net"),
    "db": ("db", "check"),
}
FOR_ROOT = "is for root alone"


class Place:
    """A server's greylag.toml and database, as they should be: both for nobody."""

    def __init__(self, path: Path) -> None:
        for parent in (path, *path.parents):
            if parent.stat().st_uid == 0 and str(parent) not in ("/", "/tmp"):
                parent.chmod(0o755)
        self.config = path / "greylag.toml"
        self.folder = path / "data"
        self.database = self.folder / "greylag.db"
        self.config.write_text(f'store.url = "sqlite://{self.database}"\n')
        self.config.chmod(0o644)
        self.folder.mkdir(mode=0o755)
        user = pwd.getpwnam(USER)
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        open_store(f"sqlite://{self.database}", timeout=4).close()  # root's, given to the folder's

    def run(self, check: str, *more: str, user: str | None = None) -> tuple[int, str, str]:
        words = [str(BIN / "greylag"), "--config", str(self.config), *CHECKS[check], *more]
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=60, user=user
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


GOOD = {"config": 0, "check": 10, "db": 0}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("words", [(), ("--as", USER)])
def test_nothing_is_told_where_all_is_well(
    place: Place, check: str, words: tuple[str, ...]
) -> None:
    code, _out, said = place.run(check, *words)
    assert (code, said.replace("greylag: all is well\n", "")) == (GOOD[check], "")


def closed_settings(place: Place) -> None:
    place.config.chmod(0o600)


def closed_database(place: Place) -> None:
    os.chown(place.database, 0, 0)
    place.database.chmod(0o600)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("close", "code", "cause"),
    [(closed_settings, 78, "Permission denied"), (closed_database, 74, "may not read and write")],
)
def test_what_is_for_root_alone_is_told(
    place: Place, check: str, close: Callable[[Place], None], code: int, cause: str
) -> None:
    """To root as something to look at, and as that user as the error that it is."""
    close(place)
    found, _out, said = place.run(check)
    assert (found, FOR_ROOT in said) == (GOOD[check], True)
    found, _out, said = place.run(check, "--as", USER)
    assert (found, cause in said) == (code, True)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("words", [(), ("--as", USER)])
def test_a_missing_folder_is_an_error_for_everybody(
    place: Place, check: str, words: tuple[str, ...]
) -> None:
    place.database.unlink()
    place.folder.rmdir()
    code, _out, said = place.run(check, *words)
    assert (code, f"{place.folder}: is missing" in said) == (74, True)


@pytest.mark.parametrize("check", CHECKS)
def test_a_folder_that_may_not_be_written_is_an_error(place: Place, check: str) -> None:
    """SQLite makes its write-ahead log beside the database."""
    os.chown(place.folder, 0, 0)
    code, _out, said = place.run(check, "--as", USER)
    assert (code, f"{place.folder}: the user {USER} may not write there" in said) == (74, True)


@pytest.mark.parametrize("check", CHECKS)
def test_an_option_file_that_the_user_may_not_read_is_an_error(place: Place, check: str) -> None:
    """No server is needed to tell it: what moves from the old plugin fails here first."""
    options = place.folder / "my.cnf"
    options.write_text("[client]\nuser = greylisting\ndatabase = greylisting\nhost = 192.0.2.1\n")
    options.chmod(0o600)
    place.config.write_text(f'store.url = "mysql:?default_file={options}"\n')
    code, _out, said = place.run(check, "--as", USER)
    assert (code, f"greylag: {options}: Permission denied\n" in said) == (74, True)
    options.unlink()
    code, _out, said = place.run(check)
    assert (code, f"greylag: {options}: No such file or directory\n" in said) == (74, True)


def test_a_folder_for_a_group_is_not_opened_for_everybody(place: Place) -> None:
    """The database in it is for the group, too: with o+x alone nothing would be won."""
    os.chown(place.folder, pwd.getpwnam("daemon").pw_uid, grp.getgrnam("mail").gr_gid)
    place.folder.chmod(0o2770)
    told = f"{place.folder}: the user {USER} may not enter it (it is daemon's, mode 2770): "
    code, _out, said = place.run("config", "--as", USER)
    assert (code, f"{told}usermod -a -G mail {USER}\n" in said) == (74, True), said


def test_who_may_not_read_the_database_is_told_as_whom_to_run(place: Place) -> None:
    place.database.chmod(0o600)
    place.folder.chmod(0o700)
    for words in (("search",), ("stats",), ("allow", "list"), ("expire",)):
        done = subprocess.run(
            [BIN / "greylag", "--config", place.config, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            user="daemon",
            group="daemon",
            extra_groups=[],
        )
        told = f"greylag: {place.database}: permission denied; run this command as root, or as"
        assert (done.returncode, told in done.stderr) == (74, True), done.stderr


@pytest.mark.parametrize("check", CHECKS)
def test_who_cannot_be_that_user_is_told(place: Place, check: str) -> None:
    assert place.run(check, "--as", "no-such-user")[0] == 2
    code, _out, said = place.run(check, "--as", "daemon", user=USER)
    assert (code, "only root can look as daemon" in said) == (2, True)
    assert place.run(check, "--as", USER, user=USER)[0] == GOOD[check]


def beside(place: Place, name: str) -> Path:
    """Make a folder that others cannot enter, with what the place has moved into it."""
    closed = place.config.parent / "closed"
    closed.mkdir(mode=0o700)
    if name == "settings":
        place.config = place.config.rename(closed / "greylag.toml")
    else:
        place.folder.rename(closed / "data")
        place.config.write_text(f'store.url = "sqlite://{closed}/data/greylag.db"\n')
    return closed


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("name", "code"), [("settings", 78), ("database", 74)])
def test_a_closed_folder_above_is_named_with_what_opens_it(
    place: Place, check: str, name: str, code: int
) -> None:
    """As that user it is an error; root is told, and looks for the owner of the database."""
    closed = beside(place, name)
    told = (
        f"{closed}: the user {USER} may not enter it (it is root's, mode 0700): chmod o+x {closed}"
    )
    found, _out, said = place.run(check)
    assert (found, told in said) == (GOOD[check], True)
    found, _out, said = place.run(check, "--as", USER)
    assert (found, told in said) == (code, True)
    closed.chmod(0o711)
    assert place.run(check)[::2] == place.run(check, "--as", USER)[::2]
    assert told not in place.run(check)[2]


@pytest.mark.parametrize("name", ["settings", "database", "home"])
def test_qmail_install_tells_a_closed_folder(place: Place, name: str) -> None:
    home = place.config.parent / "qmail"
    if name == "home":
        closed = place.config.parent / "above"
        closed.mkdir(mode=0o700)
        home = closed / "qmail"
    else:
        closed = beside(place, name)
    home.mkdir(mode=0o755)
    words = [str(BIN / "greylag"), "--config", str(place.config), "qmail", "install"]
    words += ["--qmail-home", str(home), "--force"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    told = (
        f"{closed}: the user {USER} may not enter it (it is root's, mode 0700): chmod o+x {closed}"
    )
    assert f"greylag: {told}\n" in done.stderr
