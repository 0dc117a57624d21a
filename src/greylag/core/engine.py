"""All rules of the decision, in their order.

    1  precheck   is the question ours at all?      disabled, other-stage, relay, authenticated,
                                                    incomplete, recipient-refused, invalid-client
    2  listed     do the lists decide?              denylisted, allowlisted, not-listed
                  is DATA the stage for it?         other-stage
                  does policy spare it?             off, null-sender
    3  needs      is evidence to be had first?      Needs: `service.evidence` gathers it, and asks
                                                    again
    4  decide     what does the record say?         early, retried, known
                  is a first contact spared?        expected, correspondent, provider,
                                                    trusted, dnswl
                  has its pool a record?            early, retried, known
                  has it mailed a trap?             trapped
                  does it show no signs?            unsuspicious
                  else it is a first contact        new
                  is nothing to be deferred?        observed

Who has a record that decides, or is spared without evidence, needs none. What is not known spares
nobody. Steps are pure: `now` is an argument (whole Unix seconds), and the changes that they ask for
are part of the Decision. The rules are those of the old plugin and of RFC 6647 section 5. Where
greylag differs, docs/start/moving.md and docs/inside/rfc6647.md say why.
"""

from __future__ import annotations

from greylag.core.accesslist import Entry, last_word
from greylag.core.address import Spelling, recipient_of, sender_of
from greylag.core.attempt import Attempt, Stage
from greylag.core.client import IPV4_BYTES, host_of, network, parse_address
from greylag.core.evidence import Kind, Needs
from greylag.core.policy import Greylist, NullSender, Policy
from greylag.core.question import Question
from greylag.core.record import CLOCK_TOLERANCE, Blocked, Change, Created, Noted, Passed, Record
from greylag.core.sparing import (
    earned,
    observed,
    spared,
    spared_at_once,
    trapped,
    unsuspicious,
)
from greylag.core.subject import of_recipient
from greylag.core.triplet import SEVERAL, Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.sparing import Records

NO_RECORDS: Records = {}
_OF_IDENTITY = frozenset((Kind.SPF, Kind.NAMES))

# Looking a member up in its class costs several times as much.
_RCPT, _RCPT_FIRST, _DATA, _OTHER = Stage.RCPT, Stage.RCPT_FIRST, Stage.DATA, Stage.OTHER
_CLEAR, _AMBIGUOUS = Spelling.CLEAR, Spelling.AMBIGUOUS
_PASS, _OBSERVE, _OFF = Verdict.PASS, Greylist.OBSERVE, Greylist.OFF


def precheck(attempt: Attempt, policy: Policy) -> Decision | Question:
    """Answer what needs no store, or return the question for the store."""
    if not attempt.enabled:
        return _let_in(Reason.DISABLED)
    sender = None if attempt.sender is None else _sender(attempt, policy)
    waits = sender is not None and policy.waits_for_data(sender)
    stage = attempt.stage
    if stage is _OTHER or (stage is _DATA and not waits):
        return _let_in(Reason.OTHER_STAGE)
    # RFC 6647 5: "should not greylist authenticated sessions".
    if attempt.relay or attempt.authenticated:
        return _let_in(Reason.RELAY if attempt.relay else Reason.AUTHENTICATED)
    named = attempt.recipient is not None or stage is _DATA
    if attempt.client_address is None or sender is None or not named:
        return _let_in(Reason.INCOMPLETE)
    if attempt.recipient_refused:  # or relay attempts would fill the store (plugin, fault 9)
        return _let_in(Reason.RECIPIENT_REFUSED)
    client = parse_address(attempt.client_address)
    if client is None:
        return _let_in(Reason.INVALID_CLIENT)
    return _question(attempt, policy, client, sender, waits)


def _sender(attempt: Attempt, policy: Policy) -> str:
    """Return what the policy names a sender, with a call less where that is the canonical form."""
    raw = attempt.sender or b""
    if policy.normalise or policy.old_tables:
        return policy.sender_name(raw, attempt.recipient or b"")
    return sender_of(raw)


def _question(
    attempt: Attempt, policy: Policy, client: bytes, sender: str, waits: bool
) -> Question:
    recipient, stage, carrier = attempt.recipient, attempt.stage, b""
    if len(client) != IPV4_BYTES:
        client, carrier = host_of(client)
    if recipient is None:
        name, domain, spelling = SEVERAL, "", _AMBIGUOUS
    else:
        name, domain, spelling = recipient_of(recipient)
        # On old tables its domain stays in the script it is in.
        if policy.mailbox_separator or (policy.old_tables and not recipient.isascii()):
            name = policy.recipient_name(recipient)
    return Question(
        client,
        Triplet(network(client, policy.prefix_of(client)), sender, name),
        domain,
        policy,
        # Once in a transaction: a qmail-spp host answers DATA once for each deferral that waits for
        # it, and a second answer would put the client out of step.
        at_data=waits and stage is _RCPT and not attempt.further,
        lists_only=waits and stage is _RCPT_FIRST,
        spelling=spelling,
        carrier=carrier,
        attempt=attempt,
    )


def listed(question: Question, entries: list[Entry], now: int) -> Decision | None:
    """Answer from the lists, or None where the record has to decide."""
    policy = question.policy
    entry = last_word(entries, question, now)
    if entry is not None and entry.denies(now):
        return Decision(Verdict.REJECT, Reason.DENYLISTED, entry=entry, client=question.told_client)
    if question.lists_only:
        return _let_in(Reason.OTHER_STAGE)
    # A recipient whose spelling may mean another domain is always greylisted. The denylist uses
    # what follows the last @: that is the domain that the client addressed.
    if entry is not None:
        spared = not policy.explicit and question.spelling is not _AMBIGUOUS
        if spared or not of_recipient(entry.subject):
            return Decision(Verdict.PASS, Reason.ALLOWLISTED, entry=entry)
    elif policy.explicit and question.spelling is _CLEAR:
        return _let_in(Reason.NOT_LISTED)
    if policy.greylist is _OFF:
        return _let_in(Reason.OFF)
    if policy.null_sender is NullSender.NEVER and question.null_sender:
        return _let_in(Reason.NULL_SENDER)
    return None


def needs(
    question: Question, record: Record | None, now: int, others: Records = NO_RECORDS
) -> Needs | None:
    """Return what evidence is to be gathered before `decide`.

    A live record needs none, but at its first pass it is to be known who earns trust by it.
    """
    kinds = question.policy.evidence
    if question.lists_only or not (kinds or question.wants):
        return None
    is_live = record is not None and record.live(now)
    if record is not None and is_live:
        if record.passed or not question.earns_trust or _too_early(question, record, now):
            return None
        kinds = kinds & _OF_IDENTITY
    missing = (kinds | question.wants).difference(question.known)
    if not missing or (not is_live and spared_at_once(question, others, now) is not None):
        return None
    return Needs(missing)


def decide(
    question: Question, record: Record | None, now: int, others: Records = NO_RECORDS
) -> Decision:
    """Answer from the triplet's record. None is a first contact.

    `others` has those of the records of `question.further` that there are.
    """
    if question.lists_only:  # where the lists were not asked before
        return _let_in(Reason.OTHER_STAGE)
    if record is not None and record.live(now):
        decision = _by_record(question, record, question.triplet, now, others)
    else:
        decision = (
            spared(question, others, now)
            or _by_pool(question, others, now)
            or trapped(question, others, now)
            or unsuspicious(question)
            or _first_contact(question, record, now)
        )
    if question.policy.greylist is _OBSERVE and decision.verdict is not _PASS:
        return observed(question, decision, now)
    return decision


def _by_record(
    question: Question, record: Record, key: Triplet, now: int, others: Records
) -> Decision:
    """Answer by the record under this key: the triplet, or the same with its pool."""
    if not _too_early(question, record, now):
        return _passed(question, record, key, now, others)
    if question.expected is not None:
        return Decision(_PASS, Reason.EXPECTED, record=record, entry=question.expected, waiting=key)
    # Moves neither first_seen nor the expiry: retrying early is neither punished nor
    # rewarded (RFC 6647 5.2).
    wait = _until(question, record) - now
    return _deferred(question, Reason.EARLY, wait, (Blocked(key),), record)


def _passed(
    question: Question, record: Record, key: Triplet, now: int, others: Records
) -> Decision:
    expires = now + question.policy.lifetime
    changes: tuple[Change, ...] = (Passed(key, expires),)
    if key is not question.triplet:  # from this network it needs no evidence any more
        changes += (Noted(question.triplet, now, expires),)
    if record.passed:
        return Decision(_PASS, Reason.KNOWN, changes=changes, record=record)
    if (caught := trapped(question, others, now)) is not None:
        return caught
    pooled = question.pooled
    if key is question.triplet and pooled is not None:
        changes += (Noted(pooled, now, expires),)
    if question.earns_trust:
        changes += tuple(Noted(k, now, expires) for k in earned(question, others, now))
    waited = now - record.first_seen
    # A pool's record does not say from which network the deferral was that has an id.
    told = question.id if key is question.triplet else ""
    return Decision(_PASS, Reason.RETRIED, waited=waited, changes=changes, record=record, id=told)


def _by_pool(question: Question, others: Records, now: int) -> Decision | None:
    """Answer from the pool's record, as if this network were that of the first attempt."""
    key = question.pooled
    record = None if key is None else others.get(key)
    if key is None or record is None or not record.live(now):
        return None
    return replace(_by_record(question, record, key, now, others), pool=key.network)


def _until(question: Question, record: Record) -> int:
    """Return the time from which a retry passes.

    For a connection the delay that is set now counts, as in the old program, and not the delay at
    the first contact: it may be set for each client.
    """
    if question.connection:
        return record.first_seen + question.policy.delay
    return record.defer_until


def _too_early(question: Question, record: Record, now: int) -> bool:
    """Tell whether an attempt on a live record has to wait.

    A triplet that has passed need not wait. A connection that has passed must, as in the old
    program, until the delay that is set now is over. Its first contact is ignored if in the future.
    """
    if record.passed and not question.connection:
        return False
    began = not record.passed or record.first_seen <= now + CLOCK_TOLERANCE
    return began and now < _until(question, record)


def _first_contact(question: Question, record: Record | None, now: int) -> Decision:
    """Defer a triplet that is new, or whose record is no longer live. Its record starts anew."""
    policy = question.policy
    defer_until = now + policy.delay
    expires = now + policy.retry_window
    client = b"" if question.connection else question.client
    keys = (question.triplet, *(() if question.pooled is None else (question.pooled,)))
    changes = tuple(Created(key, now, defer_until, expires, client) for key in keys)
    return _deferred(question, Reason.NEW, policy.delay, changes, record)


def _deferred(
    question: Question,
    reason: Reason,
    wait: int,
    changes: tuple[Change, ...],
    record: Record | None,
) -> Decision:
    return Decision(
        Verdict.DEFER,
        reason,
        retry_after=wait,
        at_data=question.at_data,
        changes=changes,
        record=record,
        client=question.told_client,
        id=question.id,
    )


def unanswered(question: Question, on_failure: Verdict) -> Decision:
    """Answer where the store does not (RFC 6647 8.2): let in, or defer if so configured."""
    deferred = on_failure is Verdict.DEFER
    return Decision(
        on_failure,
        Reason.STORE_UNAVAILABLE,
        retry_after=question.policy.delay if deferred else 0,
        client=question.told_client,
        id=question.id if deferred else "",
    )


def _let_in(reason: Reason) -> Decision:
    return Decision(Verdict.PASS, reason)
