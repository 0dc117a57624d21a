"""`greylag search`: the records, newest first; and the options that choose them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import wraps

import click

from greylag.admin.deferrals import OUTCOMES, SIGNS, read_since
from greylag.admin.moments import when
from greylag.admin.records import Wanted, id_of, newest, state_of, wanted
from greylag.cli import standing
from greylag.cli.common import NOTHING, OK, Run, examples, json_option, told_as_usage
from greylag.cli.output import progress, say, write_csv, write_json, write_table
from greylag.cli.plain import plain_option
from greylag.cli.searchhistory import history_wanted, search_history
from greylag.cli.shown import record_json
from greylag.core.history import Outcome
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import OF_CONNECTIONS, OF_SENT, OF_TRAPPED, OF_TRUST, Triplet
from greylag.show.texts import addresses_text, network_text

_HEADER = (
    *("id", "client network", "sender", "recipient"),
    *("first seen", "state", "deferred", "let in"),
)
several_option = click.option(
    "--several", is_flag=True, help="ADDRESS SENDER alone: mail for several recipients."
)
SEVERAL_USAGE = "with --several there is no RECIPIENT: expected ADDRESS SENDER"


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

    def wanted(
        self,
        policy: Policy,
        kind: str | None = None,
        without: Sequence[str] = (),
        since: int = 0,
    ) -> Wanted:
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
                without=without,
                since=since,
            )

    def check_history(self, kinds: Sequence[str]) -> None:
        """Refuse what is not in the history. Raises click.UsageError."""
        if self.waiting and self.passed:
            raise click.UsageError("--waiting and --passed exclude each other")
        if kinds or self.connections or self.pools:
            raise click.UsageError(
                "the history (--history, --outcome, --sign) has deferred mail alone"
            )

    def outcomes(self, outcomes: Sequence[str]) -> list[str]:
        """Return the outcomes that are looked for in the history."""
        waiting = [Outcome.WAITING.value] if self.waiting else []
        return [*outcomes, *waiting, *([Outcome.PASSED.value] if self.passed else [])]


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


def _since(context: click.Context, _parameter: click.Parameter, text: str | None) -> int:
    run = context.find_object(Run)
    with told_as_usage():
        return read_since(text or "", run.now if run is not None else 0)


@click.command(
    epilog=examples(
        "greylag search --waiting",
        "greylag search --client 192.0.2.0/24 --recipient @example.org",
        "greylag search --sender example.org --not newsletter@ --since 24h",
        "greylag search --outcome never --sign helo --csv >mail.csv",
        "greylag search --connections    # what jgreylist remembers",
        "greylag search --trusted    # whose new mail is let in, or soon will be",
    )
)
@filter_options
@click.option(
    "--not", "without", metavar="TEXT", multiple=True, help="In neither sender nor recipient."
)
@click.option(
    "--since", metavar="TIME", callback=_since, help="First seen since then: 24h, or 2026-12-31."
)
@click.option("--history", is_flag=True, help="Deferred mail and what became of it, not records.")
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice(OUTCOMES),
    multiple=True,
    help="Of the history: what became of it.",
)
@click.option("--sign", type=click.Choice(SIGNS), help="Of the history: a sign of spam.")
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
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV for a spreadsheet (times in UTC).")
@plain_option
@json_option
@click.pass_obj
def search(  # noqa: PLR0913 - one for each option
    run: Run,
    chosen: Chosen,
    *,
    without: tuple[str, ...],
    since: int,
    outcomes: tuple[str, ...],
    sign: str | None,
    limit: int,
    history: bool,
    trusted: bool,
    correspondents: bool,
    trapped: bool,
    as_csv: bool,
) -> int:
    """Show records, newest first contact first. All options given must hold.

    Texts fit anywhere in an address, and without case.
    """
    if as_csv and run.json:
        raise click.UsageError("--csv and --json exclude each other")
    kinds = _kinds({OF_TRUST: trusted, OF_SENT: correspondents, OF_TRAPPED: trapped})
    if history or outcomes or sign:
        chosen.check_history(kinds)
        what = history_wanted(
            run,
            client=chosen.client,
            sender=chosen.sender,
            recipient=chosen.recipient,
            outcomes=chosen.outcomes(outcomes),
            without=without,
            sign=sign,
            since=since,
        )
        return search_history(run, what, limit, as_csv=as_csv)
    kind = kinds[0] if kinds else None
    records = chosen.wanted(run.policy, kind, without, since)
    return _search_records(run, records, kind, limit, as_csv=as_csv)


def _kinds(given: dict[str, bool]) -> list[str]:
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) > 1:
        raise click.UsageError("--trusted, --correspondents and --trapped exclude each other")
    return kinds


def _search_records(run: Run, what: Wanted, kind: str | None, limit: int, *, as_csv: bool) -> int:
    with closing(run.open_store()) as store:
        total, found = newest(store, what, limit, progress, None if kind is None else run.now)
    if total > len(found):
        say(f"{len(found)} of {total} records are shown: --limit shows more")
    if run.json:
        name = "records" if kind is None else standing.NAMES[kind]
        write_json(
            {"total": total, "limit": limit, name: [_json(run, kind, *one) for one in found]}
        )
    elif as_csv:
        write_csv([_json(run, kind, *one) for one in found])
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
        id_of(key, run.policy) or "-",
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
        return f"passed, expires {when(record.expires, now)}"
    return f"may pass {when(record.defer_until, now)}"
