"""The short id of a deferral: the same on every server, read as people type it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.attempt import Attempt, Stage
from greylag.core.connection import Connection, precheck_connection
from greylag.core.engine import decide, precheck, unanswered
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import Greylist, Policy
from greylag.core.question import Question
from greylag.core.record import Record
from greylag.core.shortid import PAIR, last_of_pair, pair_id, pair_of, read_id, short_id, shown_id
from greylag.core.triplet import SEVERAL, Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from tests.core.asking import T
from tests.strategies import PROPERTY

KEY = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
TEXTS = st.text("ab@.-\\", max_size=9)


def question_of(
    sender: bytes = b"a@example.org",
    recipient: bytes | None = b"b@example.net",
    *,
    stage: Stage = Stage.RCPT,
    policy: Policy | None = None,
) -> Question:
    attempt = Attempt(b"192.0.2.17", sender, recipient, stage=stage)
    found = precheck(attempt, policy or Policy())
    assert isinstance(found, Question)
    return found


def test_an_id_of_a_known_triplet_never_changes() -> None:
    """It stands in logs and bounces, so a later version has to understand it."""
    assert shown_id(short_id(KEY)) == "9SWE-4EK"


@given(st.binary(max_size=16), TEXTS, TEXTS)
@PROPERTY
def test_what_is_shown_is_read_back(network: bytes, sender: str, recipient: str) -> None:
    number = short_id(Triplet(network, sender, recipient))
    shown = shown_id(number)
    assert len(shown) == len("7KQ3-M2F")
    assert read_id(shown) == read_id(f" {shown.lower().replace('-', '')} ") == number
    first = pair_id(sender, recipient)
    assert first <= number <= last_of_pair(first)


@given(st.integers(0, 2**35 - 1))
@PROPERTY
def test_every_number_has_an_id_of_its_own(number: int) -> None:
    assert read_id(shown_id(number)) == number


def test_letters_that_look_like_digits_are_read_as_these() -> None:
    assert read_id("o1iL-000") == read_id("0111-000")


@pytest.mark.parametrize(
    "text",
    ["", "7KQ3", "7KQ3-M2FF", "7KQ3-M2U", "a@b", "192.0.2", "7KQ3 M2F", "\u0661\u0661-11111"],
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert read_id(text) is None


def test_mail_between_the_same_two_begins_alike_from_whichever_network() -> None:
    other = replace(KEY, network=b"\xc6\x33\x64\x00", sender="bounce@example.org")
    assert shown_id(short_id(KEY))[:4] == shown_id(short_id(other))[:4]
    assert short_id(KEY) != short_id(other)


def test_ids_of_mail_between_the_same_two_are_one_range() -> None:
    first = pair_id("a@example.org", "b@example.net")
    for one in (short_id(KEY), first, last_of_pair(first)):
        assert pair_of(one) == first
    assert last_of_pair(first) - first + 1 == PAIR
    assert pair_of(first - 1) != first
    assert pair_of(last_of_pair(first) + 1) != first


def test_a_deferral_has_the_id_of_its_triplet() -> None:
    first = decide(question_of(), None, T)
    early = decide(question_of(), Record(T, T + 300, T + 9000, 1), T + 1)
    assert first.id == early.id == "9SWE-4EK"


def test_the_first_pass_has_the_id_of_its_deferral_and_what_is_known_has_none() -> None:
    assert decide(question_of(), Record(T, T + 300, T + 9000, 1), T + 300).id == "9SWE-4EK"
    assert decide(question_of(), Record(T, T + 300, T + 9000, 1, 1), T + 300).id == ""


def test_a_pass_by_a_pool_has_no_id() -> None:
    """Which network the deferral was of is not known."""
    question = question_of()
    pool = replace(question.triplet, network=Pool(PoolKind.SPF, "example.org").packed)
    waited = Record(T - 400, T - 100, T + 9000, 1)
    decision = decide(replace(question, pooled=pool), None, T, {pool: waited})
    assert (decision.reason, decision.id) == (Reason.RETRIED, "")


def test_an_id_is_of_the_clients_own_network_where_a_pool_decides() -> None:
    pool = Pool(PoolKind.SPF, "example.org").packed
    question = question_of()
    pooled = replace(question, pooled=replace(question.triplet, network=pool))
    assert pooled.pooled is not None
    decision = decide(pooled, None, T, {pooled.pooled: Record(T - 1, T + 299, T + 9000, 1)})
    assert (decision.pool, decision.id) == (pool, "9SWE-4EK")


def test_bounces_to_one_and_to_several_have_ids() -> None:
    one = question_of(b"", b"b@example.net", stage=Stage.DATA)
    several = question_of(b"", None, stage=Stage.DATA)
    assert several.triplet == Triplet(KEY.network, "", SEVERAL)
    ids = {decide(question, None, T).id for question in (one, several)}
    assert len(ids) == 2
    assert "" not in ids


def test_a_connection_has_no_id() -> None:
    question = precheck_connection(Connection(b"192.0.2.17", b"named"), Policy())
    assert isinstance(question, Question)
    decision = decide(question, None, T)
    assert (decision.verdict, decision.id) == (Verdict.DEFER, "")


def test_a_deferral_without_a_store_has_an_id_and_a_pass_has_none() -> None:
    assert unanswered(question_of(), Verdict.DEFER).id == "9SWE-4EK"
    assert unanswered(question_of(), Verdict.PASS).id == ""


def test_what_is_only_observed_has_no_id() -> None:
    decision = decide(question_of(policy=Policy(greylist=Greylist.OBSERVE)), None, T)
    assert isinstance(decision, Decision)
    assert (decision.verdict, decision.id) == (Verdict.PASS, "")
