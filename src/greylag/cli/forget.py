"""`greylag forget`: records that were there are as if they had never been; nothing is counted."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.records import fitting
from greylag.admin.records import forget as forget_all
from greylag.admin.typed import typed_several, typed_triplet
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
from greylag.cli.noting import noted
from greylag.cli.output import progress, say, write_json
from greylag.cli.search import SEVERAL_USAGE, Chosen, filter_options, several_option
from greylag.core.policy import Policy
from greylag.core.triplet import Triplet
from greylag.show.texts import addresses_text, clean, network_text
from greylag.store.base import Store

SAMPLES = 5
_PARTS = 3  # of a triplet
_PAIR = 2  # a client and a sender, of mail for several recipients


@click.command(
    short_help="Forget a triplet, or all records that options choose.",
    epilog=examples(
        "greylag forget 192.0.2.1 user@example.org info@example.net",
        "greylag forget --several 192.0.2.1 '<>'    # of a bounce for several recipients",
        "greylag forget --client 192.0.2.0/24 --dry-run",
        "greylag forget --sender @example.org --waiting --yes",
    ),
)
@click.argument("triplet", metavar="[ADDRESS SENDER RECIPIENT]", nargs=-1)
@several_option
@filter_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@json_option
@click.pass_obj
def forget(
    run: Run, triplet: tuple[str, ...], *, several: bool, chosen: Chosen, yes: bool, dry_run: bool
) -> int:
    """Delete one triplet, or all records that the options choose.

    Its next mail counts as a first contact.

    With --several it is the one record of ADDRESS SENDER for mail that has several recipients.

    Without a terminal to ask on, the options need --yes.
    """
    _check_usage(triplet, chosen, several=several)
    with closing(run.open_store()) as store:
        found = (
            _exact(run, triplet, store, several=several) if triplet else _chosen(run, chosen, store)
        )
        forgotten = 0
        if found and not dry_run:
            if not triplet and not yes:
                _ask(found, run.policy)
            forgotten = forget_all(store, found, run.now, progress)
            noted(run, store, "forget", _told(found))
    if run.json:
        write_json({"found": len(found), "forgotten": forgotten, "dry_run": dry_run})
    if not found:
        say("no record fits: nothing to forget")
    elif dry_run:
        _show(found, run.policy)
        say(f"would forget {_records(len(found))}")
    else:
        say(f"forgot {_records(forgotten)}")
    return OK if found else NOTHING


def _check_usage(triplet: tuple[str, ...], chosen: Chosen, *, several: bool) -> None:
    if triplet and chosen.anything():
        raise click.UsageError("give a triplet or options that choose records, not both")
    if several:
        if len(triplet) != _PAIR:
            raise click.UsageError(SEVERAL_USAGE)
        return
    if triplet and len(triplet) != _PARTS:
        raise click.UsageError("expected ADDRESS SENDER RECIPIENT, or none of them and options")
    if not triplet and not chosen.anything():
        raise click.UsageError("expected ADDRESS SENDER RECIPIENT, or options that choose records")


def _exact(run: Run, triplet: tuple[str, ...], store: Store, *, several: bool) -> list[Triplet]:
    with told_as_usage():
        key = (typed_several if several else typed_triplet)(triplet, run.policy)
    return list(store.load([key]))


def _chosen(run: Run, chosen: Chosen, store: Store) -> list[Triplet]:
    return [key for key, _record in fitting(store, chosen.wanted(run.policy), progress)]


def _ask(found: list[Triplet], policy: Policy) -> None:
    _show(found, policy)
    if not interactive():
        raise CommandError([NO_TERMINAL, "nothing was deleted"], NOTHING)
    if not ask(f"Forget {_records(len(found))}?"):
        raise CommandError(["nothing was deleted"], NOTHING)


def _show(found: list[Triplet], policy: Policy) -> None:
    for key in found[:SAMPLES]:
        network = network_text(key.network, policy)
        addresses = " ".join(addresses_text(key)).rstrip()
        click.echo(clean(f"  {network} {addresses}"), err=True)
    if len(found) > SAMPLES:
        click.echo(f"  ... and {len(found) - SAMPLES} more", err=True)


def _told(found: list[Triplet]) -> str:
    return " ".join(addresses_text(found[0])) if len(found) == 1 else _records(len(found))


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"
