"""`greylag db copy`: from one store to another, as often as one likes.

Facts merge (`core.record.joined`), so what was copied before, or was learned by the target
meanwhile, is never counted twice: after an interruption the same command simply goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

import click

from greylag.admin.treecopy import into_tree, is_connection, tree_pages
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
from greylag.core.accesslist import NEVER, Entry, speaking_of
from greylag.core.client import is_packed, network
from greylag.core.oldname import bytes_of, name_of
from greylag.core.policy import Policy
from greylag.core.record import Record, joined
from greylag.core.subject import Subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store import check_url, holds_password, shown_wrong
from greylag.store.base import Filter, Store
from greylag.store.memory import MemoryStore
from greylag.store.mysql.store import MysqlStore
from greylag.store.tree.store import TreeStore

PAGE = 2000  # records in one transaction
_NOT_AMONG_ARGUMENTS = (
    "a password among the arguments can be read by every user of this machine (ps): put it into an "
    "option file, and name that file: mysql:?default_file=/path/my.cnf"
)

Records = dict[Triplet, Record]


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
    for url in (source, target):
        try:
            check_url(url)
        except ValueError as error:
            raise CommandError([f"{error}, got {shown_wrong(url)}"], USAGE) from error
        if holds_password(url):
            raise CommandError([_NOT_AMONG_ARGUMENTS], USAGE)
    if source == target or "memory:" in (source, target):
        raise CommandError(["expected two different stores that outlive this command"], USAGE)
    timeout = run.settings.store_timeout
    with (
        closing(opened(source, timeout, create=False)) as old,
        closing(_open_target(target, timeout, dry_run)) as new,
    ):
        records = _copy_records(old, new, run, dry_run)
        if isinstance(new, TreeStore):
            entries = hours = 0
            _tell_what_a_tree_lacks(old)
        else:
            entries = _copy_entries(old, new, dry_run)
            hours = _copy_figures(old, new, dry_run)
    _write(run, dry_run, records, entries, hours)


def _open_target(url: str, timeout: float, dry_run: bool) -> Store:
    missing = missing_file(url)
    if missing is not None and dry_run:
        return MemoryStore()
    store = opened(url, timeout)
    if missing is not None:
        tell_made(missing)
    return store


def _copy_records(old: Store, new: Store, run: Run, dry_run: bool) -> dict[str, int]:
    policy = replace(run.policy, old_tables=isinstance(new, MysqlStore))
    read = copied = left_out = 0
    all_pages = tree_pages(old, policy, PAGE) if isinstance(old, TreeStore) else _pages(old)
    for page in progress(all_pages, None, "copying"):
        read += len(page)
        given = _by_key(page, policy)
        if isinstance(new, TreeStore):
            copied += into_tree(new, given, policy, run.now, dry_run=dry_run)
            left_out += sum(not is_connection(triplet) for triplet, _ in page)
        else:
            copied += _merge_into(new, given, dry_run)
    return {"read": read, "copied": copied, "left_out": left_out}


def _merge_into(new: Store, given: Records, dry_run: bool) -> int:
    known = new.load(list(given))
    changed = {t: r for t, r in given.items() if joined(known.get(t, r), r) != known.get(t)}
    if changed and not dry_run:
        new.merge(changed)
    return len(changed)


def _tell_what_a_tree_lacks(old: Store) -> None:
    entries = len(old.entries())
    if entries:
        say(f"a tree keeps no lists: {entries} entries of FROM are left out")


def _pages(store: Store) -> Iterator[list[tuple[Triplet, Record]]]:
    """Yield all records, some at a time."""
    found = store.search(Filter(), sys.maxsize)
    while page := list(islice(found, PAGE)):
        yield page


def _by_key(page: list[tuple[Triplet, Record]], policy: Policy) -> Records:
    """Return the records by the keys that greylag looks for: old rows hold other spellings."""
    found: Records = {}
    for triplet, record in page:
        key = _key(triplet, policy)
        found[key] = joined(found.get(key, record), record)
    return found


def _key(triplet: Triplet, policy: Policy) -> Triplet:
    net = triplet.network
    if is_connection(triplet):
        return triplet  # its network is of the width that jgreylist was told
    return Triplet(
        network(net, policy.prefix_of(net)) if is_packed(net) else net,
        _name(triplet.sender, policy.sender_name),
        _name(triplet.recipient, policy.recipient_name),
    )


def _name(text: str, name: Callable[[bytes], str]) -> str:
    """Return the name in the target's keys: the source may be an old table, or an older greylag's.

    What was cut and ends with a digest cannot be read back.
    """
    known = text if r"\#" in text else name_of(text)
    raw = bytes_of(known)
    return known if raw is None else name(raw)


def _copy_entries(old: Store, new: Store, dry_run: bool) -> int:
    wanted, known = _by_subject(old), _by_subject(new)
    changed = [entry for subject, entry in wanted.items() if known.get(subject) != entry]
    if changed and not dry_run:
        new.put_entries(changed)
    return len(changed)


def _by_subject(store: Store) -> dict[Subject, Entry]:
    """Return the last word of each subject, without the numbers: each store gives its own."""
    return {s: replace(e, number=0, rank=None) for s, e in speaking_of(store.entries()).items()}


def _copy_figures(old: Store, new: Store, dry_run: bool) -> int:
    """Raise each figure to what the other store has: adding would count twice when repeated."""
    hours, known = old.figures(0, NEVER), new.figures(0, NEVER)
    changed = 0
    for hour, figures in hours.items():
        there = known.get(hour, {})
        more = {name: n - there.get(name, 0) for name, n in figures.items()}
        more = {name: n for name, n in more.items() if n > 0}
        changed += bool(more)
        if more and not dry_run:
            new.apply((), more, hour)
    return changed


def _write(run: Run, dry_run: bool, records: dict[str, int], entries: int, hours: int) -> None:
    if run.json:
        write_json({"dry_run": dry_run, "records": records, "entries": entries, "hours": hours})
        return
    name = "would be copied" if dry_run else "copied"
    fields = [
        (name, f"{records['copied']} of {records['read']} records"),
        ("  lists", f"{entries} {'entry' if entries == 1 else 'entries'}"),
        ("  figures", f"{hours} {'hour' if hours == 1 else 'hours'}"),
    ]
    if records["left_out"]:
        fields.append(("left out", f"{records['left_out']} records of recipients"))
    write_fields(fields)
