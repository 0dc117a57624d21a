"""`greylag off`, `greylag observe` and `greylag on`: one switch over all settings."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.switch import SAID, Turned, ends, turn, turn_on
from greylag.cli.common import STORE_ERROR, CommandError, Run, examples, json_option
from greylag.cli.output import say, write_json
from greylag.cli.switched import switch_json
from greylag.cli.who import who
from greylag.core.accesslist import NEVER
from greylag.core.duration import parse_duration
from greylag.core.policy import Greylist
from greylag.store.base import Store

_SOON = "daemons follow within about two seconds"
_MEANS = {
    Greylist.OFF: "no mail is deferred, and nothing new is recorded",
    Greylist.OBSERVE: "no mail is deferred, and what would have been is counted (greylag stats)",
}


def _until(context: click.Context, _parameter: click.Parameter, text: str | None) -> int:
    if text is None:
        return NEVER
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, got {text!r}") from None
    if not seconds:
        raise click.BadParameter(f"expected a time longer than none, got {text!r}")
    run = context.find_object(Run)
    return seconds if run is None else run.now + seconds


_for = click.option(
    "--for",
    "until",
    metavar="DURATION",
    callback=_until,
    help="When it ends by itself, such as 2h or 7d; else `greylag on` ends it.",
)


@click.command(
    short_help="Switch greylisting off now, for a time.",
    epilog=examples("greylag off --for 2h", "greylag off", "greylag on"),
)
@_for
@json_option
@click.pass_obj
def off(run: Run, until: int) -> None:
    """Switch greylisting off for all mail: no mail is deferred.

    The denylist still refuses. Daemons follow within about two seconds, on all hosts that share the
    store. The settings stay as they are, and hold again at the end.
    """
    _turn(run, Greylist.OFF, until)


@click.command(
    short_help="Let greylisting only observe, for a time.",
    epilog=examples("greylag observe --for 7d", "greylag on"),
)
@_for
@json_option
@click.pass_obj
def observe(run: Run, until: int) -> None:
    """Defer no mail, but decide, record and count as if greylisting were on.

    `greylag stats` then shows what would have been deferred. Recipients for whom the settings have
    greylisting off stay so. The denylist still refuses.
    """
    _turn(run, Greylist.OBSERVE, until)


@click.command(
    short_help="Use the settings again.", epilog=examples("greylag on", "greylag on --json")
)
@json_option
@click.pass_obj
def on(run: Run) -> None:
    """End `greylag off` or `greylag observe`: greylisting goes by the settings again."""
    with closing(_open(run, create=False)) as store:
        turned = turn_on(store, run.now, who=who())
    _tell(run, turned)
    if run.json:
        return
    if turned.before is None:
        say("greylisting was not switched off: it goes by the settings")
    else:
        say(f"greylisting goes by the settings again; {_SOON}")
    greylist = run.policy.greylist
    if greylist in SAID:
        say(f'the settings have policy.greylist = "{greylist.value}" ({_origin(run)})')


def _turn(run: Run, mode: Greylist, until: int) -> None:
    with closing(_open(run, create=True)) as store:
        turned = turn(store, mode, run.now, until=until, who=who())
    _tell(run, turned)
    if run.json:
        return
    if turned.after is not None:
        until_when = ends(turned.after, run.now)
        say(f"{SAID[mode]} {until_when}: {_MEANS[mode]}; the denylist still refuses")
        say(_SOON)


def _open(run: Run, *, create: bool) -> Store:
    if not run.backend.lasts:
        # To say that it is done would be wrong: no other process ever sees it.
        raise CommandError(
            ["the store is memory, which no other process sees: nothing was switched"], STORE_ERROR
        )
    return run.open_store(create=create)


def _tell(run: Run, turned: Turned) -> None:
    if turned.not_noted is not None:
        say(f"it is done, but not noted in the history: {turned.not_noted}")
    if run.json:
        after, before = (switch_json(one) for one in (turned.after, turned.before))
        write_json({"switch": after, "before": before})


def _origin(run: Run) -> str:
    return run.settings.origins["policy.greylist"]
