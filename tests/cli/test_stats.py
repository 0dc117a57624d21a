"""`greylag stats`."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from greylag.admin.figures import NOT_COUNTED
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.history import Begun, Deferral, Ended, Event, Outcome
from greylag.core.policy import Policy
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision
from tests.cli.conftest import EVIL, KEY, NETWORK, NOW, RECIPIENT, Greylag, shape
from tests.server.daemon import BIN

ROOT = Path(__file__).parents[2]
FIGURES = {
    "pass:known": 60, "pass:allowlisted": 20, "pass:retried": 20, "defer:new": 100,
    "defer:early": 7, "reject:denylisted": 3, "fate:stopped": 80, "fate:delayed": 4,
    "fate:evicted": 9, "released": 5, "waited:600": 10, "waited:900": 10, "waited:seconds": 12000,
    "never:likely-spam": 50, "never:other-way": 20, "never:varying": 2, "never:unknown": 8,
}  # fmt: skip


def test_the_figures_in_words(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), FIGURES, NOW - 3600)
    greylag.remember(KEY)
    result = greylag.run("stats")
    assert result.exit_code == 0
    for line in (
        "since  2027-01-14 08:00:00 UTC",
        "never came back            80",
        "  likely spam              50 (62.5%)",
        "  came another way         20 (25.0%)",
        "  list, or varying sender  2 (2.5%)",
        "  unknown                  8 (10.0%)",
        "delayed                    20 (20.0% of what was let in)",
        "  half of them by          at most 10m (the median)",
        "  on average by            10m (the mean)",
        "let in at once             80",
        "  known                    60",
        "  allowlisted              20",
        "refused                    3",
        "  denylisted               3",
        "deferred answers           107",
        "evicted                    9 waiting triplets had to make room",
        "released                   5 waiting triplets, by admins (greylag release)",
        "records now                1 waiting for a retry, 0 passed",
    ):
        assert line in result.stdout.splitlines()
    assert result.stderr == ""


def test_json_schema_and_values(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), FIGURES, NOW - 3600)
        store.apply((), {"pass:known": 1}, NOW)
        store.apply((), {"pass:known": 1000}, NOW - 25 * 3600)
    found = greylag.json("stats")
    answers = {"count": "int", "by_reason": [{"reason": "str", "count": "int"}]}
    part = {
        "never_came_back": {
            "count": "int",
            "likely_spam": "int",
            "other_way": "int",
            "varying": "int",
            "unknown": "int",
        },
        "delayed": {
            "count": "int",
            "median_at_most_seconds": "int",
            "mean_seconds": "int",
            "share": "float",
        },
        "let_in_at_once": answers,
        "refused": answers,
        "deferred": answers,
        "observed": {"count": "int", "by_reason": []},
        "forgotten_after_passing": "int",
        "evicted": "int",
        "released": "int",
    }
    assert shape(found) == {
        "since": "int",
        "until": "int",
        **part,
        "records": {"waiting": "int", "passed": "int", "counted_at": "int"},
        "hours": [{"hour": "int", **part}],
        "switch": "NoneType",
        "no_figures": "NoneType",
        "not_counted": ["str"],
    }
    assert [hour["hour"] for hour in found["hours"]] == [NOW - 3600, NOW]
    assert found["let_in_at_once"]["by_reason"][0] == {"reason": "known", "count": 61}
    assert found["delayed"]["mean_seconds"] == 600
    assert greylag.json("stats", "--since", "2d")["let_in_at_once"]["count"] == 1081


def test_an_empty_store(greylag: Greylag) -> None:
    found = greylag.json("stats")
    assert (found["never_came_back"]["count"], found["hours"]) == (0, [])
    assert found["delayed"] == {
        "count": 0, "median_at_most_seconds": None, "mean_seconds": None, "share": None
    }  # fmt: skip
    assert "delayed           0\n" in greylag.run("stats").stdout


def test_by_hour(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), FIGURES, NOW - 7200)
        store.apply((), {"defer:new": 5}, NOW)
    lines = greylag.run("stats", "--by-hour").stdout.splitlines()
    assert lines[-2].split() == [
        "2027-01-15",
        "06:00:00",
        "UTC",
        "80",
        "50",
        "20",
        *("at", "most", "10m"),
        "80",
        "3",
        "107",
    ]
    assert lines[-1].split() == ["2027-01-15", "08:00:00", "UTC", "0", "0", "0", "0", "0", "5"]


def test_nothing_calls_all_that_never_came_back_spam(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), FIGURES, NOW - 3600)
    for arguments in (("stats",), ("stats", "--by", "day"), ("expire", "--dry-run")):
        shown = greylag.run(*arguments).stdout
        assert "stopped" not in shown
        assert "spam" not in shown.replace("likely spam", "")


@pytest.mark.parametrize(
    ("step", "starts"),
    [
        ("hour", [NOW - 25 * 3600, NOW - 3600, NOW]),
        ("day", [NOW - 32 * 3600, NOW - 8 * 3600]),
        ("week", [NOW - (4 * 24 + 8) * 3600]),  # 11 January 2027, a Monday
        ("month", [NOW - (14 * 24 + 8) * 3600]),
    ],
)
def test_by_steps_of_time(greylag: Greylag, step: str, starts: list[int]) -> None:
    with greylag.store() as store:
        for at in (NOW - 25 * 3600, NOW - 3600, NOW):
            store.apply((), FIGURES, at)
    found = greylag.json("stats", "--since", "3d", "--by", step)
    assert [one[step] for one in found[f"{step}s"]] == starts
    assert sum(one["never_came_back"]["count"] for one in found[f"{step}s"]) == 240
    assert found["never_came_back"]["likely_spam"] == 150
    lines = greylag.run("stats", "--since", "3d", "--by", step).stdout.splitlines()
    assert len(lines[lines.index("") + 1 :]) > len(starts)


def test_by_reason(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), FIGURES, NOW)
    lines = greylag.run("stats", "--by", "reason").stdout.splitlines()[-7:]
    assert lines[0].split() == ["answer", "reason", "count"]
    assert lines[1].split() == ["deferred", "new", "100"]
    assert lines[2].split() == ["let", "in", "known", "60"]
    assert lines[-1].split() == ["refused", "denylisted", "3"]


def test_by_hour_is_said_twice_in_one_way_only(greylag: Greylag) -> None:
    assert greylag.run("stats", "--by-hour", "--by", "hour").exit_code == 0
    result = greylag.run("stats", "--by-hour", "--by", "day")
    assert result.exit_code == 2
    assert "--by-hour and --by do not go together" in result.stderr


def deferred(sender: str, network: bytes = NETWORK, at: int = NOW - 3600) -> Deferral:
    return Deferral(Triplet(network, sender, RECIPIENT), at, at + 300)


def test_by_who_it_was(greylag: Greylag) -> None:
    """The day's sums: who was deferred, who passed after how long, who never came back."""
    first, other = deferred("a@example.org"), deferred("b@example.com")
    events: list[Event] = [Begun(one) for one in (first, deferred("c@example.org"), other)]
    events += [
        Ended(first.triplet, NOW, Outcome.PASSED),
        Ended(other.triplet, NOW, Outcome.LIKELY_SPAM),
    ]
    with greylag.store() as store:
        store.remember(events, NOW)
    by_domain = greylag.json("stats", "--by", "sender-domain")["sender_domain"]
    assert by_domain == [
        {
            "name": "example.org", "deferred": 2, "passed": 1, "mean_delay_seconds": 3600,
            "never_came_back": 0, "likely_spam": 0,
        },
        {
            "name": "example.com", "deferred": 1, "passed": 0, "mean_delay_seconds": None,
            "never_came_back": 1, "likely_spam": 1,
        },
    ]  # fmt: skip
    for by, name in (
        ("network", "192.0.2.0/24"), ("recipient", RECIPIENT), ("recipient-domain", "example.net"),
    ):  # fmt: skip
        [found] = greylag.json("stats", "--by", by)[by.replace("-", "_")]
        assert (found["name"], found["deferred"]) == (name, 3)
    lines = greylag.run("stats", "--by", "sender-domain", "--limit", "1").stdout.splitlines()
    assert "Names are counted by whole days: since 2027-01-14 00:00:00 UTC." in lines
    assert lines[-3].startswith("sender domain  deferred mails  passed")
    assert [line.split()[:2] for line in lines[-2:]] == [["example.org", "2"], ["(all", "others)"]]


def test_bars_are_drawn_on_a_terminal_alone(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), {"defer:new": 8}, NOW - 3600)
        store.apply((), {"defer:new": 4}, NOW)
    assert "█" not in greylag.run("stats", "--by", "hour").stdout
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 200, 0, 0))
    command = [str(BIN / "greylag"), "--config", str(greylag.config)]
    now = int(time.time())
    with greylag.store() as store:
        store.apply((), {"defer:new": 8}, now)
    for encoding, full in (("utf-8", "█" * 20), ("ascii", "#" * 20)):
        shown = subprocess.run(
            [*command, "stats", "--by", "reason"],
            stdout=terminal,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=30,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert shown.returncode == 0
        assert full in os.read(main, 65536).decode()
    os.close(main)
    os.close(terminal)


@pytest.mark.parametrize("since", ["", "0s", "24", "-1h", "soon"])
def test_a_bad_since_is_wrong_usage(greylag: Greylag, since: str) -> None:
    result = greylag.run("stats", "--since", since)
    assert result.exit_code == 2
    assert "expected" in result.stderr


def test_one_delay_is_not_told_as_a_shorter_one(greylag: Greylag) -> None:
    """An estimate lies in the middle of a bucket: a single mail may have waited for longer."""
    with greylag.store() as store:
        figures = {"pass:retried": 1, "waited:60": 1, "waited:seconds": 44}
        store.apply((), figures, NOW - 3600)
    shown = greylag.run("stats").stdout.splitlines()
    assert "  half of them by  at most 60s (the median)" in shown


def test_a_median_beyond_the_histogram_is_no_estimate(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), {"pass:retried": 1, "waited:more": 1, "waited:seconds": 90000}, NOW)
    assert "more than 24h" in greylag.run("stats").stdout


def test_there_is_one_median(greylag: Greylag) -> None:
    """Of mails that waited for 3, 98 and 114 s, half waited at most two minutes."""
    with greylag.store() as store:
        figures = {"pass:retried": 3, "waited:60": 1, "waited:120": 2, "waited:seconds": 215}
        store.apply((), figures, NOW)
    for arguments in (("stats", "--by", "hour"), ("report",)):
        shown = greylag.run(*arguments).stdout
        assert shown.count("at most 2m") == 2, shown
        assert "75s" not in shown
    assert greylag.json("stats")["delayed"]["median_at_most_seconds"] == 120


def test_what_is_not_counted_is_what_needs_no_store() -> None:
    """The honest part: the reasons that `precheck` gives never reach the figures."""
    plain = Attempt(b"192.0.2.1", b"", b"info@example.net")
    attempts = (
        replace(plain, enabled=False),
        replace(plain, relay=True),
        replace(plain, authenticated=True),
        replace(plain, recipient_refused=True),
        Attempt(None, None, None),
        Attempt(b"x", b"", b"x"),
    )
    answers = [precheck(attempt, Policy()) for attempt in attempts]
    reasons = {answer.reason for answer in answers if isinstance(answer, Decision)}
    assert len(reasons) == len(attempts)
    assert reasons < set(NOT_COUNTED)


def test_hostile_figure_names(greylag: Greylag) -> None:
    """T12, T26."""
    greylag.run("allow", "add", "example.org")
    greylag.sql("INSERT INTO figures VALUES (?, ?, ?)", (NOW, f"pass:{EVIL}", 7))
    assert "\\x1b[2J" in greylag.run("stats", "--by-hour").stdout
    assert greylag.json("stats")["let_in_at_once"]["by_reason"] == [{"reason": EVIL, "count": 7}]


def test_a_store_that_keeps_none_says_why(greylag: Greylag) -> None:
    (greylag.home / "tree").mkdir(mode=0o700)
    greylag.configure(f'store.url = "tree://{greylag.home}/tree"\n')
    assert "a tree of jgreylist keeps no figures" in greylag.run("stats").stderr
    assert "tree" in greylag.json("stats")["no_figures"]


def test_what_is_not_counted_is_told_by_the_help_and_not_each_time(greylag: Greylag) -> None:
    greylag.run("db", "init")
    assert greylag.run("stats").stderr == ""
    told = " ".join(greylag.run("stats", "--help").stdout.split())
    assert "Answers that need no store are not counted" in told
    assert "nor are connections that JGREYLIST lets in or refuses" in told


def test_one_triplet_is_not_told_as_several(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), {"released": 1, "fate:evicted": 1}, NOW - 3600)
    said = greylag.run("stats").stdout
    assert "1 waiting triplet, by admins (greylag release)\n" in said
    assert "1 waiting triplet had to make room\n" in said
    assert ". 1 waiting triplet had to make room, so it is" in greylag.run("report").stdout


def test_footnotes_fit_a_line_of_80(greylag: Greylag) -> None:
    """Where no terminal tells its width."""
    greylag.run("db", "init")
    said = greylag.run("why", RECIPIENT).stderr.splitlines()
    assert max(map(len, said)) <= 80
    notes = " ".join(line.removeprefix("greylag: ").strip() for line in said)
    assert "mail that was never deferred is not in the history: `greylag check` tells" in notes


@pytest.mark.parametrize("columns", [40, 72, 160])
def test_footnotes_fit_the_terminal(greylag: Greylag, columns: int) -> None:
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    greylag.run("db", "init")
    command = [str(BIN / "greylag"), "--config", str(greylag.config), "why", RECIPIENT]
    told = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=terminal, check=False, timeout=30
    )
    assert told.returncode == 1  # there is no such mail
    lines = os.read(main, 65536).decode().splitlines()
    os.close(main)
    os.close(terminal)
    assert columns - 25 < max(map(len, lines)) <= columns


def test_what_the_store_never_hears_of_is_named(greylag: Greylag) -> None:
    """Every reason that a first look gives by itself."""
    said = greylag.json("stats")["not_counted"]
    for reason in ("disabled", "other-stage", "relay", "recipient-refused", "no-reverse-dns"):
        assert reason in said
