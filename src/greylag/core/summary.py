"""What the figures say, computed once for whoever shows them: `greylag stats` and the metrics."""

from __future__ import annotations

from collections.abc import Mapping

from greylag.core.figures import (
    DELAYED,
    EVICTED,
    NEVER,
    OBSERVED,
    RELEASED,
    STOPPED,
    WAITED_BOUNDS,
    WAITED_BUCKETS,
    WAITED_SECONDS,
)
from greylag.core.history import Outcome
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
    never: dict[str, int]  # the stopped, by the words of `core.history.NEVER_CAME_BACK`
    released: int  # that an admin let in while they waited

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
    def likely_spam(self) -> int:
        """Return how many of those that never came back are likely spam."""
        return self.never[Outcome.LIKELY_SPAM.value]

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
    def median_bound(self) -> int | None:
        """Return a delay that half of them did not exceed: the bound of the median's bucket.

        An estimate inside the bucket may be below a single delay that there was; this is never. It
        is None where nothing was delayed, or where the median is beyond the last bound.
        """
        bounds = self._median_bucket
        return None if bounds is None else bounds[1]

    @property
    def median_over(self) -> int | None:
        """Return a delay that more than half of them exceeded; None where nothing was delayed."""
        bounds = self._median_bucket
        return None if bounds is None else bounds[0]

    @property
    def _median_bucket(self) -> tuple[int, int | None] | None:
        """Return between which bounds the median lies; beyond the last one there is no upper."""
        below, half = 0, sum(self.delays) / 2
        lows, highs = (0, *WAITED_BOUNDS), (*WAITED_BOUNDS, None)
        for low, high, inside in zip(lows, highs, self.delays, strict=True):
            below += inside
            if half and below >= half:
                return low, high
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
        _never(figures),
        figures.get(RELEASED, 0),
    )


def _never(figures: Mapping[str, int]) -> dict[str, int]:
    """Return what became of the stopped. Hours of older versions have no classes: unknown."""
    found = {outcome.value: figures.get(name, 0) for outcome, name in NEVER.items()}
    known = sum(found.values()) - found[Outcome.UNKNOWN.value]
    rest = figures.get(STOPPED, 0) - known
    found[Outcome.UNKNOWN.value] = max(rest, found[Outcome.UNKNOWN.value])
    return found


def _by_reason(figures: Mapping[str, int], start: str) -> dict[str, int]:
    found = [(n.removeprefix(start), c) for n, c in figures.items() if n.startswith(start)]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))
