"""What the figures say, for `greylag stats` and for the metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greylag.core.figures import WAITED_BOUNDS, WAITED_BUCKETS, figures_of, waited_bucket
from greylag.core.summary import summarised
from greylag.core.verdict import Decision, Reason, Verdict

SOURCE = Path(__file__).parents[2] / "src" / "greylag"
FIGURES = {
    "pass:known": 60, "pass:allowlisted": 20, "pass:retried": 20, "defer:new": 100,
    "defer:early": 7, "reject:denylisted": 3, "fate:stopped": 80, "fate:delayed": 4,
    "fate:evicted": 9, "waited:600": 10, "waited:900": 10, "waited:seconds": 12000,
    "never:likely-spam": 50, "never:other-way": 9, "never:varying": 1, "never:unknown": 7,
    "pass:observed": 0, "observed:new": 5, "observed:trapped": 6,
}  # fmt: skip


def test_all_that_the_figures_say() -> None:
    found = summarised(FIGURES)
    assert list(found.let_in.items()) == [
        *(("known", 60), ("allowlisted", 20), ("retried", 20), ("observed", 0)),
    ]
    assert found.at_once == {"known": 60, "allowlisted": 20, "observed": 0}
    assert found.deferred == {"new": 100, "early": 7}
    assert found.refused == {"denylisted": 3}
    assert list(found.observed.items()) == [("trapped", 6), ("new", 5)]
    assert found.fates == {"stopped": 80, "delayed": 4, "evicted": 9}
    assert (found.retried, found.share) == (20, 0.2)
    never = {"likely-spam": 50, "other-way": 9, "varying": 1, "unknown": 20}
    assert (found.never, found.likely_spam) == (never, 50)
    assert sum(never.values()) == found.stopped, "hours of older versions have no classes"
    assert found.delays == (0, 0, 0, 10, 10, 0, 0, 0, 0, 0, 0, 0)
    assert (found.mean_delay, found.median_bound, found.median_over) == (600, 600, 300)


def test_of_no_figures_nothing_is_said() -> None:
    found = summarised({})
    assert (found.let_in, found.deferred, found.refused, found.observed) == ({}, {}, {}, {})
    assert set(found.fates.values()) == set(found.never.values()) == {0}
    assert (found.retried, found.share) == (0, None)
    assert (found.mean_delay, found.median_bound, found.median_over) == (None, None, None)


@pytest.mark.parametrize("seconds", [0, *WAITED_BOUNDS, *(b + 1 for b in WAITED_BOUNDS)])
def test_a_delay_is_read_where_it_was_written(seconds: int) -> None:
    found = summarised(figures_of(Decision(Verdict.PASS, Reason.RETRIED, waited=seconds)))
    assert found.delays[WAITED_BUCKETS.index(waited_bucket(seconds))] == 1
    assert (sum(found.delays), found.waited, found.mean_delay) == (1, seconds, seconds)


@pytest.mark.parametrize(
    ("buckets", "bounds"),
    [
        ({}, (None, None)),
        ({"60": 1}, (0, 60)),
        ({"60": 1, "120": 2}, (60, 120)),
        ({"60": 1, "600": 2}, (300, 600)),
        ({"60": 1, "more": 2}, (86400, None)),
    ],
)
def test_half_of_them_waited_no_longer(
    buckets: dict[str, int], bounds: tuple[int | None, int | None]
) -> None:
    found = summarised({f"waited:{b}": n for b, n in buckets.items()})
    assert (found.median_over, found.median_bound) == bounds


def test_mean() -> None:
    found = summarised({"waited:600": 2, "waited:more": 1, "waited:seconds": 100})
    assert found.mean_delay == 33


def test_names_of_figures_stand_in_one_file() -> None:
    for path in SOURCE.rglob("*.py"):
        if path != SOURCE / "core" / "figures.py":
            assert not re.search(r"""["'](?:fate|waited|never):""", path.read_text()), path
