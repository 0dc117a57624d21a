"""P20: docs/start/imports.md and docs/everyday/export.md, each command as it stands.

`mysql`, `sqlite3` and `db_dump` are real. There is no PostgreSQL and no OpenBSD here: `psql` and
`ssh` print what these print.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, needed
from tests.servers.mariadb import MariaDb

DOCS = Path(__file__).parents[2] / "docs"
NOW = int(time.time())
DATE = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(NOW - 90_000))
AWL = f"known,example.org,192.0.2,{DATE},{DATE}"
TRACKED = f"a@example.org,b@example.net,192.0.2.7,{NOW - 900},{NOW + 9000},1"
SPAMDB = f"WHITE|192.0.2.7|||{NOW - 9000}|{NOW - 900}|{NOW + 9000}|1|1\nSPAMTRAP|t@example.net\n"
TABLES = {
    "from_awl": ("sender_name,sender_domain,src,first_seen,last_seen", AWL),
    "greylisting_tracking": (
        "sender,recipient,client_address,init_time,record_expired,passed",
        TRACKED,
    ),
    "greylisting_whitelists": ("id,account,sender,comment", "1,@.,192.0.2.0/24,office"),
}


def commands(page: str) -> list[str]:
    return re.findall(r"^    (\S.*)$", (DOCS / page).read_text(), re.MULTILINE)


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def printing(table: str) -> str:
    head, row = TABLES[table]
    return f"*\" {table}\") printf '%s\\n%s\\n' '{head}' '{row}' ;;"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDb) -> Path:
    """Return a folder with what the page names, and programs that find it."""
    needed("db_load", "db-util")
    folder = tmp_path_factory.mktemp("pages")
    programs = folder / "bin"
    programs.mkdir()
    cases = "\n".join(printing(table) for table in TABLES)
    script(programs / "psql", f'for last; do :; done\ncase "$3" in\n{cases}\n*) exit 1 ;;\nesac')
    script(programs / "ssh", f"cat {folder}/spamdb")
    (folder / "spamdb").write_text(SPAMDB)
    (folder / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={mariadb.socket}\n")
    with mariadb.connect() as cursor:
        for database, table in (("sqlgrey", "from_awl"), ("iredapd", "greylisting_tracking")):
            head, row = TABLES[table]
            columns = ", ".join(f"{name} VARCHAR(255)" for name in head.split(","))
            cursor.execute(f"CREATE DATABASE {database}")
            cursor.execute(f"CREATE TABLE {database}.{table} ({columns})")
            values = ", ".join(f"'{value}'" for value in row.split(","))
            cursor.execute(f"INSERT INTO {database}.{table} VALUES ({values})")
    (folder / "postgrey").mkdir()
    text = "VERSION=3\nformat=print\ntype=btree\nHEADER=END\n 192.0.2.0/a@example.org/b@example.net"
    text += f"\n {NOW - 900},{NOW - 90}\nDATA=END\n"
    load = ["db_load", str(folder / "postgrey" / "postgrey.db")]
    subprocess.run(load, input=text, text=True, check=True)
    (folder / "sqlgrey").mkdir()
    with closing(sqlite3.connect(folder / "sqlgrey" / "sqlgrey.db")) as db, db:
        db.execute("CREATE TABLE connect (sender_name, sender_domain, src, rcpt, first_seen)")
        db.execute("CREATE TABLE from_awl (sender_name, sender_domain, src, first_seen, last_seen)")
        db.execute("CREATE TABLE domain_awl (sender_domain, src, first_seen, last_seen)")
        db.execute("INSERT INTO domain_awl VALUES ('example.org', '192.0.2.7', ?, ?)", (NOW, NOW))
    (folder / "milter-greylist").mkdir()
    (folder / "milter-greylist" / "greylist.db").write_text(
        f"192.0.2.7\t<a@example.org>\t<b@example.net>\t{NOW + 9000} AUTO # then\n"
    )
    (folder / "mail.log").write_text(
        f"{DATE} 1vXyZa-00000000001-Abcd <= a@example.org H=m.example.org [192.0.2.7] P=esmtp\n"
    )
    return folder


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    for name in ("/var/lib", "/var/log", "/var/backups"):
        line = line.replace(name, str(folder))
    path = f"{folder}/bin:{BIN}:/usr/bin:/bin"
    return subprocess.run(
        ["sh", "-ec", line],
        env={"PATH": path, "HOME": str(folder), "GREYLAG_CONFIG": str(folder / "greylag.toml")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("line", commands("start/imports.md"))
def test_each_command_of_the_page_of_imports(home: Path, line: str) -> None:
    config = home / "greylag.toml"
    config.write_text(f'store.url = "sqlite://{home}/{abs(hash(line))}.db"\ndns.servers = "off"\n')
    done = shell(home, line)
    assert done.returncode == 0, done.stderr
    assert re.search(r"new: [1-9]|added +[1-9]", done.stdout), done.stdout


def test_every_command_of_the_page_of_exports(home: Path) -> None:
    config = home / "greylag.toml"
    config.write_text(f'store.url = "sqlite://{home}/export.db"\ndns.servers = "off"\n')
    assert shell(home, "greylag import spamdb spamdb").returncode == 0
    found = commands("everyday/export.md")
    assert len(found) == 5
    for line in found:
        done = shell(home, line)
        assert done.returncode == 0, f"{line}: {done.stderr}"
