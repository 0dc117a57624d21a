"""`greylag whatif`."""

from __future__ import annotations

import pytest

from greylag.core.history import Begun, Deferral, Ended, Event, Outcome, Tried
from greylag.core.triplet import Triplet
from tests.cli.conftest import NETWORK, NOW, RECIPIENT, Greylag, shape


@pytest.fixture
def filled(greylag: Greylag) -> Greylag:
    events: list[Event] = []
    for name, outcome, tried, ended in (
        ("quick", Outcome.PASSED, 60, 400),
        ("slow", Outcome.PASSED, 0, 5000),
        ("bot", Outcome.LIKELY_SPAM, 120, 7200),
    ):
        key, at = Triplet(NETWORK, f"a@{name}.example", RECIPIENT), NOW - 9000
        events.append(Begun(Deferral(key, at, at + 300)))
        events += [Tried(key, at + tried)] if tried else []
        events.append(Ended(key, at + ended, outcome))
    with greylag.store() as store:
        store.remember(events, NOW)
    return greylag


def test_a_longer_delay(filled: Greylag) -> None:
    result = filled.run("whatif", "--delay", "15m")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    for line in (
        "delay 15m in place of 5m", "retry window 2d, as now", "deferred mails 3", "passed 2",
        "would have delayed 2 mails: 1 longer than now, 0 less",
        "with the same try 1", "refused once more 1", "never came back 1",
        "would be let in 0 (0 likely spam)",
    ):  # fmt: skip
        assert line in lines
    assert "nobody can know when" in result.stderr


def test_a_shorter_delay_and_a_narrower_window_as_json(filled: Greylag) -> None:
    found = filled.json("whatif", "--delay", "1m", "--retry-window", "1h", "--since", "1d")
    assert found["asked"] == {"delay": 60, "retry_window": 3600}
    assert found["in_force"] == {"delay": 300, "retry_window": 172800}
    assert found["passed"] == {
        "same_try": 0, "sooner": 1, "refused_once_more": 0, "begin_anew": 1,
    }  # fmt: skip
    assert found["never_came_back"] == {"the_same": 0, "let_in": 1, "let_in_likely_spam": 1}
    assert found["would_have_delayed"] == {"mails": 3, "longer": 1, "less": 1}
    assert shape(found) == {
        "would_have_delayed": {"mails": "int", "longer": "int", "less": "int"},
        "since": "int", "until": "int", "deferred": "int", "not_told": "int",
        "looked_at_since": "int",
        "in_force": {"delay": "int", "retry_window": "int"},
        "asked": {"delay": "int", "retry_window": "int"},
        "passed": {
            "same_try": "int", "sooner": "int", "refused_once_more": "int", "begin_anew": "int",
        },
        "never_came_back": {"the_same": "int", "let_in": "int", "let_in_likely_spam": "int"},
        "complete": "bool", "no_history": "NoneType",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "expected --delay or --retry-window"),
        (("--delay", "15"), "duration with its unit"),
        (("--delay", "0s"), "longer than none"),
        (("--delay", "3d"), "must be longer than the delay"),
    ],
)
def test_what_is_no_question(greylag: Greylag, options: tuple[str, ...], told: str) -> None:
    result = greylag.run("whatif", *options)
    assert result.exit_code == 2
    assert told in result.stderr
