"""Who is spared the delay, who is refused, and in which order these rules speak."""

from __future__ import annotations

import pytest

from greylag.core.accesslist import Entry
from greylag.core.attempt import Attempt, Stage, Words
from greylag.core.engine import decide, listed, needs, precheck
from greylag.core.evidence import Evidence, Kind
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.policy import SPARING, Greylist, IdentityBy, Policy, Trap, with_evidence
from greylag.core.question import Question
from greylag.core.record import Blocked, Noted, Passed, Record
from greylag.core.signs import Sign, known_signs, signs_of
from greylag.core.sparing import TRUST_TAKES, further, taught, with_known
from greylag.core.spf import Outcome, Result
from greylag.core.subject import Domain
from greylag.core.suffixes import Suffixes
from greylag.core.triplet import Triplet, sent_of, trapped_of, trust_of
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from tests.core.asking import DELAY, KEY, LIFETIME, WAITING, WINDOW, T, created, write

CLIENT = b"\xc0\x00\x02\x11"
HERE = of_address(CLIENT)
ENTRY = Entry(Domain("b@example.net"), 0)
POOL = Pool(PoolKind.SPF, "example.org").packed
POOLED = replace(KEY, network=POOL)
DAY = 86400
PASS = Outcome(Result.PASS, ("ip4:192.0.2.0/24",), narrow=True)
POLICY = with_evidence(replace(SPARING, dns=True))
SUSPICIOUS = with_evidence(replace(POLICY, greylist=Greylist.SUSPICIOUS, dnsbl=True))
GOOD: Evidence = {Kind.NAMES: ("mx.example.org",), Kind.SPF: PASS, Kind.DNSBL: ()}
WORDS = Words(helo=b"helo")


def asked(  # noqa: PLR0917 - the facts of an attempt
    evidence: Evidence | None = None,
    policy: Policy = POLICY,
    client: bytes = b"192.0.2.17",
    sender: bytes = b"a@example.org",
    recipient: bytes = b"b@example.net",
    helo: bytes = b"mx.example.org",
    facts: dict[str, Entry] | None = None,
) -> Question:
    attempt = Attempt(client, sender, recipient, told={b"helo": helo}, words=WORDS)
    question = precheck(attempt, policy)
    assert isinstance(question, Question)
    return with_known(replace(question, **(facts or {})), evidence or {})


def pool_of(question: Question) -> bytes | None:
    return None if question.pooled is None else question.pooled.network


def answer(question: Question, records: dict[Triplet, Record], now: int = T) -> Decision:
    return decide(question, records.get(question.triplet), now, records)


def trusted(passes: int, since: int = T - TRUST_TAKES, until: int = T + 9) -> Record:
    return Record(since, since, until, passed=passes)


SENT = {sent_of("a@example.org", "b@example.net"): Record(T - 9, T - 9, T + 9, passed=1)}
BY_DOMAIN = trust_of(HERE, "example.org")


@pytest.mark.parametrize(
    ("records", "facts", "reason"),
    [
        ({}, {}, "new"),
        ({}, {"expected": ENTRY}, "expected"),
        ({}, {"provider": ENTRY}, "provider"),
        ({}, {"trap": ENTRY}, "trapped"),
        (SENT, {}, "correspondent"),
        ({sent_of("a@example.org", "b@example.net"): Record(T - 9, T, T, passed=1)}, {}, "new"),
        ({sent_of("c@example.org", "b@example.net"): trusted(9)}, {}, "new"),
        ({BY_DOMAIN: trusted(5)}, {}, "trusted"),
        ({BY_DOMAIN: trusted(4)}, {}, "new"),
        ({BY_DOMAIN: trusted(5, since=T - TRUST_TAKES + 1)}, {}, "new"),
        ({BY_DOMAIN: trusted(5, until=T)}, {}, "new"),
        ({trust_of(HERE, ""): trusted(20)}, {}, "trusted"),
        ({trust_of(HERE, ""): trusted(19)}, {}, "new"),
        ({trust_of(of_address(b"\xc0\x00\x02\x12"), ""): trusted(99)}, {}, "new"),
        ({trust_of(POOL, ""): trusted(99)}, {}, "new"),
        ({trapped_of(CLIENT): trusted(1)}, {}, "trapped"),
        ({trapped_of(CLIENT): trusted(1, until=T)}, {}, "new"),
        ({trapped_of(CLIENT): trusted(1), trust_of(HERE, ""): trusted(1)}, {}, "new"),
        ({trust_of(HERE, ""): trusted(1)}, {"trap": ENTRY}, "new"),
        ({KEY: WAITING}, {}, "early"),
        ({KEY: WAITING}, {"expected": ENTRY}, "expected"),
        ({KEY: WAITING, BY_DOMAIN: trusted(5)}, {}, "early"),
        ({KEY: trusted(1)}, {"trap": ENTRY}, "known"),
        ({BY_DOMAIN: trusted(5)}, {"trap": ENTRY}, "trusted"),
    ],
)
def test_rule_without_evidence(
    records: dict[Triplet, Record], facts: dict[str, Entry], reason: str
) -> None:
    decision = answer(asked(policy=with_evidence(SPARING), facts=facts), records)
    assert decision.reason is Reason(reason)
    assert decision.verdict in decision.reason.verdicts


@pytest.mark.parametrize(
    ("evidence", "records", "reason"),
    [
        (GOOD, {}, "new"),
        (GOOD, {POOLED: WAITING}, "early"),
        (GOOD, {POOLED: Record(T - DELAY, T, T + 9, blocked=1)}, "retried"),
        (GOOD, {POOLED: trusted(2)}, "known"),
        (GOOD, {POOLED: trusted(2, until=T)}, "new"),
        (GOOD, {trust_of(POOL, "example.org"): trusted(5)}, "trusted"),
        ({Kind.SPF: None}, {POOLED: trusted(2)}, "new"),
        ({Kind.SPF: replace(PASS, narrow=False)}, {POOLED: trusted(2)}, "new"),
        ({Kind.SPF: Outcome(Result.FAIL)}, {POOLED: trusted(2)}, "new"),
        ({Kind.DNSWL: ("wl.example.net",)}, {}, "dnswl"),
        ({Kind.DNSWL: ()}, {}, "new"),
        ({Kind.DNSWL: None}, {}, "new"),
    ],
)
def test_rule_with_evidence(
    evidence: Evidence, records: dict[Triplet, Record], reason: str
) -> None:
    assert answer(asked(evidence), records).reason is Reason(reason)


@pytest.mark.parametrize(
    "records",
    [{POOLED: WAITING}, {POOLED: trusted(2)}, {trust_of(POOL, "example.org"): trusted(5)}],
)
def test_a_decision_names_the_pool_whose_record_it_rests_on(
    records: dict[Triplet, Record],
) -> None:
    assert answer(asked(GOOD), records).pool == POOL
    assert answer(asked(GOOD), {}).pool is None


def test_plain_greylisting_has_none_of_these_rules() -> None:
    records = {**SENT, POOLED: trusted(2), BY_DOMAIN: trusted(9), trapped_of(CLIENT): trusted(1)}
    question = asked(GOOD, Policy())
    assert further(question) == []
    assert answer(question, records).changes == (replace(created(), client=CLIENT),)
    assert needs(asked(policy=Policy()), None, T) is None


def test_a_first_contact_of_a_pool_is_remembered_twice() -> None:
    pooled = replace(created(POOLED), client=CLIENT)
    assert answer(asked(GOOD), {}).changes == (replace(created(), client=CLIENT), pooled)


def test_a_retry_from_another_network_of_the_pool_passes_and_is_known_there_from_then_on() -> None:
    records: dict[Triplet, Record] = {}
    write(answer(asked(GOOD), records), records, T)
    other = asked(GOOD, client=b"198.51.100.7")
    early = answer(other, records, T + 9)
    assert (early.reason, early.retry_after, early.changes) == (
        Reason.EARLY,
        DELAY - 9,
        (Blocked(POOLED),),
    )
    later = answer(other, records, T + DELAY)
    assert (later.reason, later.waited, later.pool) == (Reason.RETRIED, DELAY, POOL)
    write(later, records, T + DELAY)
    known = asked(client=b"198.51.100.7")
    assert needs(known, records[known.triplet], T + DELAY + 1, records) is None
    assert answer(known, records, T + DELAY + 1).reason is Reason.KNOWN
    third = answer(asked(GOOD, client=b"203.0.113.9"), records, T + DELAY + 1)
    assert (third.reason, third.waited) == (Reason.KNOWN, None)


def test_what_is_known_needs_no_evidence_and_a_first_pass_needs_to_know_who_passes() -> None:
    question = asked()
    assert needs(question, trusted(1), T) is None
    assert needs(question, WAITING, T) is None
    first_pass = needs(question, WAITING, T + DELAY)
    assert first_pass is not None
    assert first_pass.kinds == {Kind.SPF, Kind.NAMES}
    first_contact = needs(asked(policy=SUSPICIOUS), None, T)
    assert first_contact is not None
    assert first_contact.kinds == {Kind.SPF, Kind.NAMES, Kind.DNSBL}
    assert needs(asked({Kind.SPF: None, Kind.NAMES: None}), None, T) is None
    assert needs(question, None, T, SENT) is None
    named = asked({Kind.NAMES: ("mx.example.org",)})
    assert needs(named, None, T, {BY_DOMAIN: trusted(5)}) is None
    assert needs(question, None, T, {BY_DOMAIN: trusted(5)}) is not None, "it may be a bot"
    assert needs(asked(facts={"expected": ENTRY}), None, T) is None


def test_a_first_pass_earns_trust_for_the_address_or_for_the_pool() -> None:
    expires = T + DELAY + LIFETIME
    plain = answer(asked({**GOOD, Kind.SPF: None}), {KEY: WAITING}, T + DELAY)
    assert plain.changes == (
        Passed(KEY, expires),
        Noted(trust_of(HERE, ""), T + DELAY, expires),
        Noted(BY_DOMAIN, T + DELAY, expires),
    )
    of_pool = answer(asked(GOOD), {KEY: WAITING}, T + DELAY)
    assert of_pool.changes == (
        Passed(KEY, expires),
        Noted(POOLED, T + DELAY, expires),
        Noted(trust_of(POOL, ""), T + DELAY, expires),
        Noted(trust_of(POOL, "example.org"), T + DELAY, expires),
        Noted(trust_of(HERE, ""), T + DELAY, expires),
    )
    for names in ((), None, ("dsl-192-0-2-17.example.org",)):
        unnamed = asked({**GOOD, Kind.NAMES: names})
        assert answer(unnamed, {BY_DOMAIN: trusted(5)}).reason is Reason.NEW, "a bot may come again"
    again = answer(asked(GOOD), {KEY: trusted(1)})
    assert again.changes == (Passed(KEY, T + LIFETIME),)


def test_who_has_passed_often_enough_for_all_domains_earns_no_trust_for_one_more() -> None:
    key, total, now = KEY, trust_of(HERE, ""), T + DELAY
    evidence = {**GOOD, Kind.SPF: None}
    for passes, is_known, earned in (
        (19, False, [total, BY_DOMAIN]),
        (20, False, [total]),
        (20, True, [total, BY_DOMAIN]),
    ):
        records = {key: WAITING, total: trusted(passes, until=T + 9999)}
        if is_known:
            records[BY_DOMAIN] = trusted(1, until=T + 9999)
        changes = answer(asked(evidence), records, now).changes
        assert [change.triplet for change in changes] == [key, *earned]


def test_trust_lasts_while_mail_comes() -> None:
    decision = answer(asked({Kind.NAMES: ("mx.example.org",)}), {BY_DOMAIN: trusted(5)})
    assert decision.changes == (Passed(BY_DOMAIN, T + LIFETIME),)


def test_neighbours_inherit_nothing() -> None:
    """T2: 256 addresses of one /24, of which one has earned trust."""
    records = {trust_of(HERE, name): trusted(99) for name in ("", "example.org")}
    reasons = [
        answer(asked({**GOOD, Kind.SPF: None}, client=b"192.0.2.%d" % last), records).reason
        for last in range(256)
    ]
    assert reasons.count(Reason.TRUSTED) == 1
    assert reasons[17] is Reason.TRUSTED
    assert reasons.count(Reason.NEW) == 255


def test_an_ipv6_address_earns_trust_as_its_64() -> None:
    records: dict[Triplet, Record] = {
        trust_of(of_address(bytes.fromhex("20010db8") + bytes(12)), ""): trusted(20)
    }
    names: Evidence = {Kind.NAMES: ("mx.example.org",)}
    assert answer(asked(names, client=b"2001:db8::9"), records).reason is Reason.TRUSTED
    assert answer(asked(names, client=b"2001:db8:0:1::9"), records).reason is Reason.NEW


def test_who_mails_a_trap_is_refused_for_a_day_whatever_he_mails_then() -> None:
    records: dict[Triplet, Record] = {}
    first = answer(asked(facts={"trap": ENTRY}), records)
    assert (first.verdict, first.entry) == (Verdict.REJECT, ENTRY)
    write(first, records, T)
    other = asked(sender=b"c@example.org", recipient=b"d@example.net")
    assert answer(other, records, T + DAY - 1).reason is Reason.TRAPPED
    assert answer(other, records, T + DAY).reason is Reason.NEW
    deferring = answer(asked(policy=replace(POLICY, trap=Trap.DEFER), facts={"trap": ENTRY}), {})
    assert (deferring.verdict, deferring.retry_after) == (Verdict.DEFER, DAY)


@pytest.mark.parametrize("sender", [b"", b"postmaster@example.org", b"double-bounce@example.org"])
def test_a_bounce_or_a_probe_to_a_trap_makes_no_good_server_trapped(sender: bytes) -> None:
    """T32: spammers use the trap as a sender, and the servers that they mail answer it."""
    records: dict[Triplet, Record] = {}
    first = answer(asked(facts={"trap": ENTRY}, sender=sender), records)
    assert first.reason is Reason.NEW
    write(first, records, T)
    assert answer(asked(recipient=b"d@example.net"), records).reason is Reason.NEW
    records = {trapped_of(CLIENT): trusted(1)}
    assert answer(asked(sender=sender), records).reason is Reason.TRAPPED


def test_a_pool_that_has_passed_is_not_refused_for_a_trap() -> None:
    records = {trust_of(POOL, ""): trusted(1)}
    assert answer(asked(GOOD, facts={"trap": ENTRY}), records).reason is Reason.NEW
    records[trapped_of(CLIENT)] = trusted(1)
    assert answer(asked(GOOD), records).reason is Reason.NEW
    assert answer(asked(), records).reason is Reason.TRAPPED


@pytest.mark.parametrize("client", [b"2002:c000:211::1", b"2001:0:c633:6401::3fff:fdee"])
def test_an_address_that_a_relay_may_forge_is_spared_nothing_and_harms_nobody(
    client: bytes,
) -> None:
    """T2: anybody can run a relay of 6to4 or Teredo, and use addresses of others in it."""
    evidence: Evidence = {**GOOD, Kind.DNSWL: ("wl.example.org",)}
    question = asked(evidence, client=client)
    assert question.client == CLIENT
    records = {trust_of(HERE, ""): trusted(99), trust_of(POOL, ""): trusted(99)}
    assert answer(question, records).reason is Reason.NEW
    assert question.names == ()
    assert not question.spf_passed
    assert answer(replace(question, trap=ENTRY), {}).reason is Reason.NEW
    passed = answer(question, {question.triplet: WAITING}, T + DELAY)
    assert passed.changes == (Passed(question.triplet, T + DELAY + LIFETIME),)
    assert answer(asked(evidence, client=b"64:ff9b::192.0.2.17"), records).reason is Reason.TRUSTED


def test_observing_lets_in_what_it_would_have_deferred_and_knows_it_then() -> None:
    policy = replace(POLICY, greylist=Greylist.OBSERVE)
    records: dict[Triplet, Record] = {}
    first = answer(asked(policy=policy), records)
    assert (first.verdict, first.reason, first.instead) == (
        Verdict.PASS,
        Reason.OBSERVED,
        Reason.NEW,
    )
    write(first, records, T)
    assert answer(asked(), records, T + 1).reason is Reason.KNOWN
    waiting = answer(asked(policy=policy), {KEY: WAITING})
    assert (waiting.reason, waiting.instead, waiting.changes) == (
        Reason.OBSERVED,
        Reason.EARLY,
        (Blocked(KEY),),
    )
    trap = answer(asked(policy=policy, facts={"trap": ENTRY}), {})
    assert (trap.verdict, trap.instead) == (Verdict.PASS, Reason.TRAPPED)


@pytest.mark.parametrize(
    ("evidence", "helo", "sender", "signs"),
    [
        (GOOD, b"mx.example.org", b"a@example.org", []),
        (GOOD, b"", b"a@example.org", []),
        ({**GOOD, Kind.NAMES: ()}, b"mx.example.org", b"a@example.org", [Sign.NO_NAME]),
        ({**GOOD, Kind.NAMES: None}, b"mx.example.org", b"a@example.org", [Sign.NO_NAME]),
        (
            {**GOOD, Kind.NAMES: ("dsl-192-0-2-17.example.org",)},
            b"mx.example.org",
            b"a@example.org",
            [Sign.DYNAMIC_NAME],
        ),
        (GOOD, b"[192.0.2.17]", b"a@example.org", [Sign.HELO]),
        (GOOD, b"friend", b"a@example.org", [Sign.HELO]),
        (GOOD, b"example.net", b"a@example.org", [Sign.HELO]),
        (GOOD, b"mx.example.com", b"a@example.org", [Sign.HELO]),
        ({**GOOD, Kind.SPF: Outcome(Result.FAIL)}, b"", b"a@example.org", [Sign.SPF]),
        ({**GOOD, Kind.SPF: Outcome(Result.SOFTFAIL)}, b"", b"a@example.org", [Sign.SPF]),
        ({**GOOD, Kind.SPF: Outcome(Result.NONE)}, b"", b"a@example.org", []),
        ({**GOOD, Kind.SPF: Outcome(Result.TEMPERROR)}, b"", b"a@example.org", [Sign.SPF]),
        ({**GOOD, Kind.SPF: None}, b"", b"a@example.org", [Sign.SPF]),
        ({**GOOD, Kind.DNSBL: ("bl.example.com",)}, b"", b"a@example.org", [Sign.DNSBL]),
        ({**GOOD, Kind.DNSBL: None}, b"", b"a@example.org", [Sign.DNSBL]),
        (GOOD, b"", b"b@example.net", [Sign.SENDER_IS_RECIPIENT]),
        ({}, b"x", b"b@example.net", list(Sign)[:1] + list(Sign)[2:]),
    ],
)
def test_signs(evidence: Evidence, helo: bytes, sender: bytes, signs: list[Sign]) -> None:
    policy = replace(SUSPICIOUS, our_names=("mx.example.com",))
    question = asked(evidence, policy, sender=sender, helo=helo)
    found = signs_of(question)
    assert [one.sign for one in found] == signs
    assert all(one.source for one in found)
    spared = answer(question, {}).reason is Reason.UNSUSPICIOUS
    assert spared is not bool(signs)
    lenient = replace(question, policy=replace(policy, signs_needed=9))
    assert answer(lenient, {}).reason is Reason.UNSUSPICIOUS
    blind = replace(question, policy=replace(policy, signs=frozenset()))
    assert answer(blind, {}).reason is Reason.UNSUSPICIOUS


@pytest.mark.parametrize(
    ("evidence", "helo", "signs"),
    [
        ({}, b"", ()),
        ({Kind.NAMES: None, Kind.SPF: None, Kind.DNSBL: None}, b"friend", ("helo",)),
        ({Kind.SPF: Outcome(Result.TEMPERROR)}, b"", ()),
        ({Kind.NAMES: (), Kind.SPF: Outcome(Result.FAIL)}, b"", ("no-name", "spf")),
        ({Kind.DNSBL: ("bl.example.com",)}, b"", ("dnsbl",)),
    ],
)
def test_what_is_not_known_is_no_sign_for_the_history(
    evidence: Evidence, helo: bytes, signs: tuple[str, ...]
) -> None:
    """Whatever counts under the policy: where nothing is asked of DNS, nobody is suspected."""
    question = asked(evidence, SUSPICIOUS, helo=helo)
    for policy in (SUSPICIOUS, replace(SUSPICIOUS, signs=frozenset(), dnsbl=False)):
        assert known_signs(replace(question, policy=policy)) == signs


def test_the_name_that_the_mail_server_confirmed_counts_without_a_query() -> None:
    words = Words(client_name=b"name", confirmed=True)
    attempt = Attempt(
        b"192.0.2.17", b"a@example.org", b"b@example.net", told={b"name": b"MX.example.org"}
    )
    question = precheck(replace(attempt, words=words), POLICY)
    assert isinstance(question, Question)
    assert question.names == ("mx.example.org",)
    unconfirmed = precheck(replace(attempt, words=replace(words, confirmed=False)), POLICY)
    assert isinstance(unconfirmed, Question)
    assert unconfirmed.names is None


LIST = """\
// ===BEGIN ICANN DOMAINS===
org
// ===END ICANN DOMAINS===
// ===BEGIN PRIVATE DOMAINS===
// ===END PRIVATE DOMAINS===
"""


@pytest.mark.parametrize(
    ("names", "pool"),
    [
        (("mx1.out.example.org",), Pool(PoolKind.NAME, "example.org").packed),
        (("dsl-192-0-2-17.example.org",), None),
        (
            ("dsl-192-0-2-17.example.org", "mx.example.org"),
            Pool(PoolKind.NAME, "example.org").packed,
        ),
        ((), None),
        (None, None),
    ],
)
def test_names_make_an_identity_only_if_switched_on(
    names: tuple[str, ...] | None, pool: bytes | None
) -> None:
    evidence: Evidence = {Kind.SPF: Outcome(Result.NONE), Kind.NAMES: names}
    assert asked(evidence).pooled is None
    by_name = replace(POLICY, identity=IdentityBy.SPF_OR_NAME, suffixes=Suffixes(LIST))
    assert pool_of(asked(evidence, by_name)) == pool
    of_bots = pool is None  # however narrow their domain's SPF record is
    assert pool_of(asked({**evidence, Kind.SPF: PASS}, by_name)) == (None if of_bots else POOL)


def test_the_null_sender_belongs_to_the_pool_of_its_helo() -> None:
    attempt = Attempt(
        b"192.0.2.17",
        b"",
        b"b@example.net",
        stage=Stage.RCPT_ONLY,
        told={b"helo": b"Out.example.org"},
        words=WORDS,
    )
    question = precheck(attempt, POLICY)
    assert isinstance(question, Question)
    pool = Pool(PoolKind.SPF, "out.example.org").packed
    assert pool_of(with_known(question, GOOD)) == pool


def test_variable_senders_are_one_triplet() -> None:
    one, other = (
        asked(sender=b"list-bounces+%d=b=example.net@example.org" % number)
        for number in (4711, 4712)
    )
    assert one.triplet == other.triplet
    assert (
        asked(sender=b"sales-1@example.org").triplet != asked(sender=b"sales-2@example.org").triplet
    )


def test_a_tagged_recipient_is_one_mailbox_if_so_configured() -> None:
    tagged = replace(POLICY, mailbox_separator="-")
    assert asked(policy=tagged, recipient=b"b-shop@example.net").triplet == KEY
    assert asked(recipient=b"b-shop@example.net").triplet != KEY


def test_our_users_teach_who_may_answer() -> None:
    ours = Attempt(b"192.0.2.99", b"b@example.net", b"A@example.org", authenticated=True)
    noted = taught(ours, POLICY, T)
    assert noted == Noted(sent_of("a@example.org", "b@example.net"), T, T + 90 * DAY)
    records = {noted.triplet: noted.record()}
    assert answer(asked(), records).reason is Reason.CORRESPONDENT
    assert taught(replace(ours, authenticated=False), POLICY, T) is None
    assert taught(replace(ours, sender=b""), POLICY, T) is None
    assert taught(ours, Policy(), T) is None


def test_a_signed_sender_of_ours_teaches_for_the_plain_mailbox() -> None:
    """The answer comes to the mailbox, and not to the signature (BATV)."""
    signed = b"prvs=1234567890=B@Example.NET"
    noted = taught(Attempt(b"192.0.2.99", signed, b"a@example.org", relay=True), POLICY, T)
    assert noted is not None
    records = {noted.triplet: noted.record()}
    assert answer(asked(), records).reason is Reason.CORRESPONDENT


def test_mail_to_a_colleague_teaches_nothing() -> None:
    """Else whoever forges the colleague's address is let in."""
    for theirs in (b"c@example.net", b"c@EXAMPLE.net"):
        ours = Attempt(b"192.0.2.99", b"b@example.net", theirs, authenticated=True)
        assert taught(ours, POLICY, T) is None


def test_the_window_of_a_pool_is_that_of_its_network() -> None:
    records: dict[Triplet, Record] = {}
    write(answer(asked(GOOD), records), records, T)
    assert answer(asked(GOOD, client=b"198.51.100.7"), records, T + WINDOW).reason is Reason.NEW


def test_greylisting_can_be_off() -> None:
    question = asked(policy=replace(POLICY, greylist=Greylist.OFF))
    decision = listed(question, [], T)
    assert decision is not None
    assert (decision.verdict, decision.reason) == (Verdict.PASS, Reason.OFF)
    denied = Entry(Domain("example.net"), T + 9, T + 9)
    refused = listed(question, [denied], T)
    assert refused is not None
    assert refused.reason is Reason.DENYLISTED


def test_who_has_passed_without_a_name_is_not_trapped_though_not_trusted() -> None:
    records: dict[Triplet, Record] = {KEY: WAITING}
    unnamed = asked({**GOOD, Kind.NAMES: ()})
    write(answer(unnamed, records, T + DELAY), records, T + DELAY)
    other = {"recipient": b"old@example.net", "sender": b"c@example.org"}
    trap = asked({**GOOD, Kind.NAMES: ()}, facts={"trap": ENTRY}, **other)  # type: ignore[arg-type]
    assert answer(trap, records, T + DELAY + 1).reason is Reason.NEW


def test_who_mailed_a_trap_does_not_get_in_by_what_waits_either() -> None:
    records = {KEY: WAITING, trapped_of(CLIENT): trusted(1, until=T + DAY)}
    assert answer(asked(), records, T + DELAY).reason is Reason.TRAPPED
    assert answer(asked(), {**records, KEY: trusted(1)}).reason is Reason.KNOWN


def test_a_server_of_many_domains_is_not_refused_for_what_one_of_them_sends_to_a_trap() -> None:
    """Each domain is a pool of its own, but the server has passed for others."""
    records: dict[Triplet, Record] = {}
    write(answer(asked(GOOD), records), records, T)
    write(answer(asked(GOOD), records, T + DELAY), records, T + DELAY)
    later = T + DELAY + 1
    trap = asked(GOOD, sender=b"a@example.com", facts={"trap": ENTRY})
    first = answer(trap, records, later)
    assert first.reason is Reason.NEW
    write(first, records, later)
    other = asked(GOOD, sender=b"b@example.net")
    assert answer(other, records, later).reason is Reason.NEW


def test_a_name_without_an_organisation_makes_no_pool() -> None:
    evidence: Evidence = {Kind.SPF: None, Kind.NAMES: ("mx.example.test",)}
    by_name = replace(POLICY, identity=IdentityBy.SPF_OR_NAME, suffixes=Suffixes(LIST))
    assert pool_of(asked(evidence, by_name)) is None
    assert pool_of(asked(evidence, replace(by_name, suffixes=None))) is None


def test_a_bounce_earns_trust_for_no_domain() -> None:
    key = replace(KEY, sender="")
    bounce = replace(asked(GOOD), triplet=key)
    changes = answer(bounce, {key: WAITING}, T + DELAY).changes
    assert [change.triplet for change in changes if change.triplet.recipient == r"\trusted"] == [
        trust_of(POOL, ""),
        trust_of(HERE, ""),
    ]


def test_who_is_trusted_with_a_pool_whose_record_waits_tells_of_it() -> None:
    question = asked(GOOD)
    trust = {trust_of(POOL, "example.org"): trusted(5)}
    assert answer(question, trust).waiting is None
    found = answer(question, trust | {POOLED: WAITING})
    assert (found.reason, found.waiting) == (Reason.TRUSTED, POOLED)
    passed = replace(WAITING, passed=1)
    assert answer(question, trust | {POOLED: passed}).waiting is None
    assert answer(question, trust | {POOLED: WAITING}, WAITING.expires).waiting is None


def test_what_is_expected_while_its_record_waits_tells_of_it() -> None:
    found = answer(asked(facts={"expected": ENTRY}), {KEY: WAITING})
    assert (found.reason, found.waiting) == (Reason.EXPECTED, KEY)
    assert answer(asked(facts={"expected": ENTRY}), {}).waiting is None
