"""Lines of logs: when each was written, and whose mail it says was accepted."""

from __future__ import annotations

from time import thread_time

import pytest

from greylag.admin.logs.lines import client_of
from greylag.admin.logs.times import seconds_of, split_stamp
from greylag.admin.seeding import Reader
from greylag.core.client import format_address
from greylag.core.policy import Policy
from tests.admin.loglines import DAY, NOW, iso, local, tai


def time_of(line: str) -> tuple[int | None, str] | None:
    split = split_stamp(line)
    return (seconds_of(split[0], NOW), split[1]) if split else None


@pytest.mark.parametrize(
    ("stamp", "wanted"),
    [
        (tai(NOW), NOW),
        (iso(NOW), NOW),  # Exim
        (f"{iso(NOW)}.123", NOW),
        ("2027-01-15 09:00:00 +0100", NOW),  # Exim with log_timezone
        (f"{local(NOW)}.123456", NOW),  # journalctl -o short-precise
        ("2027-01-15T08:00:00+0000", NOW),  # journalctl -o short-iso
        ("2027-01-15T08:00:00.123456789Z", NOW),  # docker logs -t
        (f"2027-01-15T08:00:00.123456789Z {local(NOW - 5)}", NOW),
        (f"mail-1  | {local(NOW)}", NOW),  # docker compose logs
        (f"mail-1 | 2027-01-15T08:00:00.123456789Z {local(NOW - 5)}", NOW),
        (f"\x1b[36mmail-1  | \x1b[0m{local(NOW)}", NOW),
        ("@400000004fd8f9e50a1b2c3d", 1339619803),
        ("2027-01-15T08:00:00.123456+00:00", NOW),
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T09:30:00+01:30", NOW),
        ("2027-01-15T00:00:00-0800", NOW),
        (local(NOW), NOW),
        (local(NOW - 40 * DAY), NOW - 40 * DAY),  # last year's
        (local(NOW + 3600), NOW + 3600),
        (local(NOW + 3 * DAY), NOW + 3 * DAY - 365 * DAY),
    ],
)
def test_when_a_line_was_written(stamp: str, wanted: int) -> None:
    assert time_of(f"{stamp} rest of it") == (wanted, "rest of it")


@pytest.mark.parametrize(
    "line",
    [
        *("", "x", "@4000", "@", "@" + "f" * 24, "2027-13-45T0", "2027-13-45T99:00:00Z x"),
        *("Feb 30 10:00:00 x", "Foo 12 10:00:00 x", "Jan  1 99:99:99 x"),
    ],
)
def test_what_has_no_time(line: str) -> None:
    found = time_of(line)
    assert found is None or found[0] is None


EXIM = "1rP3xZ-0001aB-2C <= user@example.org H=mx.example.org"


@pytest.mark.parametrize(
    ("rest", "wanted"),
    [
        ("remote=192.0.2.17 result=accepted code=250", "192.0.2.17"),
        ("ip=2001:db8::1 from=<a@example.org> result=accepted code=250 x", "2001:db8::1"),
        ("TCP: tcpremoteip=[192.0.2.17] result=accepted code=250".lower(), "192.0.2.17"),
        ("accept 192.0.2.17: result=accepted code=250", "192.0.2.17"),
        ("[192.0.2.17] result=accepted code=250 qp 12", "192.0.2.17"),
        ("::ffff:192.0.2.17 result=accepted code=250", "192.0.2.17"),
        ("ip=192.0.2.17 helo=[198.51.100.1] result=accepted code=250", "192.0.2.17"),
        ("192.0.2.17 helo=[198.51.100.1] result=accepted code=250", None),  # whose?
        ("ip=192.0.2.17 result=rejected code=550", None),
        ("ip=192.0.2.17 result=accepted code=2500", None),
        ("ip=999.0.2.17 result=accepted code=250", None),
        ("result=accepted code=250", None),
        ("ip=192.0.2.17 helo=x ip=203.0.113.1 result=accepted code=250", None),
        ("accept [192.0.2.17] helo=x ip=203.0.113.1 result=accepted code=250", None),
        ("remote=192.0.2.17 helo=[203.0.113.1] result=accepted code=250", "192.0.2.17"),
        *[
            (line, None)  # the only address is one that the client wrote
            for line in (
                "helo=ip=203.0.113.1 result=accepted code=250",
                "helo=x ip=203.0.113.1 result=accepted code=250",
                "from=<a@example.org> helo=[203.0.113.1] result=accepted code=250",
                "remote=mail.example.org helo=203.0.113.1 result=accepted code=250",
                "HELO 203.0.113.1 result=accepted code=250",
                "from=<x ip=203.0.113.1> result=accepted code=250",
                "result=accepted code=250 mail from:<a ip=203.0.113.1>",
                'result=accepted code=250 subject="ip=203.0.113.1"',
                "ip=203.0.113.1 helo=x result=accepted code=250 result=rejected code=550",
            )
        ],
        *[
            (line, None)  # of a greylister: the client was deferred, whatever its names say
            for line in (
                (
                    'greylisting: verdict=defer reason=new client_address=203.0.113.1 sender="" '
                    'recipient=b@example.net helo="x result=accepted code=250"'
                ),
                (
                    "greylisting: verdict=defer reason=new client_address=203.0.113.1 "
                    'sender="a result=accepted code=250 b@example.org" recipient=b@example.net'
                ),
                (
                    "greylag: verdict=defer reason=new client_address=203.0.113.1 sender=a "
                    'recipient=b@example.net helo="x ip=203.0.113.1 result=accepted code=250"'
                ),
                (
                    "greylag: verdict=defer reason=new at=connect client_address=203.0.113.1 "
                    'client_name="x result=accepted code=250"'
                ),
                "greylist[12]: 203.0.113.1: < HELO x result=accepted code=250",
                "jgreylist: 203.0.113.1: < MAIL FROM:<x> result=accepted code=250",
            )
        ],
        ("accepted from 192.0.2.17 helo=x result=accepted code=250", "192.0.2.17"),
        (f"{EXIM} [192.0.2.17] P=esmtps X=TLS1.3 S=1234 id=x@example.org", "192.0.2.17"),
        (f"{EXIM} (helo) [192.0.2.17]:41234 I=[198.51.100.1]:25 P=esmtp S=1", "192.0.2.17"),
        (f"mx exim[12]: {EXIM} [192.0.2.17] P=smtp S=1", "192.0.2.17"),
        (f"[12] {EXIM} [2001:db8::1] P=smtp S=1", "2001:db8::1"),
        ("1rP3xZ-00000001aBc-2CdE <= <> H=(helo) [192.0.2.17] P=smtp S=1", "192.0.2.17"),
        (f"{EXIM} ([203.0.113.1]) [192.0.2.17] P=smtp S=1", "192.0.2.17"),
        (f"{EXIM} [192.0.2.17] P=esmtpsa A=plain_server:user S=1", None),  # has logged in
        (f"{EXIM} [192.0.2.17] P=esmtpa S=1", None),
        ('1rP3xZ-0001aB-2C <= "a H=x [203.0.113.1] "@example.org H=y [192.0.2.17] P=smtp', None),
        ("1rP3xZ-0001aB-2C <= root@example.org U=root P=local S=1", None),
        ("1rP3xZ-0001aB-2C => info@example.net H=mx [192.0.2.17]", None),
        (f"H=x [192.0.2.1] rejected: {EXIM} [203.0.113.1] P=smtp", None),
    ],
)
def test_whose_mail_was_accepted(rest: str, wanted: str | None) -> None:
    client = client_of(rest, None)
    assert (format_address(client) if client else None) == wanted


@pytest.mark.parametrize(
    "piece", ["1:", "a", "1.", " ip=1:", "client=[", "1.1.1.1:", " @", "\t", "a/"]
)
def test_hostile_lines_take_linear_time(piece: str) -> None:
    began = thread_time()
    reader = Reader(
        NOW, 0, Policy(), None, by_address=False, triplets=True, write=lambda _found: None
    )
    for rest in (
        f"{piece * 30000}x result=accepted code=250",
        f"mx postfix/smtpd[12]: 4F1AB2: client=mail.example.org[192.0.2.17]{piece * 30000}x",
        f"mx postfix/qmgr[12]: 4F1AB2: from=<{piece * 30000}>, size=1, nrcpt=1 (queue active)",
        f"mx postfix/lmtp[12]: 4F1AB2: to=<{piece * 30000}>, relay={piece * 30000}",
        f"{EXIM} {piece * 30000}",
    ):
        client_of(rest, None)
        reader.take(rest)
        reader.take(f"{local(NOW)} {rest}")
        reader.take(f"{local(NOW)} {piece * 30000} {rest}")
    assert thread_time() - began < 15
