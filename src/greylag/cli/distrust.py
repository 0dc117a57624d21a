"""`greylag distrust`: the trust that a client, a pool or a correspondent has ends at once."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin import trust
from greylag.admin.trust import (
    ANY,
    identity_text,
    typed_correspondent,
    typed_domain,
    typed_identity,
)
from greylag.cli.common import NOTHING, OK, Run, examples, json_option, told_as_usage
from greylag.cli.deleting import confirm_deletion, yes_option
from greylag.cli.dryrun import dry_run_option, write_changes
from greylag.cli.forget import SAMPLES
from greylag.cli.noting import noted
from greylag.cli.output import progress, say
from greylag.show.texts import addresses_text
from greylag.store.rehearsal import rehearsal


@click.command(
    short_help="End the trust that a client has earned.",
    epilog=examples(
        "greylag distrust 192.0.2.1",
        "greylag distrust spf:example.org --dry-run",
        "greylag distrust spf:example.org example.org    # with this sender domain alone",
        "greylag distrust --correspondent sender@example.org user@example.net",
    ),
)
@click.argument("identity", metavar="IDENTITY|ADDRESS")
@click.argument("domain", metavar="[SENDER-DOMAIN]", required=False)
@click.option(
    "--correspondent",
    is_flag=True,
    help="Give SENDER RECIPIENT instead: this sender may no longer answer without a delay.",
)
@yes_option
@dry_run_option
@json_option
@click.pass_obj
def distrust(run: Run, identity: str, domain: str | None, *, correspondent: bool, yes: bool) -> int:
    """End the trust that a client address, or a pool of servers, has earned.

    A pool is named as `greylag search --trusted` does: spf:example.org, name:example.org.

    With SENDER-DOMAIN only the trust with that domain ends; `any` is the trust with all domains
    together. What is new of it is greylisted again, at once and in all daemons. What has a record
    of its own stays known: `greylag forget` removes that.

    With --correspondent SENDER RECIPIENT, as `greylag search --correspondents` shows them, it ends
    that SENDER is let in because RECIPIENT wrote to him.
    """
    if correspondent:
        return _end_correspondent(run, identity, domain, yes=yes)
    with told_as_usage():
        who = typed_identity(identity)
        of_domain = None if domain is None else typed_domain(domain)
    with closing(run.open_store()) as store:

        def going() -> list[str]:
            found = trust.distrust(rehearsal(store), who, of_domain, run.now)
            return [f"trust in {identity_text(who)} with {key.sender or ANY}" for key in found]

        confirm_deletion(run, "End it", going, yes=yes)
        ended = trust.distrust(store, who, of_domain, run.now, progress)
        if ended:
            noted(run, store, "distrust", f"{identity_text(who)} {domain or ''}".rstrip())
    if run.json:
        domains = [key.sender or None for key in ended]
        document = {"identity": identity_text(who), "ended": len(ended)}
        write_changes(run, {**document, "sender_domains": domains})
    if not ended:
        say(f"{identity_text(who)} has earned no trust: nothing to end")
        return NOTHING
    names = [key.sender or ANY for key in ended[:SAMPLES]]
    if len(ended) > SAMPLES:
        names.append(f"{len(ended) - SAMPLES} more")
    say(f"ended the trust in {identity_text(who)} with {', '.join(names)}")
    return OK


def _end_correspondent(run: Run, sender: str, recipient: str | None, *, yes: bool) -> int:
    if recipient is None:
        raise click.UsageError("expected --correspondent SENDER RECIPIENT")
    with told_as_usage():
        key = typed_correspondent(sender, recipient, run.policy)
    with closing(run.open_store()) as store:
        theirs, ours = addresses_text(key)

        def going() -> list[str]:
            there = trust.end(rehearsal(store), key, run.now)
            return [f"{theirs} may answer to {ours}"] if there else []

        confirm_deletion(run, "End it", going, yes=yes)
        ended = trust.end(store, key, run.now)
        if ended:
            noted(run, store, "distrust", f"{theirs} {ours}")
    if run.json:
        document = {"sender": key.sender, "recipient": key.recipient, "ended": int(ended)}
        write_changes(run, document)
    elif ended:
        say(f"{theirs} is no correspondent of {ours} any more")
    else:
        say(f"{theirs} is no correspondent of {ours}: nothing to end")
    return OK if ended else NOTHING
