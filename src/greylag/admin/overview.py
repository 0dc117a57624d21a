"""What greylisting did over time: figures by the hour, day, week or month; and what waits now."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import Enum

from greylag.admin.looking import look
from greylag.core.figures import HOUR, hour_of
from greylag.core.history import Deferral, Outcome, Sought
from greylag.core.summary import Summary, summarised
from greylag.core.value import value
from greylag.store.base import FIGURES, Store


class Step(Enum):
    """How long the parts are that time is cut into; all begin in UTC, weeks on Mondays."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    __hash__ = object.__hash__


# How many are shown where nobody says. Figures are kept for 400 days.
USUAL = {Step.HOUR: 48, Step.DAY: 30, Step.WEEK: 26, Step.MONTH: 13}
MOST_PARTS = 1000
_DAY = 86400


@value
class Part:
    """The figures of one step, whether there are any or not."""

    start: int
    summary: Summary


@value
class Overview:
    """The figures of some steps, the oldest first, and of all of them together."""

    step: Step
    parts: list[Part]
    total: Summary
    since: int  # when the first step began
    until: int  # now
    no_figures: str | None = None  # why the store keeps none


@value
class Waiting:
    """Deferrals that wait for their retry, the newest first."""

    deferrals: list[Deferral]
    complete: bool  # all were looked at
    reached: int  # first contact of the oldest that was looked at


def overview(store: Store, now: int, step: Step, number: int | None = None) -> Overview:
    """Return the figures of so many steps, the last of which is not over yet."""
    starts = _starts(now, step, number or USUAL[step])
    hours = store.figures(starts[0], hour_of(now) + HOUR)
    parts, total = _cut(hours, starts, step)
    return Overview(step, parts, total, starts[0], now, store.lacks(FIGURES))


def since(store: Store, now: int, step: Step, seconds: int) -> Overview:
    """Return the figures of all steps that lie, in part at least, in so many seconds before now.

    Of many steps most may have none: those are left out.
    """
    first = _begin(now - seconds, step)
    hours = store.figures(first, hour_of(now) + HOUR)
    starts = [_begin(hour, step) for hour in hours]
    parts, total = _cut(hours, starts, step)
    return Overview(step, parts, total, first, now, store.lacks(FIGURES))


def waiting_now(store: Store, now: int, window: int, limit: int) -> Waiting:
    """Return some of the mail that waits, and may pass from `defer_until` on.

    `window` is how long a first contact is remembered. What waited for longer is over, also where
    nobody has counted it yet.
    """
    wanted = Sought(since=now - window, outcomes=frozenset((Outcome.WAITING,)))
    looked = look(store, wanted, enough=limit)
    return Waiting(looked.deferrals, looked.complete, looked.reached)


def _cut(
    hours: dict[int, dict[str, int]], starts: list[int], step: Step
) -> tuple[list[Part], Summary]:
    total: Counter[str] = Counter()
    sums: dict[int, Counter[str]] = {start: Counter() for start in starts}
    for hour, figures in hours.items():
        sums[_begin(hour, step)].update(figures)
        total.update(figures)
    return [Part(start, summarised(part)) for start, part in sums.items()], summarised(total)


def _starts(now: int, step: Step, number: int) -> list[int]:
    starts = [_begin(now, step)]
    while len(starts) < min(number, MOST_PARTS):
        starts.append(_begin(starts[-1] - 1, step))
    return starts[::-1]


def _begin(now: int, step: Step) -> int:
    """Return when the step began in which this time lies."""
    if step is Step.HOUR:
        return hour_of(now)
    day = now - now % _DAY
    if step is Step.DAY:
        return day
    moment = datetime.fromtimestamp(day, UTC)
    back = moment.weekday() if step is Step.WEEK else moment.day - 1
    return int((moment - timedelta(days=back)).timestamp())
