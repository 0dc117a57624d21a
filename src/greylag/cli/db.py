"""`greylag db`: what is done once with a database, and looking it over."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.cli.asker import as_option, for_root_alone, refuse_unusable
from greylag.cli.common import (
    NOTHING,
    OK,
    USAGE,
    CommandError,
    Group,
    Run,
    examples,
    json_option,
    missing_file,
    tell_made,
    told_whose,
)
from greylag.cli.copying import copy
from greylag.cli.output import say, write, write_json
from greylag.store import Backend
from greylag.store.admin import Admin
from greylag.store.base import TABLES


@click.group(
    "db",
    cls=Group,
    short_help="Make the tables of the database, and look it over.",
    epilog=examples("greylag db init", "greylag db check"),
)
def db() -> None:
    """Make the tables of the database, look it over, copy it."""


db.add_command(copy)


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
    _refuse_without_tables(run.backend)
    missing = missing_file(run.backend)
    run.tell_configuration()
    with told_whose(run.backend), _admin(run) as admin:
        made = admin.init()
    if missing is not None and made:
        tell_made(missing)
    if run.json:
        write_json({"made": made})
    elif not made:
        say("all was there already")
    elif missing is None:
        say(f"made: {', '.join(made)}")


def _admin(run: Run) -> closing[Admin]:
    return closing(run.backend.admin(timeout=run.settings.store_timeout))


def _refuse_without_tables(backend: Backend) -> None:
    if TABLES in backend.lacks:
        told = f"store.url is {backend.shown}: {backend.lacks[TABLES]}"
        raise CommandError([told], USAGE)


def _print_sql(run: Run) -> None:
    statements = run.backend.statements()
    if not statements:
        told = "there is no SQL for it; --print is for databases of a server, so name one there"
        raise CommandError([f"store.url is {run.backend.shown}: {told}"], USAGE)
    if run.json:
        write_json({"statements": statements})
        return
    for statement in statements:
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
    _refuse_without_tables(run.backend)
    for line in for_root_alone(run):
        say(line)
    refuse_unusable(run.backend)
    if run.backend.file is not None:
        run.open_store().close()  # says what is no database, or of another version
    with _admin(run) as admin:
        found = admin.check()
        if add_indexes and (added := admin.add_indexes(found)):
            say(f"{added} added")
            found = admin.check()
    if run.json:
        write_json({"findings": [{"what": one.what, "mend": one.mend} for one in found]})
    for one in [] if run.json else found:
        write(one.what)
        write(f"    {one.mend}")
    if not found:
        say("all is well")
    return NOTHING if found else OK
