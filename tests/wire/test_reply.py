"""SMTP replies: what an admin may write, and what becomes of it."""

from __future__ import annotations

import re
import string
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.accesslist import Entry
from greylag.core.subject import Domain
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.reply import MAX_LENGTH, OLD_REPLIES, Replies, check_template, render
from tests.core.asking import refusal
from tests.strategies import PROPERTY
from tests.wire.hostile import VALUES

CLIENT = bytes((192, 0, 2, 17))
DEFER = Decision(Verdict.DEFER, Reason.NEW, retry_after=300, client=CLIENT, id="7KQ3-M2F")
REJECT = Decision(Verdict.REJECT, Reason.DENYLISTED, client=CLIENT)
REJECT_DOMAIN = Decision(
    Verdict.REJECT, Reason.DENYLISTED, entry=Entry(Domain("example.net"), denied_until=1)
)
REPLY = re.compile(rb"[45][0-9][0-9] [ -~]{1,496}")
WIDEST = IPv6Address("2001:db8:1111:2222:3333:4444:5555:6666").packed


@pytest.mark.parametrize(
    ("decision", "replies", "wanted"),
    [
        (DEFER, Replies(), b"451 4.7.1 Greylisted, please try again in 300 seconds (id 7KQ3-M2F)"),
        (replace(DEFER, retry_after=1), Replies(),
         b"451 4.7.1 Greylisted, please try again in 1 second (id 7KQ3-M2F)"),
        (DEFER, Replies(defer="450 {id}{id} {client_address}: {id}"),
         b"450 7KQ3-M2F7KQ3-M2F 192.0.2.17: 7KQ3-M2F"),
        (replace(DEFER, id=""), Replies(defer="450 {id}"), b"450 -"),
        (REJECT, Replies(deny="550 {id}"), b"550 -"),  # though check_template refuses it
        (REJECT, Replies(), b"553 5.7.1 Mail from 192.0.2.17 is not accepted here"),
        (DEFER, OLD_REPLIES, b"451 temporary failure (#4.3.0)"),
        (REJECT_DOMAIN, Replies(), b"553 5.7.1 Mail to this recipient is not accepted here"),
        (REJECT_DOMAIN, Replies(deny_recipient="550 no"), b"550 no"),
        (REJECT_DOMAIN, OLD_REPLIES, OLD_REPLIES.deny.encode()),
        (REJECT, OLD_REPLIES, b"553 sorry, your envelope sender has been denied (#5.7.1)"),
        (DEFER, Replies(defer="450 {retry_after}{retry_after} {client_address}"),
         b"450 300300 192.0.2.17"),
        (REJECT, Replies(deny="550 {retry_after} {client_address}"), b"550 0 192.0.2.17"),
    ],
)  # fmt: skip
def test_render(decision: Decision, replies: Replies, wanted: bytes) -> None:
    assert render(decision, replies) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "451 x",
        "499  x",
        "400 ~!",
        "451 4.7.1 {retry_after} {client_address}{client_address}",
        "451 {id}{id}",
        "451 100% grey",
        "451 " + "x" * (MAX_LENGTH - 4),
        *(Replies().defer, OLD_REPLIES.defer),
    ],
)
def test_a_good_template_is_taken_as_it_is(text: str) -> None:
    assert check_template(text, "4") == text


@pytest.mark.parametrize("text", [Replies().deny, OLD_REPLIES.deny, "550 x"])
def test_a_good_refusal_is_taken_as_it_is(text: str) -> None:
    assert check_template(text, "5") == text


NO_REPLY, BRACES = "expected an SMTP reply", "expected no braces but those of"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", NO_REPLY, id="empty"),
        pytest.param("451", NO_REPLY, id="a code alone"),
        pytest.param("451 ", NO_REPLY, id="no text"),
        pytest.param("451   ", NO_REPLY, id="a blank text"),
        pytest.param("451-more", NO_REPLY, id="a line of several"),
        pytest.param("4510 x", NO_REPLY, id="four digits"),
        pytest.param("45 xx", NO_REPLY, id="two digits"),
        pytest.param("-45 xx", NO_REPLY, id="a sign"),
        pytest.param("try again", NO_REPLY, id="no code"),
        pytest.param(" 451 x", NO_REPLY, id="a space first"),
        pytest.param("4\u0665\u0661 x", NO_REPLY, id="other digits"),
        pytest.param("4\u00b21 x", NO_REPLY, id="a superscript"),
        pytest.param("250 ok", "begins with 4", id="accepts"),
        pytest.param("550 no", "begins with 4", id="refuses"),
        pytest.param("351 x", "begins with 4", id="one below"),
        pytest.param("451 a\nA", "printable ASCII", id="a second line"),
        pytest.param("451 a\r", "printable ASCII", id="CR"),
        pytest.param("451 a\tb", "printable ASCII", id="a tab"),
        pytest.param("451 a\x7f", "printable ASCII", id="DEL"),
        pytest.param("451 \xe9", "printable ASCII", id="an accent"),
        pytest.param("451 \ud800", "printable ASCII", id="a lone surrogate"),
        pytest.param("451 " + "x" * (MAX_LENGTH - 3), "at most 500 characters, got 501", id="long"),
        pytest.param("451 {sender}", BRACES, id="an unknown placeholder"),
        pytest.param("451 {0.__class__}", BRACES, id="a format (CVE-2005-1127)"),
        pytest.param("451 {retry_after!r}", BRACES, id="a conversion"),
        pytest.param("451 {{retry_after}}", BRACES, id="doubled braces"),
        pytest.param("451 { retry_after }", BRACES, id="spaces inside"),
        pytest.param("451 {", BRACES, id="one brace"),
        pytest.param("451 }", BRACES, id="the other brace"),
        pytest.param("451 {retry{retry_after}_after}", BRACES, id="nested"),
        pytest.param("451 {client{retry_after}_address}", BRACES, id="nested in the other"),
        pytest.param("451 {retry{client_address}_after}", BRACES, id="nested the other way"),
        pytest.param("451 {i{id}d}", BRACES, id="nested in the shortest"),
    ],
)
def test_a_wrong_template_is_refused_with_what_was_expected(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        check_template(text, "4")


@pytest.mark.parametrize("digit", ["4", "5"])
def test_the_example_in_an_error_would_be_accepted(digit: str) -> None:
    told = refusal(lambda text: check_template(text, digit), "") or ""
    example = told.partition('"')[2].rstrip('"')
    assert check_template(example, digit) == example


def test_only_a_deferral_has_an_id() -> None:
    with pytest.raises(ValueError, match=BRACES):
        check_template("550 {id}", "5")


def test_a_refusal_must_refuse() -> None:
    with pytest.raises(ValueError, match="begins with 5"):
        check_template("451 x", "5")


PIECES = [
    *("%A", "%s%n", "{0.__class__}", "{retry_after}", "{client_address}", "{id}"),
    *("\r\n", "\xe9", "x"),
]


@pytest.mark.parametrize("piece", PIECES, ids=ascii)
def test_templates_of_every_length_make_one_short_line(piece: str) -> None:
    """OpenBSD spamd 2026-04 (%A at the end of a reply); CVE-2005-1127 (%s%n as a format).

    What check_template would refuse is rendered, too: render is safe by itself.
    """
    for length in range(1001):
        template = "451 " + (piece * (length // len(piece) + 1))[:length]
        for decision in (DEFER, REJECT):
            reply = render(replace(decision, client=WIDEST), Replies(template, template))
            assert len(reply + b"\r\n") <= 510
            assert re.fullmatch(rb"451 [ -~]*", reply)
        if piece in ("%A", "%s%n", "{0.__class__}", "x"):  # nothing in them is replaced
            assert reply == template[:MAX_LENGTH].encode()


@pytest.mark.parametrize("template", ["451 %A{}", "451 {}%s%n", "451 {}{}", "451 {}"])
def test_a_placeholder_is_not_cut_into_another_by_the_limit(template: str) -> None:
    """What is over-long is cut after it was filled in, so a reply is never half a placeholder."""
    for fill in range(MAX_LENGTH + 20):
        text = template.replace("{}", "x" * fill + "{retry_after}{id}")
        reply = render(DEFER, Replies(defer=text))
        assert b"{" not in reply
        filled = text.replace("{retry_after}", "300").replace("{id}", DEFER.id)
        assert reply == filled[:MAX_LENGTH].encode()


def test_no_client_address_reaches_a_reply_raw_t14() -> None:
    """T13, T14: a decision has an address; should it ever have anything else, it is one line."""
    for value in VALUES:
        reply = render(replace(REJECT, client=value), Replies())
        assert REPLY.fullmatch(reply)


@PROPERTY
@given(st.text(alphabet=string.printable + "{}{}\xe9\u2028", max_size=520), st.sampled_from("45"))
def test_what_is_accepted_renders_to_a_legal_reply_t13(text: str, digit: str) -> None:
    template = f"{digit}51 {text}"
    told = refusal(lambda text: check_template(text, digit), template)
    if told is None:
        assert check_template(template, digit) == template
        assert REPLY.fullmatch(render(DEFER, Replies(template, template)))
    else:
        assert told.startswith("expected ")
