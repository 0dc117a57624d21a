"""How many signs an attempt can show, and which count where nothing is asked of a zone."""

from __future__ import annotations

import pytest

from greylag.core.evidence import Evidence, Kind
from greylag.core.policy import Policy
from greylag.core.signs import Sign, most_signs, signs_of
from greylag.core.value import replace
from tests.core.test_sparing import GOOD, SUSPICIOUS, asked

ALL = frozenset(Sign)


@pytest.mark.parametrize(
    ("signs", "dnsbl", "most"),
    [
        (ALL, True, 5),  # who has no name has no dynamic one
        (ALL, False, 4),
        (ALL - {Sign.NO_NAME}, True, 5),
        (ALL - {Sign.DYNAMIC_NAME}, True, 5),
        (frozenset({Sign.DNSBL}), True, 1),
        (frozenset({Sign.DNSBL}), False, 0),
        (frozenset({Sign.NO_NAME, Sign.DYNAMIC_NAME}), True, 1),
        (frozenset(), True, 0),
    ],
)
def test_how_many_signs_one_attempt_can_show(
    signs: frozenset[Sign], dnsbl: bool, most: int
) -> None:
    """Settings that ask for more than that would greylist nobody."""
    assert most_signs(Policy(signs=signs, dnsbl=dnsbl)) == most


def test_where_no_zone_is_named_that_a_zone_was_not_asked_is_no_sign() -> None:
    unasked: Evidence = {kind: found for kind, found in GOOD.items() if kind is not Kind.DNSBL}
    assert [one.sign for one in signs_of(asked(unasked, SUSPICIOUS))] == [Sign.DNSBL]
    assert signs_of(asked(unasked, replace(SUSPICIOUS, dnsbl=False))) == []
