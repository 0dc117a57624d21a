"""`greylag release`: the next retry of deferred mail passes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import click

from greylag.admin import AT_ONCE
from greylag.admin.deferrals import (
    DUE,
    MOST_OF_ID,
    NULL_SENDER,
    Meant,
    Standing,
    meant,
    of_id,
    of_pair,
)
from greylag.admin.records import range_of
from greylag.admin.release import Released
from greylag.admin.release import release as release_all
from greylag.admin.typed import WrongValue, typed_address, typed_recipient
from greylag.cli.common import (
    NO_TERMINAL,
    NOTHING,
    OK,
    CommandError,
    Run,
    ask,
    examples,
    interactive,
    json_option,
    told_as_usage,
)
from greylag.cli.completing import waiting_ids
from greylag.cli.dryrun import dry_run_option, write_changes
from greylag.cli.output import say
from greylag.cli.who import who
from greylag.cli.why import standing_json, state_text
from greylag.core.history import Deferral, Outcome, Sought
from greylag.core.policy import Policy
from greylag.core.shortid import read_id, shown_id
from greylag.core.value import replace, value
from greylag.show.texts import addresses_text, clean, network_text
from greylag.store.base import Store

_TWO = 2  # words: a sender and a recipient
_DONE = (DUE, Outcome.PASSED.value)  # what needs no release


@click.command(
    short_help="Let the next retry of deferred mail in.",
    epilog=examples(
        "greylag release 7KQ3-M2F",
        "greylag release alice@partner.example bob@ours.example",
        "greylag release 7KQ3-M2F 7KQ3-9XD --yes",
    ),
)
@click.argument(
    "words",
    metavar="ID... | SENDER RECIPIENT",
    nargs=-1,
    required=True,
    shell_complete=waiting_ids,
)
@click.option("--client", metavar="ADDRESS", help="Only from this client address or range.")
@click.option("--yes", is_flag=True, help="Do not ask, though several mails are meant.")
@dry_run_option
@json_option
@click.pass_obj
def release(run: Run, words: tuple[str, ...], *, client: str | None, yes: bool) -> int:
    """Let the next retry of deferred mail in, by the ids that `why`, `search` and the log show.

    Or by sender and recipient (`<>` is the null sender), which must be whole.

    The delay ends now for this client network (and its pool of servers), sender and recipient; all
    else stays as it is. Daemons follow within about two seconds, on all hosts that share the store.
    Who released what is written down.

    Several mails may have the same id, by chance or because somebody made it so: then all are
    shown, and it is asked. Sender, recipient and --client name one mail exactly.
    """
    with told_as_usage():
        asked = _asked(words, client, run.policy)
    with closing(run.open_store()) as store:
        found, unknown = _found(run, store, asked, yes=yes or run.dry_run)
        done = release_all(store, [one.deferral for one in found], run.now, who=who())
    if run.json:
        write_changes(run, _json(run, done, unknown))
    _tell(run, done, unknown)
    failed = unknown or any(one.state not in _DONE for one in done.others)
    return NOTHING if failed else OK


@value
class _Asked:
    """What is to be released: how it is shown, and what it looks for."""

    shown: str
    sought: Sought


def _asked(words: Sequence[str], client: str | None, policy: Policy) -> list[_Asked]:
    if len(words) == _TWO and (words[0] == NULL_SENDER or any("@" in word for word in words)):
        recipient = typed_recipient(words[1])
        sender = b"" if words[0] == NULL_SENDER else typed_address(words[0])
        name = policy.sender_name(sender, recipient) if sender else ""
        found = [_Asked(" ".join(words), of_pair(name, policy.recipient_name(recipient)))]
    else:
        numbers = dict.fromkeys(_number(text) for text in words)
        found = [_Asked(shown_id(number), of_id(number)) for number in numbers]
    if client is None:
        return found
    networks = range_of(client, policy)
    return [replace(one, sought=replace(one.sought, networks=networks)) for one in found]


def _number(text: str) -> int:
    number = read_id(text)
    if number is None:
        raise WrongValue(f"expected an id such as 7KQ3-M2F, got {text!r}")
    return number


def _found(
    run: Run, store: Store, asked: list[_Asked], *, yes: bool
) -> tuple[list[Standing], list[str]]:
    """Return what is meant, and what is not known."""
    found: list[Standing] = []
    unknown = []
    for one in asked:
        this = meant(store, one.sought, run.policy, run.now)
        if this.more or (len(this.standings) > 1 and any(s.waits for s in this.standings)):
            _choose(run, one.shown, this, yes=yes)
        if not this.standings:
            unknown.append(one.shown)
        found += this.standings
    if len(found) > AT_ONCE:
        told = f"these are more than the {AT_ONCE} mails that are released at once"
        raise CommandError([told, "nothing was released"], NOTHING)
    return found, unknown


def _choose(run: Run, shown: str, this: Meant, *, yes: bool) -> None:
    """Ask whether all are meant: which of several is the one that is wanted, nobody can tell.

    One that does not wait may be the one that is wanted, so the others are not released unasked.
    """
    if yes and not this.more:
        return
    for one in this.standings:
        network = network_text(one.deferral.triplet.network, run.policy)
        click.echo(f"  {network} {_between(one.deferral)}", err=True)
        if not one.waits:
            click.echo(f"    {clean(state_text(one, run.now))}", err=True)
    exactly = "name one exactly: greylag release SENDER RECIPIENT --client ADDRESS"
    if this.more:
        told = f"more than {MOST_OF_ID} mails are meant by {shown}, and not all are shown"
        raise CommandError([told, exactly, "nothing was released"], NOTHING)
    if not interactive():
        raise CommandError([NO_TERMINAL, exactly, "nothing was released"], NOTHING)
    count = len(this.standings)
    if not ask(f"{count} mails are meant by {shown}. Release all of them that wait?"):
        raise CommandError([exactly, "nothing was released"], NOTHING)


def _between(deferral: Deferral) -> str:
    sender, recipient = addresses_text(deferral.triplet)
    return clean(f"{sender} to {recipient}")


def _tell(run: Run, done: Released, unknown: list[str]) -> None:
    for one in done.released:
        say(f"released {shown_id(one.id)}: {_between(one)}; its next retry passes")
    for other in done.others:
        state = state_text(other, run.now)
        say(f"{shown_id(other.deferral.id)} does not wait: {_between(other.deferral)}: {state}")
    for shown in unknown:
        what = "between these two" if "@" in shown else "with this id"
        say(f"{clean(shown)}: no deferred mail {what} is known")
    if done.not_noted is not None:
        say(f"it is done, but not noted in the history: {done.not_noted}")


def _mail_json(one: Deferral) -> dict[str, object]:
    key = one.triplet
    return {"id": shown_id(one.id), "sender": key.sender, "recipient": key.recipient}


def _json(run: Run, done: Released, unknown: list[str]) -> dict[str, object]:
    return {
        "released": [_mail_json(one) for one in done.released],
        "not_waiting": [standing_json(one, run.policy) for one in done.others],
        "unknown": unknown,
    }
