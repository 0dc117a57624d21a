"""Where the question to greylag belongs in Postfix's lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.admin.setup.place import SetupError
from greylag.admin.setup.restrictions import (
    BEFORE_RCPT,
    OWN,
    before_rcpt,
    question,
    undone,
    with_question,
)

ASK = "unix:greylag/greylag.sock"
Q = question(ASK)
FULL = f"{', '.join(BEFORE_RCPT)}, {Q}"


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("", FULL),
        ("permit_mynetworks, reject_unauth_destination, permit",
         ("permit_mynetworks, reject_unauth_destination, permit_sasl_authenticated, "
         f"reject_unlisted_recipient, {Q}, permit")),
        (("permit_mynetworks check_client_access hash:/etc/postfix/permit reject_rbl_client "
         "bl.example.org"),
         ("permit_mynetworks, check_client_access hash:/etc/postfix/permit, reject_rbl_client "
         "bl.example.org, permit_sasl_authenticated, reject_unauth_destination, "
         f"reject_unlisted_recipient, {Q}")),
        ("check_policy_service { unix:private/spf, timeout=3600s }, reject_unauth_destination",
         ("check_policy_service { unix:private/spf, timeout=3600s }, reject_unauth_destination, "
         f"permit_mynetworks, permit_sasl_authenticated, reject_unlisted_recipient, {Q}")),
        (FULL, FULL),
        (f"permit_mynetworks, check_policy_service {ASK}",
         f"permit_mynetworks, check_policy_service {ASK}"),
        ("check_policy_service { inet:127.0.0.1:10023, timeout=5s }, permit",
         "check_policy_service { inet:127.0.0.1:10023, timeout=5s }, permit"),
    ],
)  # fmt: skip
def test_it_stands_behind_all_that_is_there(there: str, wanted: str) -> None:
    """What is missing before it comes last too: none of the list's checks is passed over."""
    assert with_question(there, ASK, BEFORE_RCPT, ("inet:127.0.0.1:10023",)) == wanted


@pytest.mark.parametrize("end", ["reject", "defer"])
def test_a_list_that_refuses_the_rest_is_left_to_the_admin(end: str) -> None:
    with pytest.raises(SetupError, match="check_policy_service"):
        with_question(f"permit_mynetworks, {end}", ASK, OWN)


def test_a_parameter_with_braces_stays_one_word() -> None:
    """P1: Postfix takes no mail with a list that has `$, {name?text}` in it."""
    there = "${mine}, $own, ${other?reject_non_fqdn_sender}, ${a?{b, c}:{d}}, permit_mynetworks"
    assert with_question(there, "unix:x", ()).startswith(f"{there}, check_policy_service {{ unix:x")


def test_braces_that_are_not_understood_are_left_to_the_admin() -> None:
    """A table may have braces in braces in braces: no half of it may be written back."""
    with pytest.raises(SetupError, match="braces"):
        with_question("check_client_access pcre:{ { /^a{2}/ { x } y } }, permit", ASK, OWN)


WORDS = st.sampled_from(
    [*BEFORE_RCPT, "reject_rbl_client bl.example.org", "check_sender_access hash:/a/permit",
     "check_policy_service { unix:private/spf, timeout=9s }", "reject_non_fqdn_sender", "permit"]
)  # fmt: skip


@given(st.lists(WORDS))
def test_twice_is_once_and_nothing_is_lost(words: list[str]) -> None:
    there = ", ".join(words)
    once = with_question(there, ASK, BEFORE_RCPT)
    assert with_question(once, ASK, BEFORE_RCPT) == once
    kept = [word for word in words if word in once]
    assert kept == words


@pytest.mark.parametrize(
    ("relay", "refused"),
    [
        ("", True),
        ("permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination", True),
        ("permit_mynetworks, reject", True),
        ("permit_mynetworks, check_client_access hash:/a, reject_unauth_destination", False),
        ("permit_mynetworks permit_tls_clientcerts reject", False),
        ("permit_mynetworks, check_client_access hash:/a", True),
        ("reject_unauth_destination, check_client_access hash:/a", True),
        ("permit", True),
        ("check_policy_service { not, closed", True),
    ],
)
def test_who_may_relay_by_the_list_for_that_is_not_refused(relay: str, *, refused: bool) -> None:
    before = before_rcpt(relay)
    assert ("reject_unauth_destination" in before) is refused
    assert [word for word in BEFORE_RCPT if word in before] == list(before)
    old = "reject_non_fqdn_sender"
    assert undone(old, with_question(old, ASK, before), BEFORE_RCPT) == old
