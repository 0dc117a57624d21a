"""The rules for connections: one table of named cases, and what must hold of their keys."""

from __future__ import annotations

import pytest
from hypothesis import given

from greylag.core.client import parse_address
from greylag.core.connection import HOLD, Connection, precheck_connection
from greylag.core.engine import decide
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import CLOCK_TOLERANCE, Record, applied
from greylag.core.triplet import Triplet, triplet_of
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.service.policies import held
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
