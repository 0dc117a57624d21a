"""What the figures say, computed once for whoever shows them: `greylag stats` and the metrics."""

from __future__ import annotations

from collections.abc import Mapping

from greylag.core.figures import (
    DELAYED,
    EVICTED,
    OBSERVED,
    STOPPED,
    WAITED_BOUNDS,
    WAITED_BUCKETS,
    WAITED_SECONDS,
)
from greylag.core.value import value
from greylag.core.verdict import Reason, Verdict


@value
class Summary:
    """Answers by reason, the fates of triplets, and the delay of what passed after one."""

    let_in: dict[str, int]  # by the reason's word, the most frequent first
    deferred: dict[str, int]
    refused: dict[str, int]
    stopped: int  # triplets that were forgotten and never came back
    delayed: int  # that were forgotten after they had passed
    evicted: int  # that had to make room while they waited
    delays: tuple[int, ...]  # the histogram: one number for each of WAITED_BUCKETS
    waited: int  # seconds, all delays together
    observed: dict[str, int]  # let in because greylisting only observes, by the reason instead

    @property
    def retried(self) -> int:
        """Return how many were let in after a delay."""
        return self.let_in.get(Reason.RETRIED.value, 0)

    @property
    def at_once(self) -> dict[str, int]:
        """Return what was let in without a delay, by reason."""
        return {word: n for word, n in self.let_in.items() if word != Reason.RETRIED.value}

    @property
    def fates(self) -> dict[str, int]:
        """Return what became of the triplets that were forgotten, by the docs' words."""
        return {"stopped": self.stopped, "delayed": self.delayed, "evicted": self.evicted}

    @property
    def share(self) -> float | None:
        """Return which part of all that was let in had been delayed."""
        let_in = sum(self.let_in.values())
        return self.retried / let_in if let_in else None

    @property
    def mean_delay(self) -> int | None:
        """Return the mean delay, or None where nothing was delayed."""
        count = sum(self.delays)
        return round(self.waited / count) if count else None

    @property
    def median_delay(self) -> int | None:
        """Estimate the median delay: evenly spread inside its bucket of the histogram.

        Where one bucket has all of them, so that half may be just one, their mean is no further
        off, and of one delay it is that one. Beyond the last bound nothing is known but that it was
        longer: then that bound is returned.
        """
        half, mean = sum(self.delays) / 2, self.mean_delay
        if mean is None:
            return None
        below = 0
        lows = (0, *WAITED_BOUNDS)
        for low, high, inside in zip(lows, WAITED_BOUNDS, self.delays, strict=False):
            if inside == 2 * half and low <= mean <= high:
                return mean
            if inside and below + inside >= half:
                return round(low + (high - low) * (half - below) / inside)
            below += inside
        return WAITED_BOUNDS[-1]

    @property
    def median_bound(self) -> int | None:
        """Return a delay that half of them did not exceed: the bound of the median's bucket.

        The estimate may be below a single delay that there was; this is never. It is None where
        nothing was delayed, or where the median is beyond the last bound.
        """
        below, half = 0, sum(self.delays) / 2
        for bound, inside in zip(WAITED_BOUNDS, self.delays, strict=False):
            below += inside
            if half and below >= half:
                return bound
        return None


def summarised(figures: Mapping[str, int]) -> Summary:
    """Return what the figures of some hours, or of a process, say."""
    return Summary(
        _by_reason(figures, f"{Verdict.PASS.value}:"),
        _by_reason(figures, f"{Verdict.DEFER.value}:"),
        _by_reason(figures, f"{Verdict.REJECT.value}:"),
        figures.get(STOPPED, 0),
        figures.get(DELAYED, 0),
        figures.get(EVICTED, 0),
        tuple(figures.get(name, 0) for name in WAITED_BUCKETS),
        figures.get(WAITED_SECONDS, 0),
        _by_reason(figures, OBSERVED),
    )


def _by_reason(figures: Mapping[str, int], start: str) -> dict[str, int]:
    found = [(n.removeprefix(start), c) for n, c in figures.items() if n.startswith(start)]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))
