"""When the retry of deferred mail is to be expected."""

from __future__ import annotations

from collections.abc import Sequence

from greylag.admin.deferrals import Standing
from greylag.core.duration import format_duration
from greylag.core.history import Deferral
from greylag.core.retries import Schedule, programs_like, service_of
from greylag.core.value import value


@value
class Habit:
    """When such a sender usually comes again."""

    text: str  # in words: what is known, and from what
    at: int | None  # when it is to be expected; None: that is not known, or it is late


def habit_of(standing: Standing, others: Sequence[Deferral], now: int) -> Habit:
    """Return when the retry is to be expected: by what it did, else by what such senders do."""
    deferral, opens = standing.deferral, standing.may_pass or now
    seen = sorted(one.waited for one in others if one.waited is not None and not one.released)
    if seen:
        usual = seen[len(seen) // 2]
        at = deferral.first_seen + usual
        text = f"mail from there to this recipient passed after {format_duration(usual)}"
        text += " last time" if len(seen) == 1 else f" ({len(seen)} times; in the middle)"
        return Habit(text, max(at, opens) if at >= now else None)
    schedule = service_of(deferral.name)
    if schedule is not None:
        return Habit(
            f"{schedule.name} tries again {_steps(schedule)}", _next(schedule, standing, now)
        )
    tries = [at for at in (deferral.first_try, deferral.last_try) if at]
    like = programs_like(deferral.first_seen, tries)
    if len(like) == 1:
        text = f"it came as {like[0].name} does, which tries again {_steps(like[0])}"
        return Habit(text, _next(like[0], standing, now))
    return Habit("most mail servers try again within 5 to 30 minutes, then ever more rarely", None)


def _next(schedule: Schedule, standing: Standing, now: int) -> int:
    opens = standing.may_pass or now
    return schedule.next_after(standing.deferral.first_seen, max(opens, now))


def _steps(schedule: Schedule) -> str:
    first = [format_duration(seconds // 60 * 60) for seconds in schedule.retries[:4]]
    return f"after {', '.join(first)}..."
