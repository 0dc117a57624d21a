"""A deferral as the history shows it, and which deferrals a search finds."""

from __future__ import annotations

import pytest

from greylag.core.history import Deferral, Outcome, Sought, Tally
from greylag.core.shortid import last_of_pair, pair_id, short_id
from greylag.core.value import replace
from tests.core.asking import KEY, T

ONE = Deferral(KEY, T, T + 300, signs=("helo", "spf"))
NULL = replace(ONE, triplet=replace(KEY, sender=""))
SIXTH = replace(ONE, triplet=replace(KEY, network=bytes.fromhex("20010db8") + bytes(12)))
PAIR = pair_id("a@example.org", "b@example.net")


def test_a_deferral_has_the_id_and_the_addresses_of_its_triplet() -> None:
    assert ONE.id == short_id(KEY)
    assert ONE.sender_recipient == ("a@example.org", "b@example.net")


@pytest.mark.parametrize("outcome", Outcome)
def test_only_mail_that_passed_has_waited(outcome: Outcome) -> None:
    waited = replace(ONE, outcome=outcome, ended=T + 362).waited
    assert waited == (362 if outcome is Outcome.PASSED else None)


def test_how_much_mail_a_tally_stands_for() -> None:
    """What is likely spam is a part of what never came back."""
    assert Tally(deferred=5, passed=3, waited=9000, likely_spam=1, never=2).mail == 10
    assert Tally().mail == 0


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        (Sought(), [ONE, NULL, SIXTH]),
        (Sought(since=T), [ONE, NULL, SIXTH]),
        (Sought(since=T + 1), []),
        (Sought(until=T + 1), [ONE, NULL, SIXTH]),
        (Sought(until=T), []),
        (Sought(first_id=ONE.id, last_id=ONE.id), [ONE]),
        (Sought(first_id=PAIR, last_id=last_of_pair(PAIR)), [ONE, SIXTH]),
        (Sought(first_id=ONE.id + 1, last_id=ONE.id + 1), []),
        (Sought(networks=(b"\xc0\0\2\0", b"\xc0\0\2\xff")), [ONE, NULL]),
        (Sought(networks=(b"\xc0\0\3\0", b"\xc0\0\3\xff")), []),
        (Sought(networks=(b"\xc0\0\1\0", b"\xc0\0\1\xff")), []),
        (Sought(networks=(bytes(16), b"\xff" * 16)), [SIXTH]),
        (Sought(sender="example"), [ONE, SIXTH]),
        (Sought(sender="example.net"), []),
        (Sought(recipient="b@"), [ONE, NULL, SIXTH]),
        (Sought(recipient="c@"), []),
        (Sought(null_sender=True), [NULL]),
        (Sought(exact=True, sender="a@example.org", recipient="b@example.net"), [ONE, SIXTH]),
        (Sought(exact=True, sender="a@example.or", recipient="b@example.net"), []),
        (Sought(exact=True, sender="", recipient="b@example.net"), [NULL]),
        (Sought(outcomes=frozenset({Outcome.WAITING, Outcome.PASSED})), [ONE, NULL, SIXTH]),
        (Sought(outcomes=frozenset({Outcome.PASSED})), []),
        (Sought(sign="spf"), [ONE, NULL, SIXTH]),
        (Sought(sign="dnsbl"), []),
        (Sought(without=("nobody", "a@")), [NULL]),
        (Sought(without=("b@example",)), []),
        (Sought(sender="a@", networks=(bytes(16), b"\xff" * 16), sign="helo"), [SIXTH]),
        (Sought(sender="a@", sign="dnsbl"), []),
    ],
    ids=str,
)
def test_all_that_is_sought_must_hold(sought: Sought, found: list[Deferral]) -> None:
    assert [one for one in (ONE, NULL, SIXTH) if sought.fits(one)] == found


def test_where_no_id_is_sought_none_has_to_be_made() -> None:
    assert Sought().any_id
    assert not Sought(first_id=1).any_id
    assert not Sought(last_id=ONE.id).any_id
    highest = (1 << 35) - 1
    assert Sought(first_id=0, last_id=highest).any_id
    assert not Sought(first_id=0, last_id=highest - 1).any_id
