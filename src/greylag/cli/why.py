"""`greylag why`: the story of deferred mail, until when it waits, and what would let it in."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.deferrals import DUE, EXPIRED, GONE, Standing
from greylag.admin.moments import moment, when
from greylag.admin.ways import Way
from greylag.admin.why import Event, Rules, Story, Why, asked
from greylag.admin.why import why as ask_why
from greylag.cli.common import NOTHING, OK, Run, examples, json_option, told_as_usage
from greylag.cli.completing import waiting_ids
from greylag.cli.kinds import described
from greylag.cli.output import say, say_wrapped, write_fields, write_json, write_remark, write_table
from greylag.cli.plain import plain_option
from greylag.cli.shown import entry_json
from greylag.core.client import format_address, is_packed
from greylag.core.history import Outcome
from greylag.core.identity import pool_of
from greylag.core.policy import Policy
from greylag.core.shortid import shown_id
from greylag.core.verdict import Verdict
from greylag.show.texts import addresses_text, network_text
from greylag.store.base import HISTORY

HEADER = ("id", "sender", "recipient", "client network", "first attempt", "state")
BEHIND = "the daemon writes the history about once a second: ask again in a few seconds"
STATES = {
    DUE: "its next retry passes",
    GONE: "its record is gone: a retry counts as a first contact",
    EXPIRED: "never came back in time: a retry counts as a first contact",
    Outcome.PASSED.value: "let in",
    Outcome.EVICTED.value: "its record had to make room: a retry counts as a first contact",
    Outcome.FORGOTTEN.value: "deleted by an admin: a retry counts as a first contact",
    Outcome.LIKELY_SPAM.value: "never came back: likely spam",
    Outcome.OTHER_WAY.value: "the same mail came another way",
    Outcome.VARYING.value: "never came back: a list, or varying sender",
    Outcome.UNKNOWN.value: "never came back (unknown)",
}


@click.command(
    short_help="Tell why mail is late, until when, and what lets it in.",
    epilog=examples(
        "greylag why alice@partner.example bob@ours.example",
        "greylag why 7KQ3-M2F    # the id in the sender's bounce, or in the log",
        "greylag why 192.0.2.17    # or a range",
        "greylag why bob@ours.example",
    ),
)
@click.argument(
    "words",
    metavar="ID | SENDER RECIPIENT | ADDRESS | TEXT",
    nargs=-1,
    shell_complete=waiting_ids,
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many mails to tell of.",
)
@plain_option
@json_option
@click.pass_obj
def why(run: Run, words: tuple[str, ...], limit: int) -> int:
    """Tell the story of deferred mail: every try, what decided, when it may pass, what lets it in.

    By the short id that the sender was told, by sender and recipient (`<>` is the null sender), or
    by a client address or range, or by part of a sender or a recipient (TEXT). The newest mail that
    waits is told in full.
    """
    with told_as_usage():
        what = asked(words, run.policy)
    rules = Rules(run.policy, run.settings.recipients, run.settings.origins)
    with closing(run.open_store()) as store:
        found = ask_why(store, what, rules, run.now, limit)
        lacks = store.lacks(HISTORY)
    if run.json:
        stories = [_json(run, one) for one in found.stories]
        reached = found.reached or None
        write_json(
            {
                "stories": stories,
                "instead": found.instead or None,
                "more": found.more,
                "looked_back_to": reached,
            }
        )
    elif found.stories:
        if found.instead:
            say_wrapped(found.instead)
        _tell(run, found)
    if not found.stories:
        _tell_nothing(found, lacks)
        return NOTHING
    return OK


def _tell_nothing(found: Why, lacks: str | None) -> None:
    if lacks is not None:
        say(lacks)
    back = f", back to {moment(found.reached)}" if found.reached else ""
    say(f"no such mail was deferred{back}")
    say_wrapped(
        "mail that was never deferred is not in the history: `greylag check` tells what an attempt"
        " would be answered, and `greylag search` what has passed"
    )


def _tell(run: Run, found: Why) -> None:
    first = next((one for one in found.stories if one.standing.waits), found.stories[0])
    write_fields(_fields(run, first))
    others = [one for one in found.stories if one is not first]
    if others:
        write_remark()
        rows = [row(one.standing, run.policy, run.now) for one in others]
        write_table(HEADER, rows, "other mail")
    if first.behind:
        say(BEHIND)
    if found.more:
        say(f"there may be more: looked back to {moment(found.reached)}; --limit shows more")
    if len({one.standing.deferral.triplet for one in found.stories if one.id == first.id}) > 1:
        exactly = "greylag why SENDER RECIPIENT"
        say(f"several mails have this id: {first.id}; name one exactly: {exactly}")
    key = first.standing.deferral.sender_recipient
    of_the_same = [
        one.id
        for one in found.stories
        if one.standing.waits and one.standing.deferral.sender_recipient == key
    ]
    if of_the_same:
        say(f"to let its next retry in: greylag release {' '.join(dict.fromkeys(of_the_same))}")


def row(standing: Standing, policy: Policy, now: int) -> tuple[str, ...]:
    """Return what a table of deferred mail has of one."""
    deferral = standing.deferral
    return (
        shown_id(deferral.id),
        *addresses_text(deferral.triplet),
        network_text(deferral.triplet.network, policy),
        moment(deferral.first_seen),
        state_text(standing, now),
    )


def state_text(standing: Standing, now: int) -> str:
    """Return how a deferral stands, in words."""
    if standing.may_pass is not None and standing.waits:
        return f"waits: a retry passes from {when(standing.may_pass, now)} on"
    ended = standing.deferral.ended
    return STATES[standing.state] + (f" ({moment(ended)})" if ended else "")


def _fields(run: Run, story: Story) -> list[tuple[str, str]]:
    standing, now = story.standing, run.now
    deferral = standing.deferral
    sender, recipient = addresses_text(deferral.triplet)
    fields = [
        ("id", story.id),
        ("sender", sender),
        ("recipient", recipient),
        ("client", _client(story)),
        ("client network", network_text(deferral.triplet.network, run.policy)),
        ("state", state_text(standing, now)),
        *(("history", _event(event)) for event in story.events),
        ("reason", f"{story.reason.value}: {story.reason.meaning}"),
        *(("setting", f"{s.key} = {s.value} ({s.origin})") for s in story.settings),
        ("signs", _signs(story)),
    ]
    pool = pool_of(deferral.pool)
    if pool is not None:
        fields.append(("pool", f"{pool}: a retry may come from any of its servers"))
    if story.habit is not None:
        expected = "" if story.habit.at is None else f": expected {when(story.habit.at, now)}"
        fields.append(("usually", story.habit.text + expected))
    for other in story.elsewhere:
        network = network_text(other.triplet.network, run.policy)
        fields.append(("meanwhile", f"passed from {network} at {moment(other.ended)}"))
    return fields + _next_fields(story) + [("to let it in", _way(one)) for one in story.ways]


def _signs(story: Story) -> str:
    if story.by_record_alone:
        return "not known"
    return ", ".join(story.standing.deferral.signs) or "none: it showed no sign of spam"


def _way(way: Way) -> str:
    return f"{way.command}    # {way.what}"


def _client(story: Story) -> str:
    deferral = story.standing.deferral
    address = format_address(deferral.client) if is_packed(deferral.client) else "not known"
    return f"{address} ({deferral.name})" if deferral.name else address


def _event(event: Event) -> str:
    if not event.at:
        return f"{event.what} (it is not known when)"
    until = f" to {moment(event.until)}" if event.until else ""
    return f"{moment(event.at)}{until}: {event.what}"


def _next_fields(story: Story) -> list[tuple[str, str]]:
    """Return what a retry would be answered now, where that is news, and the entry that decides."""
    answer = story.answer
    fields = []
    if answer.verdict is not Verdict.DEFER:
        now = "let in" if answer.verdict is Verdict.PASS else "refused"
        fields.append(("a retry now", f"{now}: {answer.reason.value}: {answer.reason.meaning}"))
    if answer.entry is not None:
        fields.append(("list entry", described(answer.entry.subject)))
    return fields


def standing_json(standing: Standing, policy: Policy) -> dict[str, object]:
    """Return a deferral and how it stands, as JSON has it."""
    deferral = standing.deferral
    pool = pool_of(deferral.pool)
    return {
        "id": shown_id(deferral.id),
        "sender": deferral.triplet.sender,
        "recipient": deferral.triplet.recipient,
        "client_network": network_text(deferral.triplet.network, policy),
        "client_address": format_address(deferral.client) if is_packed(deferral.client) else None,
        "client_name": deferral.name or None,
        "pool": None if pool is None else str(pool),
        "signs": list(deferral.signs),
        "first_seen": deferral.first_seen,
        "may_pass_at": standing.may_pass,
        "state": standing.state,
        "ended": deferral.ended or None,
        "released": deferral.released or None,
    }


def _json(run: Run, story: Story) -> dict[str, object]:
    habit, answer = story.habit, story.answer
    return {
        **standing_json(story.standing, run.policy),
        "events": [
            {"at": e.at or None, "until": e.until or None, "what": e.what} for e in story.events
        ],
        "reason": story.reason.value,
        "settings": [{"key": s.key, "value": s.value, "origin": s.origin} for s in story.settings],
        "usually": None if habit is None else {"text": habit.text, "expected_at": habit.at},
        "passed_elsewhere": [
            {"client_network": network_text(o.triplet.network, run.policy), "at": o.ended}
            for o in story.elsewhere
        ],
        "now": {
            "verdict": answer.verdict.value,
            "reason": answer.reason.value,
            "entry": None if answer.entry is None else entry_json(answer.entry, run.now),
        },
        "to_let_it_in": [{"command": way.command, "what": way.what} for way in story.ways],
    }
