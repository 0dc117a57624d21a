"""`greylag export`, and `greylag import lines`, which reads what it wrote."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, islice

import click

from greylag.admin.bounded import TooLong
from greylag.admin.exporting import Line
from greylag.admin.exporting import lines as lines_of_export
from greylag.admin.importing import KINDS_OF, Imported, Importing
from greylag.admin.imports.ours import LONGEST, Found, NoExport, read
from greylag.admin.newfile import refused, temporary
from greylag.cli.common import (
    NO_INPUT,
    NOTHING,
    OK,
    CommandError,
    Run,
    examples,
    json_option,
)
from greylag.cli.noting import noted
from greylag.cli.output import progress, say, write, write_fields, write_json
from greylag.cli.reading import lines_of_all
from greylag.store.base import Store, StoreError


@click.command(
    short_help="Write all that is known as lines of JSON.",
    epilog=examples(
        "greylag export /var/backups/greylag.jsonl",
        "greylag export - | gzip > greylag.jsonl.gz",
        'greylag export --history - | grep \'"kind": "deferral"\'',
    ),
)
@click.argument("file", type=click.Path(path_type=str, allow_dash=True))
@click.option("--history", is_flag=True, help="With the history of deferred mail.")
@click.option("--force", is_flag=True, help="Write over FILE where it is there.")
@json_option
@click.pass_obj
def export(run: Run, file: str, history: bool, force: bool) -> None:
    """Write records, lists, figures and the switch into FILE, one JSON object a line.

    It may be read by `greylag import FILE` on any store, and by other programs. - is standard
    output. It is read while greylag works, so it is not all of one moment: greylag db backup is.
    """
    if file == "-" and run.json:
        raise click.UsageError("standard output has the export: --json needs a FILE")
    with closing(run.open_store()) as store:
        found = lines_of_export(store, run.now, history=history)
        if file == "-":
            for line in progress(found, None, "exporting"):
                sys.stdout.write(_text(line))
            return
        why = refused(file, force=force)
        if why is not None:
            raise CommandError([why], NOTHING)
        try:
            count = _write_file(file, progress(found, None, "exporting"), force=force)
        except OSError as error:
            told = f"{file}: {error.strerror}"
            raise CommandError([told, "nothing was written"], NOTHING) from error
    if run.json:
        write_json({"file": os.path.abspath(file), "lines": count})
    else:
        say(f"wrote {count} lines")


def _text(line: Line) -> str:
    return json.dumps(line, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n"


def _write_file(path: str, found: Iterator[Line], *, force: bool) -> int:
    count = 0
    with temporary(path) as made:
        with open(made.path, "w", encoding="ascii") as file:
            for line in found:
                file.write(_text(line))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        made.publish(force=force)
    return count


@click.command(
    "lines",
    short_help="Take what greylag export wrote.",
    epilog=examples(
        "greylag import --dry-run /var/backups/greylag.jsonl",
        "zcat greylag.jsonl.gz | greylag import lines -    # the same",
    ),
)
@click.argument("file", type=click.Path(path_type=str, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Only tell what would be taken.")
@json_option
@click.pass_obj
def import_lines(run: Run, file: str, dry_run: bool) -> int:
    """Take what `greylag export` wrote: `greylag import FILE` means this.

    What the store knows already stays: facts merge, and an entry of FILE takes the place of an
    older one for the same subject. It may be run again. Lines that are wrong are left out.
    """
    found = _told(read(lines_of_all([file], LONGEST)))
    first = list(islice(found, 1))  # what is no export ends it before a store is made
    with closing(run.open_store(create=not dry_run)) as store:
        importing = Importing(store, run.policy, run.now, dry_run=dry_run)
        done = importing.done
        try:
            importing.take(progress(chain(first, found), None, "reading"))
        except (CommandError, StoreError, KeyboardInterrupt):
            _so_far(done, dry_run=dry_run)
            raise
        _note(run, store, done, dry_run=dry_run)
    _write(run, done, dry_run=dry_run)
    if done.cut:
        raise CommandError([f"{file}: its last line is missing: it was cut"], NO_INPUT)
    return OK


def _told(found: Iterator[Found]) -> Iterator[Found]:
    """Yield what is read; what is no export at all ends the command."""
    try:
        yield from found
    except (NoExport, TooLong) as error:
        raise CommandError([f"{error}"], NO_INPUT) from error


def _note(run: Run, store: Store, done: Imported, *, dry_run: bool) -> None:
    new = sum(done.new.values())
    if new and not dry_run:
        noted(run, store, "import", f"{new} facts of an export")


def _so_far(done: Imported, *, dry_run: bool) -> None:
    new = sum(done.new.values())
    if new and not dry_run:
        say(f"it was ended: {new} facts were taken before, and stay; it may be run again")


def _write(run: Run, done: Imported, *, dry_run: bool) -> None:
    if run.json:
        left = [
            {"why": why, "count": told[0], "lines": told[1:]} for why, told in done.left.items()
        ]
        taken = {kind: {"read": done.read[kind], "new": done.new[kind]} for kind in KINDS_OF}
        write_json({"dry_run": dry_run, "cut": done.cut, "taken": taken, "left": left})
        return
    added = "would be new" if dry_run else "new"
    write_fields((kind, f"{done.read[kind]}, {added}: {done.new[kind]}") for kind in KINDS_OF)
    for why, told in done.left.items():
        numbers = ", ".join(map(str, told[1:]))
        more = "..." if numbers and told[0] > len(told) - 1 else ""
        write(f"left out: {told[0]}: {why}" + (f" (line {numbers}{more})" if numbers else ""))
