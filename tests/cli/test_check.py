"""`greylag check`."""

from __future__ import annotations

import re

import pytest

from greylag.core.triplet import Triplet, connection_of
from tests.cli.conftest import CLIENT, KEY, NETWORK, NOW, RECIPIENT, SENDER, Greylag, shape

CHECK = ("check", CLIENT, SENDER, RECIPIENT)
DAY = 86400


def test_a_missing_database_is_an_empty_store_and_is_not_made(greylag: Greylag) -> None:
    result = greylag.run(*CHECK)
    assert result.exit_code == 10
    assert result.stdout.startswith("verdict         defer\nreason          new: this client")
    assert "may pass        5m after its first attempt\n" in result.stdout
    assert "client network  192.0.2.0/24\n" in result.stdout
    assert result.stderr == f"greylag: {greylag.database}: no database yet, so the store is empty\n"
    assert sorted(path.name for path in greylag.home.iterdir()) == ["greylag.toml"]


@pytest.mark.parametrize("age", [0, 100, 299, 300, 1000, 2 * DAY, 40 * DAY])
@pytest.mark.parametrize("passed", [False, True])
def test_it_writes_nothing(greylag: Greylag, age: int, passed: bool) -> None:
    greylag.remember(KEY, first_seen=NOW - age, passed=passed)
    greylag.run("deny", "add", "198.51.100.0/24")
    before = {path: path.read_bytes() for path in greylag.home.iterdir()}
    for address in (CLIENT, "198.51.100.7", "2001:db8::1"):
        greylag.run("check", address, SENDER, RECIPIENT)
        greylag.json(
            "check",
            address,
            SENDER,
            RECIPIENT,
            code=greylag.run(*CHECK[:1], address, *CHECK[2:]).exit_code,
        )
    assert {path: path.read_bytes() for path in greylag.home.iterdir()} == before


@pytest.mark.parametrize(
    ("age", "passed", "verdict", "reason", "code"),
    [
        (0, False, "defer", "early", 10),
        (299, False, "defer", "early", 10),
        (300, False, "pass", "retried", 0),
        (2 * DAY - 1, False, "pass", "retried", 0),
        (2 * DAY, False, "defer", "new", 10),
        (1, True, "pass", "known", 0),
        (36 * DAY - 1, True, "pass", "known", 0),
        (36 * DAY, True, "defer", "new", 10),
    ],
)
def test_verdict_reason_and_exit_code(
    greylag: Greylag, age: int, passed: bool, verdict: str, reason: str, code: int
) -> None:
    greylag.remember(KEY, first_seen=NOW - age, passed=passed)
    found = greylag.json(*CHECK, code=code)
    assert (found["verdict"], found["reason"]) == (verdict, reason)


def test_an_early_retry_is_told_when_it_may_pass(greylag: Greylag) -> None:
    greylag.remember(KEY, first_seen=NOW - 60)
    result = greylag.run(*CHECK)
    assert "may pass        from 2027-01-15 08:04:00 UTC (in 4m) on\n" in result.stdout
    assert "  first seen    2027-01-15 07:59:00 UTC (60s ago)\n" in result.stdout
    assert "  expires at    2027-01-17 07:59:00 UTC (in 48h)\n" in result.stdout
    assert "  deferred      1\n  let in        0\n" in result.stdout


def test_a_deny_entry_refuses_and_is_shown(greylag: Greylag) -> None:
    greylag.run("deny", "add", "192.0.2.0/24", "--expires", "2d", "--comment", "abuse")
    result = greylag.run(*CHECK)
    assert result.exit_code == 11
    assert "list entry      client range 192.0.2.0/24 on the denylist\n" in result.stdout
    assert "  comment       abuse\n" in result.stdout
    found = greylag.json(*CHECK, code=11)
    assert (found["reason"], found["may_pass_at"]) == ("denylisted", NOW + 2 * DAY)


def test_an_endless_deny_entry_never_lets_in(greylag: Greylag) -> None:
    greylag.run("deny", "add", "example.net", "--yes")
    assert greylag.json(*CHECK, code=11)["may_pass_at"] is None
    assert "never, as the lists are" in greylag.run(*CHECK).stdout


def test_an_allow_entry_lets_in(greylag: Greylag) -> None:
    greylag.run("allow", "add", "example.net")
    found = greylag.json(*CHECK)
    assert (found["reason"], found["entry"]["subject"]) == ("allowlisted", "example.net")
    shown = greylag.run(*CHECK).stdout
    assert "record          not looked at\n" in shown
    assert "list entry      recipient domain example.net on the allowlist\n" in shown


@pytest.mark.parametrize("sender", ["<>", ""])
def test_the_null_sender(greylag: Greylag, sender: str) -> None:
    result = greylag.run("check", CLIENT, sender, RECIPIENT)
    assert "verdict         defer (at DATA)\n" in result.stdout
    assert "sender          <> (the null sender)\n" in result.stdout
    assert greylag.json("check", CLIENT, sender, RECIPIENT, code=10)["at_data"] is True


def test_addresses_are_read_as_the_plugin_reads_them(greylag: Greylag) -> None:
    greylag.remember(KEY, first_seen=NOW - 400)
    found = greylag.json(
        "check", "::ffff:192.0.2.77", "<prvs=0815abcdef=User@Example.ORG>", RECIPIENT.upper()
    )
    assert (found["reason"], found["client_address"]) == ("retried", "192.0.2.77")
    assert (found["sender"], found["recipient"]) == (SENDER, RECIPIENT)


def test_what_log_and_tables_show_can_be_pasted(greylag: Greylag) -> None:
    greylag.remember(Triplet(NETWORK, "a\\x0ab\\xff@example.org", RECIPIENT), first_seen=NOW - 400)
    greylag.json("check", CLIENT, "a\\x0ab\\xff@example.org", RECIPIENT)


@pytest.mark.parametrize("address", ["", "x", "192.0.2.300", "192.0.2.1/24", "10.1.2", "1::2::3"])
def test_a_bad_address_is_wrong_usage(greylag: Greylag, address: str) -> None:
    result = greylag.run("check", address, SENDER, RECIPIENT)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"greylag: expected an IPv4 or IPv6 address, got {address!r} (see greylag check --help)\n"
    )


def test_a_recipient_is_needed(greylag: Greylag) -> None:
    assert greylag.run("check", CLIENT, SENDER, "").exit_code == 2


@pytest.mark.parametrize("on_failure", ["pass", "defer"])
def test_a_failing_store_tells_what_the_plugin_answers(greylag: Greylag, on_failure: str) -> None:
    """P1: the same words and the same answer as the plugin's; the exit code tells the failure."""
    greylag.database.write_bytes(b"no database, but long enough to be taken for one" * 100)
    greylag.configure(
        f'store.on_failure = "{on_failure}"\nstore.url = "sqlite://{greylag.database}"'
    )
    found = greylag.json(*CHECK, code=74)
    assert (found["verdict"], found["reason"]) == (on_failure, "store-unavailable")
    said = greylag.run(*CHECK).stderr.splitlines()[-1]
    assert said == f"greylag: {greylag.database}: file is not a database"


NO_TRUST = "[policy]\ntrust_after = 0\ntrust_all_after = 0\n"


def test_json_schema(greylag: Greylag) -> None:
    record = {
        "id": "str",
        "kind": "str",
        "client_network": "str",
        "sender": "str",
        "recipient": "str",
        "state": "str",
        "first_seen": "int",
        "may_pass_at": "int",
        "forgotten_at": "int",
        "deferred_count": "int",
        "passed_count": "int",
    }
    schema = {
        "verdict": "str",
        "reason": "str",
        "meaning": "str",
        "instead": "NoneType",
        "id": "str",
        "kind": "str",
        "client_address": "str",
        "client_network": "str",
        "sender": "str",
        "recipient": "str",
        "record": "NoneType",
        "entry": "NoneType",
        "silent_entry": "NoneType",
        "retry_after": "int",
        "may_pass_at": "int",
        "at_data": "bool",
        "explicit": "bool",
        "recipient_table": "NoneType",
        "switch": "NoneType",
        "evidence": {},
        "identity": "NoneType",
        "signs": "NoneType",
        "signs_needed": "NoneType",
        "trust": [
            {
                "identity": "str",
                "sender_domain": "NoneType",
                "passes": "int",
                "needed": "int",
                "since": "NoneType",
                "until": "NoneType",
                "trusted": "bool",
                "trusted_from": "NoneType",
            }
        ],
        "correspondent_until": "NoneType",
        "trapped_until": "NoneType",
        "client_name": "NoneType",
        "helo": "NoneType",
        "providers": [],
        "log_line": "str",
    }
    assert shape(greylag.json(*CHECK, code=10)) == schema
    greylag.remember(KEY, first_seen=NOW - 60)
    found = greylag.json(*CHECK, code=10)
    assert shape(found) == {**schema, "record": record}
    assert found["record"]["may_pass_at"] == found["may_pass_at"] == NOW + 240
    assert found["retry_after"] == 240


def test_a_connection_alone(greylag: Greylag) -> None:
    """What jgreylist would be answered: under its own delay, from its own record."""
    greylag.configure(NO_TRUST)
    found = greylag.json("check", "192.0.2.1", code=10)
    assert (found["kind"], found["reason"], found["retry_after"]) == ("connection", "new", 120)
    result = greylag.run("check", "192.0.2.1")
    assert "reason          new: this client network was not seen before\n" in result.stdout
    assert "may pass        2m after its first connection\n" in result.stdout
    assert not re.search("sender(?! domain)|recipient|attempt|triplet", result.stdout)
    assert found["id"] is None
    assert not re.search("^id ", result.stdout, re.MULTILINE)
    key = connection_of(bytes((192, 0, 2, 1)), 24)
    greylag.remember(key, first_seen=NOW - 60, delay=120)
    result = greylag.run("check", "192.0.2.99")
    assert result.exit_code == 10
    assert "about           a connection, as jgreylist asks" in result.stdout
    assert "early: it connected before, and its delay is not over yet" in result.stdout
    assert not re.search("sender(?! domain)|recipient|attempt|triplet", result.stdout)
    greylag.at(NOW + 60)
    assert greylag.json("check", "192.0.2.99")["reason"] == "retried"
    assert greylag.json("check", "192.0.2.99", "--by-address", code=10)["reason"] == "new"
    greylag.run("allow", "add", "192.0.2.0/24")
    assert greylag.json("check", "192.0.2.99")["reason"] == "allowlisted"


def test_one_attempt_is_not_told_as_two(greylag: Greylag) -> None:
    greylag.remember(KEY, first_seen=NOW - 10)
    assert "came again" not in greylag.run(*CHECK).stdout
    greylag.at(NOW + 3000)
    assert "came again after" not in greylag.run(*CHECK).stdout


NAMES = ("--client-name", "mx.example.org", "--helo", 'a "b" c')
ADDRESSES = f"client_address={CLIENT} sender={SENDER} recipient={RECIPIENT}"


def test_the_log_line_is_the_daemons_names_and_all(greylag: Greylag) -> None:
    names = r'client_name=mx.example.org helo="a \x22b\x22 c"'
    told = greylag.json(*CHECK, *NAMES, code=10)
    line = f"verdict=defer reason=new {ADDRESSES} {names} retry_after=300 id={told['id']}"
    assert told["log_line"] == line
    assert (told["client_name"], told["helo"]) == (NAMES[1], NAMES[3])
    assert f"log line        {line}\n" in greylag.run(*CHECK, *NAMES).stdout
    greylag.remember(KEY, first_seen=NOW - 1000, passed=True)
    passes = greylag.json(*CHECK, *NAMES)
    assert passes["log_line"] == f"verdict=pass reason=known {ADDRESSES}"


def test_the_log_line_of_a_connection(greylag: Greylag) -> None:
    line = greylag.json("check", CLIENT, "--client-name", "mx.example.org", code=10)["log_line"]
    assert line.startswith(
        f"verdict=defer reason=new at=connect client_address={CLIENT} client_name=mx"
    )


def test_the_table_that_held_for_the_recipient_is_named(greylag: Greylag) -> None:
    greylag.configure(
        '[policy]\ndelay = "7m"\n[[recipient]]\nmatch = ["postmaster@"]\ngreylist = "off"\n'
        '[[recipient]]\nmatch = ["example.net"]\ndelay = "9m"\n'
    )
    off = greylag.run("check", "192.0.2.1", "a@example.org", "Postmaster@example.net")
    assert off.exit_code == 0
    assert f"settings        [[recipient]] of {greylag.config}:4\n" in off.stdout
    assert "off: greylisting is off: by a setting, or by `greylag off`" in off.stdout
    found = greylag.json("check", "192.0.2.1", "a@example.org", "b@example.net", code=10)
    assert (found["recipient_table"], found["retry_after"]) == (f"{greylag.config}:7", 540)
    found = greylag.json("check", "192.0.2.1", "a@example.org", "b@example.com", code=10)
    assert (found["recipient_table"], found["retry_after"]) == (None, 420)
