"""`greylag providers`: big senders whose published addresses are let in."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin import providers
from greylag.admin.providers import Refreshed, Shown
from greylag.app.dns import servers_of
from greylag.cli.common import NOTHING, OK, Group, Run, examples, json_option, told_as_usage
from greylag.cli.deleting import confirm_deletion, yes_option
from greylag.cli.dryrun import dry_run_option, write_changes
from greylag.cli.output import progress, say, write, write_json, write_table
from greylag.cli.plain import plain_option
from greylag.cli.shown import age_text, outcome_text, provider_json
from greylag.service.providers import OWN, REFRESHED
from greylag.store.base import LISTS
from greylag.store.rehearsal import rehearsal

_MOST_SHOWN = 10  # ranges that would come or go


@click.group(
    "providers",
    cls=Group,
    short_help="Let in the published addresses of big senders.",
    epilog=examples("greylag providers refresh", "greylag providers list"),
)
def group() -> None:
    """Let in the addresses that big senders publish as their own, in SPF records.

    Nothing of this is used before `refresh` worked once. From then on the daemon resolves the
    records once a day.
    """


@group.command("list", epilog=examples("greylag providers list", "greylag providers list --json"))
@plain_option
@json_option
@click.pass_obj
def list_(run: Run) -> None:
    """Show all providers: their domain, how many ranges are let in, and how old these are."""
    with closing(run.open_store()) as store:
        shown = providers.listing(store)
        nothing = store.lacks(LISTS)
    if run.json:
        write_json({"providers": [_document(one) for one in shown]})
        return
    if nothing:
        say(nothing)
    header = ("name", "domain", "ranges", "age", "last outcome", "what it is")
    write_table(header, [_row(one, run.now) for one in shown])


def _document(shown: Shown) -> dict[str, object]:
    return {**provider_json(shown.provider), "ranges": shown.ranges}


def _row(shown: Shown, now: int) -> tuple[str, ...]:
    provider = shown.provider
    age = age_text(provider.refreshed, now) if provider.refreshed else "-"
    why = "your own" if provider.status == OWN else provider.why
    return provider.name, provider.domain, str(shown.ranges), age, outcome_text(provider, now), why


@group.command(
    epilog=examples("greylag providers refresh", "greylag providers refresh google --force")
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--force", is_flag=True, help="Take over also what changes much.")
@dry_run_option
@json_option
@click.pass_obj
def refresh(run: Run, names: tuple[str, ...], force: bool) -> int:
    """Resolve the records of these providers, or of all, and let their addresses in.

    An empty answer is refused, and also one that changes more than 20 % of a provider's addresses
    (those that come and those that go, together; IPv4 and IPv6 each): then the old ranges stay.
    """
    with closing(run.open_store(create=True)) as store, told_as_usage():
        servers = _servers(run)
        done = providers.refresh(store, servers, names, run.now, force=force, progress=progress)
    if run.json:
        write_changes(run, {"providers": [_outcome(one) for one in done]})
    else:
        for one in done:
            _tell(one, changes=run.dry_run)
    return NOTHING if any(one.why for one in done) else OK


def _servers(run: Run) -> tuple[tuple[str, int], ...]:
    servers = servers_of(run.settings.dns)
    if servers:
        return servers
    from greylag.service.dns.resolver import system_servers  # see `admin.providers`

    say('dns.servers is "off": this command asks those of the system, the daemon asks nobody')
    return system_servers()


def _outcome(one: Refreshed) -> dict[str, object]:
    return {
        "name": one.name,
        "outcome": one.why or REFRESHED,
        "ranges": one.ranges,
        "come": one.come,
        "go": one.go,
        "left_out": list(one.left_out),
    }


def _tell(one: Refreshed, *, changes: bool) -> None:
    for term in one.left_out:
        say(f"{one.name}: left out: {term}")
    if not one.why:
        write(f"{one.name}: {one.ranges} ranges")
        if changes:
            _tell_changes(one)
        return
    stays = f"; the {one.ranges} old ranges stay" if one.ranges else ""
    say(f"{one.name}: {one.why}{stays}")
    if one.is_refused:
        _tell_changes(one)
        say(f"{one.name}: greylag providers refresh {one.name} --force takes the new ones")


def _tell_changes(one: Refreshed) -> None:
    for sign, ranges in (("+", one.come), ("-", one.go)):
        for text in ranges[:_MOST_SHOWN]:
            say(f"{one.name}: {sign} {text}")
        if len(ranges) > _MOST_SHOWN:
            say(f"{one.name}: {sign} {len(ranges) - _MOST_SHOWN} more")


@group.command(
    epilog=examples(
        "greylag providers add partner _spf.example.org", "greylag providers add google"
    )
)
@click.argument("name")
@click.argument("domain", required=False)
@dry_run_option
@json_option
@click.pass_obj
def add(run: Run, name: str, domain: str | None) -> None:
    """Add a provider of your own: a NAME, and the DOMAIN whose SPF record lists its servers.

    Without DOMAIN, a provider of the package's list that was removed is added again.
    """
    with closing(run.open_store(create=True)) as store, told_as_usage():
        provider = providers.add(store, name, domain, run.now)
    if run.json:
        document = {"name": provider.name, "domain": provider.domain, "status": provider.status}
        write_changes(run, document)
    else:
        say(f"{name}: added; greylag providers refresh {name} lets its addresses in")


@group.command(epilog=examples("greylag providers remove partner"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@yes_option
@dry_run_option
@json_option
@click.pass_obj
def remove(run: Run, names: tuple[str, ...], *, yes: bool) -> int:
    """Remove providers and their ranges. One of the package's list is refreshed no more."""
    with closing(run.open_store(create=True)) as store:

        def going() -> list[str]:
            missing = providers.remove(rehearsal(store), names, run.now)
            return [name for name in dict.fromkeys(names) if name not in missing]

        confirm_deletion(run, "Remove providers with their ranges", going, yes=yes)
        missing = providers.remove(store, names, run.now)
    gone = [name for name in dict.fromkeys(names) if name not in missing]
    if run.json:
        write_changes(run, {"removed": gone, "missing": missing})
    for name in gone:
        say(f"{name}: removed, with its ranges")
    for name in missing:
        say(f"{name}: not there (greylag providers list shows what is)")
    return NOTHING if missing else OK
