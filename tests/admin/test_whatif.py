"""What another delay or retry window would have done, told from the history."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from greylag.admin.whatif import WhatIf, effects, what_if
from greylag.app.config import load
from greylag.core.history import Begun, Deferral, Ended, Event, Outcome, Tried
from greylag.core.policy import Policy
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.service.policies import Policies
from greylag.simulate.month import Month, Sending, as_published
from greylag.simulate.senders import DAY, mails
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000
BEGINS = NOW - 30 * DAY
_NUMBER = count()


def history(outcome: Outcome, *tries: int, ended: int = 0) -> list[Event]:
    """A mail of a sender of its own, with the seconds of its early tries, and its end."""
    key = Triplet(b"\xc0\0\2\0", f"a@sender{next(_NUMBER)}.example", "b@example.net")
    at = NOW - DAY
    events: list[Event] = [Begun(Deferral(key, at, at + 300))]
    events += [Tried(key, at + after) for after in tries]
    if outcome is not Outcome.WAITING:
        events.append(Ended(key, at + (ended or 2 * 3600), outcome))
    return events


def asked(events: list[Event], delay: int, window: int = 2 * DAY) -> WhatIf:
    store = MemoryStore()
    store.remember(events, NOW)
    return what_if(store, NOW, 7 * DAY, (delay, window))[0]


def test_a_longer_delay_refuses_those_once_more_who_passed_before_its_end() -> None:
    events = [
        *history(Outcome.PASSED, ended=400),
        *history(Outcome.PASSED, ended=899),
        *history(Outcome.PASSED, ended=900),
        *history(Outcome.PASSED, ended=2000),
        *history(Outcome.LIKELY_SPAM),
        *history(Outcome.WAITING),
    ]
    found = asked(events, 900)
    assert (found.later, found.same, found.sooner, found.again) == (2, 2, 0, 0)
    assert (found.never, found.let_in, found.open, found.deferred) == (1, 0, 1, 6)


def test_a_shorter_delay_lets_in_whoever_tried_after_its_end() -> None:
    events = [
        *history(Outcome.PASSED, 30, 90, ended=400),
        *history(Outcome.PASSED, 30, ended=400),
        *history(Outcome.PASSED, ended=400),
        *history(Outcome.LIKELY_SPAM, 10, 200),
        *history(Outcome.LIKELY_SPAM, 10),
        *history(Outcome.UNKNOWN, 100),
        *history(Outcome.FORGOTTEN, 100),
    ]
    found = asked(events, 60)
    assert (found.sooner, found.same, found.later) == (1, 2, 0)
    assert (found.let_in, found.let_in_spam, found.never, found.open) == (2, 1, 1, 1)


def test_a_narrower_window_begins_anew_with_who_comes_after_it() -> None:
    events = [
        *history(Outcome.PASSED, ended=3599),
        *history(Outcome.PASSED, ended=3600),
        *history(Outcome.PASSED, 3700, ended=4000),
    ]
    found = asked(events, 300, 3600)
    assert (found.same, found.again, found.later) == (1, 2, 0)


def test_it_says_how_far_it_looked() -> None:
    store = MemoryStore()
    for _number in range(30):
        store.remember(history(Outcome.PASSED, ended=400), NOW)
    (found,) = what_if(store, NOW, 7 * DAY, (900, 2 * DAY), most=10)
    assert (found.deferred, found.complete) == (10, False)


def test_what_the_times_do_beside_others() -> None:
    store = MemoryStore()
    store.remember(history(Outcome.PASSED, 200, ended=400), NOW)
    store.apply([], {"defer:new": 7, "observed:new": 3}, NOW - 3600)
    store.apply([], {"defer:new": 5}, NOW - 3 * DAY)
    found = effects(store, Policy(), NOW, 1000)
    assert (found.deferred, found.observed) == (7, 3)
    assert (found.longer.delay, found.longer.later) == (600, 1)
    assert (found.shorter.delay, found.shorter.sooner) == (150, 1)
    assert (found.narrower.retry_window, found.narrower.same) == (DAY, 1)


def test_what_it_says_is_what_the_rules_do_with_the_same_mail(tmp_path: Path) -> None:
    """The mail of a month under 5 minutes tells what becomes of it under 15, and 2."""
    config = tmp_path / "greylag.toml"
    config.write_text('[policy]\ntrust_after = 0\ntrust_all_after = 0\n[dns]\nservers = "off"\n')
    settings = load({b"GREYLAG_CONFIG": str(config).encode()}, str(tmp_path))

    def played(delay: int) -> tuple[MemoryStore, list[Sending]]:
        store, month = MemoryStore(), Month(mails(1, 0.02), BEGINS)
        policy = as_published(replace(settings.policy, delay=delay))
        for _made in month.play(store, Policies(policy), NOW):
            pass
        return store, month.sendings

    store, before = played(300)
    for delay, word in ((900, "later"), (120, "sooner")):
        (found,) = what_if(store, NOW, 30 * DAY, (delay, 2 * DAY))
        _store, after = played(delay)
        both = list(zip(before, after, strict=True))
        passed = [(a, b) for a, b in both if a.delivered is not None and a.tries > 1]
        changed = sum(a.delivered != b.delivered for a, b in passed)
        said = getattr(found, word)
        assert found.passed > 30
        assert changed > 0
        assert abs(said - changed) <= 0.05 * found.passed, (delay, said, changed)
