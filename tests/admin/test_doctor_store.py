"""`greylag doctor` on stores (schema, clocks, expiry, growth, figures), a daemon and a log."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import greylag
from greylag.admin.doctor import CHECKS, diagnose
from greylag.admin.doctor.finding import Finding, Level
from greylag.admin.doctor.place import Place
from greylag.cli.common import Run
from greylag.cli.place import place_of
from greylag.core.history import Outcome
from greylag.core.record import Created
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.service.providers import OWN, known, put
from greylag.store import open_store
from tests.server.daemon import serving
from tests.servers.mariadb import Database
from tests.web.seeded import deferral_at, remember

FIXTURES = Path(__file__).parents[1] / "fixtures"
DAY = 86400
Placed = Callable[..., Place]


@pytest.fixture
def placed(tmp_path: Path) -> Placed:
    """Return what makes a place of a settings' file, at another time if wanted."""

    def make(more: str = "", *, url: str = "", later: int = 0, **before: object) -> Place:
        url = url or f"sqlite://{tmp_path}/greylag.db"
        config = tmp_path / "greylag.toml"
        config.write_text(f'[dns]\nservers = "off"\n[store]\nurl = "{url}"\n{more}')
        run = Run(str(config), str(tmp_path))
        run.now += later
        return place_of(run, "", before)

    return make


def look(place: Place, code: str) -> Finding:
    """Return the first finding of one check."""
    (check,) = [one for one in CHECKS if one.code == code]
    return next(iter(diagnose(place, [check])), Finding(code, Level.SKIPPED, "not here"))


def mended(place: Place, found: Finding) -> bool:
    """Run the advice as it stands, and tell whether the check is content then."""
    subprocess.run(["/bin/sh", "-c", found.mend], check=True, timeout=60, capture_output=True)
    return look(place, found.code).level is Level.OK


def test_an_older_schema_is_brought_up(tmp_path: Path, placed: Placed) -> None:
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db:
        db.executescript((FIXTURES / "sqlite-schema-3.sql").read_text())
    place = placed()
    found = look(place, "db-schema")
    assert found.level is Level.WARN
    assert look(place, "db-unusable").level is Level.SKIPPED  # one line is enough
    assert mended(place, found)


def test_a_newer_schema_is_an_error(tmp_path: Path, placed: Placed) -> None:
    open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4).close()
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db:
        db.execute("PRAGMA user_version = 99")
    assert look(placed(), "db-schema").level is Level.ERROR


def test_a_file_without_a_database_is_put_aside(tmp_path: Path, placed: Placed) -> None:
    path = tmp_path / "greylag.db"
    open_store(f"sqlite://{path}", timeout=4).close()
    damaged = b"\xff" * 5000 + path.read_bytes()[5000:]
    path.write_bytes(damaged)
    place = placed()
    found = look(place, "db-unusable")
    assert found.level is Level.ERROR
    assert mended(place, found)
    assert Path(f"{path}.damaged").read_bytes() == damaged


def test_a_line_that_needs_dns_is_left_out(tmp_path: Path, placed: Placed) -> None:
    place = placed('[policy]\nidentity = "spf"\n')
    found = look(place, "settings-doubtful")
    assert found.level is Level.WARN
    subprocess.run(["/bin/sh", "-c", found.mend], check=True, timeout=60)
    config = tmp_path / "greylag.toml"
    assert config.read_text().endswith('[policy]\n# identity = "spf"\n')
    now = place_of(Run(str(config), str(tmp_path)), "", {})
    assert look(now, "settings-doubtful").level is Level.OK


def test_records_that_nobody_deletes(tmp_path: Path, placed: Placed) -> None:
    now = int(time.time())
    with closing(open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4)) as store:
        keys = [
            Triplet(bytes((192, 0, 2, 0)), f"{n}@example.org", "a@example.net") for n in range(200)
        ]
        old = now - 5 * DAY
        store.apply([Created(key, old, old + 300, old + 2 * DAY) for key in keys], {}, old)
    place = placed()
    found = look(place, "expiry")
    assert found.level is Level.WARN
    assert mended(place, found)


def test_mail_from_the_future(tmp_path: Path, placed: Placed) -> None:
    now = int(time.time())
    with closing(open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4)) as store:
        remember(store, deferral_at(1, now, "a@example.org"), Outcome.WAITING, now)
    assert look(placed(), "clock").level is Level.OK
    assert look(placed(later=-DAY), "clock").level is Level.ERROR


def test_a_database_that_grows_fast(tmp_path: Path, placed: Placed) -> None:
    now = int(time.time())
    with (tmp_path / "greylag.db").open("wb") as file:
        file.truncate(300 << 20)
    small = placed(size=100 << 20, sized=now - DAY)
    assert look(small, "growth").level is Level.WARN
    assert small.noted == {"size": 100 << 20, "sized": now - DAY}  # of some days ago still
    first = placed()
    assert look(first, "growth").level is Level.OK
    assert first.noted["size"] == 300 << 20
    assert look(placed(size="x", sized=[]), "growth").level is Level.OK


def test_mail_servers_that_ask_no_more(tmp_path: Path, placed: Placed) -> None:
    now = int(time.time())
    with closing(open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4)) as store:
        store.apply([], {"pass:known": 500}, now - 2 * DAY)
        assert look(placed(), "nothing-asked").level is Level.WARN
        store.apply([], {"pass:known": 1}, now)
        assert look(placed(), "nothing-asked").level is Level.OK


def test_addresses_of_big_senders_that_are_old(tmp_path: Path, placed: Placed) -> None:
    now = int(time.time())
    with closing(open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4)) as store:
        found = known(store)
        one = replace(next(iter(found.providers.values())), status=OWN, refreshed=now - 5 * DAY)
        put(store, found, one, now)
    found_now = look(placed(), "providers")
    assert found_now.level is Level.WARN
    assert one.name in found_now.text


def test_a_number_that_cannot_be_meant(tmp_path: Path, placed: Placed) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/greylisting").write_text("block_expire=2x\nrecord_expire=no\n")
    assert look(placed(), "settings-doubtful").level is Level.WARN


def test_a_log_that_is_large_or_lacks_lines(tmp_path: Path, placed: Placed) -> None:
    log = tmp_path / "log"
    place = placed(f'[log]\nfile = "{log}"\n')
    log.write_text("greylag: event=started\n")
    assert look(place, "log").level is Level.OK
    log.write_text("greylag: event=log-dropped lines=3\n")
    assert "lacks lines" in look(place, "log").text
    with log.open("wb") as file:
        file.truncate(3 << 30)
    assert "rotate it" in look(place, "log").text


def test_a_daemon_that_is_older_than_its_files(tmp_path: Path, placed: Placed) -> None:
    place = placed(f'[server]\nsocket = "{tmp_path}/s"\n')
    with serving(tmp_path, config=tmp_path / "greylag.toml"):
        assert look(place, "daemon").level is Level.OK
        time.sleep(1.5)  # the kernel tells starts in hundredths, and a second is left as room
        os.utime(greylag.__file__)
        assert look(place, "daemon-version").level is Level.WARN


def test_a_server_of_sql_with_a_table_too_few_and_another_clock(
    database: Database, placed: Placed
) -> None:
    place = placed(url=database.url)
    subprocess.run(["/bin/sh", "-c", f"{place.command} db init"], check=True, capture_output=True)
    assert look(place, "db-schema").level is Level.OK
    assert look(place, "clock").level is Level.OK
    assert look(placed(url=database.url, later=3600), "clock").level is Level.ERROR
    with database.server.connect(database.name) as cursor:
        cursor.execute("DROP TABLE greylag_days")
    found = look(place, "db-schema")
    assert found.level is Level.WARN
    assert mended(place, found)
