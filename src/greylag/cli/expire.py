"""`greylag expire`: delete expired records, and tell what became of their mail."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin import expiry
from greylag.admin.expiry import ClockDoubted, Expired
from greylag.cli.common import (
    NOTHING,
    OK,
    CommandError,
    Run,
    examples,
    json_option,
    report_store,
)
from greylag.cli.output import progress, say, write_fields, write_json
from greylag.store.base import StoreError


@click.command(
    short_help="Delete expired records.",
    epilog=examples("greylag expire", "greylag expire --dry-run"),
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--yes", is_flag=True, help="Go on even if most of the records would go.")
@json_option
@click.pass_obj
def expire(run: Run, dry_run: bool, yes: bool) -> int:
    """Delete expired records, and what is too old in the history; to be run each hour or day.

    What never came back is counted, and much of it is likely spam: see `greylag stats`.
    """
    trouble, deferrals = None, 0
    try:
        with closing(run.open_store()) as store:
            if store.contacts() is not None:  # its records have no end of their own
                cause = "a tree of jgreylist is cleaned by jgreylist-clean"
                raise CommandError([f"{cause}; nothing was deleted"], NOTHING)
            expired = expiry.expire(
                *(store, run.now, run.policy.lifetime),
                dry_run=dry_run,
                sure=yes,
                progress=progress,
            )
            kept = run.settings.room.history
            try:
                deferrals = 0 if dry_run else expiry.forget_history(store, run.now, kept, sure=yes)
            except StoreError as error:  # told at the end: the records are gone
                trouble = error
    except ClockDoubted as doubt:
        raise refused(doubt) from None
    if dry_run and expired.doubt:
        say(f"without --yes this would be refused: {expired.doubt}")
    _write(run, expired, deferrals, dry_run=dry_run)
    return OK if trouble is None else report_store(trouble)


def refused(doubt: ClockDoubted) -> CommandError:
    """Return how a command ends that a jump of the clock may have made dangerous."""
    return CommandError([f"refused: {doubt}; has the clock jumped? --yes goes on"], NOTHING)


def _write(run: Run, expired: Expired, deferrals: int, *, dry_run: bool) -> None:
    never, delayed = expired.stopped, expired.delayed
    waiting, passed = expired.waiting, expired.passed
    if run.json:
        write_json(
            {
                "dry_run": dry_run,
                "never_came_back": never,
                "delayed": delayed,
                "kept": {"waiting": waiting, "passed": passed},
                "history": deferrals,
            }
        )
        return
    name = "would be deleted" if dry_run else "deleted"
    write_fields(
        [
            (name, str(never + delayed)),
            ("  never came back", str(never)),
            ("  had passed", str(delayed)),
            ("kept", f"{waiting + passed} ({waiting} waiting, {passed} passed)"),
            *([("history", f"{deferrals} rows deleted")] if deferrals else []),
        ]
    )
