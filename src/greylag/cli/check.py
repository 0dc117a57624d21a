"""`greylag check`: what the plugin would answer now, why, and when it will let the mail in."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin import explain
from greylag.admin.explain import Asked, Explained, Names, may_pass_at, meaning_of, policy_of
from greylag.admin.lists import denying
from greylag.admin.moments import moment, span, when
from greylag.admin.providers import behind
from greylag.admin.records import id_of
from greylag.admin.typed import typed_client
from greylag.app.dns import gather_of
from greylag.cli.asker import as_option, for_root_alone, refuse_unusable
from greylag.cli.common import (
    DEFER,
    OK,
    REJECT,
    Run,
    examples,
    json_option,
    opened,
    report_store,
    told_as_usage,
)
from greylag.cli.evidence import evidence_fields, evidence_json, silence
from greylag.cli.kinds import described
from greylag.cli.listput import EXPLICIT
from greylag.cli.output import say, write_fields, write_json
from greylag.cli.search import SEVERAL_USAGE, several_option
from greylag.cli.shown import entry_json, provider_json, provider_text, record_json
from greylag.cli.standing import standing_fields, standing_json
from greylag.cli.switched import switch_fields, switch_json
from greylag.core.accesslist import Purpose
from greylag.core.attempt import Attempt
from greylag.core.client import format_address
from greylag.core.triplet import kind_of
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.service.providers import Provider
from greylag.show.texts import addresses_text, network_text
from greylag.store.base import Store

_PAIR = 2  # a sender and a recipient
_EXIT = {Verdict.PASS: OK, Verdict.DEFER: DEFER, Verdict.REJECT: REJECT}


@click.command(
    epilog=examples(
        "greylag check 192.0.2.1 user@example.org info@example.net",
        "greylag check 2001:db8::25 '<>' info@example.net    # a bounce",
        "greylag check --several 192.0.2.1 '<>'    # a bounce for several recipients",
        "greylag check 192.0.2.1    # a connection, as jgreylist asks",
        "greylag check --as vpopmail 192.0.2.1 user@example.org info@example.net",
    )
)
@click.argument("address")
@click.argument("addresses", metavar="[SENDER RECIPIENT]", nargs=-1)
@several_option
@click.option("--by-address", is_flag=True, help="As JGREYLIST_BY_IP: each IPv4 address alone.")
@click.option("--client-name", metavar="NAME", default="", help="The client's confirmed name.")
@click.option("--helo", metavar="NAME", default="", help="Its HELO name.")
@as_option
@json_option
@click.pass_obj
def check(  # noqa: PLR0913 - one for each option
    run: Run,
    address: str,
    addresses: tuple[str, ...],
    *,
    several: bool,
    by_address: bool,
    client_name: str,
    helo: str,
) -> int:
    """Explain what an attempt would be answered now. Nothing is written.

    ADDRESS is the client's; SENDER `<>` is the null sender. It is taken for a client that
    greylisting is turned on for, which may not relay and has not logged in. With ADDRESS alone it
    is about a connection, as jgreylist asks: with the usual delay, and no word of JGREYLIST.

    With --several it is about ADDRESS SENDER: what Postfix asks at DATA where a bounce has several
    recipients.

    The log line is what the daemon writes for it. The names are those that Postfix would tell.
    Where evidence from DNS decides, it is asked for now.

    Exits with 0 for a pass, 10 for a deferral, 11 for a refusal.
    """
    if helo and not addresses:
        raise click.UsageError("--helo is for attempts: a connection is asked about before HELO")
    called = Names(client_name, helo)
    asked = _asked(run, address, addresses, called, several=several, by_address=by_address)
    run.tell_configuration()
    for line in for_root_alone(run):
        say(line)
    found = _explained(run, asked)
    _write(run, asked, found, called)
    code = _EXIT[found.decision.verdict]
    return code if found.failure is None else report_store(found.failure)


def _write(run: Run, asked: Asked, found: Explained, called: Names) -> None:
    line = explain.log_line(asked, found.decision, called)
    senders = _providers(run, found.decision)
    if run.json:
        names_told = {"client_name": called.client or None, "helo": called.helo or None}
        told = {**names_told, "providers": [provider_json(one) for one in senders]}
        write_json({**_document(run, asked, found), **told, "log_line": line})
    else:
        about = [("provider", provider_text(one, run.now)) for one in senders]
        write_fields([*_fields(run, asked, found), *about, ("log line", line)])


def _explained(run: Run, asked: Asked) -> Explained:
    settings = run.settings
    opened, gather = lambda: _opened(run), gather_of(settings.dns)
    return explain.explain(asked, opened, settings.on_failure, run.now, gather)


def _asked(
    run: Run,
    address: str,
    addresses: tuple[str, ...],
    called: Names,
    *,
    several: bool,
    by_address: bool,
) -> Asked:
    if several and len(addresses) != 1:
        raise click.UsageError(SEVERAL_USAGE)
    if not several and len(addresses) not in (0, _PAIR):
        raise click.UsageError("expected ADDRESS SENDER RECIPIENT, or ADDRESS alone")
    if addresses and by_address:
        raise click.UsageError("--by-address is for connections: ADDRESS alone")
    with told_as_usage():
        typed_client(address)  # a wrong one is told before wrong settings
        if not addresses:
            return explain.connection(address, run.policy, by_address=by_address)
        if several:
            return explain.attempt_at_data(address, addresses[0], run.policy, called)
        tables = run.settings.recipients
        sender, recipient = addresses
        return explain.attempt(address, sender, recipient, run.policy, tables, called)


def _opened(run: Run) -> Store:
    refuse_unusable(run.backend)
    return run.open_store()


def _providers(run: Run, decision: Decision) -> list[Provider]:
    """Return whose published address the client has, where that let it in."""
    if decision.entry is None or decision.entry.purpose is not Purpose.PROVIDER:
        return []
    with closing(opened(run.backend, run.settings.store_timeout, create=False)) as store:
        return behind(store, decision.entry)


def _document(run: Run, asked: Asked, found: Explained) -> dict[str, object]:
    decision = found.decision
    triplet, record, entry = asked.triplet, decision.record, decision.entry
    return {
        "verdict": decision.verdict.value,
        "reason": decision.reason.value,
        "meaning": meaning_of(asked, decision),
        "id": id_of(triplet, run.policy),
        "instead": decision.instead and decision.instead.value,
        "kind": kind_of(triplet),
        "client_address": format_address(asked.packed),
        "client_network": network_text(triplet.network, run.policy),
        "sender": triplet.sender,
        "recipient": triplet.recipient,
        "record": record_json(triplet, record, run.policy, run.now) if record else None,
        "entry": entry_json(entry, run.now) if entry else None,
        "silent_entry": entry_json(found.silent, run.now) if found.silent else None,
        "retry_after": decision.retry_after,
        "may_pass_at": may_pass_at(decision, run.now),
        "at_data": decision.at_data,
        "explicit": run.policy.explicit,
        "recipient_table": asked.table and asked.table.origin,
        "switch": switch_json(found.switch),
        **evidence_json(found, policy_of(asked)),
        **standing_json(found.standing, run.now),
    }


def _fields(run: Run, asked: Asked, found: Explained) -> list[tuple[str, str]]:
    decision = found.decision
    asked_about = [("about", "a connection, as jgreylist asks")]
    if isinstance(asked.about, Attempt):
        asked_about = [
            ("sender", asked.triplet.sender or "<> (the null sender)"),
            ("recipient", addresses_text(asked.triplet)[1]),
        ]
    fields = [
        ("verdict", decision.verdict.value + (" (at DATA)" if decision.at_data else "")),
        ("reason", f"{decision.reason.value}: {meaning_of(asked, decision)}"),
        *_instead_fields(decision),
        *([] if (shown := id_of(asked.triplet, run.policy)) is None else [("id", shown)]),
        ("may pass", _may_pass(asked, decision, run.now)),
        ("client", format_address(asked.packed)),
        ("client network", network_text(asked.triplet.network, run.policy)),
        *asked_about,
    ]
    fields += switch_fields(found.switch, run.now)
    if asked.table is not None:
        fields.append(("settings", f"[[recipient]] of {asked.table.origin}"))
    if run.policy.explicit:
        fields.append(("mode", EXPLICIT))
    fields += _record_fields(decision, run.now) + _entry_fields(decision, run.now)
    if found.silent is not None:
        fields.append(("silent entry", f"{described(found.silent.subject)} on the allowlist"))
        fields.append(("  why", silence(found, policy_of(asked))))
    fields += evidence_fields(found, policy_of(asked))
    return fields + standing_fields(found.standing, run.now)


def _instead_fields(decision: Decision) -> list[tuple[str, str]]:
    instead = decision.instead
    return [] if instead is None else [("  instead of", f"{instead.value}: {instead.meaning}")]


def _may_pass(asked: Asked, decision: Decision, now: int) -> str:
    if decision.verdict is Verdict.PASS:
        return "now"
    if decision.reason is Reason.NEW:
        first = "attempt" if isinstance(asked.about, Attempt) else "connection"
        return f"{span(decision.retry_after)} after its first {first}"
    at = may_pass_at(decision, now)
    return "never, as the lists are" if at is None else f"from {when(at, now)} on"


def _record_fields(decision: Decision, now: int) -> list[tuple[str, str]]:
    record = decision.record
    if record is None:
        return [("record", "none" if decision.reason is Reason.NEW else "not looked at")]
    return [
        ("record", "there" if record.live(now) else "no longer counts: this is a first contact"),
        ("  first seen", when(record.first_seen, now)),
        ("  may pass at", when(record.defer_until, now)),
        ("  expires at", when(record.expires, now)),
        ("  deferred", str(record.blocked)),
        ("  let in", str(record.passed)),
    ]


def _entry_fields(decision: Decision, now: int) -> list[tuple[str, str]]:
    entry = decision.entry
    if entry is None:
        return []
    name = "denylist" if denying(entry, now) else "allowlist"
    place = f" on the {name}" if entry.purpose is Purpose.ACCESS else f", {entry.purpose.value}"
    return [
        ("list entry", f"{described(entry.subject)}{place}"),
        ("  expires", when(entry.expires, now)),
        ("  created", moment(entry.created)),
        ("  origin", entry.origin or "an admin"),
        ("  comment", entry.comment or "none"),
    ]
