"""`greylag top`: who is deferred most, who was hurt, who tries too early, who is trusted soon."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.looking import MOST_LOOKED
from greylag.admin.moments import moment
from greylag.admin.top import Hurt, Top, top
from greylag.admin.trust import identity_text
from greylag.cli.common import Run, examples, json_option
from greylag.cli.output import say_wrapped, write_fields, write_json, write_remark, write_table
from greylag.cli.plain import plain_option
from greylag.cli.since import since_option
from greylag.cli.statsby import tally_document, whole_days, write_names
from greylag.cli.topshown import SECTIONS, TITLES, not_all
from greylag.core.shortid import shown_id


@click.command("top", epilog=examples("greylag top", "greylag top --since 30d --limit 20 --json"))
@since_option("7d", "How far back, such as 12h or 7d. Names are counted by whole days (UTC).")
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Lines.")
@plain_option
@json_option
@click.pass_obj
def top_command(run: Run, since: int, limit: int) -> None:
    """Show who is deferred most, and whom greylisting hurt.

    Hurt is likely good mail that waited for half an hour or more, or never came back.
    """
    with closing(run.open_store()) as store:
        found = top(store, run.policy, run.now, since, limit, MOST_LOOKED)
    if run.json:
        write_json(document(found))
        return
    write_fields([("since", moment(found.since)), ("until", moment(found.until))])
    write_top(found)
    for note in (found.no_history, not_all(found)):
        if note is not None:
            say_wrapped(note)


def write_top(found: Top) -> None:
    """Write all tables."""
    write_remark()
    write_remark(whole_days(found.until, found.until - found.since))
    for by, title in TITLES.items():
        write_remark()
        write_remark(title)
        write_names(by, found.names[by])
    for name, title, header, rows in SECTIONS:
        shown = [tuple(map(str, row)) for row in rows(found)]
        write_remark()
        write_remark(title)
        if shown:
            write_table(header, shown, name)
        else:
            write_remark("none")
    if found.hurt_mails:
        write_remark()
        write_remark(f"{found.hurt_mails} mails were hurt in all. One of them: greylag why ID")


def document(found: Top) -> dict[str, object]:
    """Return all of it as JSON has it."""
    names = {
        by.value.replace("-", "_"): [
            {"name": name or None, **tally_document(of)} for name, of in tallies.items()
        ]
        for by, tallies in found.names.items()
    }
    return {
        "since": found.since,
        "until": found.until,
        "most_deferred": names,
        "hurt": {"mails": found.hurt_mails, "by_sender_domain": [*map(_hurt, found.hurt)]},
        "early": [
            {"sender_domain": one.domain, "retries": one.retries, "mails": one.mails,
             "passed": one.passed}
            for one in found.early
        ],
        "trusted_soon": [
            {"identity": identity_text(one.identity), "sender_domain": one.domain or None,
             "first_passes": one.passes, "needed": one.needed, "earliest": one.earliest}
            for one in found.soon
        ],
        "complete": found.complete,
        "looked_at_since": found.reached,
        "no_history": found.no_history,
    }  # fmt: skip


def _hurt(one: Hurt) -> dict[str, object]:
    return {
        "sender_domain": one.domain,
        "mails": one.mails,
        "never_came_back": one.never,
        "longest_wait_seconds": one.longest or None,
        "id": shown_id(one.worst.id),
        "sender": one.worst.triplet.sender,
        "recipient": one.worst.triplet.recipient,
    }
