"""The names of the figures that are kept by the hour, and which of them a decision adds to.

A figure is a name and a number. Names: `pass:known`, `defer:new`, ... (verdict and reason);
`observed:new`, ... (the reason why it would not have been let in, where greylisting only observes);
the histogram of the delay that greylisting added to mail which then passed; the fate of triplets
when they are forgotten; and what became of those that never came back, as far as it is known
(`core.fates`); and what the history left out. `core.summary` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable

from greylag.core.history import NEVER_CAME_BACK
from greylag.core.identity import is_network
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.core.verdict import Decision, Reason, Verdict

MOST_OF_FIGURE = 1 << 53  # it grows no further: sums fit into any column and any float
HOUR = 3600
STOPPED = "fate:stopped"  # never came back after the delay: by far not all of it is spam
# What became of these; together they are as many as STOPPED.
NEVER = {outcome: f"never:{outcome.value}" for outcome in NEVER_CAME_BACK}
DELAYED = "fate:delayed"  # had passed: mail that was delayed once
# Was waiting for its retry when room had to be made, or was not recorded: see service.quota.
EVICTED = "fate:evicted"
RELEASED = "released"  # deferred mail whose next retry an admin let in
OBSERVED = "observed:"  # and the reason
SKIPPED = "history:skipped"  # first contacts of a flood that the history leaves out
WAITED_SECONDS = "waited:seconds"  # sum over all first passes

# Upper bounds in seconds. Real senders' second and third tries fall between 1 minute and some
# hours, so the steps are finest there.
WAITED_BOUNDS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
# The histogram's counters: how many waited longer than one bound, and not longer than the next.
WAITED_BUCKETS = (*(f"waited:{bound}" for bound in WAITED_BOUNDS), "waited:more")
_BUCKETS = tuple(zip(WAITED_BOUNDS, WAITED_BUCKETS, strict=False))


def hour_of(now: int) -> int:
    """Return the Unix time at which the hour of `now` began."""
    return now - now % HOUR


def waited_bucket(seconds: int) -> str:
    """Return the counter of the histogram that a delay falls into."""
    for bound, bucket in _BUCKETS:
        if seconds <= bound:
            return bucket
    return WAITED_BUCKETS[-1]


def delay_figures(seconds: int) -> dict[str, int]:
    """Return the counters that one first pass adds to, after so many seconds."""
    return {waited_bucket(seconds): 1, WAITED_SECONDS: seconds}


def figures_of(decision: Decision) -> dict[str, int]:
    """Return the counters that one decision adds to."""
    if not decision.reason.counted:
        return {}
    figures = {answer_name(decision.verdict, decision.reason): 1}
    if decision.waited is not None:
        figures |= delay_figures(decision.waited)
    if decision.instead is not None:
        figures[observed_name(decision.instead)] = 1
    return figures


_ANSWER_NAMES = {(v, r): f"{v.value}:{r.value}" for v in Verdict for r in Reason}


def answer_name(verdict: Verdict, reason: Reason) -> str:
    """Return the counter of answers with this verdict and reason."""
    return _ANSWER_NAMES[verdict, reason]


def observed_name(instead: Reason) -> str:
    """Return the counter of what was only observed, and else would have had this reason."""
    return f"{OBSERVED}{instead.value}"


def fate_of(record: Record) -> str:
    """Return the counter for a record that is being forgotten."""
    return DELAYED if record.passed else STOPPED


def has_fate(network: bytes) -> bool:
    """Tell whether it counts what becomes of a record, by what stands in the network's place.

    That of a pool stands beside that of a network, which is counted. Others are no mail at all.
    """
    return is_network(network)


def pools_of(waiting: Iterable[Triplet]) -> int:
    """Return how many of these records are no mail of a network: they take room, but no more."""
    return sum(not has_fate(one.network) for one in waiting)
