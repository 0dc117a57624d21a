"""CVE-2021-20314, CVE-2021-33912, T25: what a hostile record can cost is bounded."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greylag.core.spf import MOST_TERMS, MOST_TEXT, Answer, Outcome, Query, Result, check
from greylag.core.spf.macro import RecordError
from greylag.core.spf.questions import MOST_QUERIES
from greylag.core.spf.record import MOST_BYTES, parse_record
from tests.core.spf.zone import Zone, check_in, outcome_of, packed, zone_of
from tests.core.test_linear import steps_of
from tests.strategies import PROPERTY, SOAK

CLIENT = packed("192.0.2.7")
MANY_STEPS = 2_000_000  # bytecode instructions: some 15 ms


def everything(record: bytes) -> dict[str, Answer]:
    """Answer each question as fully as DNS can: with this record, and hosts by the thousand."""
    return {
        "TXT": (record,),
        "A": tuple(n.to_bytes(4, "big") for n in range(4000)),
        "AAAA": tuple(n.to_bytes(16, "big") for n in range(2000)),
        "MX": tuple(b"mx%d.example.org" % n for n in range(10)),
        "PTR": tuple(b"h%d.example.org" % n for n in range(2000)),
    }


BOMBS = {
    "macros": b"v=spf1 " + b"a:" + b"%{s}" * 4000 + b".example.org -all",
    "many terms with macros": b"v=spf1 " + b"exists:%{S}%{L}%{H}%{D}.example.org " * 400,
    "quoting": b"v=spf1 exists:" + b"%{S}%%%_%-" * 1600 + b".example.org -all",
    "a macro of 5,000 digits": b"v=spf1 a:%{d" + b"9" * 5000 + b"}.example.org -all",
    "delimiters": b"v=spf1 a:%{d" + b".-+,/_=" * 2000 + b"}.example.org -all",
    "a name of 16 kB": b"v=spf1 a:" + b"x." * 8000 + b"example.org -all",
    "no end of a macro": b"v=spf1 a:" + b"%{d" * 5000,
    "includes": b"v=spf1 " + b"include:%{d}.example.org " * 600,
    "an include of itself": b"v=spf1 include:d.example -all",
    "a redirect to itself": b"v=spf1 redirect=d.example",
    "a redirect to ever longer names": b"v=spf1 redirect=a.%{d}",
    "mx": b"v=spf1 " + b"mx/1 " * 3000,
    "a": b"v=spf1 " + b"a/1 " * 1900,
    "ptr": b"v=spf1 " + b"ptr:x.example " * 1000,
    "the client's name": b"v=spf1 " + b"exists:%{p}.x.example " * 700,
    "ranges": b"v=spf1 " + b"ip4:1.2.3.4/31 " * 1000,
    "ranges of IPv6": b"v=spf1 " + b"ip6:::1.2.3.4/31 " * 900,
    "words": b"v=spf1 " + b"a=b " * 4000,
    "blanks": b"v=spf1 " + b" " * 16000,
    "terms": b"v=spf1 " + b"-ip4:1.1.1.1 " * 1250,
    "includes of macros": b"v=spf1 include:a.%{d} x=" + b"%{s}" * 3900,
    "64 kB": b"v=spf1 " + b"%{s}" * 16000,
}


@pytest.mark.parametrize("record", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
def test_a_hostile_record_costs_little(client: str, record: bytes) -> None:
    answers = everything(record)
    asked: list[Query] = []
    outcomes: list[Outcome] = []

    def run(sender: bytes) -> None:
        outcome, queries = outcome_of(
            lambda query: answers[query.kind], packed(client), sender, b"h" * 250
        )
        outcomes[:], asked[:] = [outcome], queries

    steps = steps_of(run, b"u.-+" * 62 + b"@d.example")
    assert len(asked) <= MOST_QUERIES
    assert steps < MANY_STEPS
    assert not outcomes[0].narrow


def test_more_than_64_queries_are_a_permerror() -> None:
    answers = everything(b"v=spf1 mx mx mx mx mx mx ?all")
    outcome, asked = outcome_of(lambda query: answers[query.kind], CLIENT, b"u@d.example", b"")
    assert (outcome.result, len(asked)) == (Result.PERMERROR, MOST_QUERIES)


def test_too_many_terms_in_all_are_a_permerror() -> None:
    texts = "v=spf1 " + "ip6:::1 " * 900
    zone = {f"{n}.example": [f"TXT {texts} include:{n + 1}.example ?all"] for n in range(9)}
    outcome, asked = check_in(zone_of(zone), "192.0.2.7", "u@0.example")
    assert (outcome.result, len(asked)) == (Result.PERMERROR, 1 + MOST_TERMS // 901)


def test_a_record_may_be_long_but_not_longer() -> None:
    start = "v=spf1 ip4:192.0.2.7"
    for size, wanted in [(MOST_BYTES, Result.PASS), (MOST_BYTES + 1, Result.PERMERROR)]:
        zone = zone_of({"d.example": [f"TXT {start}{' ' * (size - len(start))}"]})
        outcome, _asked = check_in(zone, "192.0.2.7", "u@d.example")
        assert outcome.result is wanted


def test_too_much_text_in_all_is_a_permerror() -> None:
    text = f"v=spf1 x={'y' * (MOST_BYTES - 100)}"
    zone = {f"{n}.example": [f"TXT {text} include:{n + 1}.example ?all"] for n in range(9)}
    outcome, asked = check_in(zone_of(zone), "192.0.2.7", "u@0.example")
    assert (outcome.result, len(asked)) == (Result.PERMERROR, 1 + MOST_TEXT // MOST_BYTES)


def many(count: int, term: str, *records: str) -> Zone:
    zone = {"d.example": [f"TXT v=spf1 {term * count}ip4:192.0.2.7 -all", *records]}
    zone["h.example"] = ["A 198.51.100.1", "MX h.example"]
    zone["i.example"] = ["TXT v=spf1 -all"]
    zone["7.2.0.192.in-addr.arpa"] = ["PTR h.example"]
    return zone_of(zone)


@pytest.mark.parametrize(
    "term",
    [
        "a:h.example ",
        "mx:h.example ",
        "ptr:h.example ",
        "include:i.example ",
        "exists:%{l1r}.%{h} ",
    ],
)
def test_ten_terms_may_look_up(term: str) -> None:
    """RFC 7208, 4.6.4."""
    for count, wanted in [(10, Result.PASS), (11, Result.PERMERROR)]:
        outcome, _asked = check_in(many(count, term), "192.0.2.7", "u@d.example", "\xfc.example")
        assert outcome.result is wanted


def test_redirect_is_a_term_that_looks_up() -> None:
    for count, wanted in [(9, Result.PASS), (10, Result.PERMERROR)]:
        first = f"TXT v=spf1 {'a:h.example ' * count}redirect=r.example"
        zone = {
            "d.example": [first],
            "h.example": ["A 198.51.100.1"],
            "r.example": ["TXT v=spf1 ip4:192.0.2.7 -all"],
        }
        outcome, _asked = check_in(zone_of(zone), "192.0.2.7", "u@d.example")
        assert outcome.result is wanted


def test_two_look_ups_may_find_nothing() -> None:
    for term in ("a:x.example ", "mx:x.example ", "exists:x.example "):
        for count, wanted in [(2, Result.PASS), (3, Result.PERMERROR)]:
            outcome, _asked = check_in(many(count, term), "192.0.2.7", "u@d.example")
            assert outcome.result is wanted


def test_a_term_that_finds_nothing_counts_once() -> None:
    """RFC 7208, 4.6.4 counts terms: hosts of an MX often have addresses of one family alone."""
    hosts = [f"MX x{number}.example" for number in range(9)]
    for count, wanted in [(2, Result.PASS), (3, Result.PERMERROR)]:
        outcome, _asked = check_in(many(count, "mx ", *hosts), "192.0.2.7", "u@d.example")
        assert outcome.result is wanted
    record = "TXT v=spf1 mx ip6:2001:db8::7 -all"
    zone = zone_of({"d.example": [record, "MX h.example", "MX i.example", "MX j.example"]})
    outcome, _asked = check_in(zone, "2001:db8::7", "u@d.example")
    assert outcome.result is Result.PASS


def test_ten_hosts_of_an_mx_are_enough() -> None:
    for count, wanted in [(10, Result.PASS), (11, Result.PERMERROR)]:
        outcome, _asked = check_in(
            many(1, "mx ", *["MX h.example"] * count), "192.0.2.7", "u@d.example"
        )
        assert outcome.result is wanted


def test_the_eleventh_name_of_a_client_is_not_looked_at() -> None:
    for count, wanted in [(9, Result.PASS), (10, Result.FAIL)]:
        zone = zone_of(
            {
                "d.example": ["TXT v=spf1 ptr -all", "A 192.0.2.7"],
                "7.2.0.192.in-addr.arpa": ["PTR h.example"] * count + ["PTR d.example"],
            }
        )
        outcome, _asked = check_in(zone, "192.0.2.7", "u@d.example")
        assert outcome.result is wanted


def test_an_error_about_the_names_of_a_client_is_no_error_of_the_domain() -> None:
    """RFC 7208, 5.5."""
    base = {"d.example": ["TXT v=spf1 ptr ptr:e.example -all"]}
    reverse = "7.2.0.192.in-addr.arpa"
    for more in (
        {reverse: ["TIMEOUT PTR"]},
        {reverse: ["PTR x.d.example"], "x.d.example": ["TIMEOUT A"]},
        {reverse: ["PTR \xe9.d.example", "PTR ", "PTR d", "PTR ..d.example"]},
    ):
        outcome, asked = check_in(zone_of(base | more), "192.0.2.7", "u@d.example")
        assert outcome.result is Result.FAIL
        assert [query.kind for query in asked].count("PTR") == 1


def test_a_check_that_nobody_finishes_can_be_closed() -> None:
    """The caller's time is over."""
    steps = check(CLIENT, b"u@d.example", b"")
    assert next(steps) == Query("d.example", "TXT")
    steps.close()


# Pieces of records, whole and broken, for a generator that joins and then spoils them.
PIECES = [
    "v=spf1", " ", " a", " mx", " ptr", " -all", " +all", " ?all", " include:", " redirect=",
    " exists:", " ip4:", " ip6:", " exp=", " a:", " mx:", "192.0.2.7", "2001:db8::7", "/24", "//64",
    "/", "%{i}", "%{ir}", "%{d2}", "%{l1r-}", "%{S}", "%{h}", "%{p}", "%{v}", "%{", "}", "%%", "%_",
    "%-", "%", "d.example", ".", "x.d.example", "a" * 64, "=", "\xff", "\0", "\t", "99999999999",
]  # fmt: skip


@PROPERTY
@given(st.data())
def test_any_text_is_a_record_or_a_fault(data: st.DataObject) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20)))
    raw = b"v=spf1" + text.encode("utf-8", "surrogatepass")
    zone: Zone = {("d.example", "TXT"): (raw,), ("d.example", "A"): (CLIENT,)}
    outcome, _asked = check_in(zone, "192.0.2.7", "u@d.example")
    assert isinstance(outcome, Outcome)


def spoilt(draw: random.Random, text: str) -> str:
    """Change a record: a piece in or out, a character, or a part twice."""
    for _ in range(draw.randrange(4)):
        at, to = sorted((draw.randrange(len(text) + 1), draw.randrange(len(text) + 1)))
        text = draw.choice(
            [
                text[:at] + draw.choice(PIECES) + text[at:],
                text[:at] + text[to:],
                text[:at] + chr(draw.randrange(256)) + text[at + 1 :],
                text[:to] + text[at:],
            ]
        )
    return text


GOOD = [
    "v=spf1 ip4:192.0.2.0/24 a mx include:x.d.example ~all",
    "v=spf1 exists:%{ir}.%{l1r-}.x.d.example redirect=%{d2}",
    "v=spf1 ptr mx:x.d.example/24//64 -ip6:2001:db8::/32 exp=%{o}.x.d.example ?all",
    "v=spf1 redirect=x.d.example",
    "v=spf1 ip4:192.0.2.0/24 ~all",
    "v=spf1 include:d.example include:%{h} a:%{p}.d.example +all",
]


def a_world(draw: random.Random) -> dict[str, Answer]:
    """Draw answers by type; a resolver may answer anything."""
    texts = [spoilt(draw, draw.choice(GOOD)).encode("latin-1") for _ in range(draw.randrange(3))]
    names = [b"x.d.example", b"d.example.", b"\xff", b"", b"a..b", b"h" * 300]
    addresses = [CLIENT, bytes(16), b"", b"\xc0\x00\x02\x08", packed("2001:db8::7")]
    return {
        "TXT": tuple(texts),
        "A": tuple(draw.choices(addresses, k=draw.randrange(4))),
        "AAAA": tuple(draw.choices(addresses, k=draw.randrange(4))),
        "MX": tuple(draw.choices(names, k=draw.randrange(12))),
        "PTR": tuple(draw.choices(names, k=draw.randrange(12))),
    }


def test_mutated_records_never_raise_and_never_ask_too_much() -> None:
    """One hundred thousand of them behind GREYLAG_SOAK."""
    draw = random.Random(None if SOAK else 7208)
    senders = [b"u@d.example", b"", b"a.b-c@x.d.example", b"\xff\0@d.example", b"u@\xff", b"@"]
    seen = set()
    for _ in range(100_000 if SOAK else 10_000):
        answers = a_world(draw)
        client = packed(draw.choice(["192.0.2.7", "198.51.100.9", "2001:db8::7"]))

        def answer(query: Query, answers: dict[str, Answer] = answers) -> Answer:
            return None if draw.random() < 0.02 else answers[query.kind]

        outcome, asked = outcome_of(answer, client, draw.choice(senders), draw.choice(senders))
        seen.add(outcome.result)
        assert len(asked) <= MOST_QUERIES
        for query in asked:
            labels = query.name.split(".")
            assert query.name.isascii()
            assert query.name == query.name.lower()
            assert len(query.name) <= 253
            assert all(0 < len(label) <= 63 for label in labels)
    assert seen == set(Result)


@settings(PROPERTY, max_examples=200)
@given(st.binary(max_size=400))
def test_parsing_is_never_surprised(raw: bytes) -> None:
    with contextlib.suppress(RecordError):
        assert parse_record(b"v=spf1 " + raw).terms is not None


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_digit_that_is_no_number_is_an_error_of_the_record(encoding: str) -> None:
    with pytest.raises(RecordError):
        parse_record("v=spf1 ip4:192.0.2.0/\u00b2 -all".encode(encoding))
