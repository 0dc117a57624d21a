"""`greylag stats`."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from greylag.admin.figures import NOT_COUNTED
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.value import replace
from greylag.core.verdict import Decision
from tests.cli.conftest import EVIL, KEY, NOW, Greylag, shape
from tests.server.daemon import BIN

ROOT = Path(__file__).parents[2]
FIGURES = {
    "pass:known": 60, "pass:allowlisted": 20, "pass:retried": 20, "defer:new": 100,
    "defer:early": 7, "reject:denylisted": 3, "fate:stopped": 80, "fate:delayed": 4,
    "fate:evicted": 9, "waited:600": 10, "waited:900": 10, "waited:seconds": 12000,
}  # fmt: skip


def test_the_figures_in_words(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), FIGURES, NOW - 3600)
    greylag.remember(KEY)
    result = greylag.run("stats")
    assert result.exit_code == 0
    for line in (
        "since  2027-01-14 08:00:00 UTC",
        "stopped            80 triplets were forgotten that never came back",
        "delayed            20 (20.0% of what was let in)",
        "  half of them by  at most 10m (the median)",
        "  on average by    10m (the mean)",
        "let in at once     80",
        "  known            60",
        "  allowlisted      20",
        "refused            3",
        "  denylisted       3",
        "deferred answers   107",
        "evicted            9 waiting triplets had to make room",
        "records now        1 waiting for a retry, 0 passed",
    ):
        assert line in result.stdout.splitlines()
    assert "Not counted" in result.stderr
    assert "relay, authenticated" in " ".join(result.stderr.split())


def test_json_schema_and_values(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), FIGURES, NOW - 3600)
        store.apply((), {"pass:known": 1}, NOW)
        store.apply((), {"pass:known": 1000}, NOW - 25 * 3600)
    found = greylag.json("stats")
    answers = {"count": "int", "by_reason": [{"reason": "str", "count": "int"}]}
    part = {
        "stopped": "int",
        "delayed": {
            "count": "int",
            "median_seconds": "int",
            "mean_seconds": "int",
            "share": "float",
        },
        "let_in_at_once": answers,
        "refused": answers,
        "deferred": answers,
        "observed": {"count": "int", "by_reason": []},
        "forgotten_after_passing": "int",
        "evicted": "int",
    }
    assert shape(found) == {
        "since": "int",
        "until": "int",
        **part,
        "records": {"waiting": "int", "passed": "int"},
        "hours": [{"hour": "int", **part}],
        "no_figures": "NoneType",
        "not_counted": ["str"],
    }
    assert [hour["hour"] for hour in found["hours"]] == [NOW - 3600, NOW]
    assert found["let_in_at_once"]["by_reason"][0] == {"reason": "known", "count": 61}
    assert found["delayed"]["mean_seconds"] == 600
    assert greylag.json("stats", "--since", "2d")["let_in_at_once"]["count"] == 1081


def test_an_empty_store(greylag: Greylag) -> None:
    found = greylag.json("stats")
    assert (found["stopped"], found["hours"]) == (0, [])
    assert found["delayed"] == {
        "count": 0, "median_seconds": None, "mean_seconds": None, "share": None
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
        "20",
        "10m",
        "80",
        "3",
        "107",
    ]
    assert lines[-1].split() == ["2027-01-15", "08:00:00", "UTC", "0", "0", "0", "0", "5"]


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


def test_footnotes_fit_a_line_of_80(greylag: Greylag) -> None:
    """Where no terminal tells its width."""
    greylag.run("db", "init")
    said = greylag.run("stats").stderr.splitlines()
    assert max(map(len, said)) <= 80
    notes = " ".join(line.removeprefix("greylag: ").strip() for line in said)
    assert "Not counted are answers that need no store: disabled, other-stage, relay, " in notes
    assert "Not counted are connections that JGREYLIST lets in or refuses." in notes


@pytest.mark.parametrize("columns", [40, 72, 200])
def test_footnotes_fit_the_terminal(greylag: Greylag, columns: int) -> None:
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    greylag.run("db", "init")
    command = [str(BIN / "greylag"), "--config", str(greylag.config), "stats"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=terminal, check=True, timeout=30)
    lines = os.read(main, 65536).decode().splitlines()
    os.close(main)
    os.close(terminal)
    assert columns - 25 < max(map(len, lines)) <= columns


def test_what_the_store_never_hears_of_is_named(greylag: Greylag) -> None:
    """Every reason that a first look gives by itself."""
    said = greylag.run("stats").stderr
    for reason in ("disabled", "other-stage", "relay", "recipient-refused", "no-reverse-dns"):
        assert reason in said
