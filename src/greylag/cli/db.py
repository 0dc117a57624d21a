"""`greylag db`: what is done once with a database, and looking it over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from greylag.cli.asker import as_option, for_root_alone, refuse_unusable
from greylag.cli.common import (
    NOTHING,
    OK,
    STORE_ERROR,
    USAGE,
    CommandError,
    Group,
    Run,
    examples,
    json_option,
)
from greylag.cli.copying import copy
from greylag.cli.output import say, write, write_json
from greylag.core.subject import Network
from greylag.store import without_password
from greylag.store.admin import Finding
from greylag.store.mysql.admin import MysqlAdmin, statements
from greylag.store.mysql.options import read_url
from greylag.store.sqlite.rows import sound_entries
from greylag.store.sqlite.sql import ENTRIES

_SQLITE = "sqlite://"
_MODE = 0o007  # nobody else reads who mails whom


@click.group(
    "db",
    cls=Group,
    short_help="Make the tables of the database, and look it over.",
    epilog=examples("greylag db init", "greylag db check"),
)
def db() -> None:
    """Make the tables of the database, look it over, copy it."""


db.add_command(copy)


@contextmanager
def _admin(run: Run) -> Iterator[MysqlAdmin]:
    url = run.settings.store_url
    try:
        place = read_url(url)
    except ValueError as error:
        raise CommandError([f"{without_password(url)}: {error}"], USAGE) from error
    with closing(MysqlAdmin(place, timeout=run.settings.store_timeout)) as admin:
        yield admin


def _is_mysql(run: Run) -> bool:
    return run.settings.store_url.startswith("mysql:")


@db.command(
    short_help="Make what is missing.",
    epilog=examples("greylag db init", "greylag db init --print > greylag.sql"),
)
@click.option("--print", "as_text", is_flag=True, help="Print the SQL instead, for the DBA.")
@json_option
@click.pass_obj
def init(run: Run, as_text: bool) -> None:
    """Make what is missing in the database; what is there is never altered.

    For MySQL and MariaDB these are the tables of the old plugin, with triggers that mask host bits
    and refuse what is no address, and one of greylag's own; for SQLite it is the file.
    """
    if as_text:
        _print_sql(run)
        return
    _refuse_without_tables(run)
    if _is_mysql(run):
        with _admin(run) as admin:
            made = admin.init()
    else:
        path = run.settings.store_url.removeprefix(_SQLITE)
        there = Path(path).exists()
        run.open_store(create=True).close()
        made = [] if there else [path]
    if run.json:
        write_json({"made": made})
    elif made and _is_mysql(run):
        say(f"made: {', '.join(made)}")
    elif not made:
        say("all was there already")


def _refuse_without_tables(run: Run) -> None:
    url = run.settings.store_url
    if not (_is_mysql(run) or url.startswith(_SQLITE)):
        what = (
            "jgreylist's files" if url.startswith("tree:") else "memory that ends with this command"
        )
        raise CommandError([f"store.url is {url}: {what}, no database with tables"], USAGE)


def _print_sql(run: Run) -> None:
    if not _is_mysql(run):
        url = run.settings.store_url
        told = f"store.url is {url}; --print is for MySQL and MariaDB, so name one there"
        raise CommandError([told], USAGE)
    if run.json:
        write_json({"statements": list(statements())})
        return
    for statement in statements():
        trigger = statement.startswith("CREATE TRIGGER")
        text = f"DELIMITER //\n{statement} //\nDELIMITER ;" if trigger else f"{statement};"
        for line in text.splitlines():
            write(line)


@db.command(
    short_help="Say what differs from what is needed.",
    epilog=examples(
        "greylag db check", "greylag db check --as vpopmail", "greylag db check --add-indexes"
    ),
)
@click.option("--add-indexes", is_flag=True, help="Add the indexes that are missing.")
@as_option
@json_option
@click.pass_obj
def check(run: Run, add_indexes: bool) -> int:
    """Say what differs from what is needed, and what mends it.

    Exits with 0 if all is well, 1 if not.
    """
    _refuse_without_tables(run)
    for line in for_root_alone(run):
        say(line)
    refuse_unusable(run.settings.store_url)
    if _is_mysql(run):
        with _admin(run) as admin:
            found = admin.check()
            if add_indexes and (added := admin.add_indexes(found)):
                say(f"{added} added")
                found = admin.check()
    else:
        found = _check_sqlite(run)
    if run.json:
        write_json({"findings": [{"what": one.what, "mend": one.mend} for one in found]})
    for one in [] if run.json else found:
        write(one.what)
        write(f"    {one.mend}")
    if not found:
        say("all is well")
    return NOTHING if found else OK


def _check_sqlite(run: Run) -> list[Finding]:
    run.open_store().close()  # says what is no database, or of another version
    path = Path(run.settings.store_url.removeprefix(_SQLITE))
    if not run.settings.store_url.startswith(_SQLITE) or not path.exists():
        return []
    found = []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            for (line,) in connection.execute("PRAGMA integrity_check"):
                if line != "ok":
                    found.append(Finding(str(line), "stop greylag, and restore a copy"))
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            for row in connection.execute(ENTRIES):
                subject = [entry.subject for entry in sound_entries([row])]
                if not subject or (isinstance(subject[0], Network) and not subject[0].sound):
                    what = f"list entry {row[-1]} names no range, and is ignored"
                    found.append(Finding(what, "remove that row of the table `entries`"))
    except (sqlite3.Error, UnicodeDecodeError) as error:  # its message may quote damaged bytes
        raise CommandError([f"{path}: {error}"], STORE_ERROR) from error
    if path.stat().st_mode & _MODE:
        found.append(Finding(f"{path}: is open to all", f"chmod o= {path}*"))
    return found
