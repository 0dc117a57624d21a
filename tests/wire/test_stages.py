"""T32: whatever the stage, the number of recipients, the sender and the front end, none passes
unasked: one table for each question, and each session as a mail server walks through it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from greylag.core.attempt import Attempt
from greylag.core.policy import NullSender, Policy
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.policy import Request, read_attempt, read_plugin_attempt, write_plugin_action
from greylag.wire.qmailspp import read_environment, write_command
from greylag.wire.reply import Replies
from tests.core.asking import T, ask, deny, write
from tests.strategies import SOAK

PLAIN, NULL, PROBE, BATV = "a@example.org", "", "double-bounce@example.org", "prvs=1=postmaster@x"
SENDERS = (PLAIN, NULL, PROBE, BATV)
NETWORK = b"\xc0\x00\x02\x00"
DATA, RCPT, NEVER = NullSender.DATA, NullSender.RCPT, NullSender.NEVER
MESSAGES = 100_000 if SOAK else 2_000


def asked(stage: str | None, sender: str, recipient: str) -> Attempt:
    state = "" if stage is None else f"protocol_state={stage}\n"
    text = f"{state}client_address=192.0.2.17\nsender={sender}\nrecipient={recipient}\n"
    return read_attempt(Request(text.encode()))


def wanted(stage: str | None, sender: str, recipient: str, when: NullSender) -> tuple[str, str]:
    """Say by hand what the answer is: the reason, and the recipient of the record."""
    waits = sender != PLAIN and when is DATA
    at_data = stage in ("DATA", "BDAT", "END-OF-MESSAGE")
    if stage in ("CONNECT", "EHLO", "HELO", "MAIL", "VRFY", "ETRN"):
        return "other-stage", ""
    if at_data and not waits:
        return "other-stage", ""
    if not at_data and not recipient:
        return "incomplete", ""
    if stage == "RCPT" and waits:
        return "other-stage", ""
    if sender == NULL and when is NEVER:
        return "null-sender", ""
    return "new", recipient or r"\several"


STAGES = (
    *("RCPT", "DATA", "BDAT", "END-OF-MESSAGE"),
    *("CONNECT", "EHLO", "HELO", "MAIL", "VRFY", "ETRN"),
    *(None, "", "rcpt", "RCPT ", "DATAX", "UNKNOWN", "\xff"),
)


@pytest.mark.parametrize("when", NullSender)
@pytest.mark.parametrize("stage", STAGES)
def test_what_is_decided_at_each_stage_t32(stage: str | None, when: NullSender) -> None:
    for sender, recipient in product(SENDERS, ("b@example.net", "")):
        decision = ask(asked(stage, sender, recipient), {}, Policy(null_sender=when), T)
        reason, named = wanted(stage, sender, recipient, when)
        assert decision.reason.value == reason, (sender, recipient)
        assert decision.verdict is (Verdict.DEFER if reason == "new" else Verdict.PASS)
        assert not decision.at_data
        triplets = [change.triplet for change in decision.changes]
        canonical = "postmaster@x" if sender == BATV else sender
        assert triplets == ([Triplet(NETWORK, canonical, named)] if named else [])


def postfix(sender: str, recipients: list[str]) -> list[Attempt]:
    """Return what Postfix asks about one message, as long as all is accepted."""
    at_data = recipients[0] if len(recipients) == 1 else ""
    rcpts = [asked("RCPT", sender, recipient) for recipient in recipients]
    return [*rcpts, asked("DATA", sender, at_data)]


def qmail_postgrey(sender: str, recipients: list[str]) -> list[Attempt]:
    return [asked(None, sender, recipient) for recipient in recipients]


def plugin(sender: str, recipients: list[str]) -> list[Attempt]:
    return [
        read_plugin_attempt(
            Request(
                f"client_address=192.0.2.17\nsender={sender}\nrecipient={recipient}\n"
                f"greylag_rcptcount={number}\ngreylag_rcptcountall={number + 1}\n".encode()
            )
        )
        for number, recipient in enumerate(recipients)
    ]


def one_shot(sender: str, recipients: list[str]) -> list[Attempt]:
    return [
        read_environment(
            {
                b"GREYLISTING": b"",
                b"TCPREMOTEIP": b"192.0.2.17",
                b"SMTPMAILFROM": sender.encode(),
                b"SMTPRCPTTO": recipient.encode(),
                b"SMTPRCPTCOUNT": b"%d" % number,
                b"SMTPRCPTCOUNTALL": b"%d" % (number + 1),
            }
        )
        for number, recipient in enumerate(recipients)
    ]


FrontEnd = Callable[[str, list[str]], list[Attempt]]
FRONT_ENDS: tuple[FrontEnd, ...] = (postfix, qmail_postgrey, plugin, one_shot)


def walk(
    attempts: list[Attempt], records: dict[Triplet, Record], now: int, when: NullSender
) -> Iterator[tuple[Attempt, Decision]]:
    """Ask as the mail server does; return the decisions up to the end of the message."""
    for attempt in attempts:
        decision = ask(attempt, records, Policy(null_sender=when), now)
        write(decision, records, now)
        yield attempt, decision


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("when", [DATA, RCPT])
@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_no_message_passes_unasked_and_its_retry_does_t32(
    front_end: FrontEnd,
    sender: str,
    when: NullSender,
    number: int,
) -> None:
    """T32: of a new message every recipient is deferred; after the delay every one passes."""
    recipients = [f"b{n}@example.net" for n in range(number)]
    records: dict[Triplet, Record] = {}
    attempts = front_end(sender, recipients)
    first = [decision for _, decision in walk(attempts, records, T, when)]
    at_data = front_end is postfix and sender != PLAIN and when is DATA
    if at_data:
        assert [decision.reason for decision in first[:-1]] == [Reason.OTHER_STAGE] * number
        assert first[-1].verdict is Verdict.DEFER
    else:
        assert [d.verdict for d in first[:number]] == [Verdict.DEFER] * number
    again = [decision.verdict for _, decision in walk(attempts, records, T + 300, when)]
    assert again == [Verdict.PASS] * len(attempts)


def keys_of(front_end: FrontEnd, sender: str, recipients: list[str], when: NullSender) -> set[str]:
    """Return the recipients of the records that must have been waited for."""
    if front_end is postfix and sender.partition("@")[0] in WAITING and when is DATA:
        return {recipients[0] if len(recipients) == 1 else r"\several"}
    return set(recipients)


WAITING = ("", "double-bounce", "postmaster")


def test_in_no_order_of_messages_does_one_pass_unasked_t32() -> None:
    """T32: a message is let in only if each of its records was deferred 300 seconds before."""
    dice = random.Random() if SOAK else random.Random(32)
    records: dict[NullSender, dict[Triplet, Record]] = {DATA: {}, RCPT: {}}
    deferred: dict[tuple[NullSender, str, str], int] = {}
    now, let_in = T, 0
    for _ in range(MESSAGES):
        now += dice.choice((0, 1, 60, 299, 300, 3600))
        front_end, when = dice.choice(FRONT_ENDS), dice.choice((DATA, RCPT))
        sender = dice.choice(("", "double-bounce@x", "postmaster@x", f"a{dice.randrange(9)}@x"))
        recipients = dice.sample([f"b{n}@example.net" for n in range(6)], dice.randint(1, 3))
        attempts = front_end(sender, recipients)
        if dice.random() < 0.3:  # the client goes away, or the server asks about another stage
            attempts = attempts[: dice.randrange(len(attempts))]
            attempts.append(asked(dice.choice(STAGES), sender, dice.choice(("", *recipients))))
            list(walk(attempts, records[when], now, when))
        else:
            decisions = [decision for _, decision in walk(attempts, records[when], now, when)]
            if all(decision.verdict is Verdict.PASS for decision in decisions):
                let_in += 1
                for key in keys_of(front_end, sender, recipients, when):
                    assert deferred[when, sender, key] <= now - 300
        for triplet in records[when]:
            deferred.setdefault((when, triplet.sender, triplet.recipient), now)
    assert MESSAGES / 20 < let_in < MESSAGES


@pytest.mark.parametrize("sender", [NULL, PROBE, BATV])
@pytest.mark.parametrize("front_end", [plugin, one_shot])
def test_a_host_is_told_of_data_once_in_a_transaction_t32(front_end: FrontEnd, sender: str) -> None:
    decisions = list(walk(front_end(sender, ["b@x", "c@x", "d@x"]), {}, T, DATA))
    assert [decision.at_data for _, decision in decisions] == [True, False, False]
    _attempt, first = decisions[0]
    if front_end is plugin:
        assert b"greylag_at=data" in write_plugin_action(first, Replies())
    else:
        assert write_command(first, Replies()).startswith(b"LD4")


@pytest.mark.parametrize("stage", ["RCPT", None])
def test_the_denylist_refuses_the_null_sender_at_rcpt(stage: str | None) -> None:
    """At DATA a recipient may not be named, so no list could speak for its domain there."""
    attempt = asked(stage, NULL, "b@example.net")
    decision = ask(attempt, {}, Policy(), T, [deny("example.net")])
    assert decision.verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ("sender", "probes", "waits"),
    [
        (b"postmaster@example.org", None, True),
        (b"PostMaster@EXAMPLE.ORG", None, True),
        (b"double-bounce@mx.example.org", None, True),
        (b"postmaster", None, False),
        (b"postmasters@example.org", None, False),
        (b"a-postmaster@example.org", None, False),
        (b"postmaster@example.org", (), False),
        (b"", (), True),
        (b"probe@example.org", ("probe@example.org",), True),
        (b"probe@example.com", ("probe@example.org",), False),
    ],
)
def test_probe_senders_wait_for_data_like_the_null_sender(
    sender: bytes, probes: tuple[str, ...] | None, waits: bool
) -> None:
    policy = Policy() if probes is None else Policy(probe_senders=probes)
    decision: Decision = ask(Attempt(b"192.0.2.17", sender, b"b@example.net"), {}, policy, T)
    assert decision.verdict is Verdict.DEFER
    assert decision.at_data is waits
