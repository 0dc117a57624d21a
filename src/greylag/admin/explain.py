"""What would be answered now, why, and when the mail is let in; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, closing

from greylag.admin.switch import holding
from greylag.admin.trust import Standing, standing
from greylag.admin.typed import typed_address, typed_client, typed_recipient, typed_several
from greylag.core.accesslist import NEVER, Entry, Purpose, rank_of, speaks_for
from greylag.core.attempt import Attempt, Stage
from greylag.core.connection import Connection, precheck_connection
from greylag.core.engine import precheck
from greylag.core.evidence import NO_EVIDENCE, Evidence, Kind
from greylag.core.identity import Pool, pool_of
from greylag.core.policy import Greylist, Policy
from greylag.core.question import Question
from greylag.core.recipients import NO_TABLES, Recipients, Table
from greylag.core.signs import Found, signs_of
from greylag.core.subject import of_sender
from greylag.core.triplet import Triplet, connection_of, triplet_of
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.service import Service
from greylag.service.policies import Policies
from greylag.store.base import Store, StoreError
from greylag.wire.logline import connection_line, decision_line
from greylag.wire.policy import POSTFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.switch import Switch
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


@value
class Explained:
    """What would be answered, and what it rests on."""

    decision: Decision
    failure: StoreError | None = None
    evidence: Evidence = NO_EVIDENCE  # what was asked for, and found: None is not known
    signs: tuple[Found, ...] | None = None  # None: they were not looked for
    standing: Standing | None = None  # of the client; None: it makes no difference, or is not known
    silent: Entry | None = None  # would let the sender in if SPF passed
    switch: Switch | None = None  # that lies over the settings now

    @property
    def identity(self) -> Pool | None:
        """Return the pool of servers whose record decided."""
        return None if self.decision.pool is None else pool_of(self.decision.pool)


@value
class Names:
    """What a client is called: its confirmed name, and what it says in HELO."""

    client: str = ""
    helo: str = ""

    @property
    def told(self) -> dict[bytes, bytes]:
        """Return them as a mail server tells them."""
        told = {b"client_name": os.fsencode(self.client), b"helo_name": os.fsencode(self.helo)}
        return {word: name for word, name in told.items() if name}


_NO_NAMES = Names()


def attempt(
    address: str,
    sender: str,
    recipient: str,
    policy: Policy,
    recipients: Recipients = NO_TABLES,
    called: Names = _NO_NAMES,
) -> Asked:
    """Return the question of an attempt. Raises WrongValue."""
    packed, client = typed_client(address), os.fsencode(address)
    names = typed_address(sender), typed_recipient(recipient)
    asked = Attempt(client, *names, told=called.told, words=POSTFIX)
    question = precheck(asked, Policies(policy, recipients=recipients).of(asked))
    key, number = triplet_of(packed, *names, policy), recipients.find(names[1])
    table = None if number is None else recipients.tables[number]
    return Asked(client, packed, asked, question, key, policy, table)


def attempt_at_data(address: str, sender: str, policy: Policy, called: Names = _NO_NAMES) -> Asked:
    """Return the question at DATA about mail for several recipients. Raises WrongValue."""
    packed, client = typed_client(address), os.fsencode(address)
    told, words = called.told, POSTFIX
    asked = Attempt(client, typed_address(sender), None, stage=Stage.DATA, told=told, words=words)
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
) -> Explained:
    """Return the answer, what it rests on, and what failed. A store is opened if it is needed."""
    failures: list[StoreError] = []
    found: dict[Kind, object] = {}
    opened: list[Store] = []
    stands = silent = switch = None

    def open_and_keep() -> Store:
        opened.append(stack.enter_context(closing(open_store())))
        return opened[0]

    def noted(question: Question, kinds: frozenset[Kind], seconds: float) -> Evidence:
        new = {} if gather is None else gather(question, kinds, seconds)
        found.update({kind: new.get(kind) for kind in kinds})
        return new

    with ExitStack() as stack:
        service = Service(
            open_and_keep,
            report=failures.append,
            on_failure=on_failure,
            clock=lambda: now,
            gather=noted,
        )
        decision, question = service.foretell(asked.question), service.question
        if opened and not failures:
            try:
                switch = holding(opened[0], now)
                stands = _standing(opened[0], question, now)
                silent = _silent(opened[0], asked.question, decision, found, now)
            except StoreError as error:
                failures.append(error)
    signs = _signs(asked.question, decision, found)
    return Explained(decision, next(iter(failures), None), found, signs, stands, silent, switch)


def _standing(store: Store, question: Question | None, now: int) -> Standing | None:
    """Return what is known of the client, where that can let it in."""
    if question is None or not question.policy.spares:
        return None
    return standing(store, question, now)


def _silent(
    store: Store, about: Decision | Question, decision: Decision, evidence: Evidence, now: int
) -> Entry | None:
    """Return the entry that would let the sender in, and that SPF keeps from it."""
    if isinstance(about, Decision):
        return None
    question = replace(about, evidence=evidence)
    word = decision.entry if decision.entry and decision.entry.purpose is Purpose.ACCESS else None
    asked = not question.policy.dns or Kind.SPF in question.evidence
    if question.connection or question.spf_passed or not asked:
        return None
    entries = [
        entry
        for entry in store.matching(question)
        if entry.purpose is Purpose.ACCESS and of_sender(entry.subject)
        if entry.live(now) and not (entry.denies(now) or entry.spoofable)
        if speaks_for(entry.subject, question)
        if word is None or rank_of(entry) > rank_of(word)
    ]
    return max(entries, key=rank_of, default=None)


def _signs(
    question: Decision | Question, decision: Decision, evidence: Evidence
) -> tuple[Found, ...] | None:
    """Return the signs of spam, where they decide: a first contact is let in with too few."""
    decides = decision.reason in (Reason.NEW, Reason.UNSUSPICIOUS)
    if isinstance(question, Decision) or not decides:
        return None
    if question.policy.greylist is not Greylist.SUSPICIOUS:
        return None
    return tuple(signs_of(replace(question, evidence=evidence)))


def policy_of(asked: Asked) -> Policy:
    """Return the policy that holds for what is asked about."""
    question = asked.question
    return question.policy if isinstance(question, Question) else asked.policy


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
    if decision.reason is Reason.TRAPPED:  # by this mail, or lately by another
        lately = decision.record if decision.entry is None else None
        return None if lately is None else lately.expires
    ends = decision.entry.denied_until if decision.entry else NEVER
    return None if ends >= NEVER else ends


def log_line(asked: Asked, decision: Decision, called: Names = _NO_NAMES) -> str:
    """Return what the daemon writes; names are told of deferrals and refusals alone."""
    about = asked.about
    if isinstance(about, Connection):
        name = os.fsencode(called.client)
        return connection_line(replace(about, client_name=name), decision)
    return decision_line(about, decision)
