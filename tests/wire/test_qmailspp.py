"""The qmail-spp protocol: which variables make an attempt, and T13, what may be printed."""

from __future__ import annotations

import re

import pytest

from greylag.core.attempt import Attempt
from greylag.core.policy import NullSender, Policy
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.qmailspp import authenticated, read_environment, write_command
from greylag.wire.reply import OLD_REPLIES, Replies, check_template
from tests.attempts import bare, facts_of
from tests.core.asking import ask, refusal
from tests.wire.hostile import VALUES

RCPT = {
    b"GREYLISTING": b"",
    b"TCPREMOTEIP": b"192.0.2.17",
    b"SMTPMAILFROM": b"a@example.org",
    b"SMTPRCPTTO": b"b@example.net",
}
ASKED = Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net")
COMMAND = re.compile(rb"(E|LD)[45][0-9][0-9] [ -~]{1,500}\n")
DEFER = Decision(Verdict.DEFER, Reason.NEW, retry_after=300, id="9SWE-4EK")
AT_DATA = Decision(Verdict.DEFER, Reason.NEW, retry_after=300, at_data=True)
REJECT = Decision(Verdict.REJECT, Reason.DENYLISTED, client=bytes((192, 0, 2, 17)))


def without(name: bytes) -> dict[bytes, bytes]:
    return {key: value for key, value in RCPT.items() if key != name}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        pytest.param(RCPT, ASKED, id="as it should be"),
        pytest.param(RCPT | {b"GREYLISTING": b"no"}, ASKED, id="set to anything"),
        pytest.param(RCPT | {b"SMTPMAILFROM": b""},
                     Attempt(b"192.0.2.17", b"", b"b@example.net"), id="null sender"),
        pytest.param(RCPT | {b"SMTPRCPTHOSTSOK": b"1", b"SMTPAUTHUSER": b""}, ASKED,
                     id="rcpthosts allows, nobody logged in"),
        pytest.param(RCPT | {b"PROTO": b"TCP6", b"TCPREMOTEHOST": b"x", b"SMTPHELOHOST": b"\xff"},
                     ASKED, id="the rest is not looked at (fault 5)"),
        pytest.param(RCPT | {b"SMTPRCPTTO": b"\xff\n"},
                     Attempt(b"192.0.2.17", b"a@example.org", b"\xff\n"), id="any bytes"),
    ],
)  # fmt: skip
def test_read_environment(environ: dict[bytes, bytes], wanted: Attempt) -> None:
    assert bare(read_environment(environ)) == wanted


def test_what_qmail_told_beside_the_question_t4() -> None:
    """T4: tcpserver confirms the name only with -p, and does not say whether it did."""
    told = {b"TCPREMOTEHOST": b"mx.example.org", b"SMTPHELOHOST": b"helo.example.org"}
    told |= {b"SMTPRCPTCOUNT": b"2", b"SMTPAUTHUSER": b"user"}
    assert facts_of(read_environment(RCPT | told)) == {
        "client_name": b"mx.example.org",
        "confirmed_name": b"",
        "reverse_name": b"mx.example.org",
        "helo": b"helo.example.org",
        "instance": b"",
        "tls": b"",
        "recipients": 2,
        "user": b"user",
    }
    assert not any(facts_of(ASKED).values())


@pytest.mark.parametrize(
    ("environ", "field", "wanted"),
    [
        (without(b"GREYLISTING"), "enabled", False),
        (RCPT | {b"RELAYCLIENT": b""}, "relay", True),
        (RCPT | {b"RELAYCLIENT": b"@x"}, "relay", True),
        (RCPT | {b"SMTPAUTHUSER": b"u"}, "authenticated", True),
        (RCPT | {b"SMTPRCPTHOSTSOK": b"0"}, "recipient_refused", True),
        (RCPT | {b"SMTPRCPTHOSTSOK": b""}, "recipient_refused", False),
        (RCPT | {b"SMTPRCPTHOSTSOK": b"00"}, "recipient_refused", False),
        (RCPT | {b"SMTPRCPTCOUNT": b"0", b"SMTPRCPTCOUNTALL": b"0"}, "further", False),
        (RCPT | {b"SMTPRCPTCOUNT": b"0", b"SMTPRCPTCOUNTALL": b"1"}, "further", False),
        (RCPT | {b"SMTPRCPTCOUNT": b"0", b"SMTPRCPTCOUNTALL": b"2"}, "further", True),
        (RCPT | {b"SMTPRCPTCOUNT": b"1", b"SMTPRCPTCOUNTALL": b"1"}, "further", False),
        (RCPT | {b"SMTPRCPTCOUNT": b"1"}, "further", True),
        (RCPT | {b"SMTPRCPTCOUNTALL": b"2"}, "further", True),
        (without(b"TCPREMOTEIP"), "client_address", None),
        (without(b"SMTPMAILFROM"), "sender", None),
        (without(b"SMTPRCPTTO"), "recipient", None),
    ],
)
def test_one_variable_changes_one_thing(
    environ: dict[bytes, bytes], field: str, wanted: object
) -> None:
    attempt = read_environment(environ)
    assert getattr(attempt, field) == wanted
    others = [name for name in ("client_address", "sender", "recipient", "enabled", "relay",
              "authenticated", "recipient_refused", "further") if name != field]  # fmt: skip
    assert all(getattr(attempt, name) == getattr(ASKED, name) for name in others)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [({}, False), ({b"SMTPAUTHUSER": b""}, False), ({b"SMTPAUTHUSER": b"0"}, True)],
)
def test_ifauthskip_asks_for_a_name(environ: dict[bytes, bytes], wanted: bool) -> None:
    assert authenticated(environ) is wanted


@pytest.mark.parametrize(
    ("decision", "replies", "wanted"),
    [
        (Decision(Verdict.PASS, Reason.KNOWN), Replies(), b""),
        (DEFER, OLD_REPLIES, b"E451 temporary failure (#4.3.0)\n"),
        (AT_DATA, OLD_REPLIES, b"LD451 temporary failure (#4.3.0)\n"),
        (REJECT, OLD_REPLIES, b"E553 sorry, your envelope sender has been denied (#5.7.1)\n"),
        (
            DEFER,
            Replies(),
            b"E451 4.7.1 Greylisted, please try again in 300 seconds (id 9SWE-4EK)\n",
        ),
        (REJECT, Replies(), b"E553 5.7.1 Mail from 192.0.2.17 is not accepted here\n"),
    ],
)
def test_write_command(decision: Decision, replies: Replies, wanted: bytes) -> None:
    assert write_command(decision, replies) == wanted


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (bytes((192, 0, 2, 17)), b"192.0.2.17"),
        (b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", b"2001:db8::1"),
        (bytes(4), b"0.0.0.0"),
        (b"", b"unknown"),
    ],
)
def test_the_client_address_is_shown_as_we_write_it(client: bytes, shown: bytes) -> None:
    wanted = b"E553 5.7.1 Mail from " + shown + b" is not accepted here\n"
    assert write_command(replace(REJECT, client=client), Replies()) == wanted


def test_500_evil_values_print_one_command_or_nothing_t13() -> None:
    """T13: in client address, sender and recipient, through the engine and at every verdict."""
    assert len(VALUES) >= 500
    replies = Replies("451 {client_address} {retry_after}", "553 {client_address}")
    answers = {b"E": 0, b"L": 0, b"": 0}
    for value in VALUES:
        for name in (b"TCPREMOTEIP", b"SMTPMAILFROM", b"SMTPRCPTTO"):
            attempt = read_environment(RCPT | {name: value})
            policy = Policy(null_sender=NullSender.DATA)
            asked = ask(attempt, {}, policy, 1_700_000_000)
            for decision in (asked, DEFER, AT_DATA, REJECT):
                output = write_command(decision, replies)
                assert output == b"" or COMMAND.fullmatch(output), (name, value)
                answers[output[:1]] += 1
    assert all(answers.values())


def test_500_evil_templates_print_one_command_or_are_refused_t13() -> None:
    """T13: a text from the configuration may not end the line and begin a second command."""
    for value in VALUES:
        template = "451 " + value.decode("utf-8", "surrogateescape")
        refused = refusal(lambda text: check_template(text, "4"), template)
        assert refused or (template.isascii() and template.isprintable())
        for decision in (DEFER, AT_DATA):
            output = write_command(decision, Replies(defer=template))
            assert refused or COMMAND.fullmatch(output)
            assert re.fullmatch(rb"(E|LD)451 [ -~]*\n", output)  # even if nobody had checked
