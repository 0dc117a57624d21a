"""`greylag search`: the records, newest first."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.moments import when
from greylag.admin.records import newest, state_of
from greylag.cli.common import NOTHING, OK, Run, examples, json_option
from greylag.cli.filters import Chosen, filter_options
from greylag.cli.output import progress, say, write_json, write_table
from greylag.cli.shown import addresses_text, network_text, record_json
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import Triplet

_HEADER = ("client network", "sender", "recipient", "first seen", "state", "deferred", "let in")


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
