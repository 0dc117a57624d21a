"""`greylag search`: the records, newest first; and the options that choose them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import wraps

import click

from greylag.admin.moments import when
from greylag.admin.records import Wanted, newest, state_of, wanted
from greylag.cli import standing
from greylag.cli.common import NOTHING, OK, Run, examples, json_option, told_as_usage
from greylag.cli.output import progress, say, write_json, write_table
from greylag.cli.shown import addresses_text, network_text, record_json
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import OF_CONNECTIONS, OF_SENT, OF_TRAPPED, OF_TRUST, Triplet

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
    pools: bool

    def anything(self) -> bool:
        """Tell whether any option was given."""
        return any(getattr(self, name) not in {None, False} for name in Chosen.__slots__)

    def wanted(self, policy: Policy, kind: str | None = None) -> Wanted:
        """Return which records they mean, of mail or of one kind. Raises click.UsageError."""
        if self.waiting and self.passed:
            raise click.UsageError("--waiting and --passed exclude each other")
        if self.connections and kind is not None:
            raise click.UsageError(f"--connections and --{standing.NAMES[kind]} exclude each other")
        with told_as_usage():
            return wanted(
                policy,
                client=self.client,
                sender=self.sender,
                recipient=self.recipient,
                passed=self.passed if self.passed or self.waiting else None,
                kind=OF_CONNECTIONS if self.connections else kind,
                pools=self.pools,
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
        click.option(
            "--pools", is_flag=True, help="Those of pools of servers, and not of client networks."
        ),
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
        "greylag search --trusted    # whose new mail is let in, or soon will be",
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
@click.option(
    "--trusted", is_flag=True, help="Who is trusted, or on the way to it, in place of mail."
)
@click.option("--correspondents", is_flag=True, help="Whom our users wrote to, in place of mail.")
@click.option("--trapped", is_flag=True, help="Who mailed a trap, in place of mail.")
@json_option
@click.pass_obj
def search(
    run: Run, chosen: Chosen, limit: int, *, trusted: bool, correspondents: bool, trapped: bool
) -> int:
    """Show records, newest first contact first. All options given must hold.

    Texts fit anywhere in an address, and without case.
    """
    given = {OF_TRUST: trusted, OF_SENT: correspondents, OF_TRAPPED: trapped}
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) > 1:
        raise click.UsageError("--trusted, --correspondents and --trapped exclude each other")
    kind = kinds[0] if kinds else None
    what = chosen.wanted(run.policy, kind)
    with closing(run.open_store()) as store:
        total, found = newest(store, what, limit, progress, None if kind is None else run.now)
    if total > len(found):
        say(f"{len(found)} of {total} records are shown: --limit shows more")
    if run.json:
        name = "records" if kind is None else standing.NAMES[kind]
        write_json(
            {"total": total, "limit": limit, name: [_json(run, kind, *one) for one in found]}
        )
    elif found:
        header = _HEADER if kind is None else standing.HEADERS[kind]
        write_table(header, [_row(run, kind, *one) for one in found])
    else:
        say("no record fits")
    return OK if found else NOTHING


def _json(run: Run, kind: str | None, key: Triplet, record: Record) -> dict[str, object]:
    if kind is not None:
        return standing.document(kind, key, record, run.policy, run.now)
    return record_json(key, record, run.policy, run.now)


def _row(run: Run, kind: str | None, key: Triplet, record: Record) -> tuple[str, ...]:
    if kind is not None:
        return standing.row(kind, key, record, run.policy, run.now)
    return (
        network_text(key.network, run.policy),
        *addresses_text(key),
        when(record.first_seen, run.now),
        _state(record, run.now),
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
