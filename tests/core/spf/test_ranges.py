"""The addresses that a record passes, as a list: what gets on it, and that nothing else does."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greylag.core.accesslist import networks_around
from greylag.core.spf import Answer, Query, Result
from greylag.core.spf.questions import MOST_QUERIES
from greylag.core.spf.ranges import MOST_RANGES, Ranges, addresses_in, joined, ranges_of
from greylag.core.subject import Network
from tests.core.spf.test_limits import BOMBS, GOOD, MANY_STEPS, PIECES, a_world, everything, spoilt
from tests.core.spf.zone import check_in, packed, zone_of
from tests.core.test_linear import steps_of
from tests.strategies import PROPERTY, SOAK


def walked(domain: str, answer: Callable[[Query], Answer]) -> tuple[Ranges, list[Query]]:
    asked: list[Query] = []
    steps = ranges_of(domain)
    try:
        query = next(steps)
        while True:
            asked.append(query)
            query = steps.send(answer(query))
    except StopIteration as end:
        found: Ranges = end.value
        return found, asked


def always(*records: bytes) -> Callable[[Query], Answer]:
    return lambda _query: records


def of_kinds(answers: dict[str, Answer]) -> Callable[[Query], Answer]:
    return lambda query: answers.get(query.kind, ())


def of(records: dict[str, list[str]], domain: str = "d.example") -> Ranges:
    zone = zone_of(records)
    return walked(domain, lambda query: zone.get((query.name, query.kind), ()))[0]


def listed(found: Ranges) -> list[str]:
    return [str(network) for network in found.networks]


WORLD = {
    "d.example": ["A 8.8.4.1", "AAAA 2620:0:1::1", "MX mx.example"],
    "mx.example": ["A 9.9.9.1", "A 9.9.9.2", "AAAA 2620:0:2::1"],
    "six.example": ["AAAA 2620:0:3::1"],
    "i.example": ["TXT v=spf1 ip4:11.1.0.0/16 ?ip4:11.3.0.0/16 ip4:11.3.1.1 -all"],
    "j.example": ["TXT v=spf1 include:i.example a:six.example ~all"],
    "bad.example": ["TXT v=spf1 ip4:300.1.1.1"],
    "two.example": ["TXT v=spf1 -all", "TXT v=spf1 +all"],
    "down.example": ["TIMEOUT TXT", "TIMEOUT A", "TIMEOUT MX"],
    "loop.example": ["TXT v=spf1 include:pool.example ~all"],
    "pool.example": ["TXT v=spf1 include:loop.example ~all"],
    "self.example": ["TXT v=spf1 redirect=self.example"],
}
LISTED: dict[str, tuple[str, list[str]]] = {
    "addresses": ("ip4:8.8.8.8 ip6:2620:0:1::7", ["8.8.8.8", "2620:0:1::7"]),
    "ranges": ("ip4:8.8.8.0/24 ip6:2620:0:1::/48", ["8.8.8.0/24", "2620:0:1::/48"]),
    "host bits": ("ip4:8.8.8.77/24", ["8.8.8.0/24"]),
    "a range inside of another": ("ip4:8.8.8.8 ip4:8.8.8.0/24 ip4:8.8.8.8", ["8.8.8.0/24"]),
    "a": ("a", ["8.8.4.1", "2620:0:1::1"]),
    "a range around a host": ("a/24//64", ["8.8.4.0/24", "2620:0:1::/64"]),
    "a host with IPv6 alone": ("a:six.example", ["2620:0:3::1"]),
    "mx": ("mx", ["9.9.9.1", "9.9.9.2", "2620:0:2::1"]),
    "include": ("include:j.example", ["11.1.0.0/16", "2620:0:3::1"]),
    "redirect": ("redirect=i.example", ["11.1.0.0/16"]),
    "all, and what is behind it": ("ip4:8.8.8.8 ~all ip4:8.8.8.9", ["8.8.8.8"]),
    "the widest": ("ip4:8.16.0.0/12 ip6:2620::/24", ["8.16.0.0/12", "2620::/24"]),
}
LEFT_OUT: dict[str, tuple[str, str]] = {
    "exists": ("exists:e.example", "it depends on the client"),
    "ptr": ("ptr", "it depends on the client"),
    "a macro": ("a:%{i}.example", "it has a macro"),
    "include with a macro": ("include:%{d}.example", "it has a macro"),
    "a macro in redirect": ("redirect=%{d}.example", "it has a macro"),
    "everybody": ("+all", "it passes everybody"),
    "too wide": ("ip4:8.0.0.0/11", "wider than /12"),
    "too wide, IPv6": ("ip6:2600::/23", "wider than /24"),
    "too wide around a host": ("a:mx.example/8//8", "wider than /24"),
    "private": ("ip4:10.1.0.0/16", "not on the internet"),
    "loopback": ("ip4:127.0.0.1", "not on the internet"),
    "IPv6 that is not given out": ("ip6:fd00::/48", "not on the internet"),
    "all of IPv4 by NAT64": ("ip6:64:ff9b::/96", "not on the internet"),
    "all of IPv4 by 6to4": ("ip6:2002:808:808::/48", "not on the internet"),
    "all of IPv4 by Teredo": ("ip6:2001:0:1::/48", "not on the internet"),
    "all of IPv4, mapped": ("ip6:::ffff:0:0/96", "not on the internet"),
    "what is refused": ("-ip4:9.9.9.9 ip4:9.9.9.0/24", "some of it was refused before"),
    "a host that is refused": ("~mx ip4:9.9.9.0/24", "some of it was refused before"),
    "a range around what is refused": ("-ip4:9.9.9.0/24 ip4:9.9.9.9", "some of it was refused"),
    "what an include has and we refuse": ("-ip4:11.1.1.1 include:i.example", "some of it was"),
    "nobody knows who is refused": ("-exists:e.example ip4:9.9.9.9", "what is after it is left"),
    "an include refuses": ("?include:i.example ip4:9.9.9.9", "what is after it is left out"),
}
FAULTS: dict[str, tuple[str, str]] = {
    "a fault in the record": ("ip4:8.8.8.8 ip4:8.8.8.8/33", "d.example is faulty"),
    "a fault in an include": ("ip4:8.8.8.8 include:bad.example", "bad.example is faulty"),
    "several records": ("ip4:8.8.8.8 include:two.example", "two.example has several SPF records"),
    "no record": ("ip4:8.8.8.8 include:no.example", "no.example has no SPF record"),
    "no answer": ("ip4:8.8.8.8 include:down.example", "no answer about down.example"),
    "no answer about a host": ("ip4:8.8.8.8 a:down.example", "no answer about down.example"),
    "a loop": ("ip4:8.8.8.8 include:loop.example", "too many look-ups"),
    "a loop of redirects": ("redirect=self.example", "too many look-ups"),
    "three hosts without an address": ("a:x.no a:y.no a:z.no", "too many look-ups"),
    "eleven hosts": ("a " * 11, "too many look-ups"),
    "empty": ("-all", "the record of d.example has no ranges"),
    "a domain that cannot be": ("a:.. ip4:8.8.8.8", "is faulty"),
    "a name that cannot be": ("a:x..example", "names a domain that cannot be"),
    "wide in all": (
        " ".join(f"ip4:{n}.0.0.0/12" for n in range(20, 25)),
        "together wider than 4 /12",
    ),
}


def world(record: str) -> dict[str, list[str]]:
    return {**WORLD, "d.example": [*WORLD["d.example"], f"TXT v=spf1 {record}"]}


@pytest.mark.parametrize(("record", "networks"), LISTED.values(), ids=LISTED)
def test_what_a_record_passes_is_listed(record: str, networks: list[str]) -> None:
    found = of(world(record))
    assert (found.error, listed(found)) == ("", networks)


@pytest.mark.parametrize(("record", "why"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_cannot_be_listed_is_left_out_and_told(record: str, why: str) -> None:
    """T28."""
    found = of(world(f"ip4:8.8.8.8 {record}"))
    assert listed(found)[0] == "8.8.8.8"
    assert set(listed(found)[1:]) <= {"11.3.1.1"}
    assert why in found.left_out[0]
    assert not found.error


@pytest.mark.parametrize(("record", "why"), FAULTS.values(), ids=FAULTS)
def test_a_fault_leaves_no_ranges(record: str, why: str) -> None:
    """T28: a part of the ranges would look like a change."""
    found = of(world(record))
    assert not found.networks
    assert why in found.error
    assert found.is_unanswered is ("no answer" in why)


@pytest.mark.parametrize("domain", ["", "x", "a..b", "\udcff.example", "%{d}", "x" * 300, "10.1"])
def test_what_is_no_domain_is_not_asked_for(domain: str) -> None:
    found, asked = walked(domain, always())
    assert (found.networks, asked) == ((), [])
    assert "is no domain" in found.error


def test_a_domain_that_is_not_there() -> None:
    assert of({}, "no.example").error == "no.example has no SPF record"


def test_what_is_told_is_bounded() -> None:
    record = " ".join(f"exists:{n}.{'x' * 60}.{'y' * 60}.example" for n in range(10))
    record += " " + " ".join(f"ip4:10.0.{n}.0/24" for n in range(90)) + " ip4:10.0.0.0/24"
    found = of(world(f"ip4:8.8.8.8 {record}"))
    assert len(found.left_out) == 21
    assert found.left_out[-1] == "and 80 more"
    assert max(map(len, found.left_out)) < 150


def test_too_many_ranges_are_none() -> None:
    world = {
        f"h{n}.example": [f"A {n + 20}.{k >> 8}.{k & 255}.1" for k in range(256)] for n in range(20)
    }
    world["d.example"] = ["TXT v=spf1 mx -all", *(f"MX h{n}.example" for n in range(10))]
    world["e.example"] = [f"MX h{n}.example" for n in range(10, 20)]
    assert len(of(world).networks) == 2560 < MOST_RANGES
    world["d.example"][0] = "TXT v=spf1 mx mx:e.example -all"
    assert of(world).error == "the record has too many ranges"


@pytest.mark.parametrize(
    ("term", "why"),
    [
        (" ip4:8.8.8.8" * 900, "the record has too many terms"),
        (f" x={'y' * 12_000}", "is faulty, or too long"),
    ],
)
def test_long_records_one_after_the_other_end(term: str, why: str) -> None:
    found = of(
        {f"{n}.d.example": [f"TXT v=spf1{term} include:{n + 1}.d.example"] for n in range(9)},
        "0.d.example",
    )
    assert why in found.error


@pytest.mark.parametrize("record", BOMBS.values(), ids=BOMBS)
def test_a_hostile_record_costs_little(record: bytes) -> None:
    """T25, T28."""
    answers = everything(record)
    asked: list[Query] = []

    def run(domain: bytes) -> None:
        asked[:] = walked(domain.decode(), of_kinds(answers))[1]

    assert steps_of(run, b"d.example") < MANY_STEPS
    assert len(asked) <= MOST_QUERIES


def test_refused_ranges_by_the_hundred_cost_little() -> None:
    record = b"v=spf1" + b" -ip4:9.9.9.9" * 500 + b" ip4:8.8.8.8" * 500
    found, _asked = walked("d.example", always(record))
    assert "what is after it is left out" in found.left_out[0]


def test_mutated_records_never_raise() -> None:
    """T28."""
    draw = random.Random(28)
    for _ in range(100_000 if SOAK else 10_000):
        answers = a_world(draw)
        found, asked = walked("d.example", of_kinds(answers))
        assert len(asked) <= MOST_QUERIES
        assert all(network.sound for network in found.networks)


@PROPERTY
@given(st.data())
def test_any_text_gives_ranges_or_says_why_not(data: st.DataObject) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20)))
    raw = b"v=spf1" + text.encode("utf-8", "surrogatepass")
    answers: dict[str, Answer] = {"TXT": (raw,), "A": (bytes([8] * 4),), "AAAA": (bytes(16),)}
    found, _asked = walked("d.example", of_kinds(answers))
    assert bool(found.networks) is not bool(found.error)


@settings(PROPERTY)
@given(st.integers(0, 2**32))
def test_nobody_is_listed_whom_the_record_does_not_pass(seed: int) -> None:
    """T28: `check` and `ranges_of` agree, wherever a record is in order."""
    draw = random.Random(seed)
    terms = [
        f"{draw.choice(['', '', '', '-', '~', '?'])}"
        + draw.choice(
            ["ip4:8.8.8.8", "ip4:8.8.8.0/24", "ip4:8.8.9.9", "a", "mx/30", "include:e.example"]
        )
        for _ in range(draw.randrange(1, 6))
    ]
    zone = zone_of(
        {
            "d.example": [f"TXT v=spf1 {' '.join(terms)} -all", "A 8.8.8.9", "MX e.example"],
            "e.example": ["TXT v=spf1 -ip4:8.8.8.8 ip4:8.8.8.0/29 a -all", "A 8.8.9.9"],
        }
    )
    found, _asked = walked("d.example", lambda query: zone.get((query.name, query.kind), ()))
    for client in ("8.8.8.8", "8.8.8.9", "8.8.8.1", "8.8.8.200", "8.8.9.9", "8.8.9.8"):
        if set(networks_around(packed(client))) & set(found.networks):
            outcome, _queries = check_in(zone, client, "u@d.example")
            assert outcome.result is Result.PASS, terms


def test_joined_ranges_do_not_overlap() -> None:
    wide, narrow = Network(b"\x08\0\0\0", 8), Network(b"\x08\x08\0\0", 16)
    six = Network(bytes([0x26]) + bytes(15), 8)
    assert joined([narrow, six, wide, narrow]) == (wide, six)
    assert addresses_in([wide, six], 4) == 2**24
    assert addresses_in([wide, six], 16) == 2**120


def test_a_spoilt_record_of_a_big_sender() -> None:
    draw = random.Random(1)
    for good in GOOD:
        record = spoilt(draw, good).encode("latin-1", "replace")
        found, _asked = walked("d.example", always(record))
        assert isinstance(found, Ranges)
