"""The figures that are kept by the hour: what was answered and why, and what became of it.

A counter is a name and a number. Names: `pass:known`, `defer:new`, ... (verdict and reason); the
histogram of the delay that greylisting added to mail which then passed; and the fate of triplets
when they are forgotten.
"""

from __future__ import annotations

from greylag.core.record import Record
from greylag.core.verdict import Decision, Reason, Verdict

HOUR = 3600
STOPPED = "fate:stopped"  # never came back after the delay: what greylisting stopped
DELAYED = "fate:delayed"  # had passed: mail that was delayed once
# Was waiting for its retry when room had to be made, or was not recorded: see service.quota.
EVICTED = "fate:evicted"
WAITED_SECONDS = "waited:seconds"  # sum over all first passes

# Upper bounds in seconds. Real senders' second and third tries fall between 1 minute and some
# hours, so the steps are finest there.
WAITED_BOUNDS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def hour_of(now: int) -> int:
    """Return the Unix time at which the hour of `now` began."""
    return now - now % HOUR


def waited_bucket(seconds: int) -> str:
    """Return the counter of the histogram that a delay falls into."""
    bound = next((b for b in WAITED_BOUNDS if seconds <= b), None)
    return "waited:more" if bound is None else f"waited:{bound}"


def figures_of(decision: Decision) -> dict[str, int]:
    """Return the counters that one decision adds to."""
    if not decision.reason.counted:
        return {}
    figures = {answer_name(decision.verdict, decision.reason): 1}
    if decision.waited is not None:
        figures[waited_bucket(decision.waited)] = 1
        figures[WAITED_SECONDS] = decision.waited
    return figures


_ANSWER_NAMES = {(v, r): f"{v.value}:{r.value}" for v in Verdict for r in Reason}


def answer_name(verdict: Verdict, reason: Reason) -> str:
    """Return the counter of answers with this verdict and reason."""
    return _ANSWER_NAMES[verdict, reason]


def fate_of(record: Record) -> str:
    """Return the counter for a record that is being forgotten."""
    return DELAYED if record.passed else STOPPED
