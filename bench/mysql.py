"""MariaDB: the daemon on the old plugin's tables against sqlgrey, and an old database taken over.

usage: python -m bench.mysql [--rounds N] [--requests N] [--starts N]

One private server for all, with durable commits (innodb_flush_log_at_trx_commit=1) and Debian's
defaults else. The database that is taken over holds 200,000 records and 50,000 list rows, and is
named by `control/greylisting` alone.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pymysql

from bench.common import (
    answers,
    build,
    free_port,
    heading,
    load,
    process,
    serving,
    target,
    write_config,
)
from bench.daemon import SLOW_PEERS, Server, measure, sqlgrey_config
from bench.plugin import FLOOR
from bench.plugin import install as install_plugin
from bench.plugin import measure as measure_plugin
from bench.plugin import report as report_plugin
from greylag.store.mysql.schema import DATA, LISTS

RECORDS, ENTRIES = 200_000, 50_000
USER, PASSWORD = "greylisting", "loopback"
PART = 10_000  # rows in one statement


def mariadb(folder: Path) -> contextlib.AbstractContextManager[int]:
    """Return a server, to run until the end of a block; its socket is `db/s` in the folder.

    It is a new one, where there is none of a run before.
    """
    home = folder / "db"
    is_new = not home.exists()
    home.mkdir(exist_ok=True)
    shutil.chown(home, "mysql")
    own = ["--no-defaults", "--user=mysql", f"--datadir={home}/data"]
    install = ["mariadb-install-db", *own, "--auth-root-authentication-method=normal"]
    if is_new:
        subprocess.run([*install, "--skip-test-db"], check=True, capture_output=True)
    options = [f"--socket={home}/s", f"--pid-file={home}/pid", f"--log-error={home}/err"]
    options += ["--skip-networking", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=1"]
    return process(
        ["/usr/sbin/mariadbd", *own, *options], answers(f"{home}/s"), folder / "mariadb.log"
    )


@contextlib.contextmanager
def admin(folder: Path, database: str = "") -> Iterator[pymysql.cursors.Cursor]:
    """Speak to the server as its root."""
    session = pymysql.connect(
        unix_socket=f"{folder}/db/s", user="root", database=database or None, autocommit=True
    )
    with contextlib.closing(session), session.cursor() as cursor:
        yield cursor


def make_database(folder: Path, name: str, *tables: str) -> Path:
    """Make a database with these tables; return the option file that names it."""
    with admin(folder) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"USE {name}")
        for statement in tables:
            cursor.execute(statement)
        cursor.execute(
            f"GRANT ALL PRIVILEGES ON {name}.* TO {USER}@localhost IDENTIFIED BY '{PASSWORD}'"
        )
    path = folder / f"{name}.cnf"
    path.write_text(
        f"[client]\nsocket={folder}/db/s\nuser={USER}\npassword={PASSWORD}\ndatabase={name}\n"
    )
    return path


def fill(folder: Path, name: str) -> None:
    """Fill a database as years with the old program leave it: whole addresses, many of a /24."""
    now = int(time.time())
    dates = [time.strftime("%F %T", time.gmtime(now + days * 86400)) for days in (-9, 9)]
    data = (
        (bytes((10, n % 5000 // 250, n % 250, n % 200)), f"sender{n}@example.org",
         f"recipient{n % 5000}@example.net", *dates, 1, n % 3)
        for n in range(RECORDS)
    )  # fmt: skip
    half = ENTRIES // 2
    lists: list[tuple[str | None, bytes, int, str | None]] = [
        (f"172.16.{n >> 8}.{n & 255}", bytes((172, 16, n >> 8, n & 255)), 32, None)
        for n in range(half)
    ]
    lists += [(None, b"0", 0, f"domain{n}.example.com") for n in range(half)]
    with admin(folder, name) as cursor:
        in_parts(
            cursor,
            "INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, block_expires,"
            " record_expires, blocked_count, passed_count) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            data,
        )
        in_parts(
            cursor,
            "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize,"
            " rcpt_to, block_expires, record_expires)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            ((text, ip, ip, bits, domain, *dates) for text, ip, bits, domain in lists),
        )
        cursor.execute("ANALYZE TABLE greylisting_data, greylisting_lists")


def in_parts(
    cursor: pymysql.cursors.Cursor, statement: str, rows: Iterator[tuple[object, ...]]
) -> None:
    """Insert many rows."""
    while part := [row for _number, row in zip(range(PART), rows, strict=False)]:
        cursor.executemany(statement, part)


def against_sqlgrey(folder: Path, rounds: int, requests: int) -> None:
    """Put the same load on the daemon and on sqlgrey, on one server; print both."""
    option_file = make_database(folder, "greylag", DATA, LISTS)
    make_database(folder, "sqlgrey")
    config = write_config(folder, url=f"mysql:?default_file={option_file}")
    place = f"127.0.0.1:{free_port()}"
    settings = sqlgrey_config(
        folder,
        place,
        f"db_dsn = DBI:mysql:database=sqlgrey;mysql_socket={folder}/db/s\n"
        f"db_user = {USER}\ndb_pass = {PASSWORD}\n",
    )
    command = ["/usr/sbin/sqlgrey", "-f", str(settings)]
    with (
        serving(config) as ours,
        process(command, answers(place), folder / "sqlgrey.log") as theirs,
    ):
        found = [Server("greylag", f"{folder}/s", ours), Server(SLOW_PEERS[1], place, theirs)]
        measure(folder, found, rounds, requests)
    heading("50 connections on MariaDB, the old tables: requests a second, all new and repeats")
    for server in found:
        print(f"  {server.name:18} {server.rates()[0]:8.0f} {server.rates()[1]:8.0f}")
    new, again = (a / b for a, b in zip(found[0].rates(), found[1].rates(), strict=True))
    target("all new, against sqlgrey", new, 20, more=True)
    print(f"  repeats, against sqlgrey {again:.1f}")


def committing(cursor: pymysql.cursors.Cursor) -> Callable[[], float]:
    """Return what times the least that a first contact needs: one small row, durable."""
    cursor.execute("CREATE TABLE one (id BIGINT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB")

    def commit() -> float:
        began = time.perf_counter()
        cursor.execute("INSERT INTO one VALUES ()")
        return time.perf_counter() - began

    return commit


def taken_over(folder: Path, rounds: int, requests: int, starts: int) -> None:
    """Name a full database in control/greylisting; print what one RCPT costs, and what many do."""
    here = folder / "old"
    control = here / "home" / "control"
    control.mkdir(parents=True)
    option_file = make_database(folder, "greylisting", DATA, LISTS)
    fill(folder, "greylisting")
    (control / "greylisting").write_text(f"mysql_default_file={option_file}\n")
    config = here / "greylag.toml"
    config.write_text(f'[server]\nsocket = "{here}/s"\n')
    plugin = install_plugin(here, config)
    with serving(config, cwd=here / "home"), admin(folder, "greylisting") as cursor:
        (found,) = measure_plugin(folder, [plugin], starts, committing(cursor))
    heading(
        f"an old database of {RECORDS:,} records and {ENTRIES:,} list rows taken over: plugin with"
        f" the daemon,\nfor each RCPT, in empty static programs ({found[FLOOR] * 1000:.2f} ms)"
    )
    report_plugin(found, 1.5)
    with admin(folder, "greylisting") as cursor:
        cursor.execute("SELECT COUNT(*) FROM greylisting_data WHERE mail_from = 'a@example.org'")
        row = cursor.fetchone()
    if row != (starts + 1,):  # else it would be the time of something else
        raise SystemExit(f"expected {starts + 1} new records in the old table, found {row}")
    with serving(config, cwd=here / "home"):
        loads = [load(folder, f"{here}/s", requests, 10**9, f"o{n}") for n in range(rounds)]
    rate, high = (median(getattr(one, what) for one in loads) for what in ("rate", "high"))
    print(f"  50 connections, all new: {rate:.0f} a second, 99th percentile {high:.1f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=30_000)
    parser.add_argument("--starts", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        with mariadb(folder):
            with admin(folder) as cursor:
                cursor.execute("SELECT VERSION(), @@innodb_flush_log_at_trx_commit")
                version, flushed = cursor.fetchall()[0]
                heading(f"MariaDB {version}, innodb_flush_log_at_trx_commit={flushed}")
            against_sqlgrey(folder, options.rounds, options.requests)
            taken_over(folder, options.rounds, options.requests, options.starts)


if __name__ == "__main__":
    main()
