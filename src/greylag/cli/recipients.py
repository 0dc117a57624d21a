"""`greylag expect` and `greylag trap`: what an admin says about single mailboxes."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.entries import read_comment
from greylag.admin.moments import moment, when
from greylag.admin.recipients import (
    Taken,
    mark,
    marked,
    read_mailboxes,
    refused,
    take,
    whole_mailboxes,
)
from greylag.admin.trust import end, identity_text, typed_trapped
from greylag.cli.common import (
    NOTHING,
    OK,
    USAGE,
    CommandError,
    Group,
    Run,
    examples,
    json_option,
    told_as_usage,
)
from greylag.cli.deleting import confirm_deletion, yes_option
from greylag.cli.dryrun import dry_run_option, write_changes
from greylag.cli.listput import refuse
from greylag.cli.noting import noted
from greylag.cli.output import say, write_json, write_table
from greylag.cli.plain import plain_option
from greylag.core.accesslist import NEVER, Purpose
from greylag.core.duration import parse_duration
from greylag.core.subject import Subject
from greylag.show.texts import subject_text, subjects_text
from greylag.store.base import LISTS
from greylag.store.rehearsal import rehearsal


class _Expect(Group):
    """A group in which `greylag expect MAILBOX` is `greylag expect add MAILBOX`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        # A word with an `@` is a mailbox; what begins with a hyphen is an option of `add`.
        if args and not named and ("@" in args[0] or args[0][:1] == "-"):
            args = ["add", *args]
        return super().parse_args(ctx, args)


# Words of the history, as the dashboard notes them.
_ADDED = {Purpose.EXPECTED: "expect", Purpose.TRAP: "trap"}
_TAKEN = {Purpose.EXPECTED: "expect-end", Purpose.TRAP: "trap-remove"}
_mailboxes = click.argument("mailboxes", metavar="MAILBOX...", nargs=-1, required=True)
_comment = click.option("--comment", metavar="TEXT", default="", help="Why.")


@click.group(
    "expect",
    cls=_Expect,
    short_help="Let a mailbox have the mail that it waits for.",
    epilog=examples("greylag expect user@example.net", "greylag expect list"),
)
def expect() -> None:
    """Say that a mailbox waits for mail, such as a login code: new mail to it is not delayed.

    This ends by itself. Clients and senders on the denylist are still refused.
    """


@expect.command(
    "add",
    short_help="Say that mailboxes wait for mail (add can be left out).",
    epilog=examples(
        "greylag expect user@example.net --for 2h --comment 'order 1234'",
        "greylag expect add user@example.net     # the same as expect user@example.net",
    ),
)
@_mailboxes
@click.option(
    "--for", "span", metavar="DURATION", default="30m", show_default=True, help="How long."
)
@_comment
@dry_run_option
@json_option
@click.pass_obj
def expect_add(run: Run, /, mailboxes: tuple[str, ...], *, span: str, comment: str) -> None:
    """Let new mail to each MAILBOX pass at once, for a time."""
    boxes = _read(run, mailboxes, "nothing was stored")
    try:
        until, text = run.now + _span(span), read_comment(comment)
    except ValueError as error:
        refuse([str(error)])
    no_use = _mark(run, Purpose.EXPECTED, boxes, until, text)
    if run.json:
        return
    for box in boxes:
        say(f"{subject_text(box)}: new mail TO it is let in until {moment(until)}")
    for box in no_use:
        say(f"{subject_text(box)}: the denylist names it, so mail TO it is still refused")


def _span(text: str) -> int:
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError(f"--for: expected a time to come, such as 30m, got {text!r}")
    return seconds


@expect.command("list", epilog=examples("greylag expect list", "greylag expect list --json"))
@plain_option
@json_option
@click.pass_obj
def expect_list(run: Run, /) -> None:
    """Show the mailboxes that wait for mail, and until when."""
    _list(run, Purpose.EXPECTED, "no mailbox waits for mail")


@expect.command("end", epilog=examples("greylag expect end user@example.net"))
@_mailboxes
@dry_run_option
@json_option
@click.pass_obj
def expect_end(run: Run, /, mailboxes: tuple[str, ...]) -> int:
    """Greylist new mail to each MAILBOX again."""
    return _take(
        run, Purpose.EXPECTED, mailboxes, "waits for mail no longer", "did not wait for mail"
    )


@click.group(
    "trap",
    cls=Group,
    short_help="Name mailboxes that only spam is sent to.",
    epilog=examples("greylag trap add old-address@example.net", "greylag trap list"),
)
def trap() -> None:
    """Keep traps: mailboxes that nobody writes to who means well.

    Who mails one, and has not passed anywhere yet, is not let in for a time (policy.trap and
    policy.trapped_for). `greylag trap release` lets a client go earlier.
    """


@trap.command("add", epilog=examples("greylag trap add old-address@example.net"))
@click.argument("mailboxes", metavar="ADDRESS...", nargs=-1, required=True)
@_comment
@dry_run_option
@json_option
@click.pass_obj
def trap_add(run: Run, /, mailboxes: tuple[str, ...], *, comment: str) -> None:
    """Make each ADDRESS a trap."""
    boxes = _read(run, mailboxes, "nothing was stored")
    try:
        text = read_comment(comment)
    except ValueError as error:
        refuse([str(error)])
    _mark(run, Purpose.TRAP, boxes, NEVER, text)
    if run.json:
        return
    for box in boxes:
        say(f"{subject_text(box)}: is a trap now")
    if not run.policy.traps:
        say("traps are off (policy.trapped_for), so nobody is refused for it")


@trap.command("remove", epilog=examples("greylag trap remove old-address@example.net"))
@click.argument("mailboxes", metavar="ADDRESS...", nargs=-1, required=True)
@yes_option
@dry_run_option
@json_option
@click.pass_obj
def trap_remove(run: Run, /, mailboxes: tuple[str, ...], *, yes: bool) -> int:
    """Let each ADDRESS be a trap no longer."""
    return _take(run, Purpose.TRAP, mailboxes, "is a trap no longer", "is no trap", yes)


@trap.command(
    "release",
    short_help="Let a client go that mailed a trap.",
    epilog=examples("greylag search --trapped", "greylag trap release 192.0.2.1"),
)
@click.argument("address")
@dry_run_option
@json_option
@click.pass_obj
def trap_release(run: Run, /, address: str) -> int:
    """Refuse the client at ADDRESS no longer for having mailed a trap: its mail is greylisted.

    If it mails a trap again, it is refused again.
    """
    with told_as_usage():
        key = typed_trapped(address)
    with closing(run.open_store()) as store:
        released = end(store, key, run.now)
        client = identity_text(key.network)
        if released:
            noted(run, store, "trap-release", client)
    if run.json:
        write_changes(run, {"client": client, "released": released})
    else:
        told = "is not refused for a trap any more" if released else "has mailed no trap"
        say(f"{client}: {told}")
    return OK if released else NOTHING


@trap.command("list", epilog=examples("greylag trap list", "greylag trap list --json"))
@plain_option
@json_option
@click.pass_obj
def trap_list(run: Run, /) -> None:
    """Show the traps."""
    _list(run, Purpose.TRAP, "there is no trap")


def _read(run: Run, texts: tuple[str, ...], outcome: str) -> list[Subject]:
    boxes, errors = read_mailboxes(texts)
    if errors:
        raise CommandError([*errors, outcome], USAGE)
    return whole_mailboxes(boxes, run.policy)


def _mark(
    run: Run, purpose: Purpose, boxes: list[Subject], until: int, comment: str
) -> list[Subject]:
    """Store it; return those of them that are refused all mail."""
    with closing(run.open_store(create=True)) as store:
        mark(store, purpose, boxes, run.now, until=until, comment=comment)
        ends_at = "" if until >= NEVER else f" until {until}"
        noted(run, store, _ADDED[purpose], f"{subjects_text(boxes)}{ends_at}")
        no_use = refused(store, boxes, run.now)
    if run.json:
        names = [subject_text(box) for box in boxes]
        ends = None if until >= NEVER else until
        document = {"purpose": purpose.value, "added": names, "expires": ends}
        write_changes(run, document)
    return no_use


def _take(
    run: Run, purpose: Purpose, texts: tuple[str, ...], done: str, not_there: str, yes: bool = True
) -> int:
    boxes = _read(run, texts, "nothing was removed")
    with closing(run.open_store()) as store:

        def going() -> list[str]:
            trial = take(rehearsal(store), purpose, boxes, run.now)
            return [subject_text(one) for one in trial.gone]

        confirm_deletion(run, "Remove traps", going, yes=yes)
        taken: Taken = take(store, purpose, boxes, run.now)
        if taken.gone:
            noted(run, store, _TAKEN[purpose], subjects_text(taken.gone))
    gone, missing = ([subject_text(box) for box in part] for part in (taken.gone, taken.missing))
    if run.json:
        write_changes(run, {"purpose": purpose.value, "removed": gone, "missing": missing})
    else:
        for name in gone:
            say(f"{name}: {done}")
        for name in missing:
            say(f"{name}: {not_there}")
    return NOTHING if missing else OK


def _list(run: Run, purpose: Purpose, nothing: str) -> None:
    with closing(run.open_store()) as store:
        entries = marked(store, purpose, run.now)
        nothing = store.lacks(LISTS) or nothing
    if run.json:
        shown = [
            {
                "mailbox": subject_text(entry.subject),
                "created": entry.created,
                "expires": None if entry.expires >= NEVER else entry.expires,
                "comment": entry.comment,
            }
            for entry in entries
        ]
        write_json({"purpose": purpose.value, "entries": shown})
    elif not entries:
        say(nothing)
    else:
        rows = [
            (
                subject_text(entry.subject),
                when(entry.expires, run.now),
                moment(entry.created),
                entry.comment,
            )
            for entry in entries
        ]
        write_table(("mailbox", "expires", "created", "comment"), rows)
