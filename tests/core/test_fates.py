"""What became of mail that never came back, by the rules of figures.md, and who was hurt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greylag.core.client import parse_address
from greylag.core.fates import (
    BURST,
    HURT_AFTER,
    NEAR,
    RETRIED_WITHIN,
    fate_of_deferral,
    is_hurt,
    is_likely_good,
)
from greylag.core.history import NEVER_CAME_BACK, Deferral, Outcome
from greylag.core.identity import Pool, PoolKind
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.core.value import replace

T = 1_700_000_000
TO = "b@example.net"
POOL = Pool(PoolKind.SPF, "example.org").packed
DOCS = Path(__file__).parents[2] / "docs/reference/figures.md"


def deferral(
    sender: str = "a@example.org", network: str = "192.0.2.0", *signs: str, at: int = T
) -> Deferral:
    packed = parse_address(network.encode())
    assert packed is not None
    return Deferral(Triplet(packed, sender, TO), at, at + 300, signs=signs)


def passed(found: Deferral, after: int = 400) -> Deferral:
    return replace(found, outcome=Outcome.PASSED, ended=found.first_seen + after)


def named(found: Deferral, name: str) -> Deferral:
    return replace(found, name=name)


def tried(found: Deferral, after: int) -> Deferral:
    first = found.first_seen
    return replace(found, tries=1, first_try=first + after, last_try=first + after)


ONE = deferral()
POOLED = replace(ONE, pool=POOL)
ELSEWHERE = deferral(network="198.51.100.0", at=T + 60)
LIST = deferral("news-return-17-b=example.net@example.org")
NEXT_POST = deferral("news-return-18-b=example.net@example.org", at=T + 900)
RANDOM = deferral("v-1x7kq2_m9@example.org")
RANDOM_TOO = [deferral(f"v-1{word}@example.org", at=T + 9) for word in ("a8b_c1", "q5_2x")]
BOUNCE = deferral("")
WRITERS = [deferral(f"{name}@example.org", at=T - NEAR - 1) for name in ("jane", "john")]
CHANGING = [deferral(f"{name}@example.org", at=T + 900) for name in ("bcdfgh", "kqxwzt")]
DYNAMIC, NO_NAME, SPF, HELO = "dynamic-name", "no-name", "spf", "helo"
OTHER_WAY, VARYING = Outcome.OTHER_WAY, Outcome.VARYING
LIKELY_SPAM, UNKNOWN = Outcome.LIKELY_SPAM, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("found", "others", "outcome"),
    [
        pytest.param(ONE, [], UNKNOWN, id="one attempt alone tells nothing"),
        pytest.param(ONE, [ONE], UNKNOWN, id="itself tells nothing"),
        # the same mail passed elsewhere
        pytest.param(ONE, [passed(ELSEWHERE)], OTHER_WAY, id="from another network"),
        pytest.param(
            ONE, [passed(replace(ELSEWHERE, first_seen=T - 9000))], OTHER_WAY, id="known before"
        ),
        pytest.param(ONE, [ELSEWHERE], UNKNOWN, id="waits elsewhere"),
        pytest.param(POOLED, [replace(ELSEWHERE, pool=POOL)], OTHER_WAY, id="the pool tried again"),
        pytest.param(
            POOLED,
            [replace(ELSEWHERE, pool=POOL, first_seen=T - 60)],
            UNKNOWN,
            id="the last attempt of a pool, which may be lost",
        ),
        pytest.param(
            POOLED,
            [replace(ELSEWHERE, pool=POOL, first_seen=T + RETRIED_WITHIN + 1)],
            UNKNOWN,
            id="the pool's next mail",
        ),
        pytest.param(
            deferral("a@example.org", "192.0.2.0", NO_NAME, HELO),
            [passed(ELSEWHERE)],
            OTHER_WAY,
            id="a pool without names that passed",
        ),
        pytest.param(
            deferral("a@example.org", "192.0.2.0", SPF),
            [passed(ELSEWHERE)],
            LIKELY_SPAM,
            id="a forged sender, of whom real mail passed",
        ),
        pytest.param(
            deferral("a@example.org", "192.0.2.0", SPF),
            [passed(replace(ELSEWHERE, signs=(SPF,)))],
            OTHER_WAY,
            id="a sender whose SPF is wrong everywhere",
        ),
        pytest.param(
            ONE, [passed(deferral("c@example.org"))], UNKNOWN, id="somebody else of the domain"
        ),
        pytest.param(
            ONE,
            [passed(replace(ELSEWHERE, triplet=replace(ONE.triplet, recipient="c@example.net")))],
            UNKNOWN,
            id="another recipient, whose ids begin alike",
        ),
        # bounces
        pytest.param(
            BOUNCE, [passed(deferral("", "198.51.100.0"))], UNKNOWN, id="anybody's bounce passed"
        ),
        pytest.param(
            replace(BOUNCE, pool=POOL),
            [passed(replace(deferral("", "198.51.100.0"), pool=POOL))],
            OTHER_WAY,
            id="a bounce from the same pool passed",
        ),
        # senders that change
        pytest.param(LIST, [NEXT_POST], VARYING, id="a list whose number changes"),
        pytest.param(
            deferral(LIST.triplet.sender, "192.0.2.0", NO_NAME),
            [NEXT_POST],
            VARYING,
            id="a list without a name: that it never came back is no second reason",
        ),
        pytest.param(
            deferral(LIST.triplet.sender, "192.0.2.0", NO_NAME, HELO),
            [NEXT_POST],
            LIKELY_SPAM,
            id="numbers that change, and two signs",
        ),
        pytest.param(
            deferral("news-return-#-#@example.org"), [], VARYING, id="a key without its numbers"
        ),
        pytest.param(RANDOM, RANDOM_TOO, VARYING, id="three of one beginning, from one network"),
        pytest.param(RANDOM, RANDOM_TOO[:1], UNKNOWN, id="two may be two people"),
        pytest.param(
            RANDOM,
            [replace(one, triplet=replace(one.triplet, network=b"\0\0\0\1")) for one in RANDOM_TOO],
            UNKNOWN,
            id="three of one beginning, from anywhere",
        ),
        pytest.param(
            RANDOM, [passed(RANDOM_TOO[0])], OTHER_WAY, id="such a sender that passed meanwhile"
        ),
        pytest.param(
            RANDOM,
            [passed(replace(RANDOM_TOO[0], first_seen=T - 9000))],
            UNKNOWN,
            id="such a sender that passed before",
        ),
        pytest.param(ONE, CHANGING, VARYING, id="another sender at each attempt"),
        pytest.param(ONE, CHANGING[:1], UNKNOWN, id="two people, at about one time"),
        pytest.param(
            ONE, [CHANGING[0], passed(CHANGING[1])], UNKNOWN, id="two people, and one who passed"
        ),
        pytest.param(
            ONE,
            [tried(one, 900) for one in CHANGING],
            UNKNOWN,
            id="three people whose server tries again",
        ),
        # spam
        pytest.param(
            deferral("a@example.org", "192.0.2.0", DYNAMIC), [], LIKELY_SPAM, id="a sign, no retry"
        ),
        pytest.param(
            tried(deferral("a@example.org", "192.0.2.0", DYNAMIC), BURST),
            [],
            UNKNOWN,
            id="a sign, and it tried again too early",
        ),
        pytest.param(
            tried(deferral("a@example.org", "192.0.2.0", DYNAMIC), BURST - 1),
            [],
            LIKELY_SPAM,
            id="a sign, and a burst of tries is no retry",
        ),
        pytest.param(
            tried(deferral("a@example.org", "192.0.2.0", DYNAMIC, HELO), 900),
            [],
            LIKELY_SPAM,
            id="two signs, and retries",
        ),
        pytest.param(
            deferral("a@example.org", "192.0.2.0", DYNAMIC),
            [replace(ONE, first_seen=T - 900)],
            UNKNOWN,
            id="a sign, and an earlier attempt of the same mail, that was forgotten",
        ),
        pytest.param(ONE, WRITERS, LIKELY_SPAM, id="three senders at one server, no retry of any"),
        pytest.param(ONE, WRITERS[:1], UNKNOWN, id="two may be people who gave up"),
        pytest.param(
            ONE,
            [*WRITERS[:1], tried(WRITERS[1], 900)],
            UNKNOWN,
            id="a server that tries again",
        ),
        pytest.param(
            ONE, [*WRITERS, passed(deferral("c@example.org"))], UNKNOWN, id="whose mail passes"
        ),
        pytest.param(
            ONE,
            [replace(one, first_seen=T + NEAR + 1) for one in WRITERS],
            UNKNOWN,
            id="whose time is not over",
        ),
        pytest.param(
            tried(ONE, 900), WRITERS, UNKNOWN, id="three senders, one of whom tries again"
        ),
        pytest.param(BOUNCE, WRITERS, UNKNOWN, id="a bounce is nobody's"),
    ],
)
def test_fate(found: Deferral, others: list[Deferral], outcome: Outcome) -> None:
    assert fate_of_deferral(found, others) is outcome
    assert fate_of_deferral(found, others[::-1]) is outcome
    assert outcome in NEVER_CAME_BACK


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        ("mx1.example.com", "mx2.example.com", OTHER_WAY),
        ("a.out.example.co.uk", "b.out.example.co.uk", OTHER_WAY),
        ("a.example.co.uk", "b.example2.co.uk", UNKNOWN),
        ("mx1.example.com", "mx1.example.org", UNKNOWN),
        ("mx1.example.com", "", UNKNOWN),
        ("localhost", "localhost", OTHER_WAY),
    ],
)
def test_servers_below_one_name_are_one_senders(one: str, other: str, outcome: Outcome) -> None:
    found = named(BOUNCE, one)
    passing = named(passed(deferral("", "198.51.100.0")), other)
    assert fate_of_deferral(found, [passing]) is outcome


def test_customers_of_an_access_provider_are_not_one_sender() -> None:
    found = named(replace(BOUNCE, signs=(DYNAMIC,)), "dsl-1.example.com")
    passing = replace(passed(deferral("", "198.51.100.0")), name="dsl-2.example.com")
    assert fate_of_deferral(found, [passing]) is LIKELY_SPAM


def test_the_record_knows_of_retries_that_the_history_missed() -> None:
    found = deferral("a@example.org", "192.0.2.0", DYNAMIC)
    record = Record(T, T + 300, T + 9000, blocked=1)
    assert fate_of_deferral(found, [], record) is LIKELY_SPAM
    assert fate_of_deferral(found, [], replace(record, blocked=2)) is UNKNOWN


GOOD = POOLED
NAME_POOL = Pool(PoolKind.NAME, "hosting.example").packed


@pytest.mark.parametrize(
    ("found", "good", "hurt"),
    [
        (passed(ONE, HURT_AFTER), True, True),
        (passed(ONE, HURT_AFTER - 1), True, False),
        (passed(replace(ONE, signs=(NO_NAME,)), HURT_AFTER), True, True),
        (passed(replace(ONE, signs=(DYNAMIC,)), HURT_AFTER), False, False),
        (passed(replace(ONE, signs=(NO_NAME, HELO)), HURT_AFTER), False, False),
        (replace(GOOD, outcome=OTHER_WAY), True, False),
        (replace(ONE, outcome=VARYING), True, True),
        (replace(GOOD, outcome=LIKELY_SPAM), False, False),
        (replace(GOOD, outcome=UNKNOWN), True, True),
        (replace(ONE, outcome=UNKNOWN), False, False),
        (named(replace(ONE, outcome=UNKNOWN), "mx.example.org"), True, True),
        (named(replace(ONE, outcome=UNKNOWN), "mx.hosting.example"), False, False),
        (replace(ONE, outcome=UNKNOWN, pool=NAME_POOL), False, False),
        (tried(named(replace(ONE, outcome=UNKNOWN), "mx.hosting.example"), 900), True, True),
        (tried(replace(ONE, outcome=UNKNOWN), 900), False, False),
        (named(replace(BOUNCE, outcome=UNKNOWN), "mx.example.org"), False, False),
        (replace(GOOD, outcome=UNKNOWN, signs=(HELO,)), False, False),
        (replace(GOOD, outcome=Outcome.EVICTED), True, True),
        (GOOD, True, False),
        (replace(GOOD, outcome=Outcome.FORGOTTEN), True, False),
    ],
)
def test_who_is_good_and_who_was_hurt(found: Deferral, good: bool, hurt: bool) -> None:
    assert (is_likely_good(found), is_hurt(found)) == (good, hurt)


def test_the_docs_name_each_class() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", DOCS.read_text(), re.MULTILINE)
    assert {outcome.value.replace("-", " ") for outcome in NEVER_CAME_BACK} <= set(rows)
