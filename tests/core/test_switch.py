"""The switch over all settings, as it is kept and what it makes of a policy."""

from __future__ import annotations

import pytest

from greylag.core.accesslist import NEVER
from greylag.core.attempt import Attempt
from greylag.core.connection import held
from greylag.core.engine import precheck
from greylag.core.evidence import Kind
from greylag.core.policy import SPARING, Greylist, Policy, with_evidence
from greylag.core.question import Question
from greylag.core.switch import MOST_WHO, Switch, read_rows, row_of
from greylag.core.value import replace

NOW = 1_700_000_000
OFF = Switch(Greylist.OFF, NOW + 60, NOW, "alice")
OBSERVE = Switch(Greylist.OBSERVE, NEVER, NOW, "bob")


def test_it_holds_until_its_end_and_no_second_longer() -> None:
    assert OFF.holds(NOW)
    assert OFF.holds(NOW + 59)
    assert not OFF.holds(NOW + 60)
    assert OBSERVE.holds(NEVER - 1)


@pytest.mark.parametrize(
    ("set_to", "switch", "holds"),
    [
        (Greylist.ALL, OFF, Greylist.OFF),
        (Greylist.SUSPICIOUS, OFF, Greylist.OFF),
        (Greylist.OBSERVE, OFF, Greylist.OFF),
        (Greylist.OFF, OFF, Greylist.OFF),
        (Greylist.ALL, OBSERVE, Greylist.OBSERVE),
        (Greylist.SUSPICIOUS, OBSERVE, Greylist.OBSERVE),
        (Greylist.OBSERVE, OBSERVE, Greylist.OBSERVE),
        (Greylist.OFF, OBSERVE, Greylist.OFF),  # of a recipient: never more than the settings do
    ],
)
def test_it_lies_over_the_settings_and_never_makes_more(
    set_to: Greylist, switch: Switch, holds: Greylist
) -> None:
    policy = Policy(greylist=set_to, delay=77)
    over = switch.over(policy)
    assert over == replace(policy, greylist=holds)
    assert (over is policy) == (holds is set_to)


def test_observing_asks_dns_for_no_signs_and_for_nothing_of_connections() -> None:
    asks = with_evidence(replace(SPARING, dns=True, dnsbl=True, greylist=Greylist.SUSPICIOUS))
    assert Kind.DNSBL in asks.evidence
    observing = OBSERVE.over(asks)
    assert observing == with_evidence(replace(asks, greylist=Greylist.OBSERVE))
    assert Kind.DNSBL not in observing.evidence
    assert Kind.SPF not in OBSERVE.over(held(asks, 120)).evidence


@pytest.mark.parametrize(
    "switch",
    [
        OFF,
        OBSERVE,
        Switch(Greylist.OFF, 7, 0),
        Switch(Greylist.OFF, NOW, NOW, "a:b: \x1b[1m\u00fc"),
    ],
    ids=str,
)
def test_what_is_kept_is_read_back(switch: Switch) -> None:
    assert read_rows([row_of(switch)]) == switch


def test_a_long_name_is_cut() -> None:
    kept = read_rows([row_of(replace(OFF, who="x" * 1000))])
    assert kept is not None
    assert kept.who == "x" * MOST_WHO


@pytest.mark.parametrize(
    "row",
    [
        ("switch:off", 1),
        ("switch:off:", 1),
        ("switch:off:1", 1),
        ("switch:off:-1:a", 1),
        ("switch:off:1e9:a", 1),
        ("switch:off:\u0661:a", 1),
        ("switch:off:" + "9" * 5000 + ":a", 1),
        ("switch:all:1:a", 1),  # would make more of greylisting than the settings
        ("switch:later:1:a", 1),
        ("switch::1:a", 1),
        ("removals", 1),
        ("other:off:1:a", 1),
        ("switch:off:1:a", None),
        ("switch:off:1:a", "1"),
        (b"switch:off:1:a", 1),
        (None, None),
    ],
)
def test_a_row_of_a_version_to_come_or_of_nobody_says_nothing(row: tuple[object, object]) -> None:
    assert read_rows([row]) is None
    assert read_rows([row, row_of(OFF)]) == OFF


def test_of_two_rows_as_two_nodes_may_write_the_newest_counts() -> None:
    newer = replace(OBSERVE, since=NOW + 1)
    for rows in ([row_of(OFF), row_of(newer)], [row_of(newer), row_of(OFF)]):
        assert read_rows(rows) == newer
    assert read_rows([]) is None


def test_a_question_is_asked_under_the_switch_until_it_ends() -> None:
    attempt = Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net")
    question = precheck(attempt, Policy(delay=77))
    assert isinstance(question, Question)
    for switch in (OFF, OBSERVE):
        asked = switch.asked(question, NOW)
        assert asked == replace(question, policy=switch.over(question.policy))
        assert asked.policy.greylist is switch.mode
    assert OFF.asked(question, NOW + 60) is question
    off = replace(question, policy=Policy(greylist=Greylist.OFF))
    assert OBSERVE.asked(off, NOW) is off
