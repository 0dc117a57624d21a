"""The report of a time: what to look at, the figures, and who was hurt."""

from __future__ import annotations

from greylag.admin.findings import Facts, Finding, findings
from greylag.admin.overview import Overview, Step, overview
from greylag.admin.switch import holding
from greylag.admin.top import Top, top
from greylag.core.policy import Policy
from greylag.core.value import value
from greylag.store.base import Store

# Up to so many seconds are cut into steps of this length; each step has about so many.
_STEPS = (
    (2 * 86400, Step.HOUR, 3600),
    (60 * 86400, Step.DAY, 86400),
    (400 * 86400, Step.WEEK, 7 * 86400),
)
_LONGEST = (Step.MONTH, 30 * 86400)
MOST_LOOKED = 100_000  # deferrals: more than `greylag top` looks at, and in less than a second
NAMES = 10


@value
class Digest:
    """What a report says."""

    findings: list[Finding]  # at most three
    overview: Overview
    top: Top


def digest(store: Store, policy: Policy, now: int, seconds: int) -> Digest:
    """Return the report of so many seconds before now; figures are of whole steps (UTC)."""
    step, size = next(((s, n) for most, s, n in _STEPS if seconds <= most), _LONGEST)
    figures = overview(store, now, step, seconds // size + 1)
    found = top(store, policy, now, seconds, NAMES, MOST_LOOKED)
    facts = Facts(figures, found, holding(store, now), policy.dns)
    return Digest(findings(facts), figures, found)
