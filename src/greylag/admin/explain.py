"""What would be answered now, why, and when the mail is let in; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, closing

from greylag.admin.typed import typed_address, typed_client, typed_recipient, typed_several
from greylag.core.accesslist import NEVER
from greylag.core.attempt import Attempt, Stage
from greylag.core.connection import Connection, precheck_connection
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.recipients import NO_TABLES, Recipients, Table
from greylag.core.triplet import Triplet, connection_of, triplet_of
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Verdict
from greylag.service import Service
from greylag.service.policies import Policies
from greylag.store.base import Store, StoreError
from greylag.wire.logline import connection_line, decision_line
from greylag.wire.policy import POSTFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.service.evidence import Gather


@value
class Asked:
    """An attempt, or a connection, as an admin asks about it."""

    client: bytes  # its address as it was typed
    packed: bytes
    about: Attempt | Connection
    question: Decision | Question
    triplet: Triplet
    policy: Policy  # of attempts
    table: Table | None = None  # what is set for this recipient


def attempt(
    address: str,
    sender: str,
    recipient: str,
    policy: Policy,
    recipients: Recipients = NO_TABLES,
) -> Asked:
    """Return the question of an attempt. Raises WrongValue."""
    packed, client = typed_client(address), os.fsencode(address)
    names = typed_address(sender), typed_recipient(recipient)
    asked = Attempt(client, *names)
    question = precheck(asked, Policies(policy, recipients=recipients).of(asked))
    key, number = triplet_of(packed, *names, policy), recipients.find(names[1])
    table = None if number is None else recipients.tables[number]
    return Asked(client, packed, asked, question, key, policy, table)


def attempt_at_data(address: str, sender: str, policy: Policy) -> Asked:
    """Return the question at DATA about mail for several recipients. Raises WrongValue."""
    packed, client = typed_client(address), os.fsencode(address)
    asked = Attempt(client, typed_address(sender), None, stage=Stage.DATA)
    question = precheck(asked, Policies(policy).of(asked))
    key = typed_several((address, sender), policy)
    return Asked(client, packed, asked, question, key, policy)


def connection(address: str, policy: Policy, *, by_address: bool = False) -> Asked:
    """Return the question of a connection, as jgreylist asks it. Raises WrongValue."""
    packed, client = typed_client(address), os.fsencode(address)
    name = b"named"  # what becomes of nameless clients, tcprules say: not known here
    asked = Connection(client, client_name=name, by_address=by_address)
    question = precheck_connection(asked, Policies(policy).of_connection(asked))
    key = connection_of(packed, policy.prefix_of(packed))
    key = question.triplet if isinstance(question, Question) else key
    return Asked(client, packed, asked, question, key, policy)


def explain(
    asked: Asked,
    open_store: Callable[[], Store],
    on_failure: Verdict,
    now: int,
    gather: Gather | None = None,
) -> tuple[Decision, StoreError | None]:
    """Return the answer, and what failed. The store is opened where one is needed."""
    failures: list[StoreError] = []
    with ExitStack() as stack:
        service = Service(
            lambda: stack.enter_context(closing(open_store())),
            report=failures.append,
            on_failure=on_failure,
            clock=lambda: now,
            gather=gather,
        )
        return service.foretell(asked.question), failures[0] if failures else None


def meaning_of(asked: Asked, decision: Decision) -> str:
    """Return what the reason says, in words."""
    reason = decision.reason
    return reason.meaning_of_connection if isinstance(asked.about, Connection) else reason.meaning


def may_pass_at(decision: Decision, now: int) -> int | None:
    """Return the first moment at which the same attempt would be let in; None for never."""
    if decision.verdict is Verdict.PASS:
        return now
    if decision.verdict is Verdict.DEFER:
        return now + decision.retry_after
    ends = decision.entry.denied_until if decision.entry else NEVER
    return None if ends >= NEVER else ends


def log_line(asked: Asked, decision: Decision, client_name: str, helo: str) -> str:
    """Return what the daemon writes; names are told of deferrals and refusals alone."""
    name, about = os.fsencode(client_name), asked.about
    if isinstance(about, Connection):
        return connection_line(replace(about, client_name=name), decision)
    told = {b"client_name": name, b"helo_name": os.fsencode(helo)}
    return decision_line(replace(about, told=told, words=POSTFIX), decision)
