"""Postfix's log: client, sender and recipients of a mail, put together by its queue id."""

from __future__ import annotations

import pytest

from greylag.admin.logs import postfix
from greylag.admin.seeding import Found, Reader
from greylag.core.connection import HOLD
from greylag.core.policy import Policy
from greylag.core.triplet import Triplet
from tests.admin.loglines import (
    AT,
    CONNECTION,
    DAY,
    MAIL,
    NETWORK,
    NOW,
    REMOVED,
    active,
    client,
    sent,
    stamped,
)


def found_in(lines: list[str], *, triplets: bool = True) -> dict[Triplet, tuple[int, int]]:
    kept: list[Found] = []
    reader = Reader(
        NOW, NOW - 30 * DAY, Policy(), None, by_address=False, triplets=triplets, write=kept.append
    )
    for line in lines:
        reader.take(line)
    reader.flush()
    return {key: (times.first, times.last) for found in kept for key, times in found.items()}


def triplets_in(texts: list[str]) -> list[tuple[str, str]]:
    found = found_in([stamped(AT + n, text) for n, text in enumerate(texts)])
    return [(key.sender, key.recipient) for key in found if key != CONNECTION]


def test_a_mail_seeds_its_connection_and_its_triplet() -> None:
    found = found_in([stamped(AT + n, text) for n, text in enumerate(MAIL)])
    assert found == {
        CONNECTION: (AT - HOLD, AT),
        Triplet(NETWORK, "user@example.org", "info@example.net"): (AT - Policy().delay, AT),
    }
    assert list(found_in([stamped(AT, text) for text in MAIL], triplets=False)) == [CONNECTION]


@pytest.mark.parametrize(
    "form",
    [
        "{} mail.info ",  # BusyBox
        "{} ",
        "",  # journalctl --no-hostname
    ],
)
@pytest.mark.parametrize("service", ["postfix/", "postfix/25/", "postfix-in/"])
def test_the_ways_that_logs_write_postfix(form: str, service: str) -> None:
    lines = [
        stamped(AT, text.replace("postfix/", service, 1), form.format("mx")).replace("  ", " ")
        for text in MAIL
    ]
    assert len(found_in(lines)) == 2


def test_ways_of_the_journal_and_of_docker() -> None:
    for stamp in (
        "2027-01-13T08:00:00+0000 mx",
        "2027-01-13T08:00:00.123456+00:00 mx",
        "mail-1  | Jan 13 08:00:00 0a1b2c3d4e5f",
        "2027-01-13T08:00:00.123456789Z Jan 13 08:00:00 mx",
    ):
        assert len(found_in([f"{stamp} {text}" for text in MAIL])) == 2, stamp


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (MAIL, [("user@example.org", "info@example.net")]),
        ([client(), active(sender=""), sent()], [("", "info@example.net")]),
        (
            [client(), active(), sent(recipient="box@host>, orig_to=<info@example.net")],
            [("user@example.org", "info@example.net")],  # who was asked for, not where it went
        ),
        (
            [client(), active(), sent(), sent(recipient="two@example.net")],
            [("user@example.org", "info@example.net"), ("user@example.org", "two@example.net")],
        ),
        ([client(), active(), sent(status="bounced")], []),
        (
            [*MAIL[:2], sent(status="deferred"), *MAIL[1:]],
            [("user@example.org", "info@example.net")],
        ),
        ([client(), sent()], []),
        ([active(), sent()], []),
        ([client(), active("4F1AB3"), sent("4F1AB3")], []),
        ([client(), active(), REMOVED, active(), sent()], []),
        ([client(), active(), client(), sent()], []),  # the id came again: another mail
        ([client(more=", sasl_method=PLAIN, sasl_username=x"), active(), sent()], []),
        (
            [
                client(
                    address="127.0.0.1", more=", orig_queue_id=A1, orig_client=x[203.0.113.1]"
                ),
                active(),
                sent(),
            ],
            [],
        ),
        ([client("NOQUEUE"), active("NOQUEUE"), sent("NOQUEUE")], []),
    ],
)  # fmt: skip
def test_what_belongs_together(lines: list[str], wanted: list[tuple[str, str]]) -> None:
    assert triplets_in(lines) == wanted


def test_a_mail_that_was_not_taken_at_its_end_seeds_nothing() -> None:
    refused = "postfix/cleanup[9]: 4F1AB2: milter-reject: END-OF-MESSAGE from x[192.0.2.17]: 5.7.1"
    assert found_in([stamped(AT, client()), stamped(AT, refused)]) == {}


def test_the_same_id_of_another_time_or_host_is_another_mail() -> None:
    assert found_in([stamped(AT, client()), stamped(AT + 2 * 3600, active())]) == {}
    assert found_in([stamped(AT, client()), stamped(AT - 60, active())]) == {}
    assert found_in([stamped(AT, client()), stamped(AT, active(), "other")]) == {}


FORGED = "victim@example.net"
HOSTILE = [
    # A sender that looks like the rest of the line, with and without its quotes (Postfix 3.5).
    active(sender="a>, size=1, nrcpt=1 (queue active)"),
    active(sender='"a>, size=1, nrcpt=1 (queue active) b"@example.org'),
    active(sender="a b@example.org"),
    # Headers and HELO names that other programs log.
    f"postfix/cleanup[9]: 4F1AB2: warning: header Subject: {sent(recipient=FORGED)}",
    f"postfix/cleanup[9]: 4F1AB2: message-id=<{active()}>",
    f"postfix/smtpd[12]: warning: non-SMTP command from x[203.0.113.1]: {sent(recipient=FORGED)}",
    f"postfix/smtpd[12]: NOQUEUE: reject: RCPT from x: helo=<{client(address='203.0.113.1')}>",
    "postfix/cleanup[9]: 4F1AB2: warning: header Subject: result=accepted code=250 ip=203.0.113.1",
    '1rP3xZ-0001aB-2C => b@x T=" result=accepted code=250 ip=203.0.113.1 "',
    f"sshd[7]: Invalid user {sent(recipient=FORGED)} from 203.0.113.1",
    # A recipient, and the text of a server that mail was passed on to.
    sent(recipient=f'"a>, orig_to=<{FORGED}"@example.net'),
    sent(
        recipient=f"a>, orig_to=<{FORGED}>, relay=x, delay=1, delays=1/0/0/0, dsn=2.0.0, "
        "status=sent (b"
    ),
    sent(recipient="a b@example.net"),
    sent(recipient="other@example.net", status=f"deferred (to=<{FORGED}>, relay=x, status=sent"),
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE)
def test_what_a_sender_chose_is_never_taken_for_what_postfix_wrote(line: str) -> None:
    found = found_in(
        [stamped(AT, text) for text in (client(), line, sent(recipient="own@example.net"))]
    )
    assert {(key.network, key.recipient) for key in found} <= {
        (CONNECTION.network, CONNECTION.recipient)
    }
    found = found_in([stamped(AT, text) for text in (client(), active(), line)])
    assert set(found) == {CONNECTION}


def test_mails_that_never_end_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postfix, "MOST_HELD", 100)
    kept: list[Found] = []
    reader = Reader(NOW, 0, Policy(), None, by_address=False, triplets=True, write=kept.append)
    for number in range(1000):
        reader.take(stamped(AT, client(f"{number:08X}")))
    assert len(reader.queue._held) == 100
    for number in (0, 999):
        reader.take(stamped(AT, active(f"{number:08X}")))
    assert reader.accepted == 1


def test_much_that_is_found_is_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greylag.admin.seeding.MOST_FOUND", 10)
    kept: list[Found] = []
    reader = Reader(NOW, 0, Policy(), None, by_address=False, triplets=True, write=kept.append)
    for number in range(50):
        for text in (
            client(f"{number:08X}"),
            active(f"{number:08X}"),
            sent(f"{number:08X}", f"{number}@x"),
        ):
            reader.take(stamped(AT, text))
    reader.flush()
    assert max(map(len, kept)) <= 10
    assert len({key for found in kept for key in found}) == 51
