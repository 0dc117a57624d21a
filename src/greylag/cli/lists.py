"""`greylag allow` and `greylag deny`: one set of commands over the two lists.

A subject has one entry, so putting it on one list takes it from the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from time import sleep
from typing import BinaryIO

import click

from greylag.cli.common import NOTHING, OK, USAGE, CommandError, Group, Run, examples, json_option
from greylag.cli.entries import read_comment, read_expires, read_lines, read_subjects
from greylag.cli.output import moment, progress, say, when, write_json, write_table
from greylag.cli.shown import denying, entry_json, subject_text
from greylag.core.accesslist import NEVER, Entry
from greylag.core.subject import Domain, Network, Subject
from greylag.store.base import Store

AT_ONCE = 5000  # entries in one transaction: some 50 ms
PAUSE = 0.12  # seconds between them: whoever waits for SQLite's lock looks every 0.1
MANY = 500  # subjects; for more of them, reading the whole list once is faster


@dataclass(frozen=True, slots=True)
class Which:
    """One of the two lists: its command, its name, the other's, and what its entries do."""

    command: str
    name: str
    other_command: str
    other: str
    effect: str

    def holds(self, entry: Entry, now: int) -> bool:
        """Tell whether an entry is on this list."""
        return denying(entry, now) == (self is DENY)


ALLOW = Which("allow", "allowlist", "deny", "denylist", "is let in at once, and never greylisted")
DENY = Which("deny", "denylist", "allow", "allowlist", "is refused for good")


def list_group(which: Which) -> click.Group:
    """Return the group of commands that keep a list."""
    group = Group(
        which.command,
        help=f"Keep the {which.name}: what is on it {which.effect}.\n\n"
        "A SUBJECT is a client address, a range in CIDR notation, or a recipient domain. "
        "Addresses go before domains, and narrow ranges before wide ones.",
        short_help=f"Keep the {which.name}.",
        epilog=examples(
            f"greylag {which.command} add 192.0.2.0/24", f"greylag {which.command} list"
        ),
    )
    for make in (_add, _remove, _list, _import):
        group.add_command(make(which))
    return group


def _add(which: Which) -> click.Command:
    @click.command(
        help=f"Put subjects on the {which.name}, all or none.\n\n"
        f"One that is on the {which.other} is taken from it.",
        short_help="Put subjects on the list.",
        epilog=examples(
            f'greylag {which.command} add 192.0.2.1 2001:db8::/32 --comment "ticket 12"',
            f"greylag {which.command} add example.org --expires 7d",
            f"greylag {which.command} add localhost --domain --expires 2030-01-31",
        ),
    )
    @click.argument("subjects", metavar="SUBJECT...", nargs=-1, required=True)
    @click.option("--comment", metavar="TEXT", default="", help="Why it is there.")
    @click.option(
        "--expires",
        metavar="DURATION|YYYY-MM-DD",
        help="Until when it counts: a time from now such as 7d, or the start of a day in UTC.",
    )
    @click.option("--domain", is_flag=True, help="Take each SUBJECT for a recipient domain.")
    @json_option
    @click.pass_obj
    def add(
        run: Run, subjects: tuple[str, ...], comment: str, expires: str | None, domain: bool
    ) -> int:
        found, errors = read_subjects(subjects, domain=domain)
        text, until = "", NEVER
        try:
            text, until = read_comment(comment), read_expires(expires, run.now)
        except ValueError as error:
            errors.append(str(error))
        _refuse(errors)
        return _put(run, which, dict.fromkeys(found, text), until)

    return add


def _import(which: Which) -> click.Command:
    @click.command(
        "import",
        help=f"Put the subjects of a FILE (- is stdin) on the {which.name}, all or none.\n\n"
        "One subject a line; after it, separated by blanks, a comment if wanted. Lines that "
        "begin with # are skipped. One line in error, and nothing is stored.",
        short_help="Put the subjects of a file on the list.",
        epilog=examples(
            f"greylag {which.command} import networks.txt",
            f"printf '192.0.2.0/24 branch office\\n' | greylag {which.command} import -",
        ),
    )
    @click.argument("file", type=click.File("rb"))
    @json_option
    @click.pass_obj
    def import_(run: Run, file: BinaryIO) -> int:
        name = str(getattr(file, "name", "stdin"))
        comments, errors = read_lines(file.read(), name)
        _refuse(errors)
        if not comments:
            say(f"{name}: names no subject")
        return _put(run, which, comments, NEVER)

    return import_


def _refuse(errors: list[str]) -> None:
    if errors:
        raise CommandError([*errors, "nothing was stored"], USAGE)


def _put(run: Run, which: Which, comments: Mapping[Subject, str], expires: int) -> int:
    entries = [
        Entry(subject, expires if which is DENY else 0, expires, comment, run.now)
        for subject, comment in comments.items()
    ]
    with closing(run.open_store(create=True)) as store:
        there_now = entries_for(store, [entry.subject for entry in entries])
        before = {s: e for s, e in there_now.items() if e.live(run.now)}
        parts = [entries[at : at + AT_ONCE] for at in range(0, len(entries), AT_ONCE)]
        for part in progress(parts, len(entries), "storing", step=AT_ONCE):
            store.put_entries(part)
            if part is not parts[-1]:
                sleep(PAUSE)  # let the plugins have their turn
    there = [subject for subject in comments if subject in before]
    switched = [subject for subject in there if not which.holds(before[subject], run.now)]
    _tell(run, which, list(comments), there, switched)
    return OK


def entries_for(store: Store, subjects: list[Subject]) -> dict[Subject, Entry]:
    """Return the entries that there are for these subjects, without a lock on the lists."""
    wanted = set(subjects)
    if len(wanted) > MANY:
        return {entry.subject: entry for entry in store.entries() if entry.subject in wanted}
    found = {}
    for subject in wanted:
        network = isinstance(subject, Network)
        client = subject.packed if isinstance(subject, Network) else bytes(4)
        for entry in store.matching(client, "" if network else str(subject)):
            if entry.subject == subject:
                found[subject] = entry
    return found


def _tell(
    run: Run, which: Which, all_of: list[Subject], there: list[Subject], switched: list[Subject]
) -> None:
    moved, renewed = set(switched), set(there) - set(switched)
    if run.json:
        names = {s: subject_text(s) for s in all_of}
        added = [names[s] for s in all_of if s not in moved and s not in renewed]
        replaced = [names[s] for s in all_of if s in renewed]
        write_json(
            {
                "list": which.command,
                "added": added,
                "replaced": replaced,
                "switched": [names[s] for s in switched],
            }
        )
        return
    for subject in switched:
        say(f"{subject_text(subject)}: was on the {which.other}, is on the {which.name} now")
    if all_of != switched:
        new = len(all_of) - len(there)
        say(f"{which.name}: {new} added, {len(renewed)} replaced, {len(switched)} switched")
    if which is ALLOW and run.policy.explicit and any(isinstance(s, Domain) for s in all_of):
        say("explicit mode: a domain on the allowlist is what gets greylisted")


def _remove(which: Which) -> click.Command:
    @click.command(
        help=f"Take subjects from the {which.name}.",
        short_help="Take subjects from the list.",
        epilog=examples(f"greylag {which.command} remove 192.0.2.1 example.org"),
    )
    @click.argument("subjects", metavar="SUBJECT...", nargs=-1, required=True)
    @click.option("--domain", is_flag=True, help="Take each SUBJECT for a recipient domain.")
    @json_option
    @click.pass_obj
    def remove(run: Run, subjects: tuple[str, ...], domain: bool) -> int:
        found, errors = read_subjects(subjects, domain=domain)
        if errors:
            raise CommandError([*errors, "nothing was removed"], USAGE)
        wanted = list(dict.fromkeys(found))
        with closing(run.open_store()) as store, store.transaction():
            there = entries_for(store, wanted)
            gone = [s for s in wanted if s in there and which.holds(there[s], run.now)]
            if gone:
                store.remove_entries(gone)
        missing = [subject for subject in wanted if subject not in gone]
        for subject in gone:
            say(f"{subject_text(subject)}: removed from the {which.name}")
        for subject in missing:
            say(_why_not(which, subject, there))
        if run.json:
            names = [[subject_text(s) for s in group] for group in (gone, missing)]
            write_json({"list": which.command, "removed": names[0], "missing": names[1]})
        return NOTHING if missing else OK

    return remove


def _why_not(which: Which, subject: Subject, there: Mapping[Subject, Entry]) -> str:
    shown = subject_text(subject)
    if subject not in there:
        return f"{shown}: not on the {which.name} (greylag {which.command} list shows what is)"
    instead = f"greylag {which.other_command} remove {shown}"
    return f"{shown}: on the {which.other}, not on the {which.name} ({instead})"


def _list(which: Which) -> click.Command:
    @click.command(
        "list",
        help=f"Show the {which.name}.",
        epilog=examples(
            f"greylag {which.command} list", f"greylag {which.command} list --all --json"
        ),
    )
    @click.option("--all", "everything", is_flag=True, help="Also entries that have ended.")
    @json_option
    @click.pass_obj
    def list_(run: Run, everything: bool) -> None:
        with closing(run.open_store()) as store:
            entries = [e for e in store.entries() if which.holds(e, run.now)]
        if not everything:
            entries = [entry for entry in entries if entry.live(run.now)]
        if run.json:
            shown = [entry_json(entry, run.now) for entry in entries]
            write_json({"list": which.command, "entries": shown})
        elif not entries:
            say(f"the {which.name} is empty")
        else:
            rows = [_row(entry, run.now) for entry in entries]
            write_table(("subject", "expires", "created", "comment"), rows)

    return list_


def _row(entry: Entry, now: int) -> tuple[str, str, str, str]:
    ends = when(entry.expires, now)
    return subject_text(entry.subject), ends, moment(entry.created), entry.comment
