"""`greylag db copy`: from one store to another, as often as one likes."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.copying import Copied
from greylag.admin.copying import copy as copy_store
from greylag.cli.common import (
    USAGE,
    CommandError,
    Run,
    examples,
    json_option,
    missing_file,
    opened,
    tell_made,
)
from greylag.cli.output import progress, say, write_fields, write_json
from greylag.core.value import replace
from greylag.store import Backend, backend_of, empty_store, shown_wrong
from greylag.store.base import LISTS, Store

_NOT_AMONG_ARGUMENTS = (
    "a password among the arguments can be read by every user of this machine (ps): put it into an "
    "option file, and name that file: mysql:?default_file=/path/my.cnf"
)


@click.command(
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
    """Copy the records, lists and figures of the store FROM into the store TO.

    Both are URLs as in `store.url`. What TO knows already stays: facts merge, and an entry of FROM
    replaces TO's for the same subject. It may be run again at any time, after an interruption too.
    jgreylist's tree takes connections alone: the rest is left out, and counted.
    """
    here, there = _named(source), _named(target)
    if source == target or not (here.lasts and there.lasts):
        raise CommandError(["expected two different stores that outlive this command"], USAGE)
    timeout = run.settings.store_timeout
    policy = replace(run.policy, old_tables=there.old_tables)
    with (
        closing(opened(here, timeout, create=False)) as old,
        closing(_open_target(there, timeout, dry_run)) as new,
    ):
        copied = copy_store(old, new, policy, run.now, dry_run=dry_run, progress=progress)
    if copied.entries_left_out:
        say(f"{new.lacks(LISTS)}: {copied.entries_left_out} entries of FROM are left out")
    _write(run, copied, dry_run=dry_run)


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


def _write(run: Run, copied: Copied, *, dry_run: bool) -> None:
    entries, hours = copied.entries, copied.hours
    if run.json:
        records = {"read": copied.read, "copied": copied.copied, "left_out": copied.left_out}
        write_json({"dry_run": dry_run, "records": records, "entries": entries, "hours": hours})
        return
    name = "would be copied" if dry_run else "copied"
    fields = [
        (name, f"{copied.copied} of {copied.read} records"),
        ("  lists", f"{entries} {'entry' if entries == 1 else 'entries'}"),
        ("  figures", f"{hours} {'hour' if hours == 1 else 'hours'}"),
    ]
    if copied.left_out:
        fields.append(("left out", f"{copied.left_out} records of recipients"))
    write_fields(fields)
