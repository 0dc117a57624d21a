"""Log lines: P13 and T12, nobody forges a line, and a line reads back to what was logged."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greylag.core.accesslist import Entry
from greylag.core.attempt import Attempt
from greylag.core.connection import Connection
from greylag.core.identity import Pool, PoolKind
from greylag.core.subject import parse_subject
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.logline import (
    MAX_VALUE,
    connection_line,
    decision_line,
    format_event,
    parse_event,
    quote,
)
from greylag.wire.policy import POSTFIX
from tests.strategies import PROPERTY
from tests.wire.hostile import VALUES

ATTRIBUTES = (
    "client_address", "client_name", "helo_name", "sender", "recipient",
    "reason", "entry", "error", "queue_id", "user",
)  # fmt: skip
LINE = re.compile(r"[ -~]*")


def logged(value: bytes) -> bytes:
    """Return what a log keeps of a value."""
    return value if len(value) <= MAX_VALUE else value[:MAX_VALUE] + b"[...]"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"a@example.org", "a@example.org"),
        (b"!", "!"),
        (b"~", "~"),
        (b"%s%n%(x)s{0.__class__}", "%s%n%(x)s{0.__class__}"),
        (b"", '""'),
        (b" ", '" "'),
        (b"a b", '"a b"'),
        (b"a=b", '"a=b"'),
        (b'"', r'"\x22"'),
        (b"\\", r'"\x5c"'),
        (b"\\x41", r'"\x5cx41"'),
        (b"\x7f", r'"\x7f"'),
        (b"\x1f", r'"\x1f"'),
        (b"a\r\nb", r'"a\x0d\x0ab"'),
        (b"\x1b[2J", r'"\x1b[2J"'),
        (b"\xe2\x80\xae", r'"\xe2\x80\xae"'),
    ],
)
def test_quote_cve_2009_4487(value: bytes, wanted: str) -> None:
    """CVE-2009-4487: raw ESC in a log; CVE-2005-1127: a sender as a format."""
    assert quote(value) == wanted


def test_all_but_three_visible_characters_stand_as_they_are() -> None:
    for code in range(0x21, 0x7F):
        character = chr(code)
        assert (quote(character.encode()) == character) is (character not in '"\\=')
        assert (quote(b" " + character.encode()) == f'" {character}"') is (character not in '"\\')


def test_long_values_are_cut_and_say_so_cve_2023_52159() -> None:
    """CVE-2023-52159: a log line that is longer than somebody thought."""
    assert quote(b"a" * MAX_VALUE) == "a" * MAX_VALUE
    assert quote(b"a" * (MAX_VALUE + 1)) == "a" * MAX_VALUE + "[...]"
    assert quote(b"\xff" * 70_000) == '"' + "\\xff" * MAX_VALUE + '[...]"'


def test_there_are_enough_hostile_values_p13() -> None:
    assert len(set(VALUES)) == len(VALUES) >= 500


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_one_event_is_one_line_and_reads_back_p13_t12(attribute: str) -> None:
    """P13, T12: each attribute with each hostile value, between others."""
    for value in VALUES:
        fields: dict[str, bytes | str | int] = {"verdict": "defer", attribute: value, "n": 7}
        line = format_event(fields)
        assert LINE.fullmatch(line), value
        assert len(line) <= 4 * MAX_VALUE + 80
        wanted = {"verdict": b"defer", attribute: logged(value), "n": b"7"}
        assert parse_event(line) == wanted
        assert list(parse_event(line)) == list(wanted)


def test_all_attributes_at_once_p13() -> None:
    for at in range(len(VALUES) - len(ATTRIBUTES)):
        fields = dict(zip(ATTRIBUTES, VALUES[at:], strict=False))
        line = format_event(fields)
        assert LINE.fullmatch(line)
        assert parse_event(line) == {key: logged(value) for key, value in fields.items()}


@PROPERTY
@given(st.dictionaries(st.sampled_from(ATTRIBUTES), st.binary(max_size=600)))
def test_any_bytes_read_back_p13(fields: dict[str, bytes]) -> None:
    line = format_event(fields)
    assert LINE.fullmatch(line)
    assert parse_event(line) == {key: logged(value) for key, value in fields.items()}


@PROPERTY
@given(st.text())
@example("\ud800")
@example("\udcff")
@example("\u2028\u202e")
def test_any_text_is_logged_p13(text: str) -> None:
    """Also what no encoding has: an error text must not keep an event out of the log."""
    line = format_event({"error": text})
    assert LINE.fullmatch(line)
    kept = parse_event(line)["error"]
    if not re.search("[\ud800-\udfff]", text):
        assert kept == logged(text.encode())


def test_undecodable_bytes_in_a_text_are_logged_as_they_were() -> None:
    """Paths and variables come that way."""
    text = b"/var/\xff".decode("utf-8", "surrogateescape")
    assert format_event({"error": text}) == r'error="/var/\xff"'


def test_characters_that_no_encoding_has_are_logged_by_their_numbers() -> None:
    assert format_event({"error": "a \ud800"}) == r'error="a \x5cud800"'


def test_numbers_and_an_empty_event() -> None:
    assert format_event({"retry_after": 300, "waited": 0}) == "retry_after=300 waited=0"
    assert format_event({}) == ""
    assert parse_event("") == {}


@pytest.mark.parametrize(
    "line",
    [
        "verdict",
        "verdict=pass reason",
        "=pass",
        "verdict=pass =known",
        " verdict=pass",
        "verdict=pass ",
        "verdict=pass  reason=known",
        'verdict="pass',
        'verdict="',
        'verdict="pass"reason=known',
        'verdict="pass" ',
        "verdict=",
        "verdict= reason=known",
        'verdict="pass"',
        "verdict=pa=ss",
        'verdict=pa"ss',
        r"verdict=pa\x73s",
        r'sender="\x4"',
        r'sender="\xzz"',
        r'sender="\x  "',
        r'sender="\x"',
        r'sender="\x41"',
        r'sender="\xFF"',
        r'sender="\n"',
        "sender=\xe9",
        'sender="\xe9"',
        "sender=a\x1b[2J",
        "sender=a\nverdict=pass",
        "sender=a\tb",
        "a=1 a=2",
        "a\nb=1",
        "\xe9=1",
        "\ud800",
        "a=\ud800",
        '"a"=1',
    ],
)
def test_another_line_is_refused_t12(line: str) -> None:
    """T12: what `format_event` did not write is not taken for an event."""
    with pytest.raises(ValueError, match=r"expected|codec|hexadecimal"):
        parse_event(line)


linish = st.lists(
    st.sampled_from(["a", "b", "=", '"', " ", "\\x", "\\", "4", "f", "F", "g", "\n", "\xe9", "%"])
).map("".join)


@PROPERTY
@given(st.text() | linish)
@example("a\ud800=1")
def test_junk_is_refused_and_all_else_is_a_line_of_ours_p3(line: str) -> None:
    """P3: ValueError and no other error; what is read would be written just so."""
    try:
        fields = parse_event(line)
    except ValueError:
        return
    assert format_event(fields) == line
    assert LINE.fullmatch(line)


def told_names(client_name: bytes, helo: bytes) -> dict[bytes, bytes]:
    return {b"client_name": client_name, b"helo_name": helo}


def test_the_fields_of_a_decision() -> None:
    attempt = Attempt(b"192.0.2.17", b"", b"b@example.net")
    deferred = Decision(Verdict.DEFER, Reason.NEW, retry_after=300, id="7KQ3-M2F")
    assert decision_line(attempt, deferred) == (
        'verdict=defer reason=new client_address=192.0.2.17 sender="" '
        "recipient=b@example.net retry_after=300 id=7KQ3-M2F"
    )
    entry = Entry(parse_subject("192.0.2.0/24"), 0)
    told = Decision(Verdict.PASS, Reason.RETRIED, waited=0, entry=entry)
    named = replace(attempt, told=told_names(b"mx.example.org", b"x ip=192.0.2.1\n"), words=POSTFIX)
    assert decision_line(named, replace(told, entry=None)).endswith(" waited=0")
    assert decision_line(named, deferred) == (
        'verdict=defer reason=new client_address=192.0.2.17 sender="" recipient=b@example.net '
        'client_name=mx.example.org helo="x ip=192.0.2.1\\x0a" retry_after=300 id=7KQ3-M2F'
    )
    assert decision_line(Attempt(None, None, None), told) == (
        'verdict=pass reason=retried client_address="" sender="" recipient="" '
        "waited=0 entry=192.0.2.0/24"
    )


def test_a_connection_is_told_by_its_address() -> None:
    decision = Decision(Verdict.DEFER, Reason.NEW, retry_after=120)
    assert connection_line(Connection(b"192.0.2.17\n"), decision) == (
        'verdict=defer reason=new at=connect client_address="192.0.2.17\\x0a" retry_after=120'
    )
    assert connection_line(Connection(b"192.0.2.17", b"mx.example.org"), decision) == (
        "verdict=defer reason=new at=connect client_address=192.0.2.17 client_name=mx.example.org "
        "retry_after=120"
    )


def test_names_of_a_client_forge_nothing_t12() -> None:
    attempt, decision = Attempt(b"192.0.2.17", b"", b""), Decision(Verdict.DEFER, Reason.NEW)
    for value in VALUES:
        told = replace(attempt, told=told_names(value, value), words=POSTFIX)
        line = decision_line(told, decision)
        assert LINE.fullmatch(line)
        found = parse_event(line)
        assert (found.get("client_name", b""), found.get("helo", b"")) == (logged(value),) * 2


def test_a_range_of_big_senders_is_told_with_their_names() -> None:
    attempt = Attempt(b"192.0.2.17", b"", b"b@example.net")
    entry = Entry(parse_subject("192.0.2.0/24"), 0, origin="provider:one,two")
    told = Decision(Verdict.PASS, Reason.PROVIDER, entry=entry)
    assert decision_line(attempt, told).endswith(" entry=192.0.2.0/24 provider=one,two")
    evil = replace(told, entry=replace(entry, origin="provider:a b\n\x1b[2J"))
    assert decision_line(attempt, evil).endswith(' provider="a b\\x0a\\x1b[2J"')


def test_a_line_tells_what_was_only_observed_and_whose_record_decided() -> None:
    attempt = Attempt(b"192.0.2.1", b"a@example.org", b"b@example.net")
    observed = Decision(Verdict.PASS, Reason.OBSERVED, instead=Reason.NEW)
    assert decision_line(attempt, observed).endswith(" recipient=b@example.net instead=new")
    pool = Pool(PoolKind.SPF, "example.org").packed
    early = Decision(Verdict.DEFER, Reason.EARLY, retry_after=9, pool=pool)
    line = decision_line(attempt, early)
    assert line.endswith(" retry_after=9 identity=spf:example.org")
    assert parse_event(line)["identity"] == b"spf:example.org"
    broken = replace(early, pool=b"\xff" * 40)
    assert decision_line(attempt, broken).endswith(" retry_after=9")
