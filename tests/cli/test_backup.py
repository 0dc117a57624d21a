"""`greylag db backup` and `greylag db restore`: what is written, what is refused, what is kept."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from greylag.admin import backup as backups
from greylag.core.accesslist import Entry
from greylag.core.subject import parse_subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store.sqlite.schema import MIGRATIONS
from greylag.store.sqlite.snapshots import SqliteSnapshots
from tests.cli.conftest import KEY, NETWORK, NOW, Greylag
from tests.cli.test_db import FIXTURES, run
from tests.servers.mariadb import MariaDb

LINE = 256  # bytes of a backup's last line


@pytest.fixture
def saved(greylag: Greylag) -> Path:
    """Return a backup of a store with a record, an entry and figures."""
    greylag.remember(KEY, passed=True)
    with greylag.store() as store:
        store.put_entries([Entry(parse_subject("192.0.2.0/24"), 0, comment="office")])
    path = greylag.home / "saved"
    assert greylag.run("db", "backup", str(path)).exit_code == 0
    return path


def others(greylag: Greylag) -> set[str]:
    """Return the names of files that nobody asked for."""
    wanted = {"greylag.db", "greylag.db-wal", "greylag.db-shm", "greylag.toml", "saved"}
    return set(os.listdir(greylag.home)) - wanted


def test_a_backup_is_a_whole_database_that_its_owner_alone_reads(
    greylag: Greylag, saved: Path
) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert not others(greylag)
    with closing(sqlite3.connect(f"file:{saved}?immutable=1", uri=True)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM records").fetchone() == (1,)


def test_its_checksum_can_be_computed_by_anybody(greylag: Greylag, saved: Path) -> None:
    told = greylag.json("db", "backup", "--force", str(saved))
    whole = saved.read_bytes()
    digest = sha256(whole[: whole.rindex(b"sha256 ")]).hexdigest()
    assert told == {
        "file": str(saved),
        "bytes": len(whole),
        "schema": len(MIGRATIONS),
        "made": NOW,
        "sha256": digest,
    }


def test_restore_brings_back_what_was_there_and_keeps_what_is(
    greylag: Greylag, saved: Path
) -> None:
    other = Triplet(NETWORK, "later@example.org", "info@example.net")
    greylag.remember(other)
    with greylag.store() as store:
        store.remove_entries([parse_subject("192.0.2.0/24")])
    told = greylag.json("db", "restore", str(saved))
    assert greylag.keys() == [KEY]
    assert greylag.entries() == ["allow 192.0.2.0/24 office"]
    kept = Path(str(told["kept"]))
    assert kept.name.startswith("greylag.db.before-20270115-080000")
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT count(*) FROM records").fetchone() == (2,)
    assert stat.S_IMODE(greylag.database.stat().st_mode) == 0o660


def swapped(path: str, victim: Path) -> None:
    """Do what the folder's owner may do at any moment: put a link in a file's place."""
    os.unlink(path)
    os.symlink(victim, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_restore_as_root_gives_no_file_away_that_a_link_names_t44(
    greylag: Greylag, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("root's")
    os.chown(greylag.database, 65534, 65534)
    convert = SqliteSnapshots._convert

    def convert_and_swap(snapshots: SqliteSnapshots, file: str) -> None:
        convert(snapshots, file)
        swapped(file, victim)

    monkeypatch.setattr(SqliteSnapshots, "_convert", convert_and_swap)
    greylag.run("db", "restore", str(saved))
    assert (victim.stat().st_uid, victim.stat().st_gid) == (0, 0)


def test_restore_writes_through_no_link_in_the_folder_t44(
    greylag: Greylag, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, copy = tmp_path / "victim", backups._copy
    victim.write_text("root's")

    def swap_and_copy(path: str, made: str, *more: Any) -> None:
        swapped(made, victim)
        copy(path, made, *more)

    monkeypatch.setattr(backups, "_copy", swap_and_copy)
    found = greylag.run("db", "restore", str(saved))
    assert (found.exit_code, victim.read_text()) == (66, "root's")
    assert others(greylag) == {"victim"}


def test_a_second_restore_in_the_same_second_is_refused_before_anything_changes(
    greylag: Greylag, saved: Path
) -> None:
    assert greylag.run("db", "restore", str(saved)).exit_code == 0
    before = greylag.database.read_bytes()
    assert greylag.run("db", "restore", str(saved)).exit_code != 0
    assert greylag.database.read_bytes() == before


def test_restore_where_no_database_is_makes_one(greylag: Greylag, saved: Path) -> None:
    greylag.database.rename(greylag.home / "gone")
    (greylag.home / "greylag.db-wal").write_bytes(b"the log of a database that is gone")
    told = greylag.json("db", "restore", str(saved))
    assert (told["kept"], greylag.keys()) == (None, [KEY])


def test_a_dry_run_checks_and_changes_nothing(greylag: Greylag, saved: Path) -> None:
    greylag.remember(replace(KEY, sender="later@example.org"))
    said = greylag.run("db", "restore", "--dry-run", str(saved))
    assert said.exit_code == 0
    assert "would be restored" in said.stdout
    assert len(greylag.keys()) == 2
    assert not others(greylag)


def test_a_dry_run_looks_at_the_databases_place(greylag: Greylag, saved: Path) -> None:
    """It tells what would stop a restore; a daemon that works is no error, as it is stopped."""
    words = ("db", "restore", "--dry-run", str(saved))
    assert greylag.json(*words)["in_use"] is False
    with closing(sqlite3.connect(greylag.database)) as db:
        db.execute("SELECT count(*) FROM records").fetchone()
        code, _out, said = run(greylag.home, f"sqlite://{greylag.database}", *words)
        assert (code, "another process has it open; stop greylag before" in said) == (0, True)
    greylag.database.unlink()
    greylag.database.mkdir()
    assert greylag.run(*words).exit_code == 74
    greylag.database = greylag.home / "missing/greylag.db"
    greylag.configure("")
    assert greylag.run(*words).exit_code == 74


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_dry_run_tells_of_a_folder_that_may_not_be_written(greylag: Greylag, saved: Path) -> None:
    greylag.home.chmod(0o500)
    try:
        found = greylag.run("db", "restore", "--dry-run", str(saved))
    finally:
        greylag.home.chmod(0o700)
    assert (found.exit_code, "its folder may not be written" in found.stderr) == (66, True)


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 4096, -1, -255, -256, -257])
def test_a_backup_that_was_cut_is_refused(greylag: Greylag, saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    refused(greylag, saved)


def test_a_backup_with_one_bit_flipped_is_refused_wherever_it_is(
    greylag: Greylag, saved: Path
) -> None:
    whole = saved.read_bytes()
    places = [0, 20, 100, 4096, 9000, len(whole) // 2, *range(len(whole) - LINE, len(whole))]
    for number, place in enumerate(places):
        flipped = whole[place] ^ (1 << number % 8)
        saved.write_bytes(whole[:place] + bytes((flipped,)) + whole[place + 1 :])
        refused(greylag, saved)


def refused(greylag: Greylag, path: Path) -> str:
    found = greylag.run("db", "restore", str(path))
    assert found.exit_code in (66, 74), found.stdout
    assert greylag.keys() == [KEY]
    assert not others(greylag)
    return found.stderr


def sealed(database: bytes, schema: int) -> bytes:
    """Return the bytes of a database with the last line of a backup."""
    head = b"\n-- greylag backup 1; schema %d; bytes %d; made %d; " % (schema, len(database), NOW)
    digest = sha256(database + head).hexdigest().encode()
    return database + (head + b"sha256 " + digest).ljust(LINE - 1) + b"\n"


def built(path: Path, *statements: str) -> bytes:
    """Return the bytes of a database that these statements make."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.executescript(statement)
    whole = path.read_bytes()
    path.unlink()
    return whole


def test_another_file_is_refused(greylag: Greylag, saved: Path) -> None:
    for content in (b"", b"hello", b"x" * 100_000, greylag.database.read_bytes()):
        saved.write_bytes(content)
        assert "is no whole backup" in refused(greylag, saved)
    foreign = built(greylag.home / "x", "CREATE TABLE records (a); PRAGMA user_version = 4")
    saved.write_bytes(sealed(foreign, 4))
    assert "not one of greylag's" in refused(greylag, saved)
    saved.write_bytes(sealed(b"", 0))
    refused(greylag, saved)


def test_a_backup_of_a_later_schema_or_with_tables_of_somebody_is_refused(
    greylag: Greylag, saved: Path
) -> None:
    """Its checksum is right: a file may come from anywhere, and a trigger would be run later."""
    ours = saved.read_bytes()[:-LINE]
    for statement, told in (
        ("PRAGMA user_version = 99", "knows only up to"),
        ("DROP TABLE figures", "has not the tables"),
        ("CREATE TRIGGER t AFTER DELETE ON records BEGIN DELETE FROM entries; END", "tables"),
        ("DROP TABLE tallies; CREATE VIEW tallies AS SELECT 1 AS day", "has not the tables"),
        ("CREATE UNIQUE INDEX evil ON records (settled)", "index evil"),
        ("CREATE TABLE more (a)", "table more"),
        ("PRAGMA user_version = -1", "has schema -1"),
        ("PRAGMA user_version = 3", "schema 3"),
    ):
        changed = greylag.home / "changed"
        changed.write_bytes(ours)
        with closing(sqlite3.connect(changed)) as db:
            db.executescript(statement)
            db.execute("PRAGMA journal_mode = DELETE")
        saved.write_bytes(sealed(changed.read_bytes(), len(MIGRATIONS)))
        changed.unlink()
        assert told in refused(greylag, saved)
        dry = greylag.run("db", "restore", "--dry-run", str(saved))
        assert (dry.exit_code, told in dry.stderr) == (74, True)


def test_a_damaged_page_is_told_also_where_the_checksum_is_right(
    greylag: Greylag, saved: Path
) -> None:
    ours = bytearray(saved.read_bytes()[:-LINE])
    ours[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    saved.write_bytes(sealed(bytes(ours), len(MIGRATIONS)))
    refused(greylag, saved)


def test_a_damaged_database_makes_no_backup(greylag: Greylag, saved: Path) -> None:
    whole = bytearray(greylag.database.read_bytes())
    whole[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    greylag.database.write_bytes(whole)
    found = greylag.run("db", "backup", str(greylag.home / "bad"))
    assert found.exit_code == 74
    assert not (greylag.home / "bad").exists()
    assert not others(greylag)
    # And a restore mends it; what is damaged is kept.
    assert greylag.run("db", "restore", str(saved)).exit_code == 0
    assert greylag.keys() == [KEY]


@pytest.mark.parametrize("schema", range(1, len(MIGRATIONS)))
def test_a_backup_of_an_older_schema_is_brought_up(greylag: Greylag, schema: int) -> None:
    """P17: also the backup that an admin makes before the first start of a new version."""
    text = (FIXTURES / f"sqlite-schema-{schema}.sql").read_text()
    greylag.database.write_bytes(built(greylag.home / "x", text))
    saved = greylag.home / "saved"
    assert greylag.json("db", "backup", str(saved))["schema"] == schema
    with closing(sqlite3.connect(greylag.database)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema,)
        records = db.execute("SELECT count(*) FROM records").fetchone()[0]
    assert greylag.run("db", "restore", str(saved)).exit_code == 0
    assert len(greylag.keys()) == records > 0
    with closing(sqlite3.connect(greylag.database)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_what_is_there_is_never_written_over_without_force(greylag: Greylag, saved: Path) -> None:
    before = saved.read_bytes()
    said = greylag.run("db", "backup", str(saved))
    assert (said.exit_code, saved.read_bytes()) == (1, before)
    assert "--force" in said.stderr
    link = greylag.home / "link"
    link.symlink_to(saved)
    for name in (link, greylag.home, Path("/dev/null"), greylag.database):
        found = greylag.run("db", "backup", "--force", str(name))
        assert found.exit_code == 1, name
    assert saved.read_bytes() == before
    assert greylag.keys() == [KEY]
    greylag.at(NOW + 1)
    assert greylag.run("db", "backup", "--force", str(saved)).exit_code == 0
    assert saved.read_bytes() != before


def test_a_place_that_cannot_be_written_or_read_is_told(greylag: Greylag, saved: Path) -> None:
    found = greylag.run("db", "backup", str(greylag.home / "no" / "folder"))
    assert (found.exit_code, "No such file or directory" in found.stderr) == (1, True)
    os.mkfifo(greylag.home / "pipe")
    for name in ("nothing", "pipe", "."):
        assert greylag.run("db", "restore", str(greylag.home / name)).exit_code == 66
    (greylag.home / "pipe").unlink()
    assert greylag.run("db", "restore", "/dev/zero").exit_code == 66
    assert not others(greylag)


def test_a_database_that_is_open_is_not_replaced_unless_told(greylag: Greylag, saved: Path) -> None:
    """Also not where what has it open is a program that only reads."""
    with closing(sqlite3.connect(greylag.database)) as db:
        db.execute("SELECT count(*) FROM records").fetchone()
        code, _out, said = run(
            greylag.home, f"sqlite://{greylag.database}", "db", "restore", str(saved)
        )
        assert (code, "another process has it open" in said) == (75, True)
        assert not others(greylag)
        words = ("db", "restore", "--while-serving", str(saved))
        code, _out, _said = run(greylag.home, f"sqlite://{greylag.database}", *words)
        assert code == 0
        # It still reads the file that is kept, and closing it harms neither.
        assert db.execute("SELECT count(*) FROM records").fetchone() == (1,)
    assert greylag.keys() == [KEY]


def test_other_stores_say_what_backs_them_up(greylag: Greylag, mariadb: MariaDb) -> None:
    database = mariadb.database()
    try:
        assert run(greylag.home, database.url, "db", "init")[0] == 0
        code, _out, said = run(greylag.home, database.url, "db", "backup", "x")
        assert code == 2
        assert "mysqldump" in said
        for table in database.rows("SHOW TABLES"):
            assert str(table[0]) in said
    finally:
        database.drop()
    greylag.configure(f'[store]\nurl = "tree://{greylag.home}"\n')
    assert f"tar -C {greylag.home}" in greylag.run("db", "restore", "x").stderr
    greylag.configure('[store]\nurl = "memory:"\n')
    assert "nothing to back up" in greylag.run("db", "backup", "x").stderr


@pytest.mark.parametrize("step", range(1, 9))
def test_a_restore_that_dies_leaves_the_old_database_or_the_new_one(
    greylag: Greylag, saved: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """At whichever call it ends, all of one of them is there."""
    other = replace(KEY, sender="later@example.org")
    greylag.remember(other)
    calls = 0

    def ending(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*words: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                raise KeyboardInterrupt
            return call(*words, **options)

        return counted

    with monkeypatch.context() as patched:
        for name in ("link", "rename", "chown", "fsync", "fchmod"):
            patched.setattr(f"greylag.store.sqlite.snapshots.os.{name}", ending(getattr(os, name)))
        code = greylag.run("db", "restore", str(saved)).exit_code
    assert (code == 130) == (calls >= step)
    assert set(greylag.keys()) in ({KEY}, {KEY, other})
    kept = [name for name in others(greylag) if ".before-" not in name]
    assert kept == []
