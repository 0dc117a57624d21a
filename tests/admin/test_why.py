"""Why mail is late, and what would let it in: stories, searches and releases, over real stores."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from greylag.admin import deferrals, release, why
from greylag.admin.deferrals import DUE, EXPIRED, GONE, search, sought, standings
from greylag.admin.lists import ALLOW, DENY, How, put
from greylag.admin.typed import WrongValue
from greylag.core.history import Begun, Deferral, Ended, Event, Outcome, Released, Tried
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import SPARING, Policy
from greylag.core.recipients import Recipients, Table
from greylag.core.record import Blocked, Created, Freed, Passed
from greylag.core.shortid import shown_id
from greylag.core.subject import SenderMailbox
from greylag.core.triplet import Triplet, connection_of
from greylag.core.value import replace
from greylag.core.verdict import Reason
from greylag.store import open_store
from greylag.store.base import Store
from greylag.store.memory import MemoryStore

NOW = 1_750_000_000
NET, NEXT = b"\xc0\0\2\0", b"\xc6\x33\x64\0"
KEY = Triplet(NET, "alice@partner.example", "bob@ours.example")
POOL = Pool(PoolKind.SPF, "partner.example").packed
FIRST = Deferral(KEY, NOW - 200, NOW + 100, b"\xc0\0\2\x11", "mx.partner.example")
RULES = why.Rules(
    replace(SPARING, dns=True), origins={"policy.delay": "/etc/greylag/greylag.toml:3"}
)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory:" if request.param == "memory" else f"sqlite://{tmp_path}/x.db"
    with closing(open_store(url, timeout=4)) as opened:
        yield opened


def keep(store: Store, *found: Deferral, records: bool = True) -> None:
    """Do as the daemon does with first contacts."""
    keys = [key for one in found for key in deferrals.keys_of(one)]
    one = found[0]
    if records:
        born = [Created(k, one.first_seen, one.defer_until, NOW + 9000) for k in keys]
        store.apply(born, {}, one.first_seen)
    store.remember([Begun(one) for one in found], one.first_seen)


def told(store: Store, *words: str, rules: why.Rules = RULES, now: int = NOW) -> why.Why:
    return why.why(store, why.asked(words, rules.policy), rules, now)


@pytest.mark.parametrize(
    "words",
    [
        ["alice@partner.example", "bob@ours.example"],
        ["<Alice@Partner.Example>", "BOB@ours.example"],
        ["alice@partner.example"],
        ["bob@ours.example"],
        ["partner.example"],
        ["partner"],  # might be an id as well: seven letters of those that ids have
        ["192.0.2.99"],
        ["192.0.2.0/23"],
        [shown_id(FIRST.id)],
        [shown_id(FIRST.id).lower().replace("-", "")],
        [shown_id(FIRST.id)[:-1] + "0"],  # of the same two, from another network
    ],
    ids=str,
)
def test_one_mail_is_found_by_what_is_known_of_it(store: Store, words: Sequence[str]) -> None:
    keep(store, FIRST)
    keep(store, Deferral(Triplet(NEXT, "eve@other.example", "carol@ours.example"), NOW - 9, NOW))
    (story,) = told(store, *words).stories
    assert story.standing.deferral.triplet == KEY
    assert (story.standing.state, story.standing.may_pass) == ("waiting", NOW + 100)
    assert story.id == shown_id(FIRST.id)


@pytest.mark.parametrize("words", [[], [""], ["a", "b", "c"], ["a@b.example", ""], ["192.0.2.1/8"]])
def test_what_is_no_question_is_a_wrong_value(words: Sequence[str]) -> None:
    with pytest.raises(WrongValue):
        why.asked(words, SPARING)


def test_bounces_are_found(store: Store) -> None:
    bounce = replace(FIRST, triplet=replace(KEY, sender=""))
    keep(store, FIRST, bounce)
    for words in (["<>", "bob@ours.example"], ["", "bob@ours.example"], ["<>"]):
        (story,) = told(store, *words).stories
        assert story.standing.deferral.triplet.sender == ""
        assert "policy.null_sender" in [setting.key for setting in story.settings]


def test_a_story_says_what_happened_what_decided_and_until_when(store: Store) -> None:
    keep(store, FIRST)
    store.remember([Tried(KEY, NOW - 140), Tried(KEY, NOW - 20)], NOW)
    (story,) = told(store, KEY.sender, KEY.recipient).stories
    assert [(event.at, event.until) for event in story.events] == [
        (NOW - 200, 0),
        (NOW - 140, NOW - 20),
    ]
    assert "2 retries" in story.events[1].what
    assert story.reason.value == "early"
    delay = story.settings[0]
    assert (delay.key, delay.value, delay.origin) == (
        "policy.delay",
        "5m",
        "/etc/greylag/greylag.toml:3",
    )
    assert story.settings[1].origin == "default"


def test_a_table_for_the_recipient_is_named_with_its_line(store: Store) -> None:
    keep(store, FIRST)
    table = Table(("ours.example",), (("delay", 600),), "greylag.toml:9")
    rules = why.Rules(Policy(), Recipients([table]))
    (story,) = told(store, KEY.sender, rules=rules).stories
    assert [(s.key, s.value, s.origin) for s in story.settings][:2] == [
        ("recipient.delay", "10m", "greylag.toml:9"),
        ("policy.retry_window", "2d", "default"),
    ]


def test_ways_to_let_it_in_are_the_narrowest_first_as_they_are_typed(store: Store) -> None:
    keep(store, FIRST)
    (story,) = told(store, KEY.sender).stories
    assert [way.command for way in story.ways] == [
        f"greylag release {shown_id(FIRST.id)}",
        "greylag allow add --sender alice@partner.example --expires 90d",
        "greylag allow add --client-name mx.partner.example --expires 90d",
        "greylag allow add 192.0.2.17 --expires 90d",
        "greylag allow add 192.0.2.0/24 --expires 90d",
        "greylag allow add --sender-domain partner.example --expires 90d",
    ]


def test_without_dns_no_way_in_is_told_that_needs_it(store: Store) -> None:
    """No SPF passes then, so entries for senders do nothing."""
    keep(store, FIRST)
    rules = replace(RULES, policy=replace(RULES.policy, dns=False))
    (story,) = told(store, KEY.sender, rules=rules).stories
    commands = [way.command for way in story.ways]
    assert commands == [
        f"greylag release {shown_id(FIRST.id)}",
        "greylag allow add --client-name mx.partner.example --expires 90d",
        "greylag allow add 192.0.2.17 --expires 90d",
        "greylag allow add 192.0.2.0/24 --expires 90d",
    ]
    assert "DNS is off" in story.ways[1].what


def test_no_sender_writes_a_command_t13(store: Store) -> None:
    hostile = "$(reboot);'`x`@partner.example"
    keep(store, replace(FIRST, triplet=replace(KEY, sender=hostile), name="--yes"))
    acting = replace(KEY, sender="\x1b[2J\r\n@partner.example", recipient="x@ours.example")
    keep(store, replace(FIRST, triplet=acting, name="\x1b]0;x\x07"))
    assert "\x1b" not in str(told(store, "x@ours.example").stories[0].ways)
    story = told(store, hostile, KEY.recipient).stories[0]
    for way in story.ways:
        assert shlex.split(way.command)[:2] in (["greylag", "release"], ["greylag", "allow"])
    commands = [shlex.split(way.command) for way in story.ways]
    assert ["greylag", "allow", "add", "--sender", hostile, "--expires", "90d"] in commands
    assert not any("--yes" in words for words in commands)


@pytest.mark.parametrize(
    ("name", "real"),
    [
        ("list-bounces-#@club.example", "list-bounces-1234@club.example"),
        ("news-#@club.example", "news-bob=ours.example@club.example"),
        ("srs0=a.example=eve@club.example", "srs0=hash=tt=a.example=eve@club.example"),
    ],
)
def test_a_sender_without_its_numbers_is_never_allowed_and_never_tested(
    store: Store, name: str, real: str
) -> None:
    """Lists are asked for the sender as it comes, so such an entry would never speak."""
    keep(store, replace(FIRST, triplet=replace(KEY, sender=name)))
    put(store, ALLOW, {SenderMailbox(name): ""}, How(spoofable=True), NOW)
    (story,) = told(store, KEY.recipient).stories
    assert not [way for way in story.ways if "--sender " in way.command]
    if "#" in name:
        assert story.answer.reason is Reason.EARLY
    put(store, ALLOW, {SenderMailbox(real): ""}, How(spoofable=True), NOW)
    (story,) = told(store, real, KEY.recipient).stories
    assert story.answer.reason is Reason.ALLOWLISTED
    put(store, DENY, {SenderMailbox(real): ""}, How(), NOW)
    assert told(store, real, KEY.recipient).stories[0].answer.reason is Reason.DENYLISTED


def test_what_passed_from_elsewhere_meanwhile_is_told(store: Store) -> None:
    other = replace(FIRST, triplet=replace(KEY, network=NEXT), first_seen=NOW - 190)
    keep(store, FIRST, other)
    store.remember([Ended(other.triplet, NOW - 10, Outcome.PASSED)], NOW)
    found = told(store, KEY.sender, KEY.recipient).stories
    assert [len(story.elsewhere) for story in found] == [0, 1]
    assert found[1].elsewhere[0].triplet.network == NEXT


def test_a_retry_is_expected_as_such_mail_came_before(store: Store) -> None:
    for number, seconds in enumerate((400, 500, 900, 10)):
        key = replace(KEY, network=bytes((10, 0, number, 0)))
        keep(store, Deferral(key, NOW - 90_000, NOW - 89_700))
        if seconds < 300:  # an admin released it: that is no habit of the sender
            store.remember([Released(key, NOW - 90_000)], NOW)
        store.remember([Ended(key, NOW - 90_000 + seconds, Outcome.PASSED)], NOW)
    keep(store, FIRST)
    habit = told(store, KEY.sender, KEY.recipient).stories[0].habit
    assert habit is not None
    assert habit.at == FIRST.first_seen + 500
    assert "3 times" in habit.text
    late = told(store, KEY.sender, KEY.recipient, now=NOW + 400).stories[0].habit
    assert late is not None
    assert late.at is None  # it is overdue: nothing is promised


@pytest.mark.parametrize(
    ("name", "tries", "said", "expected"),
    [
        ("mail-1.google.com", [], "Gmail", 362),
        ("mx.partner.example", [60, 180], "Exchange", 540),
        ("mx.partner.example", [], "most mail servers", None),
    ],
)
def test_without_a_history_the_kind_of_sender_tells_when_it_comes(
    store: Store, name: str, tries: list[int], said: str, expected: int | None
) -> None:
    keep(store, replace(FIRST, name=name))
    store.remember([Tried(KEY, FIRST.first_seen + seconds) for seconds in tries], NOW)
    habit = told(store, KEY.sender).stories[0].habit
    assert habit is not None
    assert said in habit.text
    assert habit.at == (None if expected is None else FIRST.first_seen + expected)


def test_how_it_stands_is_what_the_records_say(store: Store) -> None:
    keep(store, FIRST)

    def state(now: int) -> str:
        return standings(store, search(store, sought(SPARING)).deferrals, now)[0].state

    assert [state(at) for at in (NOW, NOW + 100, NOW + 9000)] == ["waiting", DUE, EXPIRED]
    store.apply([Passed(KEY, NOW + 99_000)], {}, NOW + 100)
    assert state(NOW + 100) == "passed"  # a moment before the history says so
    store.forget([KEY], NOW)
    assert state(NOW) == "forgotten"


def test_of_what_has_no_record_any_more_the_retry_starts_anew(store: Store) -> None:
    keep(store, FIRST, records=False)
    (found,) = standings(store, [FIRST], NOW)
    assert (found.state, found.may_pass, found.waits) == (GONE, None, False)
    store.remember([Ended(KEY, NOW, Outcome.LIKELY_SPAM)], NOW)
    assert told(store, KEY.sender).stories[0].standing.state == "likely-spam"


def test_a_release_lets_the_next_retry_in_and_is_written_down(store: Store) -> None:
    pooled = replace(FIRST, pool=POOL)
    keep(store, pooled)
    done = release.release(store, [pooled], NOW, who="root")
    assert ([one.triplet for one in done.released], done.others) == ([KEY], [])
    assert done.not_noted is None
    for key in deferrals.keys_of(pooled):
        assert store.load([key])[key].defer_until == NOW
    (kept,) = search(store, sought(SPARING)).deferrals
    assert (kept.released, kept.defer_until) == (NOW, NOW)
    (action,) = store.actions(9)
    assert (action.who, action.action) == ("root", "release")
    assert action.subject == f"{shown_id(FIRST.id)} {KEY.sender} {KEY.recipient}"
    assert store.figures(0, 1 << 62)[NOW - NOW % 3600]["released"] == 1
    again = release.release(store, [pooled], NOW + 1, who="root")
    assert (again.released, [one.state for one in again.others]) == ([], [DUE])
    assert len(store.actions(9)) == 1
    assert "released" in told(store, KEY.sender).stories[0].events[-1].what


def test_a_release_of_what_has_no_record_says_so(store: Store) -> None:
    keep(store, FIRST, records=False)
    done = release.release(store, [FIRST], NOW, who="root")
    assert (done.released, [one.state for one in done.others]) == ([], [GONE])
    assert store.load([KEY]) == {}


class Unnoted(MemoryStore):
    """A store whose history cannot be written."""

    def remember(self, events: Sequence[Event], now: int) -> None:
        from greylag.store.base import StoreError

        raise StoreError("no rights")


def test_an_audit_that_cannot_be_written_does_not_prevent_a_release() -> None:
    store = Unnoted()
    store.apply([Created(KEY, NOW - 200, NOW + 100, NOW + 9000)], {}, NOW - 200)
    done = release.release(store, [FIRST], NOW, who="root")
    assert len(done.released) == 1
    assert str(done.not_noted) == "no rights"
    assert store.load([KEY])[KEY].defer_until == NOW


@pytest.mark.parametrize(
    "words", [[KEY.sender, KEY.recipient], [KEY.recipient], ["192.0.2.7"], [shown_id(FIRST.id)]]
)
def test_what_waits_is_found_though_the_history_missed_it(
    store: Store, words: Sequence[str]
) -> None:
    """The history may be off, and of a flood it has a part."""
    store.apply([Created(KEY, NOW - 200, NOW + 100, NOW + 9000), Blocked(KEY, 2)], {}, NOW - 200)
    (story,) = told(store, *words).stories
    assert (story.id, story.standing.state) == (shown_id(FIRST.id), "waiting")
    assert "2 retries" in story.events[1].what
    (found,) = deferrals.meant(store, deferrals.of_id(FIRST.id), SPARING, NOW).standings
    assert release.release(store, [found.deferral], NOW, who="root").released
    assert store.load([KEY])[KEY].defer_until == NOW


def test_what_has_passed_or_expired_or_is_no_mail_does_not_wait(store: Store) -> None:
    store.apply([Created(KEY, NOW - 200, NOW + 100, NOW + 9000)], {}, NOW - 200)
    store.apply([Created(connection_of(b"\xc0\0\2\1", 24), NOW, NOW, NOW + 9000)], {}, NOW)
    assert told(store, "192.0.2.1", now=NOW + 9000).stories == ()
    store.apply([Passed(KEY, NOW + 9000)], {}, NOW + 100)
    assert told(store, "192.0.2.1").stories == ()


def test_pages_are_the_newest_first_and_say_how_far_back_they_looked(store: Store) -> None:
    for number in range(7):
        key = replace(KEY, sender=f"s{number}@x.example")
        keep(store, replace(FIRST, triplet=key, first_seen=NOW - 100 + number))
    first = search(store, sought(SPARING), most=3)
    second = search(store, sought(SPARING), most=9, before=first.before)
    senders = [one.triplet.sender[:2] for one in (*first.deferrals, *second.deferrals)]
    assert senders == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]
    assert (first.reached, second.reached) == (NOW - 96, NOW - 100)
    assert (first.before is None, second.before) == (False, None)


def test_a_search_ends_however_much_there_is(store: Store) -> None:
    for number in range(9):
        key = replace(KEY, sender=f"s{number}@x.example")
        keep(store, replace(FIRST, triplet=key, first_seen=NOW - 100 + number))
    page = search(store, sought(SPARING, sender="s0@"), look=4)
    assert (page.deferrals, page.reached) == ([], NOW - 95)
    page = search(store, sought(SPARING, sender="s0@"), before=page.before, look=5)
    assert [one.triplet.sender for one in page.deferrals] == ["s0@x.example"]


@pytest.mark.parametrize(
    ("given", "senders"),
    [
        ({}, "abc"),
        ({"sender": "A@"}, "a"),
        ({"sender": "<>"}, ""),
        ({"recipient": "ours"}, "abc"),
        ({"address": "198.51.100.7"}, "b"),
        ({"shown_id": "id"}, "a"),
        ({"outcomes": ["passed"]}, "b"),
        ({"outcomes": ["never"]}, "c"),
        ({"outcomes": ["never", "waiting"]}, "ac"),
        ({"without": ["b@x", "c@"]}, "a"),
        ({"since": NOW - 100}, "bc"),
        ({"until": NOW - 100}, "a"),
        ({"sender": "a@", "without": ["x.example"]}, ""),
    ],
    ids=str,
)
def test_what_is_looked_for(store: Store, given: dict[str, object], senders: str) -> None:
    keys = [replace(KEY, sender=f"{name}@x.example") for name in "abc"]
    keys[1] = replace(keys[1], network=NEXT)
    for number, key in enumerate(keys):
        keep(store, replace(FIRST, triplet=key, first_seen=NOW - 200 + 100 * number))
    store.remember([Ended(keys[1], NOW, Outcome.PASSED), Ended(keys[2], NOW, Outcome.UNKNOWN)], NOW)
    if given.get("shown_id"):
        given = {"shown_id": shown_id(replace(FIRST, triplet=keys[0]).id)}
    what = sought(SPARING, **given)  # type: ignore[arg-type]
    found = sorted(one.triplet.sender[0] for one in search(store, what).deferrals)
    assert found == list(senders)


@pytest.mark.parametrize("given", [{"address": "x"}, {"shown_id": "u"}, {"outcomes": ["spam"]}])
def test_what_cannot_be_looked_for_is_told(given: dict[str, object]) -> None:
    with pytest.raises(WrongValue):
        sought(SPARING, **given)  # type: ignore[arg-type]


def test_two_hosts_that_release_agree_on_the_earlier(store: Store) -> None:
    keep(store, FIRST)
    store.apply([Freed(KEY, NOW + 1)], {}, NOW + 1)
    release.release(store, [FIRST], NOW, who="a")
    assert store.load([KEY])[KEY].defer_until in (NOW, NOW + 1)
