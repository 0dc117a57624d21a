"""The settings of the engine: their values, and which of them can work."""

from __future__ import annotations

import pytest

from greylag.core.client import parse_address
from greylag.core.evidence import Kind
from greylag.core.policy import (
    RECORD_SIZE,
    Greylist,
    IdentityBy,
    Kept,
    NullSender,
    Policy,
    Room,
    with_evidence,
)
from greylag.core.signs import Sign
from greylag.core.triplet import Triplet, triplet_of
from greylag.core.value import replace
from tests.core.asking import DELAY, LIFETIME, WINDOW, T


def test_the_values_that_hold_if_nobody_says_otherwise() -> None:
    assert Policy() == Policy(DELAY, WINDOW, LIFETIME, 24, 64, NullSender.DATA, explicit=False)


def test_how_many_may_wait_if_nobody_says_otherwise() -> None:
    assert Room() == Room(total=5_000_000, per_network=10_000)


def test_the_words_for_the_null_sender() -> None:
    assert [member.value for member in NullSender] == ["data", "rcpt", "never"]


@pytest.mark.parametrize(
    ("delay", "window", "works"),
    [(0, 1, True), (0, 0, False), (300, 301, True), (300, 300, False), (300, 299, False)],
)
def test_the_window_must_outlast_the_delay(delay: int, window: int, works: bool) -> None:
    """Fault 8: the old program took such settings, and nothing ever passed."""
    fault = Policy(delay=delay, retry_window=window).fault()
    assert (fault is None) is works


def test_the_fault_names_both_settings() -> None:
    assert Policy(delay=5400, retry_window=60).fault() == (
        "the retry window (1m) must be longer than the delay (1h30m), or nothing could ever pass"
    )


@pytest.mark.parametrize(
    ("client", "network"),
    [(b"192.0.2.17", b"\xc0\x00\x02\x10"), (b"2001:db8::1", bytes.fromhex("20010db8") + bytes(12))],
)
def test_the_prefix_is_that_of_the_family(client: bytes, network: bytes) -> None:
    """R21: IPv6 has settings of its own."""
    packed = parse_address(client)
    assert packed is not None
    policy = Policy(ipv4_prefix=28, ipv6_prefix=48)
    assert policy.prefix_of(packed) == (28 if len(packed) == 4 else 48)
    wanted = Triplet(network, "a@example.org", "b@example.net")
    sender, recipient = b"prvs=1a=A@example.org", b"B@example.net"
    assert triplet_of(packed, sender, recipient, policy) == wanted


def test_what_a_record_may_take_t36() -> None:
    """Long addresses count for more; an ordinary triplet is below what the room is made for."""
    ordinary = Triplet(b"\xc0\0\2\0", "sender@mail.example.org", "recipient@example.net")
    assert ordinary.key == (b"\xc0\0\2\0", "sender@mail.example.org", "recipient@example.net")
    assert ordinary.size == 40 + (4 + 23 + 21) * 5 // 4
    longest = Triplet(bytes(16), "a" * 255, "b" * 255)
    assert ordinary.size < RECORD_SIZE < longest.size
    assert Room(total=3).total_size == 3 * RECORD_SIZE


SIGNS = frozenset({Sign.SPF, Sign.DNSBL, Sign.HELO})
ASKING = Policy(dns=True, identity=IdentityBy.NONE)
SUSPICIOUS = replace(ASKING, greylist=Greylist.SUSPICIOUS, signs=SIGNS)


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        (ASKING, set()),
        (replace(ASKING, identity=IdentityBy.SPF), {Kind.SPF, Kind.NAMES}),
        (replace(ASKING, identity=IdentityBy.SPF_OR_NAME), {Kind.SPF, Kind.NAMES}),
        (replace(ASKING, trust_after=5), {Kind.NAMES}),  # bots have no name
        (replace(ASKING, trust_all_after=20), {Kind.NAMES}),
        (replace(ASKING, dnswl=True), {Kind.DNSWL}),
        (replace(ASKING, dnsbl=True), set()),  # only a sign needs it
        (SUSPICIOUS, {Kind.SPF}),
        (replace(SUSPICIOUS, dnsbl=True), {Kind.SPF, Kind.DNSBL}),
        (replace(SUSPICIOUS, signs=frozenset({Sign.NO_NAME})), {Kind.NAMES}),
        (replace(SUSPICIOUS, signs=frozenset({Sign.HELO})), set()),
        (replace(SUSPICIOUS, identity=IdentityBy.SPF, dnswl=True, dns=False), set()),
    ],
)
def test_dns_is_asked_for_what_the_rules_go_by_and_for_no_more(
    policy: Policy, kinds: set[Kind]
) -> None:
    assert with_evidence(policy) == replace(policy, evidence=frozenset(kinds))
    assert with_evidence(with_evidence(policy)) == with_evidence(policy)


def test_the_history_keeps_what_began_lately_and_nothing_where_it_is_off() -> None:
    assert Kept(seconds=3600).since(T) == T - 3600
    assert Kept(seconds=0).since(T) > T + 100 * 365 * 86400
    assert Room().history == Kept(30 * 86400, 5_000_000)


def test_what_admins_did_is_kept_where_the_history_of_mail_is_off() -> None:
    assert Kept(seconds=3600).actions_since(T) == T - 3600
    assert Kept(seconds=0).actions_since(T) == T - 30 * 86400
