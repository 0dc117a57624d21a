"""What events make of deferrals, and what they add to the figures of a day."""

from __future__ import annotations

import pytest

from greylag.core.history import (
    NEVER_CAME_BACK,
    Begun,
    By,
    Deferral,
    Ended,
    Event,
    LetIn,
    Outcome,
    Released,
    Tally,
    Tried,
)
from greylag.core.identity import Pool, PoolKind
from greylag.core.tallies import (
    DAY,
    HIGHEST,
    NULL_SENDER,
    Happening,
    Sums,
    bounded,
    day_of,
    happened,
    minus,
    names_of,
    plus,
    speaks_of,
    tally_of,
)
from greylag.core.triplet import Triplet, connection_of
from greylag.core.value import replace
from tests.core.asking import KEY, T

POOL = Pool(PoolKind.SPF, "example.org").packed
POOLED = replace(KEY, network=POOL)
ONE = Deferral(KEY, T, T + 300)
PASSED = replace(ONE, outcome=Outcome.PASSED, ended=T + 400)
SPAM = replace(ONE, outcome=Outcome.LIKELY_SPAM, ended=T + 9000)


def passing(key: Triplet = KEY, at: int = T + 400) -> Ended:
    return Ended(key, at, Outcome.PASSED)


def test_days_begin_at_midnight_in_utc() -> None:
    assert [day_of(now) for now in (0, DAY - 1, DAY, T)] == [0, 0, DAY, 1_699_920_000]


@pytest.mark.parametrize("event", [Tried(KEY, T + 9), Released(KEY, T + 9), LetIn(KEY, T + 9)])
def test_an_event_is_of_the_deferral_of_its_triplet_that_waits(event: Happening) -> None:
    assert speaks_of(event, ONE)
    for other in (
        replace(KEY, network=b"\xc6\x33\x64\0"),
        replace(KEY, sender="c@example.org"),
        replace(KEY, recipient="c@example.net"),
    ):
        assert not speaks_of(event, replace(ONE, triplet=other))
    assert not speaks_of(event, PASSED)
    assert not speaks_of(event, SPAM)


def test_an_event_of_a_pool_is_of_a_deferral_that_has_that_pool() -> None:
    tried = Tried(POOLED, T + 9)
    assert speaks_of(tried, replace(ONE, pool=POOL))
    assert not speaks_of(tried, ONE)
    assert not speaks_of(tried, replace(ONE, pool=Pool(PoolKind.SPF, "example.com").packed))
    assert speaks_of(Tried(KEY, T + 9), replace(ONE, pool=POOL))


def test_what_has_ended_does_not_end_again_but_may_pass_once() -> None:
    assert not speaks_of(Ended(KEY, T + 9000, Outcome.UNKNOWN), SPAM)
    assert speaks_of(passing(), SPAM)
    assert not speaks_of(passing(), PASSED)


def test_early_tries_are_counted_and_the_first_and_the_last_are_kept() -> None:
    once = happened(Tried(KEY, T + 20), ONE)
    assert once == replace(ONE, tries=1, first_try=T + 20, last_try=T + 20)
    more = happened(Tried(KEY, T + 90, 3), once)
    assert more == replace(ONE, tries=4, first_try=T + 20, last_try=T + 90)
    late = happened(Tried(KEY, T + 50), more)
    assert late == replace(more, tries=5)  # events of two nodes come in any order


def test_a_release_lets_in_from_then_on_and_never_later_than_before() -> None:
    assert happened(Released(KEY, T + 9), ONE) == replace(ONE, released=T + 9, defer_until=T + 9)
    assert happened(Released(KEY, T + 999), ONE) == replace(ONE, released=T + 999)


def test_what_was_let_in_came_another_way() -> None:
    let_in = happened(LetIn(KEY, T + 60), ONE)
    assert let_in == replace(ONE, outcome=Outcome.OTHER_WAY, ended=T + 60)


def test_an_end_has_its_outcome_and_its_time() -> None:
    assert happened(passing(), ONE) == PASSED
    assert happened(passing(at=T + 9999), SPAM) == replace(PASSED, ended=T + 9999)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        (
            KEY,
            [
                (By.NETWORK, "192.0.2.0"),
                (By.SENDER_DOMAIN, "example.org"),
                (By.RECIPIENT_DOMAIN, "example.net"),
                (By.RECIPIENT, "b@example.net"),
            ],
        ),
        (
            POOLED,  # of which network it is not known
            [
                (By.SENDER_DOMAIN, "example.org"),
                (By.RECIPIENT_DOMAIN, "example.net"),
                (By.RECIPIENT, "b@example.net"),
            ],
        ),
        (
            Triplet(bytes.fromhex("20010db8") + bytes(12), "", "b@example.net"),
            [
                (By.NETWORK, "2001:db8::"),
                (By.SENDER_DOMAIN, NULL_SENDER),
                (By.RECIPIENT_DOMAIN, "example.net"),
                (By.RECIPIENT, "b@example.net"),
            ],
        ),
        (connection_of(b"\xc0\0\2\x11", 24), []),  # is no mail
    ],
)
def test_under_which_names_mail_is_counted(key: Triplet, names: list[tuple[By, str]]) -> None:
    assert list(names_of(key)) == names


@pytest.mark.parametrize(
    ("event", "deferral", "tally"),
    [
        (Begun(ONE), None, Tally(deferred=1)),
        (Tried(KEY, T + 9), ONE, None),
        (Released(KEY, T + 9), ONE, None),
        (LetIn(KEY, T + 9), ONE, None),  # its record counts when it ends
        (passing(), ONE, Tally(passed=1, waited=400)),
        (passing(), None, Tally(passed=1)),  # it began before the history did
        (passing(at=T - 9), ONE, Tally(passed=1)),  # a clock was set back
        (Ended(KEY, T + 9, Outcome.UNKNOWN), ONE, Tally(never=1)),
        (Ended(KEY, T + 9, Outcome.VARYING), ONE, Tally(never=1)),
        (Ended(KEY, T + 9, Outcome.OTHER_WAY), None, Tally(never=1)),
        (Ended(KEY, T + 9, Outcome.LIKELY_SPAM), ONE, Tally(never=1, likely_spam=1)),
        (Ended(KEY, T + 9, Outcome.EVICTED), ONE, None),
        (Ended(KEY, T + 9, Outcome.FORGOTTEN), ONE, None),
    ],
)
def test_what_an_event_adds(event: Event, deferral: Deferral | None, tally: Tally | None) -> None:
    assert tally_of(event, deferral) == tally


def test_every_outcome_that_never_came_back_is_counted_so() -> None:
    for outcome in NEVER_CAME_BACK:
        found = tally_of(Ended(KEY, T, outcome), ONE)
        assert found is not None
        assert found.never == 1


ALL = Tally(deferred=1, passed=2, waited=3, likely_spam=4, never=5)


def test_tallies_are_added_and_taken_away_number_by_number() -> None:
    double = Tally(2, 4, 6, 8, 10)
    assert plus(ALL, ALL) == double
    assert minus(double, ALL) == ALL
    assert plus(ALL, Tally()) == minus(ALL, Tally()) == ALL


def test_no_number_of_a_tally_is_negative_or_too_large_for_a_store() -> None:
    assert bounded(ALL) == ALL
    assert bounded(minus(Tally(), ALL)) == Tally()
    assert bounded(replace(ALL, waited=HIGHEST + 1, never=-1)) == replace(
        ALL, waited=HIGHEST, never=0
    )


def test_the_sums_of_events_by_name_in_one_order() -> None:
    """In one order, so that two writers of a database do not wait for each other."""
    bounce = Deferral(replace(KEY, sender=""), T, T + 300)
    sums = Sums()
    sums.add(Begun(ONE), None)
    sums.add(Tried(KEY, T + 9), ONE)
    sums.add(Begun(bounce), None)
    sums.add(passing(POOLED), ONE)  # the network is that of the deferral
    sums.add(Ended(POOLED, T + 9000, Outcome.UNKNOWN), None)  # of no network that is known
    assert list(sums.items()) == [
        (By.NETWORK, "192.0.2.0", Tally(2, 1, 400)),
        (By.RECIPIENT, "b@example.net", Tally(2, 1, 400, 0, 1)),
        (By.RECIPIENT_DOMAIN, "example.net", Tally(2, 1, 400, 0, 1)),
        (By.SENDER_DOMAIN, NULL_SENDER, Tally(1)),
        (By.SENDER_DOMAIN, "example.org", Tally(1, 1, 400, 0, 1)),
    ]
