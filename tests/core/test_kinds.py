"""What a key stands for, and the spelling that a key has on the old plugin's tables."""

from __future__ import annotations

import pytest

from greylag.core.attempt import Attempt
from greylag.core.client import is_packed
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.triplet import connection_of, kind_of, several_of, triplet_of

CLIENT = bytes((192, 0, 2, 17))


def test_what_a_key_stands_for() -> None:
    policy = Policy()
    assert kind_of(connection_of(CLIENT, 24)) == "connection"
    assert kind_of(several_of(CLIENT, "", policy)) == "several"
    assert kind_of(triplet_of(CLIENT, b"", b"b@example.net", policy)) == "triplet"


@pytest.mark.parametrize(("size", "can_be"), [(4, True), (16, True), (0, False), (40, False)])
def test_what_can_be_a_packed_address(size: int, can_be: bool) -> None:
    assert is_packed(bytes(size)) is can_be


def test_a_domain_keeps_its_script_on_the_old_tables() -> None:
    attempt = Attempt(b"192.0.2.17", b"a@example.org", "b@bücher.example".encode())
    names = []
    for policy in (Policy(), Policy(old_tables=True)):
        question = precheck(attempt, policy)
        assert isinstance(question, Question)
        names.append(question.triplet.recipient)
    assert names[0] == "b@xn--bcher-kva.example"
    assert names[1] != names[0]
