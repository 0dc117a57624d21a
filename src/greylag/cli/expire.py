"""`greylag expire`: delete expired records, and tell what became of their mail."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin import expiry
from greylag.admin.expiry import ClockDoubted, Expired
from greylag.cli.common import NOTHING, CommandError, Run, examples, json_option
from greylag.cli.output import progress, say, write_fields, write_json


@click.command(
    short_help="Delete expired records.",
    epilog=examples("greylag expire", "greylag expire --dry-run"),
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--yes", is_flag=True, help="Go on even if most of the records would go.")
@json_option
@click.pass_obj
def expire(run: Run, dry_run: bool, yes: bool) -> None:
    """Delete expired records; to be run each hour or day.

    Triplets that never came back are counted as stopped, see `greylag stats`.
    """
    try:
        with closing(run.open_store()) as store:
            if store.contacts() is not None:  # its records have no end of their own
                cause = "a tree of jgreylist is cleaned by jgreylist-clean"
                raise CommandError([f"{cause}; nothing was forgotten"], NOTHING)
            expired = expiry.expire(
                *(store, run.now, run.policy.lifetime),
                dry_run=dry_run,
                sure=yes,
                progress=progress,
            )
    except ClockDoubted as doubt:
        raise refused(doubt) from None
    if dry_run and expired.doubt:
        say(f"without --yes this would be refused: {expired.doubt}")
    _write(run, expired, dry_run=dry_run)


def refused(doubt: ClockDoubted) -> CommandError:
    """Return how a command ends that a jump of the clock may have made dangerous."""
    return CommandError([f"refused: {doubt}; has the clock jumped? --yes goes on"], NOTHING)


def _write(run: Run, expired: Expired, *, dry_run: bool) -> None:
    stopped, delayed = expired.stopped, expired.delayed
    waiting, passed = expired.waiting, expired.passed
    if run.json:
        write_json(
            {
                "dry_run": dry_run,
                "stopped": stopped,
                "delayed": delayed,
                "kept": {"waiting": waiting, "passed": passed},
            }
        )
        return
    name = "would be forgotten" if dry_run else "forgotten"
    write_fields(
        [
            (name, str(stopped + delayed)),
            ("  stopped", f"{stopped} never came back"),
            ("  delayed", f"{delayed} had passed"),
            ("kept", f"{waiting + passed} ({waiting} waiting, {passed} passed)"),
        ]
    )
