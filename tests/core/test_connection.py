"""The rules for connections: one table of named cases, and what must hold of their keys."""

from __future__ import annotations

import pytest
from hypothesis import given

from greylag.core.accesslist import Entry
from greylag.core.client import parse_address
from greylag.core.connection import HOLD, Connection, held, precheck_connection
from greylag.core.engine import decide, needs
from greylag.core.evidence import Evidence, Kind
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.policy import SPARING, Greylist, IdentityBy, Policy, with_evidence
from greylag.core.question import Question
from greylag.core.record import CLOCK_TOLERANCE, Record, applied
from greylag.core.sparing import TRUST_TAKES, further, with_known
from greylag.core.subject import Domain
from greylag.core.suffixes import Suffixes
from greylag.core.triplet import Triplet, kind_of, trapped_of, triplet_of, trust_of
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.service.policies import Policies
from tests.strategies import PROPERTY, mapped_pairs, raw_addresses

POLICY = Policy()
PLAIN = Connection(b"192.0.2.17", b"mx.example.org")
NOW = 1_800_000_000
PASS, REJECT = Verdict.PASS, Verdict.REJECT


@pytest.mark.parametrize(
    ("connection", "verdict", "reason"),
    [
        pytest.param(replace(PLAIN, word=b""), PASS, Reason.ALLOWLISTED, id="allowed"),
        pytest.param(replace(PLAIN, word=b"no"), REJECT, Reason.DENYLISTED, id="denied"),
        pytest.param(replace(PLAIN, relay=True), PASS, Reason.RELAY, id="fault 4: may relay"),
        pytest.param(
            replace(PLAIN, word=b"no", relay=True), REJECT, Reason.DENYLISTED, id="denied, relays"
        ),
        pytest.param(
            replace(PLAIN, client_name=b"", no_reverse=b"no"),
            REJECT,
            Reason.NO_REVERSE_DNS,
            id="no name",
        ),
        pytest.param(
            replace(PLAIN, client_name=b"", no_reverse=b"no", word=b""),
            PASS,
            Reason.ALLOWLISTED,
            id="no name, allowed",
        ),
        pytest.param(
            replace(PLAIN, client_name=b"", no_reverse=b"no", relay=True),
            PASS,
            Reason.RELAY,
            id="no name, relays",
        ),
        pytest.param(Connection(b"not-an-ip"), PASS, Reason.INVALID_CLIENT, id="no address"),
        pytest.param(Connection(None), PASS, Reason.INVALID_CLIENT, id="nothing"),
    ],
)
def test_what_needs_no_record(connection: Connection, verdict: Verdict, reason: Reason) -> None:
    assert precheck_connection(connection, POLICY) == Decision(verdict, reason)


@pytest.mark.parametrize(
    "connection",
    [PLAIN, replace(PLAIN, client_name=b""), replace(PLAIN, no_reverse=b"no")],
    ids=["plain", "no name, which is fine", "a name, which is asked for"],
)
def test_what_the_record_has_to_say(connection: Connection) -> None:
    question = precheck_connection(connection, POLICY)
    assert isinstance(question, Question)
    assert question.connection
    assert not question.null_sender
    assert question.triplet == triplet(b"192.0.2.17", by_address=False)


def triplet(address: bytes, *, by_address: bool = False) -> Triplet:
    question = precheck_connection(Connection(address, by_address=by_address), POLICY)
    assert isinstance(question, Question)
    return question.triplet


@pytest.mark.parametrize(
    ("one", "other", "by_address", "same"),
    [
        (b"192.0.2.1", b"192.0.2.200", False, True),
        (b"192.0.2.1", b"192.0.3.1", False, False),
        (b"192.0.2.1", b"192.0.2.200", True, False),
        (b"192.0.2.16", b"192.0.2.17", True, False),
        (b"192.0.2.1", b"::ffff:192.0.2.1", True, True),
        (b"2001:db8::1", b"2001:db8::2:1", False, True),
        (b"2001:db8::1", b"2001:db8::2:1", True, True),
        (b"2001:db8::1", b"2001:db8:0:1::1", False, False),
    ],
)
def test_fault_2_who_shares_a_record(
    one: bytes, other: bytes, by_address: bool, same: bool
) -> None:
    """By /24 or by address, IPv6 always by /64."""
    assert (triplet(one, by_address=by_address) == triplet(other, by_address=by_address)) is same


@PROPERTY
@given(mapped_pairs())
def test_mapped_addresses_are_ipv4(pair: tuple[bytes, bytes]) -> None:
    assert triplet(pair[0]) == triplet(pair[1])


@PROPERTY
@given(raw_addresses, raw_addresses)
def test_no_recipient_shares_a_connections_record(sender: bytes, recipient: bytes) -> None:
    client = parse_address(b"192.0.2.17")
    assert client is not None
    found = triplet_of(client, sender, recipient, POLICY)
    assert found.recipient != r"\connection"
    assert triplet_of(client, b"", rb"\connection", POLICY) != triplet(b"192.0.2.17")


def answers(hold: int, *times: int) -> list[tuple[Verdict, Reason]]:
    """Connect at these seconds; return the answers."""
    question = precheck_connection(PLAIN, held(POLICY, hold))
    assert isinstance(question, Question)
    record: Record | None = None
    found = []
    for at in times:
        decision = decide(question, record, NOW + at)
        for change in decision.changes:
            record = applied(change, record, NOW + at)
        found.append((decision.verdict, decision.reason))
    return found


NEW, EARLY = (Verdict.DEFER, Reason.NEW), (Verdict.DEFER, Reason.EARLY)
RETRIED, KNOWN = (Verdict.PASS, Reason.RETRIED), (Verdict.PASS, Reason.KNOWN)


@pytest.mark.parametrize(
    ("hold", "times", "wanted"),
    [
        (120, (0, 119, 120, 121), [NEW, EARLY, RETRIED, KNOWN]),
        (120, (0, 60, 130), [NEW, EARLY, RETRIED]),
        (0, (0, 0), [NEW, RETRIED]),
        (300_000, (0, 299_999, 300_000), [NEW, EARLY, RETRIED]),
        (120, (0, 130, 30 * 86400), [NEW, RETRIED, KNOWN]),
        (120, (0, 3 * 86400), [NEW, NEW]),
    ],
    ids=["hold", "early moves nothing", "at once", "longer than the window", "a month", "too late"],
)
def test_the_record(
    hold: int, times: tuple[int, ...], wanted: list[tuple[Verdict, Reason]]
) -> None:
    assert answers(hold, *times) == wanted


@pytest.mark.parametrize("passed", [0, 1])
def test_the_delay_of_now_counts_not_that_of_the_first_time(passed: int) -> None:
    """As in the old program, which keeps the first time alone; a shorter one lets in at once."""
    question = precheck_connection(PLAIN, held(POLICY, HOLD))
    assert isinstance(question, Question)
    record = Record(NOW, NOW + 120, NOW + 86400, blocked=1, passed=passed)
    for hold, verdict in ((59, Verdict.PASS), (60, Verdict.PASS), (61, Verdict.DEFER)):
        question = precheck_connection(PLAIN, held(POLICY, hold))
        assert isinstance(question, Question)
        decision = decide(question, record, NOW + 60)
        assert decision.verdict is verdict
        assert decision.retry_after == max(hold - 60, 0)


def test_a_first_contact_in_the_future_keeps_nobody_who_is_known_p18() -> None:
    """The clock was ahead for a while: a year of delay would be the price."""
    question = precheck_connection(PLAIN, held(POLICY, HOLD))
    assert isinstance(question, Question)
    record = Record(NOW + 365 * 86400, NOW, NOW + 400 * 86400, blocked=1, passed=1)
    assert decide(question, record, NOW).reason is Reason.KNOWN


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [
        (0, Reason.EARLY),
        (CLOCK_TOLERANCE, Reason.EARLY),
        (CLOCK_TOLERANCE + 1, Reason.KNOWN),
    ],
)
def test_servers_clocks_may_differ_by_so_much_p18(ahead: int, reason: Reason) -> None:
    question = precheck_connection(PLAIN, held(POLICY, HOLD))
    assert isinstance(question, Question)
    record = Record(NOW + ahead, NOW, NOW + 86400, blocked=1, passed=1)
    assert decide(question, record, NOW).reason is reason


def test_whoever_is_held_for_long_has_a_day_to_come_back() -> None:
    policy = held(POLICY, POLICY.retry_window)
    assert policy.retry_window == POLICY.retry_window + 86400


def test_the_hold_time_of_the_old_program() -> None:
    assert PLAIN.hold == HOLD == 120


def test_the_policy_of_a_connection_lets_something_pass() -> None:
    for hold in (0, 1, HOLD, 999_999_999):
        policy = held(replace(POLICY, explicit=True), hold)
        assert policy.fault() is None
        assert policy.delay == hold
        assert not policy.explicit


LIST = """\
// ===BEGIN ICANN DOMAINS===
org
// ===END ICANN DOMAINS===
// ===BEGIN PRIVATE DOMAINS===
// ===END PRIVATE DOMAINS===
"""
HERE = b"\xc0\x00\x02\x11"
ANY = trust_of(of_address(HERE), "")
TRUSTED = Record(NOW - 2 * TRUST_TAKES, NOW, NOW + 9, passed=20)
SPARED = with_evidence(replace(SPARING, dns=True, dnswl=True))
NAMES = replace(SPARED, identity=IdentityBy.SPF_OR_NAME, suffixes=Suffixes(LIST))
SUSPICIOUS = replace(SPARED, greylist=Greylist.SUSPICIOUS, dnsbl=True)
ENTRY = Entry(Domain("192.0.2.0"), 0)
POOL = Pool(PoolKind.NAME, "example.org").packed
GOOD: Evidence = {Kind.NAMES: ("mx.example.org",), Kind.DNSBL: ()}


def asked(policy: Policy, evidence: Evidence | None = None, **facts: Entry) -> Question:
    question = precheck_connection(PLAIN, held(policy, HOLD))
    assert isinstance(question, Question)
    return with_known(replace(question, **facts), evidence or {})


@pytest.mark.parametrize(
    ("policy", "evidence", "others", "facts", "reason"),
    [
        (SPARED, {}, {}, {}, "new"),
        (SPARED, {}, {}, {"provider": ENTRY}, "provider"),
        (SPARED, {}, {ANY: TRUSTED}, {}, "new"),
        (SPARED, {Kind.NAMES: ("mx.example.org",)}, {ANY: TRUSTED}, {}, "trusted"),
        (with_evidence(SPARING), {}, {ANY: TRUSTED}, {}, "trusted"),
        (SPARED, {}, {ANY: replace(TRUSTED, passed=19)}, {}, "new"),
        (SPARED, {}, {trust_of(of_address(b"\xc0\x00\x02\x12"), ""): TRUSTED}, {}, "new"),
        (SPARED, {}, {trust_of(of_address(HERE), "example.org"): TRUSTED}, {}, "new"),
        (SPARED, {}, {trapped_of(HERE): TRUSTED}, {}, "new"),
        (SPARED, {Kind.DNSWL: ("wl.example.net",)}, {}, {}, "dnswl"),
        (SPARED, {Kind.DNSWL: None}, {}, {}, "new"),
        (NAMES, GOOD, {trust_of(POOL, ""): TRUSTED}, {}, "trusted"),
        (NAMES, {Kind.NAMES: ()}, {trust_of(POOL, ""): TRUSTED}, {}, "new"),
        (SUSPICIOUS, GOOD, {}, {}, "unsuspicious"),
        (SUSPICIOUS, {**GOOD, Kind.NAMES: ()}, {}, {}, "new"),
        (SUSPICIOUS, {**GOOD, Kind.DNSBL: ("bl.example.net",)}, {}, {}, "new"),
        (SUSPICIOUS, {}, {}, {}, "new"),
        (replace(SPARED, greylist=Greylist.OBSERVE), {}, {}, {}, "observed"),
        (POLICY, GOOD, {ANY: TRUSTED}, {}, "new"),
    ],
)
def test_a_first_connection_is_spared_by_what_needs_no_mail(
    policy: Policy,
    evidence: Evidence,
    others: dict[Triplet, Record],
    facts: dict[str, Entry],
    reason: str,
) -> None:
    assert decide(asked(policy, evidence, **facts), None, NOW, others).reason is Reason(reason)


@pytest.mark.parametrize("policy", [SPARED, NAMES, SUSPICIOUS])
def test_what_needs_a_sender_or_a_recipient_is_not_asked_for(policy: Policy) -> None:
    question = asked(policy)
    wanted = needs(question, None, NOW)
    assert wanted is not None
    assert Kind.SPF not in wanted.kinds
    kinds = {kind_of(key) for key in further(question)}
    assert kinds <= {"trust", "connection"}


def test_nobody_earns_trust_by_connections() -> None:
    """A bot that connects twice has sent no mail: traps and later mail must not take it for one."""
    question = asked(NAMES)
    record = Record(NOW - HOLD, NOW, NOW + 9, blocked=1)
    assert needs(question, record, NOW) is None
    decision = decide(question, record, NOW)
    assert decision.reason is Reason.RETRIED
    assert [kind_of(change.triplet) for change in decision.changes] == ["connection"]


def test_a_connection_from_another_network_of_a_pool_meets_its_record() -> None:
    pooled = replace(asked(NAMES).triplet, network=POOL)
    first = decide(asked(NAMES, GOOD), None, NOW)
    assert [change.triplet for change in first.changes] == [asked(NAMES).triplet, pooled]
    records = {pooled: Record(NOW - HOLD, NOW, NOW + 9, blocked=1)}
    assert decide(asked(NAMES, GOOD), None, NOW, records).reason is Reason.RETRIED
    early = {pooled: Record(NOW - HOLD + 1, NOW, NOW + 9, blocked=1)}
    assert decide(asked(NAMES, GOOD), None, NOW, early).reason is Reason.EARLY


def test_the_policy_of_a_hold_time_is_made_once() -> None:
    policies = Policies(SPARED)
    one = policies.of_connection(PLAIN)
    assert policies.of_connection(replace(PLAIN, client_name=b"")) is one
    assert policies.of_connection(replace(PLAIN, hold=7)).delay == 7
    many = [policies.of_connection(replace(PLAIN, hold=n)).delay for n in range(1000)]
    assert many == list(range(1000))
