"""The Postfix policy codec: P4 (cut anywhere, the same decisions), P15 (garbage around)."""

from __future__ import annotations

import random
from functools import cache

import pytest

from greylag.core.attempt import Attempt, Stage
from greylag.core.policy import Policy
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.store.memory import MemoryStore
from greylag.wire import policy
from greylag.wire.policy import (
    MAX_REQUEST,
    Broken,
    Request,
    RequestReader,
    read_attempt,
    read_plugin_attempt,
    write_action,
    write_plugin_action,
)
from greylag.wire.reply import OLD_REPLIES, Replies
from tests.attempts import bare, facts_of
from tests.reports import PolicyService, no_failure

POSTFIX = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
    b"helo_name=mx.example.org\nqueue_id=\nsender=a@example.org\nrecipient=b@example.net\n"
    b"recipient_count=0\nclient_address=192.0.2.17\nclient_name=unknown\n"
    b"reverse_client_name=unknown\ninstance=1a2b.3c.0\nsasl_username=\nsize=0\n\n"
)
QMAIL_POSTGREY = (
    b"request=smtpd_access_policy\nclient_address=192.0.2.17\nclient_name=\n"
    b"sender=a@example.org\nrecipient=b@example.net\n\n"
)


def request_of(data: bytes) -> Request:
    (event,) = RequestReader().feed(data)
    assert isinstance(event, Request)
    return event


def attributes(**changes: bytes) -> bytes:
    fields = {b"request": b"smtpd_access_policy", b"protocol_state": b"RCPT"}
    fields |= {b"client_address": b"192.0.2.17", b"sender": b"a@example.org"}
    fields |= {b"recipient": b"b@example.net"} | {k.encode(): v for k, v in changes.items()}
    return b"".join(name + b"=" + text + b"\n" for name, text in fields.items()) + b"\n"


def test_a_request_as_postfix_sends_it() -> None:
    attempt = read_attempt(request_of(POSTFIX))
    assert bare(attempt) == Attempt(
        b"192.0.2.17", b"a@example.org", b"b@example.net", stage=Stage.RCPT_FIRST
    )


def test_the_names_of_a_client_are_told_or_empty() -> None:
    named = POSTFIX.replace(b"client_name=unknown", b"client_name=mx.example.org")
    for request, names in (
        (named, (b"mx.example.org", b"mx.example.org")),
        (attributes(helo_name=b"x"), (b"", b"x")),
        (attributes(client_name=b"y"), (b"y", b"")),
    ):
        attempt = read_attempt(request_of(request))
        assert (attempt.client_name, attempt.helo) == names


def test_what_postfix_told_beside_the_question() -> None:
    told = attributes(
        client_name=b"mx.example.org",
        reverse_client_name=b"ptr.example.org",
        helo_name=b"helo.example.org",
        instance=b"1a2b.5",
        encryption_protocol=b"TLSv1.3",
        recipient_count=b"3",
        sasl_username=b"user",
    )
    assert facts_of(read_attempt(request_of(told))) == {
        "client_name": b"mx.example.org",
        "confirmed_name": b"mx.example.org",
        "reverse_name": b"ptr.example.org",
        "helo": b"helo.example.org",
        "instance": b"1a2b.5",
        "tls": b"TLSv1.3",
        "recipients": 3,
        "user": b"user",
    }


def test_postfix_says_unknown_where_a_name_is_not_confirmed_t4() -> None:
    """T4: whoever controls an address can give it any name in reverse DNS."""
    told = attributes(client_name=b"unknown", reverse_client_name=b"mx.example.org")
    attempt = read_attempt(request_of(told))
    assert (attempt.client_name, attempt.confirmed_name) == (b"unknown", b"")
    assert attempt.reverse_name == b"mx.example.org"
    nameless = attributes(client_name=b"unknown", reverse_client_name=b"unknown")
    assert read_attempt(request_of(nameless)).reverse_name == b""


def test_the_name_that_the_plugin_passes_on_is_not_confirmed_t4() -> None:
    told = PLUGIN.replace(b"rcptcount=0", b"rcptcount=2\nclient_name=mx.example.org")
    attempt = read_plugin_attempt(request_of(told))
    assert (attempt.client_name, attempt.confirmed_name) == (b"mx.example.org", b"")
    assert (attempt.reverse_name, attempt.recipients) == (b"mx.example.org", 2)


@pytest.mark.parametrize("count", [b"", b"x", b"-1", b"1" * 10, b"\xb2"])
def test_a_count_that_is_no_number_is_none(count: bytes) -> None:
    assert read_attempt(request_of(attributes(recipient_count=count))).recipients == 0


def test_a_request_without_stage_is_about_a_recipient() -> None:
    assert read_attempt(request_of(QMAIL_POSTGREY)).stage is Stage.RCPT_ONLY


def test_empty_means_unavailable_but_for_the_sender() -> None:
    request = request_of(attributes(client_address=b"", recipient=b"", sender=b""))
    attempt = read_attempt(request)
    assert (attempt.client_address, attempt.recipient, attempt.sender) == (None, None, b"")


def test_a_client_that_logged_in_is_authenticated() -> None:
    assert read_attempt(request_of(attributes(sasl_username=b"u"))).authenticated
    assert not read_attempt(request_of(POSTFIX)).authenticated


def test_the_first_of_a_repeated_name_counts_p15() -> None:
    twice = POSTFIX[:-1] + b"client_address=198.51.100.1\nsender=\n\n"
    attempt = read_attempt(request_of(twice))
    assert (attempt.client_address, attempt.sender) == (b"192.0.2.17", b"a@example.org")


def test_20_000_unknown_names_change_nothing_p15() -> None:
    noise = b"".join(b"%x=\n" % number for number in range(10_000))
    assert len(noise) < MAX_REQUEST
    noisy = read_attempt(request_of(noise + POSTFIX))
    plain = read_attempt(request_of(POSTFIX))
    assert bare(noisy) == bare(plain)
    assert facts_of(noisy) == facts_of(plain)
    (event,) = RequestReader().feed(b"x=\n" * 20_000 + b"y=\n" * 20_000 + POSTFIX)
    assert isinstance(event, Broken)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\n\n", id="empty"),
        pytest.param(b"hello\n\n", id="no equals sign"),
        pytest.param(b"x\nrequest\n\n", id="no equals sign after the name"),
        pytest.param(b"request=junk_policy\n\n", id="other type"),
        pytest.param(b"client_address=192.0.2.1\n\n", id="no type"),
        pytest.param(POSTFIX[:-1] + b"x=\0\n\n", id="NUL"),
        pytest.param(b"a=" + b"x" * MAX_REQUEST, id="too long and no end"),
        pytest.param(b"a=" + b"x" * MAX_REQUEST + b"\n\n", id="too long"),
    ],
)
def test_another_protocol_is_broken_and_stays_so(data: bytes) -> None:
    reader = RequestReader()
    (event,) = reader.feed(data)
    assert isinstance(event, Broken)
    assert reader.feed(POSTFIX) == []


def test_a_request_just_within_the_limit_is_read() -> None:
    fill = b"x=" + b"y" * (MAX_REQUEST - len(POSTFIX) - 1) + b"\n"
    data = fill + POSTFIX
    assert len(data) - 2 == MAX_REQUEST
    assert isinstance(RequestReader().feed(data)[0], Request)
    assert isinstance(RequestReader().feed(b"x" + data)[0], Broken)


def test_many_requests_at_once_are_no_long_one() -> None:
    many = 2 * MAX_REQUEST // len(POSTFIX)
    found = RequestReader().feed(POSTFIX * many)
    assert len(found) == many
    assert all(isinstance(event, Request) for event in found)


def test_a_header_is_for_who_asks_for_it() -> None:
    late = Decision(Verdict.PASS, Reason.RETRIED, waited=300)
    assert write_action(late, Replies()) == b"action=DUNNO\n\n"


@cache
def actions(texts: tuple[bytes | None, ...]) -> list[bytes]:
    """Return what a fresh server with an empty store answers to requests; None hangs up."""
    store = MemoryStore()
    service = PolicyService(Policy(), lambda: store, report=no_failure, clock=lambda: 1_700_000_000)
    out = []
    for text in texts:
        if text is None:
            out.append(b"hang up")
        else:
            decision = service.decide(read_attempt(Request(text)))
            out.append(write_action(decision, Replies()))
    return out


def answers(pieces: list[bytes]) -> list[bytes]:
    """Return what is answered to these pieces; the same requests are decided once."""
    reader = RequestReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return actions(tuple(None if isinstance(e, Broken) else e._text[1:] for e in events))


def recorded_stream(number: int) -> bytes:
    """Return one of 300 streams: pipelined requests, some hostile, some cut short."""
    dice = random.Random(number)
    parts = []
    for _ in range(dice.randint(1, 3)):
        sender = dice.choice([b"", b"a@example.org", b"x=y@example.org", b"\xff\xfe", b"\r"])
        client = dice.choice([b"192.0.2.1", b"2001:db8::1", b"not-an-ip", b"", b"fe80::1%eth0"])
        recipient = b"r%d@example.net" % dice.randint(1, 2)
        parts.append(attributes(sender=sender, client_address=client, recipient=recipient))
    if dice.random() < 0.2:
        parts.insert(dice.randrange(len(parts)), b"junk\n\n")
    stream = b"".join(parts)
    return stream[: dice.randrange(len(stream))] if dice.random() < 0.1 else stream


@pytest.mark.parametrize("batch", range(10))
def test_cut_anywhere_the_same_decisions_p4(batch: int) -> None:
    for number in range(batch * 30, batch * 30 + 30):
        stream = recorded_stream(number)
        whole = answers([stream])
        for at in range(1, len(stream)):
            assert answers([stream[:at], stream[at:]]) == whole
        assert answers([stream[i : i + 1] for i in range(len(stream))]) == whole


@pytest.mark.parametrize(
    ("decision", "replies", "wanted"),
    [
        (Decision(Verdict.PASS, Reason.KNOWN), Replies(), b"action=DUNNO\n\n"),
        (
            Decision(Verdict.DEFER, Reason.NEW, retry_after=300, id="9SWE-4EK"),
            Replies(),
            (
                b"action=DEFER_IF_PERMIT 4.7.1 Greylisted, please try again in 300 seconds"
                b" (id 9SWE-4EK)\n\n"
            ),
        ),
        (
            Decision(Verdict.DEFER, Reason.NEW),
            OLD_REPLIES,
            b"action=DEFER_IF_PERMIT temporary failure (#4.3.0)\n\n",
        ),
        (
            Decision(Verdict.REJECT, Reason.DENYLISTED, client=bytes((192, 0, 2, 17))),
            Replies(),
            b"action=553 5.7.1 Mail from 192.0.2.17 is not accepted here\n\n",
        ),
    ],
)
def test_actions(decision: Decision, replies: Replies, wanted: bytes) -> None:
    assert write_action(decision, replies) == wanted


def test_a_deferral_fits_the_one_read_of_qmail_postgrey() -> None:
    """It reads 64 bytes once and looks at the first 22."""
    action = write_action(Decision(Verdict.DEFER, Reason.NEW), Replies())
    assert action[:22] == b"action=DEFER_IF_PERMIT"


PLUGIN = attributes(greylag_client=b"qmail-spp", greylag_rcptcount=b"0", greylag_rcptcountall=b"1")


def test_the_plugin_asks_at_rcpt_with_the_hosts_counts() -> None:
    request = request_of(PLUGIN)
    assert request.get(b"greylag_client") == policy.PLUGIN
    assert request_of(POSTFIX).get(b"greylag_client") is None
    wanted = Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net")
    assert bare(read_plugin_attempt(request)) == wanted
    second = request_of(PLUGIN.replace(b"countall=1", b"countall=2"))
    assert read_plugin_attempt(second).further


def test_what_tcprules_set_comes_by_its_own_names() -> None:
    request = request_of(
        attributes(greylag_glblockexpire=b"2", greylag_glexplicit=b"", greylag_other=b"x")
    )
    wanted = ((b"GLBLOCKEXPIRE", b"2"), (b"GLEXPLICIT", b""))
    assert read_plugin_attempt(request).overrides == wanted
    assert read_attempt(request).overrides == ()


@pytest.mark.parametrize(
    ("decision", "wanted"),
    [
        (Decision(Verdict.PASS, Reason.KNOWN), b"action=DUNNO\n\n"),
        (Decision(Verdict.DEFER, Reason.NEW), b"action=451 temporary failure (#4.3.0)\n\n"),
        (
            Decision(Verdict.DEFER, Reason.NEW, at_data=True),
            b"action=451 temporary failure (#4.3.0)\ngreylag_at=data\n\n",
        ),
        (
            Decision(Verdict.REJECT, Reason.DENYLISTED),
            b"action=553 sorry, your envelope sender has been denied (#5.7.1)\n\n",
        ),
    ],
)
def test_actions_for_the_plugin(decision: Decision, wanted: bytes) -> None:
    assert write_plugin_action(decision, OLD_REPLIES) == wanted


@pytest.mark.parametrize(
    ("waited", "header", "wanted"),
    [
        (412, True, b"action=PREPEND X-Greylist: delayed 412 seconds by greylag\n\n"),
        (412, False, b"action=DUNNO\n\n"),
        (None, True, b"action=DUNNO\n\n"),
        (0, True, b"action=PREPEND X-Greylist: delayed 0 seconds by greylag\n\n"),
    ],
)
def test_a_header_says_how_long_mail_had_to_wait_t14(
    waited: int | None, header: bool, wanted: bytes
) -> None:
    decision = Decision(Verdict.PASS, Reason.RETRIED, waited=waited)
    assert write_action(decision, OLD_REPLIES, header=header) == wanted


def test_the_header_has_the_id_that_reply_and_log_have() -> None:
    decision = Decision(Verdict.PASS, Reason.RETRIED, waited=412, id="7KQ3-M2F")
    assert write_action(decision, Replies(), header=True) == (
        b"action=PREPEND X-Greylist: delayed 412 seconds by greylag (id 7KQ3-M2F)\n\n"
    )


@pytest.mark.parametrize("waited", [None, 412])
def test_the_plugin_has_the_same_header_and_no_other(waited: int | None) -> None:
    decision = Decision(Verdict.PASS, Reason.RETRIED, waited=waited, id="7KQ3-M2F")
    for header in (True, False):
        assert write_plugin_action(decision, Replies(), header=header) == write_action(
            decision, Replies(), header=header
        )


def test_a_reader_knows_whether_it_is_inside_a_request() -> None:
    reader = RequestReader()
    told = [reader.inside]
    for piece in (POSTFIX[:10], POSTFIX[10:]):
        reader.feed(piece)
        told.append(reader.inside)
    assert told == [False, True, False]
