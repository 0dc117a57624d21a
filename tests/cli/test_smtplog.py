"""`greylag import smtp-log`: what logs tell becomes records, in each store."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from greylag.admin.logs.files import LONGEST
from greylag.core.connection import HOLD
from greylag.core.figures import hour_of
from greylag.core.triplet import Triplet, connection_of
from tests.admin.loglines import AT, DAY, MAIL, NETWORK, accepted, client, local, stamped, tai
from tests.cli.conftest import NOW, Greylag


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


@pytest.mark.parametrize("first", [[], ["--by-address"]])
def test_a_tree_that_was_kept_the_other_way(
    greylag: Greylag, log: Path, tmp_path: Path, first: list[str]
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir(mode=0o700)
    second = [] if first else ["--by-address"]
    for options in (first, second):
        command = ("import", "smtp-log", "--tree", str(tree), *options, str(log))
        assert greylag.run(*command).exit_code == 0


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


def test_into_the_store_and_the_mail_passes(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text("".join(f"{stamped(AT + n, text)}\n" for n, text in enumerate(MAIL)))
    wanted = {"accepted": 1, "networks": 1, "added": 1, "triplets": 1, "added_triplets": 1}
    assert greylag.json("import", "smtp-log", str(path)).items() >= wanted.items()
    asked = ("check", "192.0.2.99", "user@example.org", "info@example.net")
    assert greylag.json(*asked)["reason"] == "known"
    with greylag.store() as store:
        before = store.load(greylag.keys())
    assert {record.expires for record in before.values()} == {AT + 36 * DAY}
    assert greylag.json("import", "smtp-log", str(path))["added_triplets"] == 0
    with greylag.store() as store:
        assert store.load(greylag.keys()) == before
        assert store.figures(0, NOW + DAY) == {}


def test_a_later_mail_makes_what_has_passed_last_longer(greylag: Greylag, tmp_path: Path) -> None:
    key = Triplet(NETWORK, "user@example.org", "info@example.net")
    greylag.remember(key, first_seen=NOW - 20 * DAY, passed=True)
    path = tmp_path / "mail.log"
    path.write_text("".join(f"{stamped(AT + n, text)}\n" for n, text in enumerate(MAIL)))
    greylag.run("import", "smtp-log", str(path))
    with greylag.store() as store:
        record = store.load([key])[key]
    assert (record.first_seen, record.expires) == (NOW - 20 * DAY, AT + 36 * DAY)


def test_mail_that_waits_goes_on_waiting(greylag: Greylag, tmp_path: Path) -> None:
    key = Triplet(NETWORK, "user@example.org", "info@example.net")
    greylag.remember(key, first_seen=NOW - 60)
    path = tmp_path / "mail.log"
    path.write_text("".join(f"{stamped(AT + n, text)}\n" for n, text in enumerate(MAIL)))
    assert greylag.json("import", "smtp-log", str(path))["added_triplets"] == 0
    with greylag.store() as store:
        assert store.load([key])[key].passed == 0


def test_a_tree_takes_connections_alone(greylag: Greylag, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    path = tmp_path / "mail.log"
    path.write_text("".join(f"{stamped(AT + n, text)}\n" for n, text in enumerate(MAIL)))
    shown = greylag.run("import", "smtp-log", "--tree", str(tree), str(path), "--json").stdout
    assert json.loads(shown)["triplets"] == 0
    assert (tree / "192/000/002").stat().st_atime == AT


def test_begun_and_never_accepted_is_told(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text(stamped(AT, client()) + "\n")
    result = greylag.run("import", "smtp-log", str(path))
    assert result.exit_code == 1
    assert "smtpd began 1 mails, but no line of qmgr with the same queue id" in result.stderr


def test_an_import_that_ends_before_its_end_says_what_was_added(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored stays, and the same command may be run again."""
    monkeypatch.setattr("greylag.admin.seeding.MOST_FOUND", 2)
    log = greylag.home / "log"
    stamp = f"@{2**62 + 10 + NOW - 60:016x}00000000"
    log.write_text(
        "".join(f"{stamp} remote=192.0.{n}.1 result=accepted code=250\n" for n in range(5))
    )
    found = greylag.run("import", "smtp-log", str(log), str(greylag.home / "missing"))
    assert found.exit_code == 66
    assert "4 connections and 0 triplets were added before, and stay" in found.stderr
    assert len(greylag.keys()) == 4
    words = ("import", "smtp-log", "--dry-run", str(log), str(greylag.home / "missing"))
    assert "were added" not in greylag.run(*words).stderr
