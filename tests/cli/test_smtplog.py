"""Seeding from logs: whose mail was accepted, when, and what that becomes in each store."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import perf_counter

import pytest

from greylag.cli.logfiles import LONGEST
from greylag.cli.logtimes import seconds_of, split_stamp
from greylag.cli.seeding import Found, Reader
from greylag.cli.smtplog import client_of
from greylag.core.client import format_address
from greylag.core.connection import HOLD
from greylag.core.figures import hour_of
from greylag.core.policy import Policy
from greylag.core.triplet import connection_of
from tests.cli.conftest import NOW, Greylag

DAY = 86400


def tai(seconds: int) -> str:
    return f"@{2**62 + 10 + seconds:016x}1234abcd"


def accepted(address: str, age: int) -> str:
    return f"{tai(NOW - age)} qmail-smtpd: remote={address} result=accepted code=250 ip={address}\n"


def local(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).strftime("%b %e %H:%M:%S")  # noqa: DTZ006


def iso(seconds: int) -> str:
    """Return a local time without a zone, as Exim has it."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006


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


def reading(found: list[Found]) -> Reader:
    return Reader(NOW, 0, Policy(), None, by_address=False, triplets=True, write=found.append)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "current"
    path.write_text(
        accepted("192.0.2.17", 3 * DAY)
        + accepted("192.0.2.18", DAY)
        + accepted("2001:db8::1", 2 * DAY)
        + accepted("198.51.100.1", 31 * DAY)
        + f"{tai(NOW)} tcpserver: status: 1/40\n"
    )
    return path


def test_into_the_store(greylag: Greylag, log: Path) -> None:
    result = greylag.run("import", "smtp-log", str(log), "--json")
    assert json.loads(result.stdout) == {
        "dry_run": False,
        "lines": 5,
        "accepted": 4,
        "too_old": 1,
        "networks": 2,
        "added": 2,
        "triplets": 0,
        "added_triplets": 0,
    }
    key = connection_of(bytes((192, 0, 2, 0)), 24)
    with greylag.store() as store:
        record = store.load([key])[key]
        assert record.first_seen == NOW - 3 * DAY - HOLD
        assert record.expires == NOW - DAY + 36 * DAY
        assert record.passed == 1
        assert store.figures(0, hour_of(NOW) + 1) == {}
    again = greylag.run("import", "smtp-log", str(log), "--json")
    assert json.loads(again.stdout)["added"] == 0


def test_into_a_tree(greylag: Greylag, log: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir(mode=0o700)
    result = greylag.run("import", "smtp-log", "--tree", str(tree), str(log))
    assert result.exit_code == 0
    found = (tree / "192/000/002").stat()
    assert (found.st_mtime, found.st_atime) == (NOW - 3 * DAY - HOLD, NOW - DAY)
    assert (tree / "ipv6/2001/0db8/00000000").stat().st_atime == NOW - 2 * DAY
    assert not (tree / "198").exists()
    assert not greylag.database.exists()


def test_by_address_days_and_gz(greylag: Greylag, log: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    options = ["--tree", str(tree), "--by-address", "--days", "40"]
    assert greylag.run("import", "smtp-log", *options, str(packed)).exit_code == 0
    assert sorted(p.name for p in (tree / "192/000/002").iterdir()) == ["017", "018"]
    assert (tree / "198/051/100/001").exists()


def test_who_is_known_stays_as_he_is(greylag: Greylag, log: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "192/000").mkdir(parents=True)
    (tree / "192/000/002").touch()
    os.utime(tree / "192/000/002", (NOW, NOW - 9 * DAY))
    result = greylag.run("import", "smtp-log", "--tree", str(tree), str(log), "--json")
    assert json.loads(result.stdout)["added"] == 1
    found = (tree / "192/000/002").stat()
    assert (found.st_mtime, found.st_atime) == (NOW - 9 * DAY, NOW)


def test_dry_run_writes_nothing(greylag: Greylag, log: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    result = greylag.run("import", "smtp-log", "--dry-run", "--tree", str(tree), str(log))
    assert "would be added    2" in result.stdout
    assert list(tree.iterdir()) == []
    assert greylag.run("import", "smtp-log", "--dry-run", str(log)).exit_code == 0
    assert not greylag.database.exists()


def test_a_pattern_of_ones_own(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{tai(NOW - DAY)} delivered from 192.0.2.17\n{tai(NOW)} x 203.0.113.1\n")
    pattern = "delivered from (?P<address>[0-9.]+)"
    result = greylag.run("import", "smtp-log", "--pattern", pattern, str(path), "--json")
    assert json.loads(result.stdout)["networks"] == 1


@pytest.mark.parametrize("pattern", ["(", "no group", "(?P<adress>x)"])
def test_a_bad_pattern_is_told(greylag: Greylag, log: Path, pattern: str) -> None:
    result = greylag.run("import", "smtp-log", "--pattern", pattern, str(log))
    assert result.exit_code == 2
    assert "expected" in result.stderr


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (
            "delivered by (?P<address>[0-9.]+)",
            (
                "'delivered ' of it fits, 'by (?P<address>[0-9.]+)' behind it does not; "
                "nearest: 'delivered from mx.example.org [192.0.2.17]'"
            ),
        ),
        (
            "delivered from (?P<address>[^ ]+)",
            (
                "the group address took 'mx.example.org', which is no address, of "
                "'delivered from mx.example.org [192.0.2.17]'"
            ),
        ),
        ("^x(?P<address>y)", "'^' of it fits, 'x(?P<address>y)' behind it does not"),
        ("Q(?P<address>y)", "not even its beginning fits; the first line says 'queue run'"),
    ],
)
def test_a_pattern_that_fits_no_line_tells_which_part_failed(
    greylag: Greylag, tmp_path: Path, pattern: str, told: str
) -> None:
    path = tmp_path / "log"
    lines = ("queue run", "deliver: none", "delivered from mx.example.org [192.0.2.17]")
    path.write_text("".join(f"{local(NOW)} {line}\n" for line in lines))
    result = greylag.run("import", "smtp-log", "--pattern", pattern, str(path))
    assert result.exit_code == 1
    assert f"no accepted mail in 3 lines: --pattern fits none: {told}" in result.stderr


def test_a_log_without_known_times_shows_its_first_line(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("15/Jan/2027 client=x[192.0.2.17]\n")
    result = greylag.run("import", "smtp-log", str(path))
    assert result.exit_code == 1
    assert (
        "no line begins with a time that is known; the first is '15/Jan/2027 client"
        in result.stderr
    )


@pytest.mark.parametrize("content", [b"", b"\0\xff\n" * 9, b"@" * 300_000, b"\x1b[2J\n"])
def test_a_log_without_accepted_mail_says_what_was_expected(
    greylag: Greylag, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    result = greylag.run("import", "smtp-log", str(path))
    assert result.exit_code == 1
    assert "result=accepted code=250" in result.stderr


def test_files_that_cannot_be_read(greylag: Greylag, tmp_path: Path) -> None:
    assert greylag.run("import", "smtp-log", str(tmp_path / "none")).exit_code == 66
    for name in ("bad.gz", "bad.bz2", "bad.xz"):
        bad = tmp_path / name
        bad.write_bytes(b"not packed")
        assert greylag.run("import", "smtp-log", str(bad)).exit_code == 66
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        bad.write_bytes(pack(os.urandom(9999))[:-20])
        result = greylag.run("import", "smtp-log", str(bad))
        assert result.exit_code == 66
        assert str(bad) in result.stderr


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["log", "log.1"])
def test_packed_files_are_known_by_their_first_bytes(
    greylag: Greylag, log: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    packed = log.with_name(name)
    packed.write_bytes(pack(log.read_bytes()))
    assert json.loads(greylag.run("import", "smtp-log", str(packed), "--json").stdout)["added"] == 2
    again = greylag.run("import", "smtp-log", "-", "--json", stdin=log.read_text())
    assert json.loads(again.stdout)["added"] == 0


@pytest.mark.parametrize(
    ("begin", "program"),
    [
        (b"\x28\xb5\x2f\xfd", "zstd -dc"),
        (b"\x04\x22\x4d\x18", "lz4 -dc"),
        (b"PK\x03\x04", "unzip -p"),
    ],
)
def test_what_cannot_be_unpacked_is_refused_and_never_read_as_text(
    greylag: Greylag, tmp_path: Path, begin: bytes, program: str
) -> None:
    path = tmp_path / "log.packed"
    path.write_bytes(begin + accepted("192.0.2.17", 5).encode())
    result = greylag.run("import", "smtp-log", str(path))
    if result.exit_code == 66 and "is packed" not in result.stderr:
        pytest.skip("this Python has a module for it")
    assert result.exit_code == 66
    assert f"is packed, and cannot be unpacked here: {program} FILE | greylag" in result.stderr
    assert not greylag.database.exists()


def test_who_came_by_a_tunnel_is_the_ipv4_host_behind_it(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(accepted("192.0.2.1", 5) + accepted("2002:c000:211::1", 5))
    result = greylag.run("import", "smtp-log", str(path), "--json")
    assert json.loads(result.stdout)["networks"] == 1


def test_the_rest_of_a_long_line_is_no_line(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = accepted("203.0.113.9", 5)
    path.write_text(accepted("192.0.2.1", 5) + "y" * LONGEST + tail + accepted("192.0.3.1", 5))
    result = greylag.run("import", "smtp-log", str(path), "--json")
    assert json.loads(result.stdout)["networks"] == 2


@pytest.mark.parametrize(
    "piece", ["1:", "a", "1.", " ip=1:", "client=[", "1.1.1.1:", " @", "\t", "a/"]
)
def test_hostile_lines_take_linear_time(piece: str) -> None:
    began = perf_counter()
    reader = reading([])
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
    assert perf_counter() - began < 4
