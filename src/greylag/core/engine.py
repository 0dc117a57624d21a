"""All rules of the decision, in the order in which they speak.

    1  precheck   is the question ours at all?      disabled, relay, authenticated, incomplete,
                                                    recipient-refused, invalid-client
    2  listed     do the lists decide?              denylisted, allowlisted, not-listed
                  does policy spare it?             null-sender
    3  decide     what does the record say?         new, early, retried, known

Steps are pure: `now` is an argument (whole Unix seconds), and the changes they ask for are part of
the Decision. The source of each rule is spec/greylisting-plugin.md "Verdicts, in this order"
with RFC 6647 section 5; where greylag differs from either, the rule says why.
"""

from __future__ import annotations

from greylag.core.accesslist import Entry, last_word
from greylag.core.address import canonical, domain_of
from greylag.core.attempt import Attempt
from greylag.core.client import parse_address
from greylag.core.policy import NullSender, Policy
from greylag.core.record import CLOCK_TOLERANCE, Blocked, Created, Passed, Record
from greylag.core.subject import Domain
from greylag.core.triplet import Triplet, triplet_of
from greylag.core.value import value
from greylag.core.verdict import Decision, Reason, Verdict


@value
class Question:
    """An attempt that the lists and the records have to answer."""

    client: bytes  # packed
    triplet: Triplet
    domain: str  # of the recipient, canonical
    null_sender: bool
    further: bool = False  # there was another recipient before this one
    connection: bool = False  # it is about a connection: see core.connection


def precheck(attempt: Attempt, policy: Policy) -> Decision | Question:
    """Answer what needs no store, or put the question to the store."""
    if not attempt.enabled:
        return _let_in(Reason.DISABLED)
    if attempt.relay:
        return _let_in(Reason.RELAY)
    if attempt.authenticated:  # RFC 6647 5, "should not greylist authenticated sessions"
        return _let_in(Reason.AUTHENTICATED)
    if attempt.client_address is None or attempt.sender is None or attempt.recipient is None:
        return _let_in(Reason.INCOMPLETE)
    if attempt.recipient_refused:  # or relay attempts would fill the store (fault 9)
        return _let_in(Reason.RECIPIENT_REFUSED)
    client = parse_address(attempt.client_address)
    if client is None:
        return _let_in(Reason.INVALID_CLIENT)
    return Question(
        client,
        triplet_of(client, attempt.sender, attempt.recipient, policy),
        canonical(domain_of(attempt.recipient)),
        null_sender=not attempt.sender,
        further=attempt.further,
    )


def listed(question: Question, entries: list[Entry], policy: Policy, now: int) -> Decision | None:
    """Answer from the lists, or None where the record has to decide."""
    entry = last_word(entries, question.client, question.domain, now)
    if entry is not None and entry.denies(now):
        return Decision(Verdict.REJECT, Reason.DENYLISTED, entry=entry)
    greylists = policy.explicit and entry is not None and isinstance(entry.subject, Domain)
    if entry is not None and not greylists:
        return Decision(Verdict.PASS, Reason.ALLOWLISTED, entry=entry)
    if policy.explicit and entry is None:
        return _let_in(Reason.NOT_LISTED)
    if question.null_sender and policy.null_sender is NullSender.NEVER:
        return _let_in(Reason.NULL_SENDER)
    return None


def decide(question: Question, record: Record | None, policy: Policy, now: int) -> Decision:
    """Answer from the triplet's record, or from there being none."""
    if record is None or not record.live(now):
        return _first_contact(question, record, policy, now)
    if _too_early(question, record, policy, now):
        # Moves neither first_seen nor the expiry: retrying early is neither punished nor
        # rewarded (RFC 6647 5.2).
        return Decision(
            Verdict.DEFER,
            Reason.EARLY,
            retry_after=_until(question, record, policy) - now,
            at_data=_at_data(question, policy),
            changes=(Blocked(question.triplet),),
            record=record,
        )
    return Decision(
        Verdict.PASS,
        Reason.KNOWN if record.passed else Reason.RETRIED,
        waited=None if record.passed else now - record.first_seen,
        changes=(Passed(question.triplet, now + policy.lifetime),),
        record=record,
    )


def _until(question: Question, record: Record, policy: Policy) -> int:
    """Return from when on a retry passes.

    Of a connection the delay of now counts, as in the old program, not that of its first time: it
    is said for each client anew.
    """
    return record.first_seen + policy.delay if question.connection else record.defer_until


def _too_early(question: Question, record: Record, policy: Policy, now: int) -> bool:
    """Tell whether an attempt on a live record has to wait.

    One that has passed needs not; but a connection has, in the old program, whenever the delay that
    is said for it now is not over yet. A first contact in the future is no delay.
    """
    if record.passed and not question.connection:
        return False
    began = not record.passed or record.first_seen <= now + CLOCK_TOLERANCE
    return began and now < _until(question, record, policy)


def _first_contact(question: Question, record: Record | None, policy: Policy, now: int) -> Decision:
    """Defer a triplet that is new, or whose record is no longer live: that one starts anew."""
    defer_until = now + policy.delay
    remember = Created(question.triplet, now, defer_until, now + policy.retry_window)
    return Decision(
        Verdict.DEFER,
        Reason.NEW,
        retry_after=policy.delay,
        at_data=_at_data(question, policy),
        changes=(remember,),
        record=record,
    )


def unanswered(reason: Reason, verdict: Verdict, policy: Policy) -> Decision:
    """Answer where greylag itself could not (RFC 6647 8.2): let in, or defer if so configured."""
    return Decision(verdict, reason, retry_after=policy.delay if verdict is Verdict.DEFER else 0)


def _let_in(reason: Reason) -> Decision:
    return Decision(Verdict.PASS, reason)


def _at_data(question: Question, policy: Policy) -> bool:
    """Tell whether DATA is the place to defer: of the null sender, and once in a transaction.

    qmail-spp hosts answer a DATA once for each deferral that waits for it, and the client would be
    out of step from then on. So further recipients are deferred at their RCPT.
    """
    at_data = policy.null_sender is NullSender.DATA
    return at_data and question.null_sender and not question.further
