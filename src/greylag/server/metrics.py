"""Figures for Prometheus: counted here without a library, shown by `prometheus-client` if wanted.

Labels are our own words alone, so a million mails add no series.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from greylag.core.figures import answer_name, delay_figures, observed_name
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.tempfail import End

LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Histogram:
    """Counts of seconds below bounds, with their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count a duration, as many times as there were attempts that took it."""
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += times
        self.total += seconds * times

    def buckets(self) -> Iterator[tuple[str, float]]:
        """Return Prometheus' cumulative buckets."""
        total = 0
        for bound, count in zip((*map(str, LATENCY_BOUNDS), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, float(total)


class Metrics:
    """What the daemon counts; plain attributes, so that counting costs nothing."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[Verdict, Reason]] = Counter()
        self.delays: Counter[str] = Counter()  # by the names of the figures
        self.observed: Counter[str] = Counter()  # the same
        self.latency = Histogram()  # from the end of a request to its answer
        self.batches = Histogram()
        self.store_errors = self.history_errors = 0
        self.dialogues = 0  # fake conversations under way
        self.dialogue_ends: Counter[End] = Counter()
        self.of_store: dict[str, int] = {}  # what the store has counted, on whatever host
        self.providers = 0  # whose ranges are let in
        self.oldest_provider = self.provider_refused = 0  # when one was resolved, and refused

    def answered(self, decision: Decision, seconds: float) -> None:
        """Count an answer, and how long it took."""
        self.latency.observe(seconds)
        self.answers[decision.verdict, decision.reason] += 1
        if decision.waited is not None:
            for name, number in delay_figures(decision.waited).items():
                self.delays[name] += number
        if decision.instead is not None:
            self.observed[observed_name(decision.instead)] += 1

    def figures(self) -> dict[str, int]:
        """Return what was counted by the names of the figures; for other threads, too."""
        answers = dict(self.answers).items()
        named = {answer_name(*pair): number for pair, number in answers}
        return named | dict(self.delays) | dict(self.observed)
