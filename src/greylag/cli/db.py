"""`greylag db`: making a database, checking it, copying one store into another, and backups."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.copying import Copied
from greylag.admin.copying import copy as copy_store
from greylag.cli import backup
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
    missing_file,
    opened,
    tell_made,
    told_whose,
)
from greylag.cli.output import progress, say, write, write_fields, write_json
from greylag.core.value import replace
from greylag.store import Backend, backend_of, empty_store, shown_wrong
from greylag.store.admin import Admin
from greylag.store.base import KINDS, LISTS, NAMES, RECIPIENTS, TABLES, Store, StoreError

_NOT_AMONG_ARGUMENTS = (
    "a password among the arguments can be read by every user of this machine (ps): put it into an "
    "option file, and name that file: mysql:?default_file=/path/my.cnf"
)


@click.group(
    "db",
    cls=Group,
    short_help="Make, check, copy, back up and restore the database.",
    epilog=examples("greylag db init", "greylag db check", "greylag db backup FILE"),
)
def db() -> None:
    """Make the tables of the database, check it, copy it, back it up and restore it."""


db.add_command(backup.backup)
db.add_command(backup.restore)


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
    and refuse what is no address, and greylag's own; for SQLite it is the file.
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


@db.command(
    "copy",
    short_help="Copy one store into another.",
    epilog=examples(
        "greylag db copy mysql:?default_file=/var/qmail/control/mysql.cnf"
        " sqlite:///var/lib/greylag/greylag.db",
        "greylag db copy --dry-run sqlite:///var/lib/greylag/greylag.db mysql://greylag@db/mail",
        "greylag db copy sqlite:///var/lib/greylag/greylag.db tree:///var/lib/jgreylist",
    ),
)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--dry-run", is_flag=True, help="Only count.")
@json_option
@click.pass_obj
def copy(run: Run, source: str, target: str, dry_run: bool) -> None:
    """Copy what the store FROM has into the store TO, except the history of single mails.

    Both are URLs as in `store.url`. What TO knows already stays: facts merge, and an entry of FROM
    replaces TO's for the same subject. It may be run again at any time, after an interruption too.
    jgreylist's tree takes connections alone: the rest is left out, and counted.
    """
    here, there = _named(source), _named(target)
    if source == target or not (here.lasts and there.lasts):
        raise CommandError(["expected two different stores that outlive this command"], USAGE)
    for doubt in (here.doubt(), there.doubt()):
        if doubt is not None:  # "0 copied" would say that all is well
            raise CommandError([doubt], STORE_ERROR)
    timeout = run.settings.store_timeout
    policy = replace(run.policy, old_tables=there.old_tables)
    with (
        closing(opened(here, timeout, create=False)) as old,
        closing(_open_target(there, timeout, dry_run)) as new,
    ):
        try:
            copied = copy_store(old, new, policy, run.now, dry_run=dry_run, progress=progress)
        except (StoreError, KeyboardInterrupt):
            if not dry_run:
                say("it was ended: what was copied before stays, and the same command goes on")
            raise
    if copied.entries_left_out:
        why = new.lacks(LISTS) or new.lacks(KINDS)
        say(f"{why}: {copied.entries_left_out} entries of FROM are left out")
    without = new.lacks(RECIPIENTS) or new.lacks(NAMES)
    if copied.left_out and without:
        say(f"{without}: {copied.left_out} records of FROM are left out")
    if copied.actions_left_out:
        say(f"TO has changes of its own: {copied.actions_left_out} changes of FROM are left out")
    if copied.history_left_out:
        say("the history of single mails is not copied: FROM keeps it, and TO begins its own")
    _write_copied(run, copied, dry_run=dry_run)


def _named(url: str) -> Backend:
    try:
        backend = backend_of(url)
    except ValueError as error:
        raise CommandError([f"{error}, got {shown_wrong(url)}"], USAGE) from error
    if backend.shown != url:
        raise CommandError([_NOT_AMONG_ARGUMENTS], USAGE)
    return backend


def _open_target(backend: Backend, timeout: float, dry_run: bool) -> Store:
    missing = missing_file(backend)
    if missing is not None and dry_run:
        return empty_store()
    store = opened(backend, timeout)
    if missing is not None:
        tell_made(missing)
    return store


def _write_copied(run: Run, copied: Copied, *, dry_run: bool) -> None:
    entries, hours = copied.entries, copied.hours
    if run.json:
        records = {"read": copied.read, "copied": copied.copied, "left_out": copied.left_out}
        told = {"entries": entries, "hours": hours, "changes": copied.actions}
        more = {"switch": copied.switch, "history_left_out": copied.history_left_out}
        write_json({"dry_run": dry_run, "records": records, **told, **more})
        return
    name = "would be copied" if dry_run else "copied"
    fields = [
        (name, f"{copied.copied} of {copied.read} records"),
        ("  lists", f"{entries} {'entry' if entries == 1 else 'entries'}"),
        ("  figures", f"{hours} {'hour' if hours == 1 else 'hours'}"),
    ]
    if copied.actions:
        fields.append(("  changes by admins", str(copied.actions)))
    if copied.switch:
        fields.append(("  switch", "as it is in FROM"))
    if copied.left_out:
        fields.append(("left out", f"{copied.left_out} records"))
    write_fields(fields)
