"""Whom greylisting hurt: likely good mail that waited long or never came; and who is deferred."""

from __future__ import annotations

from greylag.admin.top import Top, top
from greylag.core.history import By
from greylag.store.base import HISTORY, Store
from greylag.web import words
from greylag.web.visit import Visit

DAY = 86400
TIMES = {"1d": ("a day", DAY), "7d": ("a week", 7 * DAY), "30d": ("a month", 30 * DAY)}
NAMES = {
    By.SENDER_DOMAIN: "sender domains",
    By.RECIPIENT_DOMAIN: "recipient domains",
    By.RECIPIENT: "recipients",
    By.NETWORK: "client networks",
}
_LOOKED = 20_000  # deferrals, the newest
_SHOWN = 15
_LASTS = 120  # seconds for which it is kept


def looked_at(visit: Visit, time: str) -> Top | None:
    """Return what stands out in one of TIMES; None while it is counted."""
    policy = visit.web.settings.policy
    now, seconds = visit.now, TIMES[time][1]
    return visit.web.kept.of(
        f"hurt {time}", now, _LASTS, lambda own: top(own, policy, now, seconds, _SHOWN, _LOOKED)
    )


def page(visit: Visit, store: Store) -> str:
    """Show them, the worst first."""
    chosen = visit.query.one("since")
    chosen = chosen if chosen in TIMES else "7d"
    found = looked_at(visit, chosen)
    if found is None:
        return visit.web.drawing.page("counting", visit, title="Who was hurt")
    return visit.web.drawing.page(
        "hurt",
        visit,
        top=found,
        figures_of=found.until,
        chosen=chosen,
        times=TIMES,
        names=[(by is By.RECIPIENT, title, found.names[by]) for by, title in NAMES.items()],
        words=words,
        lacks=store.lacks(HISTORY),
    )
