"""`greylag check`: what the plugin would answer now, why, and when it will let the mail in."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

import click

from greylag.admin.lists import denying
from greylag.cli.asker import as_option, for_root_alone, refuse_unusable
from greylag.cli.common import (
    DEFER,
    OK,
    REJECT,
    Run,
    examples,
    json_option,
    report_store,
)
from greylag.cli.listput import EXPLICIT
from greylag.cli.output import moment, say, span, when, write_fields, write_json
from greylag.cli.shown import entry_json, network_text, record_json, subject_text
from greylag.cli.typed import typed_address, typed_client, typed_recipient
from greylag.core.accesslist import NEVER
from greylag.core.attempt import Attempt
from greylag.core.client import format_address
from greylag.core.connection import Connection, precheck_connection
from greylag.core.engine import Question, precheck
from greylag.core.triplet import OF_CONNECTIONS, Triplet, connection_of, kind_of, triplet_of
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.service import Service
from greylag.store.base import Store, StoreError
from greylag.wire.logline import connection_line, decision_line

_PAIR = 2  # a sender and a recipient
_EXIT = {Verdict.PASS: OK, Verdict.DEFER: DEFER, Verdict.REJECT: REJECT}


@click.command(
    epilog=examples(
        "greylag check 192.0.2.1 user@example.org info@example.net",
        "greylag check 2001:db8::25 '<>' info@example.net    # a bounce",
        "greylag check 192.0.2.1    # a connection, as jgreylist asks",
        "greylag check --as vpopmail 192.0.2.1 user@example.org info@example.net",
    )
)
@click.argument("address")
@click.argument("addresses", metavar="[SENDER RECIPIENT]", nargs=-1)
@click.option("--by-address", is_flag=True, help="As JGREYLIST_BY_IP: each IPv4 address alone.")
@click.option(
    "--client-name", metavar="NAME", default="", help="The client's name, for the log line."
)
@click.option("--helo", metavar="NAME", default="", help="Its HELO name, for the log line.")
@as_option
@json_option
@click.pass_obj
def check(
    run: Run,
    address: str,
    addresses: tuple[str, ...],
    by_address: bool,
    client_name: str,
    helo: str,
) -> int:
    """Explain what an attempt would be answered now. Nothing is written.

    ADDRESS is the client's; SENDER `<>` is the null sender. It is taken for a client that
    greylisting is turned on for, which may not relay and has not logged in. With ADDRESS alone it
    is about a connection, as jgreylist asks: with the usual delay, and no word of JGREYLIST.

    The log line is what the daemon writes for it. No rule looks at the names yet.

    Exits with 0 for a pass, 10 for a deferral, 11 for a refusal.
    """
    if len(addresses) not in (0, _PAIR):
        raise click.UsageError("expected ADDRESS SENDER RECIPIENT, or ADDRESS alone")
    if addresses and by_address:
        raise click.UsageError("--by-address is for connections: ADDRESS alone")
    if helo and not addresses:
        raise click.UsageError("--helo is for attempts: a connection is asked about before HELO")
    packed = typed_client(address)
    question, triplet = _asked(run, address, addresses, by_address=by_address)
    run.tell_configuration()
    for line in for_root_alone(run):
        say(line)
    decision, failures = _foretold(run, question)
    names = (os.fsencode(client_name), os.fsencode(helo))
    line = _log_line(address, addresses, decision, names)
    if run.json:
        names_told = {"client_name": client_name or None, "helo": helo or None}
        write_json({**_document(run, packed, triplet, decision), **names_told, "log_line": line})
    else:
        write_fields([*_fields(run, packed, triplet, decision), ("log line", line)])
    for error in failures:
        return report_store(error)
    return _EXIT[decision.verdict]


def _foretold(run: Run, question: Decision | Question) -> tuple[Decision, list[StoreError]]:
    """Return the answer, and what failed."""
    failures: list[StoreError] = []
    with ExitStack() as stack:

        def opened() -> Store:
            refuse_unusable(run.settings.store_url)
            return stack.enter_context(closing(run.open_store()))

        service = Service(
            run.policy,
            opened,
            report=failures.append,
            on_failure=run.settings.on_failure,
            clock=lambda: run.now,
        )
        return service.foretell(question), failures


def _asked(
    run: Run, address: str, addresses: tuple[str, ...], *, by_address: bool
) -> tuple[Decision | Question, Triplet]:
    """Return what is asked, and about which key."""
    packed, policy = typed_client(address), run.policy
    if not addresses:
        name = b"named"  # what becomes of nameless clients, tcprules say: not known here
        connection = Connection(os.fsencode(address), client_name=name, by_address=by_address)
        question = precheck_connection(connection, policy)
        key = connection_of(packed, policy.prefix_of(packed))
        return question, question.triplet if isinstance(question, Question) else key
    sender, recipient = typed_address(addresses[0]), typed_recipient(addresses[1])
    attempt = Attempt(os.fsencode(address), sender, recipient)
    return precheck(attempt, policy), triplet_of(packed, sender, recipient, policy)


def _log_line(
    address: str, addresses: tuple[str, ...], decision: Decision, names: tuple[bytes, bytes]
) -> str:
    """Return what the daemon writes; names are told of deferrals and refusals alone."""
    client_name, helo = (b"", b"") if decision.verdict is Verdict.PASS else names
    client = os.fsencode(address)
    if not addresses:
        return connection_line(client, decision, client_name)
    attempt = Attempt(client, typed_address(addresses[0]), typed_recipient(addresses[1]))
    return decision_line(attempt, decision, client_name, helo)


def _may_pass_at(decision: Decision, now: int) -> int | None:
    """Return the first moment at which the same attempt would be let in; None for never."""
    if decision.verdict is Verdict.PASS:
        return now
    if decision.verdict is Verdict.DEFER:
        return now + decision.retry_after
    ends = decision.entry.denied_until if decision.entry else NEVER
    return None if ends >= NEVER else ends


def _document(run: Run, packed: bytes, triplet: Triplet, decision: Decision) -> dict[str, object]:
    record, entry = decision.record, decision.entry
    return {
        "verdict": decision.verdict.value,
        "reason": decision.reason.value,
        "meaning": _meaning(triplet, decision),
        "kind": kind_of(triplet),
        "client_address": format_address(packed),
        "client_network": network_text(triplet.network, run.policy),
        "sender": triplet.sender,
        "recipient": triplet.recipient,
        "record": record_json(triplet, record, run.policy, run.now) if record else None,
        "entry": entry_json(entry, run.now) if entry else None,
        "retry_after": decision.retry_after,
        "may_pass_at": _may_pass_at(decision, run.now),
        "at_data": decision.at_data,
        "explicit": run.policy.explicit,
    }


def _fields(run: Run, packed: bytes, triplet: Triplet, decision: Decision) -> list[tuple[str, str]]:
    asked_about = [("about", "a connection, as jgreylist asks")]
    if not _of_connection(triplet):
        asked_about = [
            ("sender", triplet.sender or "<> (the null sender)"),
            ("recipient", triplet.recipient),
        ]
    fields = [
        ("verdict", decision.verdict.value + (" (at DATA)" if decision.at_data else "")),
        ("reason", f"{decision.reason.value}: {_meaning(triplet, decision)}"),
        ("may pass", _may_pass(triplet, decision, run.now)),
        ("client", format_address(packed)),
        ("client network", network_text(triplet.network, run.policy)),
        *asked_about,
    ]
    if run.policy.explicit:
        fields.append(("mode", EXPLICIT))
    return fields + _record_fields(decision, run.now) + _entry_fields(decision, run.now)


def _of_connection(triplet: Triplet) -> bool:
    return kind_of(triplet) == OF_CONNECTIONS


def _meaning(triplet: Triplet, decision: Decision) -> str:
    reason = decision.reason
    return reason.meaning_of_connection if _of_connection(triplet) else reason.meaning


def _may_pass(triplet: Triplet, decision: Decision, now: int) -> str:
    if decision.verdict is Verdict.PASS:
        return "now"
    if decision.reason is Reason.NEW:
        first = "connection" if _of_connection(triplet) else "attempt"
        return f"{span(decision.retry_after)} after its first {first}"
    at = _may_pass_at(decision, now)
    return "never, as the lists are" if at is None else f"from {when(at, now)} on"


def _record_fields(decision: Decision, now: int) -> list[tuple[str, str]]:
    record = decision.record
    if record is None:
        return [("record", "none" if decision.reason is Reason.NEW else "not looked at")]
    return [
        ("record", "there" if record.live(now) else "no longer counts: it starts anew"),
        ("  first seen", when(record.first_seen, now)),
        ("  may pass at", when(record.defer_until, now)),
        ("  forgotten at", when(record.expires, now)),
        ("  deferred", str(record.blocked)),
        ("  let in", str(record.passed)),
    ]


def _entry_fields(decision: Decision, now: int) -> list[tuple[str, str]]:
    entry = decision.entry
    if entry is None:
        return []
    name = "denylist" if denying(entry, now) else "allowlist"
    return [
        ("list entry", f"{subject_text(entry.subject)} on the {name}"),
        ("  expires", when(entry.expires, now)),
        ("  created", moment(entry.created)),
        ("  comment", entry.comment or "none"),
    ]
