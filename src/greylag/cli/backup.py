"""`greylag db backup` and `greylag db restore`."""

from __future__ import annotations

import os

import click

from greylag.admin.backup import BackupError, Restored
from greylag.admin.backup import backup as make_backup
from greylag.admin.backup import restore as put_back
from greylag.admin.moments import moment
from greylag.cli.common import (
    NO_INPUT,
    NOTHING,
    STORE_UNAVAILABLE,
    USAGE,
    CommandError,
    Run,
    examples,
    json_option,
    missing_file,
    told_whose,
)
from greylag.cli.output import progress, say, write_fields, write_json
from greylag.store.base import StoreError, StoreUnavailable
from greylag.store.owner import name_of
from greylag.store.snapshots import Snapshots

_FILE = click.Path(path_type=str)


@click.command(
    short_help="Write a backup while greylag works.",
    epilog=examples(
        "greylag db backup /var/backups/greylag.backup",
        "greylag db backup --force /var/backups/greylag.backup",
    ),
)
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Write over FILE where it is there.")
@json_option
@click.pass_obj
def backup(run: Run, file: str, force: bool) -> None:
    """Write all of the database into FILE, as it is at one moment.

    The daemon and the plugins go on meanwhile, and wait for nothing. FILE is a database of SQLite,
    with a checksum at its end, and only you can read it. It appears when it is complete.
    """
    snapshots = _snapshots(run)
    missing = missing_file(run.backend)
    if missing is not None:
        raise CommandError([f"{missing}: no database yet, so there is nothing to back up"], NOTHING)
    run.tell_configuration()
    try:
        with told_whose(run.backend):
            made = make_backup(snapshots, file, run.now, force=force, progress=progress)
    except BackupError as error:
        raise CommandError([str(error), "nothing was written"], NOTHING) from error
    if run.json:
        facts = {"schema": made.schema, "made": made.made, "sha256": made.sha256}
        write_json({"file": os.path.abspath(file), "bytes": os.stat(file).st_size, **facts})
        return
    write_fields(
        [
            ("backup", file),
            ("  bytes", str(os.stat(file).st_size)),
            ("  schema", str(made.schema)),
            ("  sha256", made.sha256),
        ]
    )


@click.command(
    short_help="Put a backup in the database's place.",
    epilog=examples(
        "greylag db restore --dry-run /var/backups/greylag.backup",
        "greylag db restore /var/backups/greylag.backup",
    ),
)
@click.argument("file", type=_FILE)
@click.option("--while-serving", is_flag=True, help="Also while a daemon has the database open.")
@click.option("--dry-run", is_flag=True, help="Only check FILE, and the database's place.")
@json_option
@click.pass_obj
def restore(run: Run, file: str, while_serving: bool, dry_run: bool) -> None:
    """Put the backup FILE instead of the database, in one step.

    FILE is checked first: its checksum, its tables, every page. The database that was there is
    kept beside it, under another name. Nothing is restored while a daemon or another program has
    the database open: stop it first, or say --while-serving.
    """
    snapshots = _snapshots(run)
    run.tell_configuration()
    options = {"dry_run": dry_run, "sure": while_serving}
    try:
        with told_whose(run.backend):
            done = put_back(snapshots, file, run.now, progress=progress, **options)
    except BackupError as error:
        raise CommandError([str(error), "nothing was restored"], NO_INPUT) from error
    except StoreUnavailable as error:
        lines = [str(error), "nothing was restored"]
        if "has it open" in lines[0]:
            lines[0] += "; stop greylag first (--while-serving goes on)"
        raise CommandError(lines, STORE_UNAVAILABLE) from error
    _tell_restored(run, snapshots.name, done, dry_run=dry_run)


def _tell_restored(run: Run, database: str, done: Restored, *, dry_run: bool) -> None:
    facts = done.backup
    if run.json:
        told: dict[str, object] = {
            "schema": facts.schema,
            "made": facts.made,
            "sha256": facts.sha256,
        }
        if dry_run:
            told["in_use"] = done.busy
        write_json({"dry_run": dry_run, "database": database, "kept": done.kept, **told})
        return
    fields = [
        ("would be restored" if dry_run else "restored", database),
        ("  backup of", moment(facts.made)),
        ("  schema", str(facts.schema)),
    ]
    if done.kept is not None:
        fields.append(("kept", done.kept))
    write_fields(fields)
    if done.busy:
        say(f"{database}: another process has it open; stop greylag before it is restored")
    if not dry_run:
        _tell_owner(database, done.kept)


def _tell_owner(database: str, kept: str | None) -> None:
    """Say what is left to do where the database's user could not use what was restored."""
    wanted, made = os.stat(kept or os.path.dirname(database)).st_uid, os.stat(database).st_uid
    if made != wanted:
        owner = name_of(wanted)
        say(f"it belongs to {name_of(made)}, and {owner} may not use it: chown {owner} {database}")


def _snapshots(run: Run) -> Snapshots:
    backend = run.backend
    try:
        return backend.snapshots(timeout=run.settings.store_timeout)
    except StoreError as error:
        raise CommandError([str(error)], USAGE) from error
