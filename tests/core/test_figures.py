"""The figures that a decision adds to, by name."""

from __future__ import annotations

import pytest

from greylag.core.figures import (
    DELAYED,
    NEVER,
    STOPPED,
    WAITED_BOUNDS,
    WAITED_SECONDS,
    answer_name,
    fate_of,
    figures_of,
    has_fate,
    hour_of,
    observed_name,
    pools_of,
    waited_bucket,
)
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.triplet import sent_of, trust_of
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from tests.core.asking import KEY, KNOWN, WAITING


@pytest.mark.parametrize(
    ("now", "hour"),
    [(0, 0), (1, 0), (3599, 0), (3600, 3600), (7199, 3600), (1_700_000_000, 1_699_999_200)],
)
def test_hours_begin_on_the_hour(now: int, hour: int) -> None:
    assert hour_of(now) == hour


@pytest.mark.parametrize("bound", WAITED_BOUNDS)
def test_a_bound_of_the_histogram_belongs_to_it(bound: int) -> None:
    after = [b for b in WAITED_BOUNDS if b > bound]
    assert waited_bucket(bound) == f"waited:{bound}"
    assert waited_bucket(bound + 1) == (f"waited:{after[0]}" if after else "waited:more")


def test_no_wait_is_in_the_first_bucket() -> None:
    assert waited_bucket(0) == "waited:60"


def test_the_bounds_are_those_of_stored_figures() -> None:
    """Their names stand in databases: another bound would split one histogram in two."""
    minutes = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440)
    assert tuple(60 * m for m in minutes) == WAITED_BOUNDS
    assert WAITED_SECONDS == "waited:seconds"


@pytest.mark.parametrize(
    ("decision", "wanted"),
    [
        (Decision(Verdict.PASS, Reason.OTHER_STAGE), {}),
        (Decision(Verdict.PASS, Reason.KNOWN), {"pass:known": 1}),
        (Decision(Verdict.DEFER, Reason.NEW, retry_after=9), {"defer:new": 1}),
        (Decision(Verdict.REJECT, Reason.DENYLISTED), {"reject:denylisted": 1}),
        (
            Decision(Verdict.PASS, Reason.RETRIED, waited=362),
            {"pass:retried": 1, "waited:600": 1, WAITED_SECONDS: 362},
        ),
        (
            Decision(Verdict.PASS, Reason.RETRIED, waited=0),
            {"pass:retried": 1, "waited:60": 1, WAITED_SECONDS: 0},
        ),
        (
            Decision(Verdict.PASS, Reason.OBSERVED, instead=Reason.NEW),
            {"pass:observed": 1, "observed:new": 1},
        ),
    ],
)
def test_what_a_decision_counts(decision: Decision, wanted: dict[str, int]) -> None:
    assert figures_of(decision) == wanted


def test_no_two_counters_share_a_name() -> None:
    names = [answer_name(verdict, reason) for verdict in Verdict for reason in Reason]
    names += [waited_bucket(bound) for bound in (*WAITED_BOUNDS, WAITED_BOUNDS[-1] + 1)]
    names += [WAITED_SECONDS, STOPPED, DELAYED, *NEVER.values(), *map(observed_name, Reason)]
    assert len(names) == len(set(names))


def test_what_never_passed_never_came_back_and_the_rest_was_delayed() -> None:
    assert fate_of(WAITING) == STOPPED == "fate:stopped"
    assert fate_of(KNOWN) == DELAYED == "fate:delayed"


def test_only_what_becomes_of_records_of_a_network_is_counted() -> None:
    """A pool's stands beside that of a network, and trust or what our users sent is no mail."""
    pooled = replace(KEY, network=Pool(PoolKind.SPF, "example.org").packed)
    trust = trust_of(of_address(b"\xc0\0\2\x11"), "example.org")
    sent = sent_of("a@example.org", "b@example.net")
    assert has_fate(KEY.network)
    assert not any(has_fate(key.network) for key in (pooled, trust, sent))
    assert pools_of([KEY, pooled, KEY, trust, sent]) == 3
    assert pools_of([KEY]) == pools_of([]) == 0
