"""`greylag search`: the records, newest first; and the options that choose them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import wraps

import click

from greylag.admin.moments import when
from greylag.admin.records import Wanted, newest, state_of, wanted
from greylag.cli.common import NOTHING, OK, Run, examples, json_option, told_as_usage
from greylag.cli.output import progress, say, write_json, write_table
from greylag.cli.shown import addresses_text, network_text, record_json
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import Triplet

_HEADER = ("client network", "sender", "recipient", "first seen", "state", "deferred", "let in")
several_option = click.option(
    "--several", is_flag=True, help="ADDRESS SENDER alone: mail for several recipients."
)
SEVERAL_USAGE = "--several stands in the place of RECIPIENT: expected ADDRESS SENDER"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The options as they were given."""

    client: str | None
    sender: str | None
    recipient: str | None
    waiting: bool
    passed: bool
    connections: bool

    def anything(self) -> bool:
        """Tell whether any option was given."""
        return self != Chosen(None, None, None, waiting=False, passed=False, connections=False)

    def wanted(self, policy: Policy) -> Wanted:
        """Return which records they mean. Raises click.UsageError."""
        if self.waiting and self.passed:
            raise click.UsageError("--waiting and --passed exclude each other")
        with told_as_usage():
            return wanted(
                policy,
                client=self.client,
                sender=self.sender,
                recipient=self.recipient,
                passed=self.passed if self.passed or self.waiting else None,
                connections=self.connections,
            )


def filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that choose records, and a Chosen in their place."""
    options = (
        click.option(
            "--client",
            metavar="ADDRESS|CIDR",
            help="The network of a client address, or all networks in a range.",
        ),
        click.option("--sender", metavar="TEXT", help="Part of the sender; <> is the null sender."),
        click.option("--recipient", metavar="TEXT", help="Part of the recipient."),
        click.option("--waiting", is_flag=True, help="Only what has not passed."),
        click.option("--passed", is_flag=True, help="Only what has passed."),
        click.option("--connections", is_flag=True, help="Only connections (jgreylist)."),
    )

    @wraps(command)
    def packed(*args: object, **given: object) -> int:
        names = Chosen.__slots__
        chosen = Chosen(*(given.pop(name) for name in names))  # type: ignore[arg-type]
        return command(*args, chosen=chosen, **given)

    for option in reversed(options):
        packed = option(packed)
    return packed


@click.command(
    epilog=examples(
        "greylag search --waiting",
        "greylag search --client 192.0.2.0/24 --recipient @example.org",
        "greylag search --sender '<>' --json",
        "greylag search --connections    # what jgreylist remembers",
    )
)
@filter_options
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many to show.",
)
@json_option
@click.pass_obj
def search(run: Run, chosen: Chosen, limit: int) -> int:
    """Show records, newest first contact first. All options given must hold.

    Texts fit anywhere in an address, and without case.
    """
    what = chosen.wanted(run.policy)
    with closing(run.open_store()) as store:
        total, found = newest(store, what, limit, progress)
    if total > len(found):
        say(f"{len(found)} of {total} records are shown: --limit shows more")
    if run.json:
        records = [record_json(key, record, run.policy, run.now) for key, record in found]
        write_json({"total": total, "limit": limit, "records": records})
    elif found:
        write_table(_HEADER, [_row(key, record, run.policy, run.now) for key, record in found])
    else:
        say("no record fits")
    return OK if found else NOTHING


def _row(key: Triplet, record: Record, policy: Policy, now: int) -> tuple[str, ...]:
    return (
        network_text(key.network, policy),
        *addresses_text(key),
        when(record.first_seen, now),
        _state(record, now),
        str(record.blocked),
        str(record.passed),
    )


def _state(record: Record, now: int) -> str:
    state = state_of(record, now)
    if state == "forgotten":
        return "no longer counts"
    if state == "passed":
        return f"passed, forgotten {when(record.expires, now)}"
    return f"may pass {when(record.defer_until, now)}"
