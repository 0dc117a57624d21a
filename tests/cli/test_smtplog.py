"""Seeding from logs: whose mail was accepted, when, and what that becomes in each store."""

from __future__ import annotations

import gzip
import json
import os
from datetime import datetime
from pathlib import Path
from time import perf_counter

import pytest

from greylag.cli.imports import LONGEST
from greylag.cli.smtplog import client_of, time_of
from greylag.core.client import format_address
from greylag.core.connection import HOLD
from greylag.core.figures import hour_of
from greylag.core.triplet import connection_of
from tests.cli.conftest import NOW, Greylag

DAY = 86400


def tai(seconds: int) -> str:
    return f"@{2**62 + 10 + seconds:016x}1234abcd"


def accepted(address: str, age: int) -> str:
    return f"{tai(NOW - age)} qmail-smtpd: remote={address} result=accepted code=250 ip={address}\n"


def local(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).strftime("%b %e %H:%M:%S")  # noqa: DTZ006


@pytest.mark.parametrize(
    ("stamp", "wanted"),
    [
        (tai(NOW), NOW),
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
    assert time_of(f"{stamp} rest of it", NOW) == (wanted, "rest of it")


@pytest.mark.parametrize(
    "line",
    [
        *("", "x", "@4000", "@", "@" + "f" * 24, "2027-13-45T0", "2027-13-45T99:00:00Z x"),
        *("Feb 30 10:00:00 x", "Foo 12 10:00:00 x", "Jan  1 99:99:99 x"),
    ],
)
def test_what_has_no_time(line: str) -> None:
    assert time_of(line, NOW) is None


POSTFIX = "mx postfix/smtpd[12]: 4F1AB2: client=mail.example.org[192.0.2.17]"


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
        (POSTFIX, "192.0.2.17"),
        ("mx postfix/submission/smtpd[1]: 3B: client=unknown[2001:db8::1]", "2001:db8::1"),
        (f"{POSTFIX}, sasl_method=PLAIN, sasl_username=x", None),
        ("mx postfix/smtpd[12]: connect from x[192.0.2.17]", None),
        ("mx postfix/smtpd[12]: NOQUEUE: reject: RCPT from x[192.0.2.17]: 450", None),
        ("mx postfix/cleanup[12]: 4F: message-id=<client=x[192.0.2.17]>", None),
    ],
)
def test_whose_mail_was_accepted(rest: str, wanted: str | None) -> None:
    client = client_of(rest, None)
    assert (format_address(client) if client else None) == wanted


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
    assert greylag.run("import", "smtp-log", str(tmp_path / "none")).exit_code == 74
    bad = tmp_path / "bad.gz"
    bad.write_bytes(b"not packed")
    assert greylag.run("import", "smtp-log", str(bad)).exit_code == 74
    bad.write_bytes(gzip.compress(b"x" * 9999)[:-9])
    assert greylag.run("import", "smtp-log", str(bad)).exit_code == 74


def test_the_rest_of_a_long_line_is_no_line(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = accepted("203.0.113.9", 5)
    path.write_text(accepted("192.0.2.1", 5) + "y" * LONGEST + tail + accepted("192.0.3.1", 5))
    result = greylag.run("import", "smtp-log", str(path), "--json")
    assert json.loads(result.stdout)["networks"] == 2


@pytest.mark.parametrize("piece", ["1:", "a", "1.", " ip=1:", "client=[", "1.1.1.1:", " @", "\t"])
def test_hostile_lines_take_linear_time(piece: str) -> None:
    began = perf_counter()
    for rest in (f"{piece * 30000}x result=accepted code=250", f"{POSTFIX}{piece * 30000}x"):
        client_of(rest, None)
        time_of(rest, NOW)
    assert perf_counter() - began < 2
