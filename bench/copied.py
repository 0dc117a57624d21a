"""The same large database in MariaDB: what is in one of SQLite, loaded in bulk."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.mysql import admin, make_database
from greylag.store import open_store
from greylag.store.mysql.schema import DATA, LISTS

ROOM = 2 << 30  # bytes of the server's memory while it is filled; then as many as it has by itself


@dataclass(frozen=True)
class Table:
    """A table: what is read of SQLite, which columns that are, and what is done to the bytes."""

    name: str
    rows: str
    columns: str
    keys: tuple[str, ...] = ()  # made when all is in it


def _date(name: str) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%S', {name}, 'unixepoch')"


# Bytes go as hexadecimal digits.
TABLES = (
    Table(
        "greylisting_data",
        f"SELECT hex(network), sender, recipient, {_date('first_seen')}, {_date('defer_until')},"
        f" {_date('expires')}, blocked, passed FROM records",
        "(@network, mail_from, rcpt_to, create_time, block_expires, record_expires, blocked_count,"
        " passed_count) SET relay_ip = UNHEX(@network)",
        ("relay_ip (relay_ip)", "mail_from (mail_from(20))", "rcpt_to (rcpt_to(20))"),
    ),
    Table(
        "greylag_deferrals",
        "SELECT short, hex(network), sender, recipient, first_seen, defer_until, hex(client), name,"
        " signs, '', tries, first_try, last_try, outcome, ended, released"
        " FROM deferrals ORDER BY number",
        "(short, @network, sender, recipient, first_seen, defer_until, @client, name, signs, pool,"
        " tries, first_try, last_try, outcome, ended, released)"
        " SET network = UNHEX(@network), client = UNHEX(@client)",
        ("short (short)",),
    ),
    Table(
        "greylag_tallies",
        "SELECT kind, day, 1, name, deferred, passed, waited, likely_spam, never FROM tallies",
        "(kind, day, node, name, deferred, passed, waited, likely_spam, never)",
    ),
    Table(
        "greylag_days",
        "SELECT kind, day, 1, names FROM tally_days",
        "(kind, day, node, names)",
    ),
    Table("greylag_figures", "SELECT hour, name, number FROM figures", "(hour, name, number)"),
)
# What the walk of the daemon's expiry has noted when it was at the end.
_WALK = """INSERT INTO greylag_figures (hour, name, number)
    SELECT -1, 'counted:at', UNIX_TIMESTAMP() UNION ALL
    SELECT -1, 'counted:passed', SUM(passed_count > 0) FROM greylisting_data UNION ALL
    SELECT -1, 'counted:waiting', SUM(passed_count = 0) FROM greylisting_data"""


def fill_mariadb(folder: Path, name: str, source: Path) -> str:
    """Fill a database of the server in this folder; return its URL."""
    url = f"mysql:?default_file={make_database(folder, name, DATA, LISTS)}"
    open_store(url, timeout=60).close()  # which makes our own tables
    spool = folder / "db" / "rows"
    with admin(folder, name) as cursor, closing(sqlite3.connect(source)) as db:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute("SELECT @@GLOBAL.innodb_buffer_pool_size")
        usual = cursor.fetchall()[0][0]
        cursor.execute("SET GLOBAL innodb_buffer_pool_size = %s", (ROOM,))
        cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
        for table in TABLES:
            with spool.open("w") as out:
                out.writelines("\t".join(map(str, row)) + "\n" for row in db.execute(table.rows))
            shutil.chown(spool, "mysql")
            for key in table.keys:
                cursor.execute(f"ALTER TABLE {table.name} DROP KEY {key.partition(' ')[0]}")
            cursor.execute(
                f"LOAD DATA INFILE '{spool}' INTO TABLE {table.name} CHARACTER SET ascii"
                f" FIELDS ESCAPED BY '' {table.columns}"
            )
            for key in table.keys:
                cursor.execute(f"ALTER TABLE {table.name} ADD KEY {key}")
            cursor.execute(f"ANALYZE TABLE {table.name}")
            spool.unlink()
        cursor.execute(_WALK)
        cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        cursor.execute("SET GLOBAL innodb_buffer_pool_size = %s", (usual,))
    return url
