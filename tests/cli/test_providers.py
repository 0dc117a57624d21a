"""`greylag providers`, with a real name server."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.service.providers import shipped
from tests.cli.conftest import NOW, Greylag
from tests.servers.knot import running

TXT = '{name} TXT "v=spf1 {record} -all"\n'
RECORDS = {
    "_spf": "include:_more.example.org ip4:192.0.2.0/25 exists:%{{i}}.example.org",
    "_more": "ip4:192.0.2.128/25 ip6:2001:db8::/32",
    "grown": "ip4:192.0.2.0/24 ip4:198.51.100.0/26 ip4:203.0.113.0/28 ip6:2001:db8::/32",
    "empty": "exists:%{{i}}.example.org",
}


def zone(**changed: str) -> str:
    return "".join(
        TXT.format(name=name, record=record.format())
        for name, record in {**RECORDS, **changed}.items()
    )


@contextlib.contextmanager
def dns(greylag: Greylag, **changed: str) -> Iterator[None]:
    """Run a name server, and name it in the settings."""
    folder = Path(tempfile.mkdtemp(dir=greylag.home))
    with running(folder, {"example.org": zone(**changed)}) as (address, port):
        greylag.configure(f'dns.servers = ["{address}:{port}"]')
        yield


@pytest.fixture
def ours(greylag: Greylag) -> Iterator[Greylag]:
    with dns(greylag):
        assert greylag.run("providers", "add", "ours", "_SPF.example.org").exit_code == 0
        yield greylag


def row_of(greylag: Greylag, name: str) -> dict[str, object]:
    rows = greylag.json("providers", "list")["providers"]
    (found,) = [row for row in rows if row["name"] == name]
    assert isinstance(found, dict)
    return found


def test_the_list_shows_the_packages_and_your_own(ours: Greylag) -> None:
    shown = ours.run("providers", "list").stdout
    names = {line.split()[0] for line in shown.splitlines()}
    assert names == {"name", "ours", *(one.name for one in shipped())}
    (line,) = [line for line in shown.splitlines() if line.startswith("ours")]
    assert line.split(maxsplit=4)[:4] == ["ours", "_spf.example.org", "0", "-"]
    assert "never refreshed" in line
    assert "your own" in line


def test_refresh_lets_the_addresses_of_a_record_in(ours: Greylag) -> None:
    done = ours.run("providers", "refresh", "ours")
    assert (done.exit_code, done.stdout) == (0, "ours: 3 ranges\n")
    assert "left out: exists:%{i}.example.org (it depends on the client)" in done.stderr
    assert row_of(ours, "ours") == {
        "name": "ours",
        "domain": "_spf.example.org",
        "status": "own",
        "ranges": 3,
        "refreshed": NOW,
        "tried": NOW,
        "outcome": "ok",
        "why": "",
    }
    ours.at(NOW + 3 * 86400)
    shown = ours.run("providers", "list").stdout.splitlines()
    (line,) = [line for line in shown if line.startswith("ours")]
    assert line.split(maxsplit=4)[2:4] == ["3", "3d"]


def test_a_change_of_30_percent_is_refused_shown_and_taken_by_force(
    greylag: Greylag,
) -> None:
    """T28."""
    with dns(greylag):
        greylag.run("providers", "add", "ours", "_spf.example.org")
        assert greylag.run("providers", "refresh", "ours").exit_code == 0
    with dns(greylag, _spf="include:grown.example.org"):
        greylag.at(NOW + 60)
        done = greylag.run("providers", "refresh", "ours")
        assert (done.exit_code, done.stdout) == (1, "")
        told = "ours: refused: 32 % of its IPv4 addresses would change; the 3 old ranges stay"
        assert told in done.stderr
        assert "ours: + 198.51.100.0/26" in done.stderr
        assert "ours: - 192.0.2.0/25" in done.stderr
        assert "refresh ours --force" in done.stderr
        assert row_of(greylag, "ours")["ranges"] == 3
        assert row_of(greylag, "ours")["refreshed"] == NOW
        assert "32 %" in greylag.run("providers", "list").stdout
        (one,) = greylag.json("providers", "refresh", "ours", "--force")["providers"]
        assert (one["outcome"], one["ranges"]) == ("ok", 4)


@pytest.mark.parametrize(
    ("record", "why"),
    [("include:empty.example.org", "has no ranges"), ("ip4:1", "is faulty"), ("a:..", "faulty")],
)
def test_an_empty_or_faulty_answer_is_refused_whoever_forces_it(
    greylag: Greylag, record: str, why: str
) -> None:
    """T28."""
    with dns(greylag):
        greylag.run("providers", "add", "ours", "_spf.example.org")
        greylag.run("providers", "refresh", "ours")
    with dns(greylag, _spf=record):
        done = greylag.run("providers", "refresh", "ours", "--force")
        assert done.exit_code == 1
        assert why in done.stderr
        assert "the 3 old ranges stay" in done.stderr
        assert "--force" not in done.stderr
        assert row_of(greylag, "ours")["ranges"] == 3


def test_refresh_of_all_tells_of_those_that_failed(ours: Greylag) -> None:
    """The private name server knows none of the package's domains."""
    done = ours.json("providers", "refresh", code=1)["providers"]
    assert len(done) == len(shipped()) + 1
    assert [one["name"] for one in done if one["outcome"] == "ok"] == ["ours"]
    assert "no answer" in row_of(ours, "google")["outcome"]  # type: ignore[operator]


def test_remove_takes_the_ranges_away(ours: Greylag) -> None:
    ours.run("providers", "refresh", "ours")
    assert ours.run("providers", "remove", "ours").exit_code == 0
    assert ours.entries() == []
    done = ours.run("providers", "remove", "ours")
    assert (done.exit_code, "not there" in done.stderr) == (1, True)
    assert ours.json("providers", "remove", "ours", code=1) == {"removed": [], "missing": ["ours"]}


def test_a_provider_of_the_package_stays_off_until_it_is_added(greylag: Greylag) -> None:
    assert greylag.json("providers", "remove", "google")["removed"] == ["google"]
    assert row_of(greylag, "google")["status"] == "off"
    assert "removed" in greylag.run("providers", "list").stdout
    done = greylag.run("providers", "refresh", "google")
    assert (done.exit_code, "providers add google" in done.stderr) == (2, True)
    assert greylag.json("providers", "add", "google")["status"] == "shipped"
    assert row_of(greylag, "google")["status"] == "shipped"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["add", "google", "example.org"], "google is there already"),
        (["add", "mine", "_spf.google.com"], "_spf.google.com is that of google already"),
        (["add", "Mine", "example.org"], "small letters"),
        (["add", "m,ine", "example.org"], "small letters"),
        (["add", "", "example.org"], "small letters"),
        (["add", "m" * 33, "example.org"], "at most 32"),
        (["add", "mine", "example"], "expected a domain"),
        (["add", "mine", "192.0.2.1"], "expected a domain"),
        (["add", "mine"], "expected a domain"),
        (["refresh", "mine"], "'mine' is no provider"),
    ],
)
def test_wrong_uses(greylag: Greylag, arguments: list[str], why: str) -> None:
    done = greylag.run("providers", *arguments)
    assert (done.exit_code, why in done.stderr) == (2, True), done.stderr
    assert greylag.entries() == []


def test_check_tells_which_provider_let_a_client_in_and_how_old_that_is(
    greylag: Greylag,
) -> None:
    attempt = ("192.0.2.7", "a@example.org", "b@example.net")
    with dns(greylag):
        greylag.run("providers", "add", "ours", "_spf.example.org")
        assert greylag.run("check", *attempt).exit_code == 10
        greylag.run("providers", "refresh", "ours")
    with dns(greylag, _spf="ip4:198.51.100.0/24"):
        greylag.at(NOW + 2 * 86400)
        assert greylag.run("providers", "refresh", "ours").exit_code == 1
    greylag.at(NOW + 3 * 86400)
    shown = greylag.run("check", *attempt)
    assert shown.exit_code == 0
    assert "provider: a big sender publishes this address" in shown.stdout
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("provider")]
    assert "ours: _spf.example.org, refreshed 3d ago, last outcome: refused: " in line
    assert line.endswith("would change (24h ago)")
    found = greylag.json("check", *attempt)
    assert [one["name"] for one in found["providers"]] == ["ours"]
    assert greylag.json("check", "203.0.113.7", *attempt[1:], code=10)["providers"] == []


def test_many_ranges_that_would_change_are_told_in_part(
    greylag: Greylag,
) -> None:
    with dns(greylag, _spf="ip4:192.0.2.1"):
        greylag.run("providers", "add", "ours", "_spf.example.org")
        greylag.run("providers", "refresh", "ours")
    with dns(greylag, _spf=" ".join(f"ip4:192.0.2.{n}" for n in range(10, 22))):
        told = greylag.run("providers", "refresh", "ours").stderr
        assert "ours: + 2 more" in told
        assert "ours: - 192.0.2.1\n" in told


def test_whoever_asks_nobody_asks_the_system_here(
    ours: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greylag.service.dns.resolver.system_servers", lambda: (("127.0.0.1", 1),))
    ours.configure('dns.servers = "off"')
    done = ours.run("providers", "refresh", "ours")
    assert 'dns.servers is "off"' in done.stderr
    assert "DNS gives no answer about _spf.example.org" in done.stderr


def test_a_dry_run_of_refresh_asks_dns_and_stores_nothing(ours: Greylag) -> None:
    before = ours.entries()
    dry = ours.run("providers", "refresh", "ours", "--dry-run")
    assert dry.exit_code == 0, dry.stderr
    assert "greylag: ours: + " in dry.stderr
    found = ours.json("providers", "refresh", "ours", "--dry-run")
    assert found["dry_run"] is True
    assert found["providers"][0]["come"]
    assert ours.entries() == before
    assert row_of(ours, "ours")["ranges"] == 0
    done = ours.run("providers", "refresh", "ours")
    assert done.stdout == dry.stdout
    assert "+ " not in done.stderr
