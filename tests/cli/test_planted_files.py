"""T44: files that root writes into a folder of another user, who plants links there meanwhile."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from greylag.admin.backup import backup, restore
from greylag.admin.newfile import temporary
from greylag.core.value import replace
from greylag.store.folders import move, place_of, private_folder
from greylag.store.sqlite.snapshots import SqliteSnapshots
from tests.cli.conftest import KEY, NOW, Greylag

NOBODY = 65534
SECRET = b"root's\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes another user's folder")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "shadow"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def theirs(greylag: Greylag) -> Path:
    """Return the folder of the database, which is another user's."""
    folder = greylag.home / "lib"
    folder.mkdir()
    greylag.database = folder / "greylag.db"
    greylag.configure("")
    greylag.remember(KEY, passed=True)
    give(folder, *folder.iterdir())
    return folder


@pytest.fixture
def saved(greylag: Greylag, theirs: Path) -> Path:
    path = greylag.home / "saved"
    assert greylag.run("db", "backup", str(path)).exit_code == 0
    return path


def give(*paths: Path) -> None:
    for path in paths:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def plant(at: Path, victim: Path) -> None:
    at.symlink_to(victim)
    give(at)


def untouched(victim: Path) -> bool:
    found = victim.stat()
    alone = [path.name for path in victim.parent.iterdir()] == [victim.name]
    same = (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, 0o600)
    return alone and same and victim.read_bytes() == SECRET


def swapping(folder: Path, victim: Path) -> object:
    """Return a progress that puts links in the place of what is being made in a folder."""

    def progress(
        found: Iterable[object], total: int | None, label: str, step: int = 1, unit: str = "rows"
    ) -> Iterator[object]:
        for item in found:
            for path in folder.iterdir():
                if path.name.endswith(".part") and not path.is_symlink():
                    path.rename(folder / f"{path.name}.mine")
                    plant(path, victim)
            yield item

    return progress


@pytest.mark.parametrize("where", ["name", "folder"])
@pytest.mark.parametrize("target", ["file", "nothing", "database"])
def test_restore_follows_no_link_of_another_user_t44(
    greylag: Greylag, theirs: Path, saved: Path, victim: Path, target: str, where: str
) -> None:
    found = {"file": victim, "nothing": victim.with_name("none"), "database": victim}[target]
    if target == "database":
        with closing(sqlite3.connect(":memory:")) as db:
            db.execute("CREATE TABLE a (b)")
            victim.write_bytes(db.serialize())
    before = victim.read_bytes()
    if where == "name":
        greylag.database.unlink()
        plant(greylag.database, found)
    else:
        found.rename(found.with_name("greylag.db")) if found.exists() else None
        found = found.with_name("greylag.db")
        theirs.rename(greylag.home / "moved")
        give(greylag.home)
        plant(theirs, victim.parent)
    for options in ((), ("--while-serving",)):
        done = greylag.run("db", "restore", *options, str(saved))
        assert done.exit_code in (66, 74), done.stderr
        assert "is a link that another user made" in done.stderr
    assert len(list(victim.parent.iterdir())) == 1
    assert next(victim.parent.iterdir()).read_bytes() == before


def test_a_link_of_root_to_the_database_is_followed(
    greylag: Greylag, theirs: Path, saved: Path
) -> None:
    (theirs / "greylag.db").rename(greylag.home / "real.db")
    (theirs / "greylag.db").symlink_to("../real.db")
    assert greylag.json("db", "restore", str(saved))["database"] == str(greylag.home / "real.db")
    assert (theirs / "greylag.db").is_symlink()
    assert (greylag.home / "real.db").stat().st_uid == NOBODY
    assert greylag.keys() == [KEY]


@pytest.mark.parametrize("command", ["db init", "allow add 192.0.2.1", "off"])
def test_no_command_fills_a_file_that_a_link_of_another_user_names_t44(
    greylag: Greylag, theirs: Path, victim: Path, command: str
) -> None:
    victim.write_bytes(b"")
    victim.chmod(0o660)  # as a database of greylag's
    greylag.database.unlink()
    plant(greylag.database, victim)
    done = greylag.run(*command.split())
    assert "is a link that another user made" in done.stderr
    assert (done.exit_code != 0, victim.read_bytes()) == (True, b"")
    assert [path.name for path in victim.parent.iterdir()] == ["shadow"]


def test_restore_against_an_owner_who_swaps_the_copy_t44(
    theirs: Path, saved: Path, victim: Path
) -> None:
    snapshots = SqliteSnapshots(str(theirs / "greylag.db"), timeout=4)
    restore(snapshots, str(saved), NOW, progress=swapping(theirs, victim))  # type: ignore[arg-type]
    assert untouched(victim)
    assert (theirs / "greylag.db").stat().st_uid == NOBODY


def test_backup_against_an_owner_who_swaps_the_copy_t44(
    theirs: Path, saved: Path, victim: Path
) -> None:
    snapshots = SqliteSnapshots(str(theirs / "greylag.db"), timeout=4)
    made = theirs / "out"
    backup(snapshots, str(made), NOW, progress=swapping(theirs, victim))  # type: ignore[arg-type]
    assert untouched(victim)
    assert made.stat().st_mode & 0o777 == 0o600
    assert restore(snapshots, str(made), NOW, dry_run=True).kept is None


def test_what_is_being_made_is_out_of_reach_of_the_folders_owner_t44(
    theirs: Path, victim: Path
) -> None:
    """The export, the backup and the report are all written by this."""
    with temporary(str(theirs / "out")) as made:
        assert not [path for path in theirs.iterdir() if path.name.endswith(".part")]
        folder = Path(made.path).parent
        assert (folder.stat().st_mode & 0o777, folder.parent.stat().st_uid) == (0o700, 0)
        Path(made.path).write_bytes(b"ours")
        plant(theirs / "out", victim)
        made.publish(force=True)
    assert (theirs / "out").read_bytes() == b"ours"
    assert (untouched(victim), folder.exists()) == (True, False)


def test_where_no_safe_folder_can_be_made_nothing_is_and_it_is_told_t44(theirs: Path) -> None:
    with place_of(str(theirs / "out")) as place:
        assert not place.safe.startswith(str(theirs))
        closed = replace(place, safe="/sys")
        with pytest.raises(OSError, match="run it as the owner of"), private_folder(closed):
            pytest.fail("it was made")
    assert not list(theirs.glob("*.part"))


@pytest.mark.parametrize("words", ["export --force", "report --html", "db backup --force"])
@pytest.mark.parametrize("where", ["name", "folder"])
def test_what_root_writes_follows_no_link_of_another_user_t44(
    greylag: Greylag, theirs: Path, victim: Path, words: str, where: str
) -> None:
    file = theirs / "out"
    if where == "folder":
        file = theirs / "sub" / "shadow"
        plant(theirs / "sub", victim.parent)
    else:
        plant(file, victim)
    assert greylag.run(*words.split(), str(file)).exit_code != 0
    assert untouched(victim)


def test_a_report_keeps_the_mode_of_the_page_that_it_replaces(
    greylag: Greylag, theirs: Path
) -> None:
    page = greylag.home / "page.html"
    assert greylag.run("report", "--html", str(page)).exit_code == 0
    assert page.stat().st_mode & 0o777 == 0o666 & ~_umask()
    page.chmod(0o640)
    assert greylag.run("report", "--html", str(page)).exit_code == 0
    assert page.stat().st_mode & 0o777 == 0o640


def _umask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


@pytest.mark.parametrize("over", [False, True])
def test_a_file_comes_whole_from_another_file_system(tmp_path: Path, over: bool) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system alone")
    with place_of(str(shm / "x")) as there, private_folder(there) as folder:
        made = Path(folder) / "new"
        made.write_bytes(b"ours")
        made.chmod(0o640)
        give(made)
        target = tmp_path / "target"
        with place_of(str(target)) as place:
            move(str(made), place, over=over)
            if not over:
                with pytest.raises(FileExistsError):
                    move(str(made), place, over=False)
    found = target.stat()
    assert (target.read_bytes(), found.st_mode & 0o777, found.st_uid) == (b"ours", 0o640, NOBODY)
    assert os.listdir(tmp_path) == ["target"]


def test_check_tells_of_an_index_that_is_not_ours(greylag: Greylag, theirs: Path) -> None:
    greylag.sql("CREATE UNIQUE INDEX evil ON records (settled)", ())
    done = greylag.run("db", "check")
    assert (done.exit_code, "index evil is not as greylag makes it" in done.stdout) == (1, True)
