"""Charts of what the figures say, with the words that stand for them everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from greylag.core.figures import WAITED_BOUNDS
from greylag.core.history import Outcome
from greylag.core.summary import Summary
from greylag.show.charts import Series, histogram, share, stacked
from greylag.show.durations import in_words
from greylag.show.tables import Moment

Parts = Sequence[tuple[int, Summary]]  # when each began, the oldest first

# What people read for each class of what never came back.
CLASSES = {
    Outcome.LIKELY_SPAM.value: "likely spam",
    Outcome.OTHER_WAY.value: "came another way",
    Outcome.VARYING.value: "list, or varying sender",
    Outcome.UNKNOWN.value: "unknown",
}
_ANSWERS: tuple[tuple[str, str, Callable[[Summary], int]], ...] = (
    ("let in at once", "at-once", lambda of: sum(of.at_once.values())),
    ("passed after a delay", "passed", lambda of: of.retried),
    ("deferred", "deferred", lambda of: sum(of.deferred.values())),
    ("refused", "refused", lambda of: sum(of.refused.values())),
)


def half_waited(of: Summary, words: Callable[[float], str] = in_words) -> str | None:
    """Return how long half of what passed after a delay waited: `at most 2 min`.

    Delays are counted in steps, so a single number would say more than is known. It is None where
    nothing was delayed.
    """
    if of.median_over is None:
        return None
    bound = of.median_bound
    return f"more than {words(of.median_over)}" if bound is None else f"at most {words(bound)}"


def answers_over_time(parts: Parts, step: str) -> str:
    """Return what was answered in each step of time, such as each `hour`."""
    series = [
        Series(name, look, tuple(number(of) for _start, of in parts))
        for name, look, number in _ANSWERS
    ]
    series = [one for one in series if one.look != "refused" or any(one.numbers)]
    note = f"Attempts of each {step}: let in at once, let in after a delay, and deferred."
    return stacked(f"Answers by {step}", note, _starts(parts), series)


def never_over_time(parts: Parts, step: str) -> str:
    """Return what never came back, by the step in which its time was over."""
    series = [
        Series(name, word, tuple(of.never[word] for _start, of in parts))
        for word, name in CLASSES.items()
    ]
    note = f"Deferred mail that never came back, counted in the {step} in which its time was over."
    return stacked(f"Never came back, by {step}", note, _starts(parts), series)


def never_share(of: Summary) -> str:
    """Return how much of what never came back is likely spam."""
    parts = [Series(name, word, (of.never[word],)) for word, name in CLASSES.items()]
    note = "Not all that never came back is spam: a sender may retry from elsewhere."
    return share("What never came back", note, parts)


def delays(of: Summary) -> str:
    """Return how long mail waited that then passed."""
    names = [in_words(bound) for bound in WAITED_BOUNDS]
    labels = [*(f"up to {name}" for name in names), f"over {names[-1]}"]
    half = half_waited(of)
    note = "How long mail waited that then passed."
    if half is not None:
        note += f" Half of it waited {half}."
    return histogram("Delay", note, labels, of.delays)


def _starts(parts: Parts) -> list[Moment]:
    return [Moment(start) for start, _of in parts]
