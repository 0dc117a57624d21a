"""Rules that spare a first contact the delay, or refuse it, in their order.

    heed             what the lists say of a first contact alone
    with_known       evidence, and the pool of servers that it tells
    further          the keys of the records that these rules look at
    spared_at_once   expected, correspondent, provider, trusted (the address)    without evidence
    spared           dnswl, trusted (the pool)                                   with it
    trapped          it has mailed a trap, and never passed
    unsuspicious     it shows too few signs, where only the suspicious is greylisted

`core.engine` asks them, and has the order of all rules. `observed` is what becomes of a refusal
where greylisting only observes, and `taught` is what our own users teach.
"""

from __future__ import annotations

from greylag.core.accesslist import expected, provider, trap, wants
from greylag.core.address import normalise
from greylag.core.dynamic import looks_dynamic
from greylag.core.evidence import Kind
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.names import host_name
from greylag.core.policy import Greylist, IdentityBy, Policy, Trap
from greylag.core.record import Change, Noted, Passed
from greylag.core.signs import signs_of
from greylag.core.triplet import Triplet, sent_of, trapped_of, trust_of
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from greylag.core.accesslist import Entry
    from greylag.core.attempt import Attempt
    from greylag.core.evidence import Evidence
    from greylag.core.question import Question
    from greylag.core.record import Record

    Records = Mapping[Triplet, Record]

TRUST_TAKES = 86400  # seconds since the first of the first passes: not one night's spam
# First passes of an identity that may each have a domain of their own, where no number of them is
# enough for all domains.
MOST_DOMAINS = 10_000
_PASS, _NOBODY, _BY_NAME = Verdict.PASS, IdentityBy.NONE, IdentityBy.SPF_OR_NAME


def heed(question: Question, entries: list[Entry], now: int) -> Question:
    """Return the question with what entries say of a first contact, where no list decides."""
    if not entries:
        return question
    return replace(
        question,
        expected=expected(entries, question, now),
        provider=provider(entries, question, now),
        trap=trap(entries, question, now),
        wants=wants(entries, question, now),
    )


def further(question: Question) -> list[Triplet]:
    """Return the keys of the other records that a first contact, or a first pass, rests on."""
    policy, triplet, pooled = question.policy, question.triplet, question.pooled
    if question.lists_only or not policy.spares:
        return []
    address, keys = of_address(question.client), []
    if pooled is not None:
        keys.append(pooled)
    if policy.trusts:
        domain = question.sender_domain
        for identity in (address,) if pooled is None else (address, pooled.network):
            keys.append(trust_of(identity, ""))
            if domain:
                keys.append(trust_of(identity, domain))
    if not question.connection:
        if policy.traps:
            keys.append(trapped_of(question.client))
        if policy.correspondents and triplet.sender:
            keys.append(sent_of(triplet.sender, triplet.recipient))
    return keys


def with_known(question: Question, evidence: Evidence) -> Question:
    """Return the question with evidence, and the pool of servers that it tells."""
    pool, triplet = _pool_of(question, evidence), question.triplet
    pooled = question.pooled
    if pool is not None:
        pooled = Triplet(pool, triplet.sender, triplet.recipient)
    return replace(question, evidence=evidence, pooled=pooled)


def _pool_of(question: Question, evidence: Evidence) -> bytes | None:
    by = question.policy.identity
    if by is _NOBODY or not evidence or not question.host_is_sure:
        return None
    names = question.names_by(evidence)
    if not _is_named(question, names):
        return None
    return _by_spf(question, evidence) or (_by_name(question, names) if by is _BY_NAME else None)


def _is_named(question: Question, names: tuple[str, ...] | None) -> bool:
    """Tell whether the client has a confirmed name that does not look dynamic.

    Bots have none: their domains may list each of them in SPF, and each may come again for some of
    its mail. So what they earn does not count. Where nothing is asked of DNS it is not known, and
    counts as a yes.
    """
    if not question.policy.dns:
        return True
    return not all(looks_dynamic(name, question.client) for name in names or ())


def _by_spf(question: Question, evidence: Evidence) -> bytes | None:
    """Return the pool named after the sender's domain, or the HELO of the null sender.

    SPF has to pass by a term that is not too wide (`core.spf`): else a bot's own domain would
    make one sender of all bots.
    """
    outcome, attempt = evidence.get(Kind.SPF), question.attempt
    if attempt is None or outcome is None or not getattr(outcome, "narrow", False):
        return None
    sender = attempt.sender or b""
    name = host_name(sender.rpartition(b"@")[2] if sender else attempt.helo)
    return None if name is None else Pool(PoolKind.SPF, name).packed


def _by_name(question: Question, names: tuple[str, ...] | None) -> bytes | None:
    """Return the pool named after the organisation of a confirmed name that is not dynamic."""
    suffixes = question.policy.suffixes
    for name in names or ():
        organisation = None if suffixes is None else suffixes.organisation_of(name)
        if organisation and not looks_dynamic(name, question.client, organisation):
            return Pool(PoolKind.NAME, organisation).packed
    return None


def spared_at_once(question: Question, others: Records, now: int) -> Decision | None:
    """Let in a first contact that what is known without evidence spares."""
    if question.expected is not None:
        return Decision(_PASS, Reason.EXPECTED, entry=question.expected)
    triplet = question.triplet
    if others and question.policy.correspondents and triplet.sender:
        sent = others.get(sent_of(triplet.sender, triplet.recipient))
        if sent is not None and sent.live(now):
            return Decision(_PASS, Reason.CORRESPONDENT, record=sent)
    if question.provider is not None:
        return Decision(_PASS, Reason.PROVIDER, entry=question.provider)
    if not (others and question.policy.trusts and question.host_is_sure):
        return None
    decision = _trusted(question, of_address(question.client), others, now)
    return decision if decision is not None and _is_named(question, question.names) else None


def spared(question: Question, others: Records, now: int) -> Decision | None:
    """Let in a first contact that is spared. For nearly all, `others` has no record."""
    decision = spared_at_once(question, others, now) or _by_evidence(question, others, now)
    pooled = question.pooled
    record = None if decision is None or pooled is None else others.get(pooled)
    if decision is None or record is None or record.passed or not record.live(now):
        return decision
    return replace(decision, waiting=pooled)


def _by_evidence(question: Question, others: Records, now: int) -> Decision | None:
    if question.evidence.get(Kind.DNSWL) and question.host_is_sure:
        return Decision(_PASS, Reason.DNSWL)
    pool = None if question.pooled is None else question.pooled.network
    decision = _trusted(question, pool, others, now) if others and pool is not None else None
    return None if decision is None else replace(decision, pool=pool)


def _trusted(question: Question, identity: bytes, others: Records, now: int) -> Decision | None:
    """Let in who has passed often enough, first a day ago or longer."""
    policy, domain = question.policy, question.sender_domain
    wanted = [(policy.trust_after, domain)] if domain else []
    for needed, of_domain in (*wanted, (policy.trust_all_after, "")):
        key = trust_of(identity, of_domain)
        record = others.get(key) if needed else None
        if record is not None and record.passed >= needed and _lasted(record, now):
            changes = (Passed(key, now + policy.lifetime),)
            return Decision(_PASS, Reason.TRUSTED, changes=changes, record=record)
    return None


def earned(question: Question, others: Records, now: int) -> tuple[Triplet, ...]:
    """Return the keys of the trust that a first pass earns, for the pool or for the address.

    Whoever has passed often enough for all domains needs no record for one more. So a client that
    comes with ever new sender domains cannot fill the store with them.
    """
    pooled, domain = question.pooled, question.sender_domain
    address = of_address(question.client)
    identity = address if pooled is None else pooled.network
    total = trust_of(identity, "")
    # A server may send for many domains: for what one of them sends to a trap, it is not refused.
    also = (trust_of(address, ""),) if pooled is not None and question.policy.traps else ()
    if not domain:
        return (total, *also)
    key = trust_of(identity, domain)
    of_domain, of_all = others.get(key), others.get(total)
    enough = question.policy.trust_all_after or MOST_DOMAINS
    is_new = of_domain is None or not of_domain.live(now)
    if is_new and of_all is not None and of_all.live(now) and of_all.passed >= enough:
        return (total, *also)
    return (total, key, *also)


def _lasted(record: Record, now: int) -> bool:
    return record.live(now) and now - record.first_seen >= TRUST_TAKES


def trapped(question: Question, others: Records, now: int) -> Decision | None:
    """Refuse who mails a trap, or did so lately, and has never passed anywhere."""
    policy = question.policy
    if question.connection or not policy.traps:
        return None
    entry = question.trap if question.trap is not None and _is_caught(question) else None
    if entry is None and not others:
        return None
    key = trapped_of(question.client)
    record = others.get(key)
    if entry is None and (record is None or not record.live(now)):
        return None
    pool = [] if question.pooled is None else [question.pooled.network]
    for identity in (of_address(question.client), *pool):
        passed = others.get(trust_of(identity, ""))
        if passed is not None and passed.live(now):
            return None
    until, denied = now + policy.trapped_for, policy.trap is Trap.DENY
    return Decision(
        Verdict.REJECT if denied else Verdict.DEFER,
        Reason.TRAPPED,
        retry_after=0 if denied else policy.trapped_for,
        changes=() if entry is None else (Noted(key, now, until),),
        record=record,
        entry=entry,
        client=question.told_client,
        id="" if denied else question.id,
    )


def _is_caught(question: Question) -> bool:
    """Tell whether a trap says something of who mails it.

    Spammers use traps as senders, too. Then good servers send bounces to the trap, or ask with a
    probe whether there is such a mailbox. And a relay of 6to4 can use addresses of others.
    """
    sender = question.triplet.sender
    probes = not sender or sender.startswith(question.policy.probe_senders)
    return question.host_is_sure and not probes


def unsuspicious(question: Question) -> Decision | None:
    """Let in a first contact with too few signs, where only the suspicious is greylisted."""
    policy = question.policy
    if policy.greylist is not Greylist.SUSPICIOUS or question.trap is not None:
        return None
    few = len(signs_of(question)) < policy.signs_needed
    return Decision(_PASS, Reason.UNSUSPICIOUS) if few else None


def observed(question: Question, decision: Decision, now: int) -> Decision:
    """Let in what would not have been. It is remembered as what passed: it was let in."""
    changes: tuple[Change, ...] = decision.changes
    if decision.reason is Reason.NEW:
        changes = (Noted(question.triplet, now, now + question.policy.lifetime),)
    return replace(
        decision,
        verdict=_PASS,
        reason=Reason.OBSERVED,
        instead=decision.reason,
        retry_after=0,
        at_data=False,
        changes=changes,
        id="",
    )


def taught(attempt: Attempt, policy: Policy, now: int) -> Noted | None:
    """Return what mail of one of our users teaches: who answers it is a correspondent.

    Mail to a colleague teaches nothing: his answer does not come from outside, and whoever forges
    his address would be let in.
    """
    ours, theirs = attempt.sender, attempt.recipient
    if not (policy.correspondents and ours and theirs and (attempt.relay or attempt.authenticated)):
        return None
    if ours.rpartition(b"@")[2].lower() == theirs.rpartition(b"@")[2].lower():
        return None
    key = sent_of(policy.sender_name(theirs, ours), policy.recipient_name(normalise(ours)))
    return Noted(key, now, now + policy.correspondents)
