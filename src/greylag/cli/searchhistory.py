"""`greylag search --history`: deferred mail, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import click

from greylag.admin.deferrals import Found, Standing, search_all, sought, standings
from greylag.admin.moments import moment
from greylag.cli.common import NOTHING, OK, Run, told_as_usage
from greylag.cli.output import say, say_wrapped, write_csv, write_json, write_table
from greylag.cli.why import standing_json, state_text
from greylag.core.history import Sought
from greylag.core.shortid import shown_id
from greylag.show.texts import addresses_text, network_text
from greylag.store.base import HISTORY

_HEADER = ("id", "first attempt", "sender", "recipient", "client", "signs", "state", "early tries")


def history_wanted(  # noqa: PLR0913 - one for each option
    run: Run,
    *,
    client: str | None,
    sender: str | None,
    recipient: str | None,
    outcomes: Sequence[str],
    without: Sequence[str],
    sign: str | None,
    since: int,
) -> Sought:
    """Return what the options mean. Raises click.UsageError."""
    for name, text in (("sender", sender), ("recipient", recipient), ("client", client)):
        if text is not None and not text.strip():
            raise click.UsageError(f"{name}: expected a text, got an empty one")
    with told_as_usage():
        return sought(
            run.policy,
            sender=sender or "",
            recipient=recipient or "",
            address=client or "",
            outcomes=outcomes,
            since=since,
            without=without,
            sign=sign or "",
        )


def search_history(run: Run, what: Sought, limit: int, *, as_csv: bool) -> int:
    """Show what fits, the newest first; return the exit code."""
    with closing(run.open_store()) as store:
        found = search_all(store, what, run.policy, run.now, limit)
        shown = standings(store, found.deferrals, run.now)
        lacks = store.lacks(HISTORY)
    documents = [standing_json(one, run.policy) for one in shown]
    if run.json:
        write_json({"limit": limit, "complete": found.before is None, "deferrals": documents})
    elif as_csv:
        write_csv(documents)
    elif shown:
        write_table(_HEADER, [_row(run, one) for one in shown])
    else:
        say("no deferred mail fits")
    _tell_rest(found, limit)
    if lacks is not None:
        say_wrapped(lacks)
    return OK if shown else NOTHING


def _tell_rest(found: Found, limit: int) -> None:
    if found.before is None:
        return
    if len(found.deferrals) >= limit:
        say("there may be older mail that fits: --limit shows more")
    elif found.reached:
        say(f"looked back to {moment(found.reached)}: there is older mail")


def _row(run: Run, standing: Standing) -> tuple[str, ...]:
    one = standing.deferral
    sender, recipient = addresses_text(one.triplet)
    client = network_text(one.client or one.triplet.network, run.policy)
    return (
        *(shown_id(one.id), moment(one.first_seen), sender, recipient),
        *(client, " ".join(one.signs) or "-", state_text(standing, run.now)),
        str(one.tries),
    )
