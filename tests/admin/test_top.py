"""Who is deferred most, who was hurt, who tries too early, who is trusted soon."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from greylag.admin.top import Top, top
from greylag.core.client import parse_address
from greylag.core.history import Begun, By, Deferral, Ended, Event, Outcome, Tried
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.policy import Policy
from greylag.core.record import Noted
from greylag.core.triplet import Triplet, trust_of
from greylag.core.value import replace
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000
DAY = 86400
POOL = Pool(PoolKind.SPF, "example.org").packed
CLIENT = parse_address(b"192.0.2.17") or b""
POLICY = Policy(trust_after=5, trust_all_after=20)


def deferral(sender: str, number: int = 0, at: int = NOW - 9000) -> Deferral:
    key = Triplet(b"\xc0\0\2\0", sender, f"b{number}@example.net")
    name = f"mx.{sender.rpartition('@')[2]}"
    return Deferral(key, at, at + 300, client=CLIENT, name=name)


def ended(one: Deferral, outcome: Outcome, after: int = 0) -> list[Event]:
    return [Begun(one), Ended(one.triplet, one.first_seen + after, outcome)]


def found(events: Sequence[Event], policy: Policy = POLICY, most: int = 30_000) -> Top:
    store = MemoryStore()
    store.remember(events, NOW)
    return top(store, policy, NOW, 7 * DAY, 10, most)


def test_whom_it_hurt_the_worst_first() -> None:
    events: list[Event] = [
        *ended(deferral("a@slow.example"), Outcome.PASSED, 7200),
        *ended(deferral("a@slow.example", 1), Outcome.PASSED, 3600),
        *ended(deferral("a@quick.example"), Outcome.PASSED, 400),
        *ended(deferral("a@lost.example"), Outcome.UNKNOWN, 2 * DAY),
        *ended(deferral("a@lost.example", 1), Outcome.PASSED, 9000),
        *ended(deferral("a@list.example"), Outcome.VARYING, 2 * DAY),
        *ended(deferral("a@spam.example"), Outcome.LIKELY_SPAM, 2 * DAY),
        *ended(deferral("a@other.example"), Outcome.OTHER_WAY, 2 * DAY),
        *ended(replace(deferral("a@bot.example"), signs=("dynamic-name",)), Outcome.PASSED, 7200),
        Begun(deferral("a@waits.example")),
    ]
    hurt = found(events).hurt
    assert [(one.domain, one.mails, one.never, one.longest) for one in hurt] == [
        ("lost.example", 2, 1, 9000),
        ("list.example", 1, 1, 0),
        ("slow.example", 2, 0, 7200),
    ]
    assert found(events).hurt_mails == 5
    worst = {one.domain: one.worst.triplet.recipient for one in hurt}
    assert worst == {
        "lost.example": "b0@example.net",  # that which never came
        "list.example": "b0@example.net",
        "slow.example": "b0@example.net",  # that which waited longest
    }


def test_attempts_of_one_mail_are_hurt_once() -> None:
    """A list has another sender at each attempt, and a pool another network."""
    at = NOW - DAY
    events: list[Event] = []
    for number, sender in enumerate(("bcd", "klm", "xyz")):
        one = deferral(f"{sender}@list.example", at=at + number * 900)
        events += ended(one, Outcome.VARYING, 2 * DAY)
    next_post = deferral("qrs@list.example", at=at + 10 * 3600)
    events += ended(next_post, Outcome.VARYING, 2 * DAY)
    for number in range(2):
        one = deferral("a@pool.example", at=at + number * 900)
        key = replace(one.triplet, network=bytes((192, 0, number, 0)))
        events += ended(replace(one, triplet=key), Outcome.UNKNOWN, 2 * DAY)
    hurt = found(events).hurt
    assert [(one.domain, one.mails) for one in hurt] == [("list.example", 2), ("pool.example", 1)]


def test_bounces_have_a_name_too() -> None:
    [hurt] = found(ended(deferral(""), Outcome.PASSED, 7200)).hurt
    assert hurt.domain == "<>"


def test_whose_retries_came_too_early() -> None:
    one, other = deferral("a@early.example"), deferral("a@patient.example")
    events: list[Event] = [
        Begun(one), Begun(other), Begun(deferral("a@early.example", 1)),
        Tried(one.triplet, one.first_seen + 60, 4),
        *ended(replace(deferral("a@bot.example"), tries=3), Outcome.LIKELY_SPAM, 2 * DAY),
        Ended(one.triplet, one.first_seen + 400, Outcome.PASSED),
    ]  # fmt: skip
    early = found(events).early
    assert [(e.domain, e.retries, e.mails, e.passed) for e in early] == [("early.example", 4, 1, 1)]


def test_the_names_are_those_of_the_tallies() -> None:
    events = [Begun(deferral("a@example.org", number)) for number in range(3)]
    names = found([*events, Begun(deferral("a@example.com"))]).names
    assert {name: of.deferred for name, of in names[By.SENDER_DOMAIN].items()} == {
        "example.org": 3,
        "example.com": 1,
    }
    assert [*names[By.RECIPIENT]] == ["b0@example.net", "b1@example.net", "b2@example.net"]
    assert set(names) == set(By)


@pytest.mark.parametrize(
    ("key", "passes", "first", "soon"),
    [
        (trust_of(of_address(CLIENT), "example.org"), 4, NOW - 3 * DAY, True),
        (trust_of(of_address(CLIENT), "example.org"), 2, NOW - 3 * DAY, False),
        (trust_of(of_address(CLIENT), "example.org"), 5, NOW - 3 * DAY, False),  # is trusted
        (trust_of(of_address(CLIENT), "example.org"), 5, NOW - 3600, True),  # but not yet a day
        (trust_of(of_address(CLIENT), ""), 19, NOW - 3 * DAY, True),
        (trust_of(of_address(CLIENT), "example.com"), 4, NOW - 3 * DAY, False),  # no mail of it
        (trust_of(POOL, "example.org"), 3, NOW - 3 * DAY, True),
    ],
)
def test_who_is_trusted_soon(key: Triplet, passes: int, first: int, soon: bool) -> None:
    store = MemoryStore()
    one = replace(deferral("a@example.org"), pool=POOL)
    store.remember(ended(one, Outcome.PASSED, 400), NOW)
    store.apply([Noted(key, first, NOW + 30 * DAY, passes)], {}, NOW)
    trust = top(store, POLICY, NOW, 7 * DAY, 10).soon
    assert [(t.identity, t.domain, t.passes) for t in trust] == (
        [(key.network, key.sender, passes)] if soon else []
    )
    assert not top(store, Policy(), NOW, 7 * DAY, 10).soon, "where nobody is trusted"


def test_where_trust_takes_one_pass_nobody_has_it_soon() -> None:
    store = MemoryStore()
    store.remember(ended(deferral("a@example.org"), Outcome.PASSED, 400), NOW)
    once = Policy(trust_after=1)
    assert not top(store, once, NOW, 7 * DAY, 10).soon


def test_it_says_how_far_it_looked() -> None:
    events = [Begun(deferral(f"u{n}@example.org", at=NOW - 5000 + n)) for n in range(5000)]
    assert found(events).complete
    part = found(events, most=2000)
    assert (part.complete, part.reached) == (False, NOW - 2000)


def test_of_what_is_older_nothing_is_told() -> None:
    events = ended(deferral("a@lost.example", at=NOW - 8 * DAY), Outcome.UNKNOWN, 2 * DAY)
    assert found(events).hurt == []


def test_a_flood_of_domains_takes_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greylag.admin.top.MOST_DOMAINS", 10)
    events = [
        event
        for n in range(100)
        for event in ended(deferral(f"a@d{n}.example", n), Outcome.PASSED, 7200)
    ]
    assert found(events).hurt_mails == 10
