"""What another delay or retry window would have done to the mail that was deferred lately.

Answered from the history: when each mail came first, when its sender tried again, and what became
of it. The history has the times of the first and the last early try, and no others.
"""

from __future__ import annotations

from greylag.admin.looking import MOST_LOOKED, Looking
from greylag.admin.overview import Step, since
from greylag.core.history import NEVER_CAME_BACK, Deferral, Outcome, Sought
from greylag.core.policy import Policy
from greylag.core.value import value
from greylag.core.verdict import Reason
from greylag.store.base import HISTORY, Store

CANNOT_KNOW = (
    "nobody can know when a sender that is refused once more tries again; and of the tries that "
    "came too early, only the first and the last are remembered"
)
_DAY = 86400


@value
class WhatIf:
    """Deferrals of some time, by what another delay and retry window would have changed."""

    since: int
    until: int
    delay: int  # that was asked about
    retry_window: int
    same: int  # passed, and would have passed with the same try
    sooner: int  # passed, and an earlier try would have passed
    later: int  # passed, and the try that passed would have been refused once more
    again: int  # passed, and came after the window: it would have been a first contact again
    never: int  # never came back, and would not have passed either
    let_in: int  # never came back, and one of its tries would have passed
    open: int  # still wait, or ended for another reason: nothing can be said of them
    let_in_spam: int  # of those let in: likely spam
    complete: bool  # the whole time was looked at
    reached: int  # first contact of the oldest that was looked at
    no_history: str | None = None  # why the store keeps none

    @property
    def passed(self) -> int:
        """Return how many passed."""
        return self.same + self.sooner + self.later + self.again

    @property
    def delayed(self) -> int:
        """Return how many mails would have been delayed, and let in."""
        return self.passed + self.let_in

    @property
    def longer(self) -> int:
        """Return how many of them would have waited longer than they did."""
        return self.later + self.again

    @property
    def deferred(self) -> int:
        """Return how many were looked at."""
        return self.passed + self.never + self.let_in + self.open


def what_if(
    store: Store, now: int, seconds: int, *asked: tuple[int, int], most: int = MOST_LOOKED
) -> list[WhatIf]:
    """Return what each of these delays with its retry window would have done before now.

    The newest `most` deferrals of so many seconds are looked at, once.
    """
    begun = now - seconds
    looking = Looking(store, Sought(since=begun), most)
    counts = [dict.fromkeys((*_WORDS, "let_in_spam"), 0) for _one in asked]
    for deferral in looking:
        for (delay, retry_window), count in zip(asked, counts, strict=True):
            word = _changed(deferral, delay, retry_window)
            count[word] += 1
            if word == "let_in" and deferral.outcome is Outcome.LIKELY_SPAM:
                count["let_in_spam"] += 1
    lacks = store.lacks(HISTORY)
    return [
        WhatIf(
            begun,
            now,
            *one,
            complete=looking.complete,
            reached=looking.reached,
            no_history=lacks,
            **count,
        )
        for one, count in zip(asked, counts, strict=True)
    ]


@value
class Effects:
    """What the times of greylisting do: for who looks at the settings."""

    deferred: int  # first contacts of the last 24 hours that were deferred
    observed: int  # that would have been, where greylisting only observed
    longer: WhatIf  # with twice the delay
    shorter: WhatIf  # with half of it
    narrower: WhatIf  # with half the retry window


def effects(store: Store, policy: Policy, now: int, most: int) -> Effects:
    """Return what the times in force do, beside others: of the last 24 hours and seven days."""
    delay, window = policy.delay, policy.retry_window
    asked = (2 * delay, window), (delay // 2, window), (delay, window // 2)
    longer, shorter, narrower = what_if(store, now, 7 * _DAY, *asked, most=most)
    day = since(store, now, Step.HOUR, _DAY).total
    new = Reason.NEW.value
    return Effects(day.deferred.get(new, 0), day.observed.get(new, 0), longer, shorter, narrower)


_WORDS = ("same", "sooner", "later", "again", "never", "let_in", "open")


def _changed(one: Deferral, delay: int, retry_window: int) -> str:
    """Return which of the counts this deferral belongs to."""
    early = [at - one.first_seen for at in (one.first_try, one.last_try) if one.tries and at]
    would_pass = any(delay <= after < retry_window for after in early)
    if one.outcome in NEVER_CAME_BACK:
        return "let_in" if would_pass else "never"
    waited = one.waited
    if waited is None:
        return "open"
    if would_pass:
        return "sooner"
    if waited >= retry_window:
        return "again"
    return "later" if waited < delay else "same"
