"""`greylag import postgrey`, `sqlgrey`, `iredapd`, `milter-greylist` and `spamdb`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC
from typing import TypeVar

import click

from greylag.admin.bounded import TooLong
from greylag.admin.imports import Items, Left, iredapd, milter_greylist, postgrey, spamdb, sqlgrey
from greylag.admin.imports.rows import NoTable, Row, rows_of
from greylag.admin.taking import KINDS_OF, Taken, Taking
from greylag.cli.common import (
    NO_INPUT,
    NOTHING,
    OK,
    CommandError,
    Run,
    examples,
    json_option,
    report_store,
)
from greylag.cli.noting import noted
from greylag.cli.output import progress, say, write, write_fields, write_json
from greylag.cli.reading import is_sqlite, lines_of_all, lines_of_postgrey, rows_of_sqlgrey
from greylag.store.base import Store, StoreError

_WORDS = {
    "passed": "triplets that passed",
    "waiting": "triplets that wait",
    "trust": "trust of addresses",
    "connections": "connections",
    "trapped": "clients that mailed a trap",
    "entries": "list entries",
}

F = TypeVar("F", bound=Callable[..., object])


def _options(command: F) -> F:
    source = click.argument("source", nargs=-1, required=True, type=click.Path(path_type=str))
    dry = click.option("--dry-run", is_flag=True, help="Only tell what would be taken.")
    return source(dry(json_option(command)))


def take(run: Run, items: Items, origin: str, *, dry_run: bool) -> int:
    """Take items, and tell what was taken, and what was left out; the exit code."""

    def opened() -> Store:
        return run.open_store(create=not dry_run)

    with closing(Taking(opened, run.policy, run.now, origin, dry_run=dry_run)) as taking:
        taken = taking.taken
        try:
            taking.take(progress(items, None, "reading"))
        except (CommandError, StoreError, TooLong, NoTable, postgrey.NoDump) as error:
            return _ended(error, taken, dry_run=dry_run)
        except KeyboardInterrupt:
            _so_far(taken, dry_run=dry_run)
            raise
        if not taken.items:
            raise CommandError(["there is nothing to take in it"], NOTHING)
        if sum(taken.new.values()) and not dry_run:
            noted(run, taking.store, "import", f"{sum(taken.new.values())} facts {origin}")
    _write(run, taken, dry_run=dry_run)
    return OK if sum(taken.read.values()) else NOTHING


def _ended(error: Exception, taken: Taken, *, dry_run: bool) -> int:
    _so_far(taken, dry_run=dry_run)
    if isinstance(error, StoreError):
        return report_store(error)
    if isinstance(error, CommandError):
        raise error
    raise CommandError([str(error)], NO_INPUT) from error


def _so_far(taken: Taken, *, dry_run: bool) -> None:
    """Say what stays taken where an import ends before its end."""
    new = sum(taken.new.values())
    if new and not dry_run:
        say(f"it was ended: {new} facts were taken before, and stay; it may be run again")


def _write(run: Run, taken: Taken, *, dry_run: bool) -> None:
    if run.json:
        left = [
            {"why": why, "count": told[0], "lines": told[1:]} for why, told in taken.left.items()
        ]
        found = {kind: {"read": taken.read[kind], "new": taken.new[kind]} for kind in KINDS_OF}
        write_json({"dry_run": dry_run, "taken": found, "left": left})
        return
    added = "would be new" if dry_run else "new"
    write_fields(
        (_WORDS[kind], f"{taken.read[kind]}, {added}: {taken.new[kind]}")
        for kind in KINDS_OF
        if taken.read[kind] or kind == "passed"
    )
    for why, told in taken.left.items():
        lines = ", ".join(map(str, told[1:]))
        more = "..." if told[1:] and told[0] > len(told) - 1 else ""
        write(f"left out: {told[0]}: {why}" + (f" (line {lines}{more})" if lines else ""))


@click.command(
    "postgrey",
    short_help="Take what postgrey knows.",
    epilog=examples(
        "greylag import postgrey --dry-run /var/lib/postgrey",
        "db_dump -p /var/lib/postgrey/postgrey.db | greylag import postgrey -",
    ),
)
@_options
@click.pass_obj
def from_postgrey(run: Run, source: tuple[str, ...], dry_run: bool) -> int:
    """Take the triplets of postgrey, and the clients that it lets in at once as trusted addresses.

    SOURCE is postgrey's folder, a database of it, or what db_dump writes of one; - is standard
    input. Folder and databases are read by db_dump (Debian: db-util). Stop postgrey first.
    """
    items = postgrey.read(lines_of_postgrey(source))
    return take(run, items, "postgrey", dry_run=dry_run)


@click.command(
    "sqlgrey",
    short_help="Take what sqlgrey knows.",
    epilog=examples(
        "greylag import sqlgrey /var/lib/sqlgrey/sqlgrey.db",
        "psql --csv -c 'SELECT * FROM from_awl' sqlgrey | greylag import sqlgrey -",
        "mysql -B -e 'SELECT * FROM domain_awl' sqlgrey | greylag import sqlgrey -",
    ),
)
@_options
@click.option("--utc", is_flag=True, help="Times are UTC, and not this machine's.")
@click.pass_obj
def from_sqlgrey(run: Run, source: tuple[str, ...], dry_run: bool, utc: bool) -> int:
    """Take what waits in sqlgrey, and its AWLs as trust of addresses with a sender domain.

    SOURCE is sqlgrey's database where that is SQLite; else the tables connect, from_awl and
    domain_awl as text with the names of their columns, as psql --csv and mysql -B write them.
    """
    zone = UTC if utc else None
    rows = _rows_of_sqlgrey(source)
    return take(run, sqlgrey.read(rows, zone), "sqlgrey", dry_run=dry_run)


def _rows_of_sqlgrey(source: tuple[str, ...]) -> Iterator[tuple[int, Row | Left]]:
    for name in source:
        if is_sqlite(name):
            yield from rows_of_sqlgrey(name)
        else:
            yield from rows_of(lines_of_all([name]), sqlgrey.COLUMNS)


@click.command(
    "iredapd",
    short_help="Take what iRedAPD knows.",
    epilog=examples(
        "mysql -B -e 'SELECT * FROM greylisting_tracking' iredapd | greylag import iredapd -",
        "psql --csv -c 'SELECT * FROM greylisting_whitelists' iredapd | greylag import iredapd -",
    ),
)
@_options
@click.pass_obj
def from_iredapd(run: Run, source: tuple[str, ...], dry_run: bool) -> int:
    """Take the triplets of iRedAPD, and its whitelists for all accounts as entries.

    SOURCE has the tables greylisting_tracking, greylisting_whitelists and
    greylisting_whitelist_domains as text with the names of their columns.
    """
    rows = (row for name in source for row in rows_of(lines_of_all([name]), iredapd.COLUMNS))
    return take(run, iredapd.read(rows), "iredapd", dry_run=dry_run)


@click.command(
    "milter-greylist",
    short_help="Take what milter-greylist knows.",
    epilog=examples("greylag import milter-greylist /var/lib/milter-greylist/greylist.db"),
)
@_options
@click.pass_obj
def from_milter_greylist(run: Run, source: tuple[str, ...], dry_run: bool) -> int:
    """Take the triplets of milter-greylist: SOURCE is its dump file, greylist.db, a text."""
    items = milter_greylist.read(lines_of_all(source), run.now)
    return take(run, items, "milter-greylist", dry_run=dry_run)


@click.command(
    "spamdb",
    short_help="Take what OpenBSD's spamd knows.",
    epilog=examples("ssh firewall spamdb | greylag import spamdb -"),
)
@_options
@click.pass_obj
def from_spamdb(run: Run, source: tuple[str, ...], dry_run: bool) -> int:
    """Take what OpenBSD's spamd knows: SOURCE is what `spamdb` prints.

    GREY are triplets that wait, WHITE known connections and trusted addresses, TRAPPED clients that
    mailed a trap, SPAMTRAP traps.
    """
    return take(run, spamdb.read(lines_of_all(source)), "spamdb", dry_run=dry_run)


COMMANDS = (from_postgrey, from_sqlgrey, from_iredapd, from_milter_greylist, from_spamdb)
