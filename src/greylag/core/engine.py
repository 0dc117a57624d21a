"""All rules of the decision, in their order.

    1  precheck   is the question ours at all?      disabled, other-stage, relay, authenticated,
                                                    incomplete, recipient-refused, invalid-client
    2  listed     do the lists decide?              denylisted, allowlisted, not-listed
                  is DATA the stage for it?         other-stage
                  does policy spare it?             null-sender
    3  needs      is it a first contact, and        Needs: `service.evidence` gathers it, and asks
                  is evidence to be had first?      again
    4  decide     what does the record say?         new, early, retried, known

Steps are pure: `now` is an argument (whole Unix seconds), and the changes they ask for are part of
the Decision. The rules are those of the old plugin and of RFC 6647 section 5. Where greylag
differs, docs/moving.md and docs/rfc6647.md say why.
"""

from __future__ import annotations

from greylag.core.accesslist import Entry, last_word
from greylag.core.address import Spelling, recipient_of, sender_of
from greylag.core.attempt import Attempt, Stage
from greylag.core.client import IPV4_BYTES, host_of, network, parse_address
from greylag.core.evidence import NO_EVIDENCE, Evidence, Needs
from greylag.core.policy import NullSender, Policy
from greylag.core.record import CLOCK_TOLERANCE, Blocked, Created, Passed, Record
from greylag.core.subject import Domain
from greylag.core.triplet import Triplet, several_of
from greylag.core.value import value
from greylag.core.verdict import Decision, Reason, Verdict

# Looking a member up in its class costs several times as much.
_RCPT, _RCPT_FIRST, _DATA, _OTHER = Stage.RCPT, Stage.RCPT_FIRST, Stage.DATA, Stage.OTHER
_CLEAR, _AMBIGUOUS = Spelling.CLEAR, Spelling.AMBIGUOUS


@value
class Question:
    """An attempt that the lists and the records have to answer, with all that this takes."""

    client: bytes  # packed; the IPv4 address where it is embedded in an IPv6 address
    triplet: Triplet
    domain: str  # of the recipient, canonical
    policy: Policy  # that holds for this attempt
    at_data: bool = False  # a deferral is given at DATA rather than at this RCPT
    lists_only: bool = False  # the record is for DATA: before that only the denylist counts
    connection: bool = False  # it is about a connection: see core.connection
    spelling: Spelling = Spelling.CLEAR  # how surely that is the recipient's domain
    carrier: bytes = b""  # the IPv6 address that the client's IPv4 address was embedded in
    # What memory said before the store is asked (`service.desk`).
    listed: bool = True  # the lists were asked; else the store's are to be asked
    counts: bool | None = None  # whether it is likely to only count; None: memory has no record
    evidence: Evidence = NO_EVIDENCE  # gathered because of `needs`

    @property
    def null_sender(self) -> bool:
        """Tell whether it is about mail from the null sender."""
        return not self.triplet.sender and not self.connection

    @property
    def told_client(self) -> bytes:
        """Return the client's packed address as the mail server told it."""
        return self.carrier or self.client


def precheck(attempt: Attempt, policy: Policy) -> Decision | Question:
    """Answer what needs no store, or return the question for the store."""
    if not attempt.enabled:
        return _let_in(Reason.DISABLED)
    sender = None if attempt.sender is None else _sender(attempt.sender, policy)
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


def _sender(raw: bytes, policy: Policy) -> str:
    """Return what the policy names a sender, with a call less where there are no old tables."""
    return policy.sender_name(raw) if policy.old_tables else sender_of(raw)


def _question(
    attempt: Attempt, policy: Policy, client: bytes, sender: str, waits: bool
) -> Question:
    recipient, stage, carrier = attempt.recipient, attempt.stage, b""
    if len(client) != IPV4_BYTES:
        client, carrier = host_of(client)
    if recipient is None:
        several = several_of(client, sender, policy)
        return Question(client, several, "", policy, spelling=_AMBIGUOUS, carrier=carrier)
    name, domain, spelling = recipient_of(recipient)
    if policy.old_tables and not recipient.isascii():  # its domain stays in the script it is in
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
    )


def listed(question: Question, entries: list[Entry], now: int) -> Decision | None:
    """Answer from the lists, or None where the record has to decide."""
    policy = question.policy
    entry = last_word(entries, question.client, question.domain, now, question.carrier)
    if entry is not None and entry.denies(now):
        return Decision(Verdict.REJECT, Reason.DENYLISTED, entry=entry, client=question.told_client)
    if question.lists_only:
        return _let_in(Reason.OTHER_STAGE)
    # A recipient whose spelling may mean another domain is always greylisted. The denylist uses
    # what follows the last @: that is the domain that the client addressed.
    if entry is not None:
        spared = not policy.explicit and question.spelling is not _AMBIGUOUS
        if spared or not isinstance(entry.subject, Domain):
            return Decision(Verdict.PASS, Reason.ALLOWLISTED, entry=entry)
    elif policy.explicit and question.spelling is _CLEAR:
        return _let_in(Reason.NOT_LISTED)
    if policy.null_sender is NullSender.NEVER and question.null_sender:
        return _let_in(Reason.NULL_SENDER)
    return None


def needs(question: Question, record: Record | None, now: int) -> Needs | None:
    """Return what evidence is to be gathered before `decide`. A live record needs none."""
    kinds = question.policy.evidence
    if not kinds or question.lists_only or (record is not None and record.live(now)):
        return None
    missing = kinds.difference(question.evidence)
    return Needs(missing) if missing else None


def decide(question: Question, record: Record | None, now: int) -> Decision:
    """Answer from the triplet's record. None is a first contact."""
    if question.lists_only:  # where the lists were not asked before
        return _let_in(Reason.OTHER_STAGE)
    if record is None or not record.live(now):
        return _first_contact(question, record, now)
    if _too_early(question, record, now):
        # Moves neither first_seen nor the expiry: retrying early is neither punished nor
        # rewarded (RFC 6647 5.2).
        return Decision(
            Verdict.DEFER,
            Reason.EARLY,
            retry_after=_until(question, record) - now,
            at_data=question.at_data,
            changes=(Blocked(question.triplet),),
            record=record,
            client=question.told_client,
        )
    return Decision(
        Verdict.PASS,
        Reason.KNOWN if record.passed else Reason.RETRIED,
        waited=None if record.passed else now - record.first_seen,
        changes=(Passed(question.triplet, now + question.policy.lifetime),),
        record=record,
    )


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
    remember = Created(question.triplet, now, defer_until, expires, client)
    return Decision(
        Verdict.DEFER,
        Reason.NEW,
        retry_after=policy.delay,
        at_data=question.at_data,
        changes=(remember,),
        record=record,
        client=question.told_client,
    )


def unanswered(question: Question, on_failure: Verdict) -> Decision:
    """Answer where the store does not (RFC 6647 8.2): let in, or defer if so configured."""
    return Decision(
        on_failure,
        Reason.STORE_UNAVAILABLE,
        retry_after=question.policy.delay if on_failure is Verdict.DEFER else 0,
        client=question.told_client,
    )


def _let_in(reason: Reason) -> Decision:
    return Decision(Verdict.PASS, reason)
