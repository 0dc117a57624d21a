"""Backups of a daemon that is asked meanwhile, and docs/everyday/backup.md as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import Filter
from tests.e2e.plugin import BIN
from tests.server.daemon import Connection, Daemon, serving
from tests.server.test_failure import DEFERRED, LET_IN, until_deferred
from tests.servers.mariadb import MariaDb

PAGE = Path(__file__).parents[2] / "docs" / "everyday" / "backup.md"
NOW = int(time.time())
RECORDS = 2_000_000 if os.environ.get("GREYLAG_SOAK") == "1" else 60_000


class Load:
    """Questions on a connection of their own: of first contacts, one after the other."""

    def __init__(self, place: Path, number: int) -> None:
        self.place, self.number = place, number
        self.answers: list[tuple[float, str, bytes]] = []
        self.slowest = 0.0
        self.end = False
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with Connection(self.place) as client:
            while not self.end:
                sender = f"{self.number}-{len(self.answers)}@example.org"
                began = time.monotonic()
                answer = client.ask(sender=sender)
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.answers.append((began, sender, answer))


@contextmanager
def asked(daemon: Daemon, connections: int = 4) -> Iterator[list[Load]]:
    loads = [Load(daemon.socket, number) for number in range(connections)]
    for load in loads:
        load.thread.start()
    try:
        yield loads
    finally:
        for load in loads:
            load.end = True
        for load in loads:
            load.thread.join(30)


def fill(url: str, number: int) -> None:
    """Put many records of known senders into a store."""
    record = Record(NOW - 9000, NOW - 8000, NOW + 90_000, blocked=1, passed=1)
    with closing(open_store(url, timeout=4)) as store:
        for start in range(0, number, 5000):
            store.merge(
                {
                    Triplet(n.to_bytes(4, "big"), f"user{n}@example.org", "b@example.net"): record
                    for n in range(start, start + 5000)
                }
            )


def greylag(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "greylag", "--config", folder / "greylag.toml", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def senders_in(url: str) -> set[str]:
    with closing(open_store(url, timeout=4)) as store:
        return {key.sender for key, _ in store.search(Filter(), 10_000_000)}


def test_a_backup_under_load_leaves_no_question_unanswered_and_has_all_from_before(
    tmp_path: Path,
) -> None:
    fill(f"sqlite://{tmp_path}/greylag.db", RECORDS)
    with serving(tmp_path) as daemon, asked(daemon) as loads:
        time.sleep(0.5)
        began = time.monotonic()
        done = greylag(tmp_path, "db", "backup", tmp_path / "saved")
        ended = time.monotonic()
        time.sleep(0.2)
        assert done.returncode == 0, done.stderr
        refused = greylag(tmp_path, "db", "restore", tmp_path / "saved")
        assert (refused.returncode, "has it open" in refused.stderr) == (75, True)
    answers = [answer for load in loads for answer in load.answers]
    assert not [answer for _at, _sender, answer in answers if not answer.startswith(DEFERRED)]
    assert len([at for at, *_ in answers if began < at < ended]) > 10
    assert max(load.slowest for load in loads) < 5  # the deadline of an answer
    before = {sender for at, sender, _answer in answers if at < began - 0.2}
    # Restored elsewhere: all that was answered before the backup is in it.
    other = tmp_path / "other"
    other.mkdir()
    (other / "greylag.toml").write_text(f'store.url = "sqlite://{other}/greylag.db"\n')
    assert greylag(other, "db", "restore", tmp_path / "saved").returncode == 0
    found = senders_in(f"sqlite://{other}/greylag.db")
    assert before
    assert before <= found
    assert len(found) >= RECORDS + len(before)


def test_a_daemon_goes_on_with_what_was_restored_under_it(tmp_path: Path) -> None:
    known = {"client_address": "192.0.2.1", "sender": "known@example.org"}
    with serving(tmp_path, 'policy.delay = "0s"\n') as daemon:
        with daemon.connect() as client:
            assert client.ask(**known).startswith(DEFERRED)
            assert client.ask(**known) == LET_IN
            assert greylag(tmp_path, "db", "backup", tmp_path / "saved").returncode == 0
            late = {"client_address": "192.0.2.1", "sender": "late@example.org"}
            assert client.ask(**late).startswith(DEFERRED)
        with asked(daemon, 2) as loads:
            words = ("db", "restore", "--while-serving", tmp_path / "saved")
            done = greylag(tmp_path, *words)
            assert done.returncode == 0, done.stderr
            assert daemon.logged("was replaced by another file")
            with daemon.connect() as client:
                until_deferred(client, "again@example.org")
            time.sleep(1)
        assert all(answer for load in loads for *_, answer in load.answers)
        assert [answer for *_, answer in loads[0].answers[-20:] if answer.startswith(DEFERRED)]
        with daemon.connect() as client:
            assert client.ask(**known) == LET_IN
            assert client.ask(**late).startswith(DEFERRED)  # its first contact is not in there
    assert "known@example.org" in senders_in(f"sqlite://{tmp_path}/greylag.db")
    (kept,) = tmp_path.glob("greylag.db.before-????????-??????")
    assert "late@example.org" in senders_in(f"sqlite://{kept}")


def commands() -> list[str]:
    return re.findall(r"^    (\S.*)$", PAGE.read_text(), re.MULTILINE)


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-ec", line],
        env={
            "PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin",
            "GREYLAG_CONFIG": str(folder / "greylag.toml"),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_command_of_the_page_as_it_stands(tmp_path: Path, mariadb: MariaDb) -> None:
    """P20."""
    database = mariadb.database()
    config = tmp_path / "greylag.toml"
    config.write_text(f'store.url = "{database.url}"\n')
    assert greylag(tmp_path, "db", "init").returncode == 0
    refused = greylag(tmp_path, "db", "backup", "x").stderr
    told = re.search(r"(mysqldump .*greylag\.sql); and (mysql .*greylag\.sql) restores", refused)
    assert told is not None, refused
    (tmp_path / "tree").mkdir()
    there: dict[str, object] = {"/var/backups": tmp_path, "/var/lib/jgreylist": tmp_path / "tree"}
    there |= {"/etc/greylag/my.cnf": database.option_file, " mail ": f" {database.name} "}
    tables = told[1].partition(f" {database.name} ")[2].partition(" >")[0]
    assert len(tables.split()) == len(database.rows("SHOW TABLES"))
    config.write_text(f'store.url = "sqlite://{tmp_path}/greylag.db"\n')
    fill(f"sqlite://{tmp_path}/greylag.db", 5000)
    found = commands()
    assert len(found) == 7
    for written in found:
        line = written
        for name, place in {**there, "TABLES": tables}.items():
            line = line.replace(name, str(place))
        if line.startswith("mysql"):
            assert line in told.groups(), "the page and the command say the same"
        done = shell(line, tmp_path)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert len(senders_in(f"sqlite://{tmp_path}/greylag.db")) == 5000
    assert greylag(tmp_path, "db", "check").returncode == 0
    database.drop()
