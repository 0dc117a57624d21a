"""What greylisting does now: figures of a time, how long mail waited, what waits, the switch."""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import Response

from greylag.admin.deferrals import standings
from greylag.admin.overview import Overview, Step, overview, waiting_now
from greylag.admin.switch import holding, turn, turn_on
from greylag.admin.typed import WrongValue
from greylag.core.accesslist import NEVER
from greylag.core.duration import parse_duration
from greylag.core.policy import Greylist
from greylag.show.summaries import (
    answers_over_time,
    delays,
    half_waited,
    never_over_time,
    never_share,
)
from greylag.store.base import Store
from greylag.web import words
from greylag.web.audit import changed
from greylag.web.messages import go_to
from greylag.web.visit import Visit

DAY = 86400
MODES = {"off": Greylist.OFF, "observe": Greylist.OBSERVE}
_LONGEST_SWITCH = 30 * DAY
_SHOWN = 10  # mails that wait
_LASTS = {Step.WEEK: 300, Step.MONTH: 900}  # seconds for which figures are kept


def page(visit: Visit, store: Store) -> str:
    """Show the figures of some hours, days, weeks or months."""
    steps = {one.value: one for one in Step}
    step = steps.get(visit.query.one("by"), Step.HOUR)
    found = _figures(visit, store, step)
    if found is None:
        return visit.web.drawing.page("counting", visit, title="Now")
    parts = [(part.start, part.summary) for part in found.parts]
    charts = (
        answers_over_time(parts, step.value),
        delays(found.total),
        never_share(found.total),
        never_over_time(parts, step.value),
    )
    window = visit.web.settings.policy.retry_window
    waiting = waiting_now(store, visit.now, window, _SHOWN)
    return visit.web.drawing.page(
        "now",
        visit,
        step=step.value,
        steps=list(steps),
        overview=found,
        figures_of=found.until,
        total=found.total,
        half_waited=half_waited(found.total),
        charts=[Markup(one) for one in charts],  # noqa: S704 - they escape what is not theirs
        waiting=standings(store, waiting.deferrals, visit.now),
        words=words,
        switch=holding(store, visit.now),
        never=NEVER,
    )


def _figures(visit: Visit, store: Store, step: Step) -> Overview | None:
    """Return the figures; those of months are thousands of hours, and are counted beside."""
    now = visit.now
    if step not in _LASTS:
        return overview(store, now, step)
    return visit.web.kept.of(step.value, now, _LASTS[step], lambda own: overview(own, now, step))


def turn_switch(visit: Visit, store: Store) -> Response:
    """Switch greylisting off or to observing for a time, or back on."""
    mode, text = visit.form.one("mode"), visit.form.one("for")
    who = f"web:{visit.user}"
    if mode == "on":
        turned = turn_on(store, visit.now, who=who)
    elif mode in MODES:
        turned = turn(store, MODES[mode], visit.now, until=_until(text, visit.now), who=who)
    else:
        raise WrongValue("expected on, off or observe")
    noted = turned.not_noted is None
    changed(visit, store, mode, f"for {text}" if text and mode != "on" else "", noted=noted)
    return go_to("/")


def _until(text: str, now: int) -> int:
    """Return when the switch ends: on a page it always does, for nobody may remember it."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise WrongValue(str(error)) from None
    if not 0 < seconds <= _LONGEST_SWITCH:
        raise WrongValue("expected a time of at most 30 days (`greylag off` has no end)")
    return now + seconds
