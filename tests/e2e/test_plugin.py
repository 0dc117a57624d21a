"""The plugin's rules and the old program's faults, through the real process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.e2e.plugin import BIN, Plugin, Value, at
from tests.evil import RAW_PAYLOADS


def records(plugin: Plugin) -> list[tuple[str, str, int, int]]:
    found = plugin.records().items()
    return [(t.sender, t.recipient, record.blocked, record.passed) for t, record in found]


def test_deferred_early_let_in(plugin: Plugin) -> None:
    plugin.write_toml('[policy]\ndelay = "2m"\n')
    first = plugin.run()
    assert first.output == b"E451 4.7.1 Greylisted, please try again in 120 seconds (id 9SWE-4EK)\n"
    assert first.log == (
        "greylisting: verdict=defer reason=new client_address=192.0.2.17 "
        "sender=a@example.org recipient=b@example.net retry_after=120 id=9SWE-4EK\n"
    )
    assert "reason=early" in plugin.run(**at("+60s")).log
    passed = plugin.run(TCPREMOTEIP="192.0.2.99", **at("+121s"))
    assert passed.output == b""
    assert "verdict=pass reason=retried client_address=192.0.2.99" in passed.log
    assert "reason=known" in plugin.run(**at("+2d")).log
    assert records(plugin) == [("a@example.org", "b@example.net", 2, 2)]


def test_names_are_logged_of_deferrals_alone(plugin: Plugin) -> None:
    names = {"TCPREMOTEHOST": "mx.example.org", "SMTPHELOHOST": "x ip=203.0.113.1\n"}
    told = 'client_name=mx.example.org helo="x ip=203.0.113.1\\x0a"'
    assert f"recipient=b@example.net {told} retry_after=" in plugin.run(**names).log
    passed = plugin.run(**names, **at("+6m")).log
    assert "verdict=pass reason=retried" in passed
    assert "client_name" not in passed
    assert "helo" not in passed


UNTOUCHED: list[dict[str, Value | None]] = [
    {"GREYLISTING": None},
    {"RELAYCLIENT": ""},
    {"RELAYCLIENT": "", "GREYLISTING": None},
    {"SMTPAUTHUSER": "user@example.org"},
    {"SMTPRCPTHOSTSOK": "0"},
    {"TCPREMOTEIP": None},
    {"SMTPMAILFROM": None},
    {"SMTPRCPTTO": None},
    {"TCPREMOTEIP": "unknown"},
]


@pytest.mark.parametrize("changes", UNTOUCHED, ids=str)
def test_untouched_and_no_database_is_even_opened(
    plugin: Plugin, changes: dict[str, Value | None]
) -> None:
    """When it acts; and fault 9: relay attempts (SMTPRCPTHOSTSOK=0) leave no record."""
    answer = plugin.run(**changes)
    assert (answer.output, answer.code) == (b"", 0)
    assert plugin.untouched()


@pytest.mark.parametrize("changes", UNTOUCHED[:3], ids=str)
def test_where_it_does_not_act_not_even_the_settings_are_read(
    plugin: Plugin, changes: dict[str, Value | None]
) -> None:
    answer = plugin.run(**changes, GREYLAG_CONFIG="/missing.toml")
    assert (answer.output, answer.log, answer.code) == (b"", "", 0)


def test_a_missing_variable_is_logged_as_fatal(plugin: Plugin) -> None:
    plugin.write_toml('[log]\nlevel = "fatal"\n')
    assert "level=fatal verdict=pass reason=incomplete" in plugin.run(SMTPMAILFROM=None).log


def test_null_sender_is_deferred_at_data_or_as_configured(plugin: Plugin) -> None:
    assert plugin.run(SMTPMAILFROM="").output.startswith(b"LD451 4.7.1 ")
    plugin.write_toml('[policy]\nnull_sender = "rcpt"\n')
    assert plugin.run(SMTPMAILFROM="").output.startswith(b"E451 4.7.1 ")
    plugin.write_toml('[policy]\nnull_sender = "never"\n')
    assert plugin.run(SMTPMAILFROM="").output == b""


def test_the_old_setup_keeps_texts_levels_and_minutes(plugin: Plugin) -> None:
    plugin.write_old("block_expire=2\nrecord_expire=2000\nrecord_expire_good=36\nloglevel=4\n")
    first = plugin.run()
    assert first.output == b"E451 temporary failure (#4.3.0)\n"
    assert "reason=new" in first.log
    assert plugin.run(**at("+100s")).deferred
    assert plugin.run(**at("+121s")).output == b""
    assert plugin.run(SMTPMAILFROM="", SMTPRCPTTO="c@example.net").output.startswith(b"E451")
    plugin.write_old("loglevel=3\n")
    assert plugin.run(SMTPRCPTTO="d@example.net").log == ""
    plugin.greylag("deny", "add", "198.51.100.0/24")
    refused = plugin.run(TCPREMOTEIP="198.51.100.9")
    assert refused.output == b"E553 sorry, your envelope sender has been denied (#5.7.1)\n"


def test_tcprules_are_honoured_per_call(plugin: Plugin) -> None:
    plugin.write_old("block_expire=55\n")
    assert plugin.run(GLBLOCKEXPIRE="1").deferred
    assert plugin.run(GLBLOCKEXPIRE="1", **at("+61s")).output == b""
    assert plugin.run(GLEXPLICIT="1", SMTPRCPTTO="x@example.net").output == b""


def test_replies_are_configurable(plugin: Plugin) -> None:
    plugin.write_toml(
        '[reply]\ndefer = "450 4.2.0 {client_address}: {retry_after} s"\ndeny = "550 no"\n'
    )
    answer = plugin.run(TCPREMOTEIP="2001:DB8:0::1%eth0")
    assert answer.output == b"E450 4.2.0 2001:db8::1: 300 s\n"


@pytest.mark.parametrize("name", ["ifauthskip", "skipifauth"])
@pytest.mark.parametrize("place", ["plugins", "bin"])
@pytest.mark.parametrize(
    ("user", "wanted"),
    [(None, b""), ("", b""), ("u@example.org", b"N\n"), (b"\xff\n$(id)", b"N\n")],
)
def test_ifauthskip(
    plugin: Plugin, name: str, place: str, user: Value | None, wanted: bytes
) -> None:
    program = (BIN if place == "bin" else plugin.home / "plugins") / name
    answer = replace(plugin, program=program, environ={}).run(SMTPAUTHUSER=user)
    assert (answer.output, answer.log, answer.code) == (wanted, "", 0)


def test_the_plugin_of_pip_answers_the_same(plugin: Plugin) -> None:
    """The program in the virtual environment's bin, before any `greylag qmail install`."""
    piped = replace(plugin, program=BIN / "greylisting")
    assert piped.run().deferred
    assert "reason=early" in plugin.run().log


@pytest.mark.parametrize("field", ["SMTPMAILFROM", "SMTPRCPTTO"])
def test_fault_1_quotes_that_overflowed_the_stack(plugin: Plugin, field: str) -> None:
    for text in ("'" * 700 + "@example.org", "a@" + "'" * 890, '"' * 890):
        assert plugin.run(**{field: text}).deferred
        assert "reason=early" in plugin.run(**{field: text}).log


def test_fault_1_both_at_once(plugin: Plugin) -> None:
    quotes = "'" * 700 + "@example.org"
    assert plugin.run(SMTPMAILFROM=quotes, SMTPRCPTTO=quotes).deferred


LONG = "x" * 300
FAULT_2: list[Mapping[str, Value | None]] = [
    {"SMTPMAILFROM": f"{LONG}@example.org"},
    {"SMTPRCPTTO": f"{LONG}@example.net"},
    {"SMTPMAILFROM": "x" * 800 + "@example.org", "SMTPRCPTTO": "y" * 800 + "@example.net"},
    {"SMTPMAILFROM": b"\xe9@example.org"},
    {"SMTPRCPTTO": "\U0001f4a9@example.net"},
    *[{"SMTPMAILFROM": payload} for payload in RAW_PAYLOADS],
]


@pytest.mark.parametrize("changes", FAULT_2, ids=lambda changes: repr(changes)[:40])
def test_fault_2_no_address_is_a_way_past(plugin: Plugin, changes: dict[str, Value | None]) -> None:
    assert plugin.run(**changes).deferred
    assert "reason=early" in plugin.run(**changes).log
    assert len(records(plugin)) == 1


def test_fault_2_long_addresses_stay_apart(plugin: Plugin) -> None:
    """T11: truncation at 255 would make them one."""
    for tail in "ab":
        assert "reason=new" in plugin.run(SMTPMAILFROM=f"{LONG}{tail}@example.org").log


def test_fault_4_families_never_match(plugin: Plugin) -> None:
    for subject in ("42.0.0.0/8", "0.0.0.0/0"):
        assert plugin.greylag("deny", "add", subject, "--yes").returncode == 0
    assert plugin.run(TCPREMOTEIP="2a00:1450::1").deferred
    assert plugin.run(TCPREMOTEIP="42.9.9.9").output.startswith(b"E553")
    plugin.greylag("deny", "remove", "42.0.0.0/8", "0.0.0.0/0")
    assert "reason=new" in plugin.run(TCPREMOTEIP="32.1.13.184").log
    assert "reason=new" in plugin.run(TCPREMOTEIP="2001:db8::1").log


@pytest.mark.parametrize("proto", [None, "TCP", "TCP6", "SSL"])
def test_fault_5_ipv6_whatever_proto_says(plugin: Plugin, proto: str | None) -> None:
    assert "reason=new" in plugin.run(TCPREMOTEIP="fe80::1%eth0", PROTO=proto).log
    assert "reason=early" in plugin.run(TCPREMOTEIP="fe80::1:2:3", PROTO=proto).log  # same /64
    assert "reason=new" in plugin.run(TCPREMOTEIP="::FFFF:192.0.2.17", PROTO=proto).log
    assert "reason=early" in plugin.run(TCPREMOTEIP="192.0.2.17", PROTO=proto).log


def test_fault_6_list_values_are_checked_and_never_or(plugin: Plugin) -> None:
    for bad in ("192.168.1.77/24", "foo", "", "10.1.2/24", "192.0.2.0/33", "192.0.2.300"):
        refused = plugin.greylag("allow", "add", bad)
        assert refused.returncode == 2
        assert "expected" in refused.stderr
    assert plugin.run().deferred
    assert plugin.greylag("allow", "add", "192.0.2.0/24").returncode == 0
    assert "reason=allowlisted" in plugin.run().log


def test_fault_8_no_delay_lets_in_within_the_same_second(plugin: Plugin) -> None:
    plugin.write_old("block_expire=0\nrecord_expire=10\n")
    assert plugin.run().deferred
    assert plugin.run().output == b""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("block_expire=-3\n", "block_expire: expected 0 or more"),
        ("explicit=no\n", "explicit: expected a number"),
        ("explicit=\n", "explicit: expected a number"),
        ("block_expire=+2\n", "block_expire: expected a number"),
        ("record_expire_good=0\n", "record_expire_good: with 0 days"),
        ("block_expire=60\nrecord_expire=30\n", "the retry window (30m) must be longer than"),
    ],
)
def test_fault_8_nonsense_is_said_and_mail_is_greylisted(
    plugin: Plugin, text: str, error: str
) -> None:
    plugin.write_old(text)
    answer = plugin.run()
    assert answer.deferred
    assert "level=warn reason=config-warning" in answer.log
    assert error in answer.log


def test_fault_8_spaces_are_taken_as_meant(plugin: Plugin) -> None:
    plugin.write_old("block_expire = 1\n")
    assert plugin.run().deferred
    assert plugin.run(**at("+61s")).output == b""


def test_fault_10_escapes_do_not_reach_the_log(plugin: Plugin) -> None:
    answer = plugin.run(SMTPMAILFROM=b"\x1b[31m\r\nforged: line@example.org\x07")
    assert answer.log.count("\n") == 1
    assert r'sender="\x1b[31m\x0d\x0aforged: line@example.org\x07"' in answer.log


def test_batv_senders_are_one(plugin: Plugin) -> None:
    plugin.run(SMTPMAILFROM="prvs=1234567890=a@example.org")
    assert "reason=early" in plugin.run(SMTPMAILFROM="prvs=a/0987654321@example.org").log
    assert "reason=early" in plugin.run(SMTPMAILFROM="A@Example.ORG").log


@pytest.mark.parametrize("jump", [-86400, 365 * 86400])
def test_the_clock_may_jump_p18(plugin: Plugin, jump: int) -> None:
    """Never let in before the delay has gone by on the clock that is, nor deferred for longer."""
    plugin.run()
    for after, deferred in ((0, True), (298, True), (301, False)):
        assert plugin.run(**at(f"{jump + after:+d}s")).deferred is deferred
    if jump > 0:  # and back: what passed in a future that was none is known, not deferred again
        assert "reason=known" in plugin.run().log


def test_several_errors_of_greylag_toml_are_all_said(plugin: Plugin) -> None:
    plugin.write_toml('[policy]\ndelay = 5\nlifetme = "1d"\n')
    answer = plugin.run()
    assert (answer.output, answer.code) == (b"", 0)
    assert answer.log.count("reason=config-error") == 2
    assert "greylag.toml:2: policy.delay: expected a duration" in answer.log
    assert "greylag.toml:3: unknown key 'policy.lifetme'" in answer.log
