"""The switch: greylisting off, or only observing, for all mail at once and for a time.

An admin turns it with `greylag off`, `greylag observe` and `greylag on`. It lies over all settings:
these stay as they are, and hold again when it ends. It never makes more of greylisting than the
settings do, so a recipient for whom greylisting is off stays off while the switch observes.
"""

from __future__ import annotations

from greylag.core.accesslist import NEVER
from greylag.core.policy import Greylist, Policy, with_evidence
from greylag.core.value import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from greylag.core.question import Question

ROW = "switch:"  # how the name of a row begins that keeps one
MOST_WHO = 64  # characters of a name
_MODES = {mode.value: mode for mode in (Greylist.OFF, Greylist.OBSERVE)}


@value
class Switch:
    """What is done in place of the settings: `off` or `observe`. Times are whole Unix seconds."""

    mode: Greylist
    until: int = NEVER
    since: int = 0
    who: str = ""  # turned it, as the system names him

    def holds(self, now: int) -> bool:
        """Tell whether it has not ended."""
        return now < self.until

    def over(self, policy: Policy) -> Policy:
        """Return the policy that holds under the switch."""
        if policy.greylist in (self.mode, Greylist.OFF):
            return policy
        changed = replace(policy, greylist=self.mode)
        # What only signs of spam are judged by is not asked for.
        return replace(changed, evidence=with_evidence(changed).evidence & policy.evidence)

    def asked(self, question: Question, now: int) -> Question:
        """Return the question under the policy that holds now."""
        if not self.holds(now):
            return question
        policy = self.over(question.policy)
        return question if policy is question.policy else replace(question, policy=policy)


def row_of(switch: Switch) -> tuple[str, int]:
    """Return a name and a number, as stores keep it: `switch:off:1700000000:alice`, its end."""
    return f"{ROW}{switch.mode.value}:{switch.since}:{switch.who[:MOST_WHO]}", switch.until


def read_rows(rows: Iterable[tuple[object, object]]) -> Switch | None:
    """Return the switch that rows keep: of several, as two nodes may write, the newest."""
    found = [switch for name, until in rows if (switch := _read(name, until)) is not None]
    return max(found, key=lambda one: (one.since, one.mode.value, one.who), default=None)


def _read(name: object, until: object) -> Switch | None:
    """Return the switch of one row; None: it is of a version to come, or nobody's."""
    if not isinstance(name, str) or not isinstance(until, int):
        return None
    mode, _, rest = name.removeprefix(ROW).partition(":")
    since, colon, who = rest.partition(":")
    if not name.startswith(ROW) or mode not in _MODES or not colon:
        return None
    if not (since.isascii() and since.isdigit() and len(since) <= len(str(NEVER))):
        return None
    return Switch(_MODES[mode], min(until, NEVER), int(since), who[:MOST_WHO])
