"""`greylag allow` and `greylag deny`: one set of commands over the two lists.

A subject has one entry, so putting it on one list takes it from the other.
"""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin import lists
from greylag.admin.entries import read_comment, read_expires, read_subjects, unmatched
from greylag.admin.lists import ALLOW, How, Which, kind_of
from greylag.admin.moments import moment, when
from greylag.admin.recipients import whole_mailboxes
from greylag.cli.common import NOTHING, OK, USAGE, CommandError, Group, Run, examples, json_option
from greylag.cli.completing import entries_of
from greylag.cli.deleting import confirm_deletion
from greylag.cli.dryrun import dry_run_option, write_changes
from greylag.cli.kinds import F, chosen, kind_options, option_of
from greylag.cli.listimport import import_command
from greylag.cli.listput import confirm, put, refuse, yes_option
from greylag.cli.noting import noted
from greylag.cli.output import say, write_json, write_table
from greylag.cli.plain import plain_option
from greylag.cli.shown import entry_json
from greylag.core.accesslist import Entry
from greylag.core.subject import SENDER, SENDER_DOMAIN, Subject
from greylag.show.texts import subject_text, subjects_text
from greylag.store.base import LISTS, Store
from greylag.store.rehearsal import rehearsal

_EXAMPLES = (
    '192.0.2.1 2001:db8::/32 --comment "ticket 12"',
    "example.org --expires 7d",
    "--client-name mail.example.org",
    "--sender alice@partner.example",
    "localhost --domain --expires 2030-01-31",
)
spoofable_option = click.option(
    "--spoofable", is_flag=True, help="Let the sender in also where SPF does not pass."
)


def list_group(which: Which) -> click.Group:
    """Return the group of commands that keep a list."""
    group = Group(
        which.command,
        help=f"Keep the {which.name}: what is on it {which.effect}.\n\n"
        "A SUBJECT is a client address, a range in CIDR notation, or a recipient domain (mail "
        "TO it); an option says that it is a client's name, a sender or a recipient. Addresses go "
        "before names of clients, these before senders, and senders before recipients.\n\n"
        "With policy.explicit the allowlist has another meaning: mail to a recipient domain on it "
        "is greylisted, and mail that no entry names is let in.",
        short_help=f"Keep the {which.name}.",
        epilog=examples(
            f"greylag {which.command} add 192.0.2.0/24", f"greylag {which.command} list"
        ),
    )
    for make in (_add, _remove, _list, import_command):
        group.add_command(make(which))
    return group


def _unchanged(command: F) -> F:
    return command


def _add(which: Which) -> click.Command:
    @click.command(
        help=f"Put subjects on the {which.name}, all or none.\n\n"
        f"One on the {which.other} is taken from it. Its comment stays unless one is given.",
        short_help="Put subjects on the list.",
        epilog=examples(*(f"greylag {which.command} add {subject}" for subject in _EXAMPLES)),
    )
    @click.argument("subjects", metavar="SUBJECT...", nargs=-1, required=True)
    @click.option("--comment", metavar="TEXT", help="Why it is there.")
    @click.option(
        "--expires",
        metavar="DURATION|YYYY-MM-DD",
        help="Until when it counts: a time from now such as 7d, or the start of a day in UTC.",
    )
    @kind_options
    @(spoofable_option if which is ALLOW else _unchanged)
    @yes_option
    @dry_run_option
    @json_option
    @click.pass_obj
    def add(
        run: Run,
        /,
        subjects: tuple[str, ...],
        comment: str | None,
        expires: str | None,
        *,
        yes: bool,
        spoofable: bool = False,
        **kinds: bool,
    ) -> int:
        found, errors = read_subjects(subjects, *_chosen(kinds, spoofable=spoofable))
        errors += unmatched(found, run.policy)
        text, until = _comment_and_end(run, comment, expires, errors)
        found = whole_mailboxes(found, run.policy)
        confirm(which, found, yes=yes or run.dry_run)
        return put(run, which, dict.fromkeys(found, text), How(until, spoofable=spoofable))

    return add


def _chosen(kinds: dict[str, bool], *, spoofable: bool) -> tuple[str | None, bool]:
    kind, below = chosen(kinds)
    if spoofable and kind not in (SENDER, SENDER_DOMAIN):
        raise click.UsageError("--spoofable is for --sender and --sender-domain")
    return kind, below


def _comment_and_end(
    run: Run, comment: str | None, expires: str | None, errors: list[str]
) -> tuple[str | None, int]:
    """Read both; refuse all where they, or what was read before, have errors."""
    try:
        text = None if comment is None else read_comment(comment)
        until = read_expires(expires, run.now)
    except ValueError as error:
        refuse([*errors, str(error)])
    refuse(errors)
    return text, until


def _remove(which: Which) -> click.Command:
    @click.command(
        help=f"Take subjects from the {which.name}.",
        short_help="Take subjects from the list.",
        epilog=examples(f"greylag {which.command} remove 192.0.2.1 example.org"),
    )
    @click.argument(
        "subjects",
        metavar="SUBJECT...",
        nargs=-1,
        required=True,
        shell_complete=entries_of(which),
    )
    @kind_options
    @yes_option
    @dry_run_option
    @json_option
    @click.pass_obj
    def remove(run: Run, /, subjects: tuple[str, ...], *, yes: bool, **kinds: bool) -> int:
        found, errors = read_subjects(subjects, *chosen(kinds))
        if errors:
            raise CommandError([*errors, "nothing was removed"], USAGE)
        found = whole_mailboxes(found, run.policy)
        with closing(run.open_store()) as store:
            _ask(run, store, which, found, yes=yes)
            removed = lists.remove(store, which, found, run.now)
            if removed.gone:
                noted(run, store, f"{which.command}-remove", subjects_text(removed.gone))
        for subject in removed.gone:
            say(f"{subject_text(subject)}: removed from the {which.name}")
        for subject in removed.missing:
            say(_why_not(which, subject, on_the_other=subject in removed.on_the_other))
        if run.json:
            gone, missing = (
                [subject_text(s) for s in group] for group in (removed.gone, removed.missing)
            )
            write_changes(run, {"list": which.command, "removed": gone, "missing": missing})
        return NOTHING if removed.missing else OK

    return remove


def _ask(run: Run, store: Store, which: Which, subjects: list[Subject], *, yes: bool) -> None:
    def going() -> list[str]:
        trial = lists.remove(rehearsal(store), which, subjects, run.now)
        return [subject_text(one) for one in trial.gone]

    confirm_deletion(run, f"Remove from the {which.name}", going, yes=yes)


def _why_not(which: Which, subject: Subject, *, on_the_other: bool) -> str:
    shown = subject_text(subject)
    if not on_the_other:
        return f"{shown}: not on the {which.name} (greylag {which.command} list shows what is)"
    instead = f"greylag {which.other_command} remove {option_of(subject)}{shown}"
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
    @plain_option
    @json_option
    @click.pass_obj
    def list_(run: Run, everything: bool) -> None:
        with closing(run.open_store()) as store:
            entries = lists.listed(store, which, run.now, ended=everything)
            nothing = store.lacks(LISTS) or f"the {which.name} is empty"
        if run.json:
            shown = [entry_json(entry, run.now) for entry in entries]
            write_json({"list": which.command, "entries": shown})
        elif not entries:
            say(nothing)
        else:
            rows = [_row(entry, run.now) for entry in entries]
            write_table(("subject", "kind", "expires", "created", "origin", "comment"), rows)

    return list_


def _row(entry: Entry, now: int) -> tuple[str, ...]:
    ends, created = when(entry.expires, now), moment(entry.created)
    kind = kind_of(entry.subject) + (", spoofable" if entry.spoofable else "")
    return subject_text(entry.subject), kind, ends, created, entry.origin, entry.comment
