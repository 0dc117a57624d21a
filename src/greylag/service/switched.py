"""The switch over the questions that come in: policies under it are made once, not each time."""

from __future__ import annotations

from greylag.core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.policy import Policy
    from greylag.core.question import Question
    from greylag.core.switch import Switch

_MOST = 256  # policies; admins write a few tables, and a few kinds of GL* variables


class Switched:
    """A switch, and the policies that it has made of others."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self._made: dict[int, tuple[Policy, Policy]] = {}  # by the identity of the first

    def asked(self, question: Question, now: int) -> Question:
        """Return the question under the policy that holds now."""
        if not self.switch.holds(now):
            return question
        before = question.policy
        known = self._made.get(id(before))
        if known is None or known[0] is not before:
            if len(self._made) >= _MOST:
                self._made.clear()
            known = self._made[id(before)] = (before, self.switch.over(before))
        after = known[1]
        return question if after is before else replace(question, policy=after)
