"""Postfix's lists of restrictions: reading one, and writing it as it should be."""

from __future__ import annotations

import re
from collections.abc import Sequence

from greylag.admin.doctor.finding import Unseen
from greylag.admin.setup.place import SetupError
from greylag.admin.setup.restrictions import OWN, items_of, question
from greylag.core.value import value

ASK = "check_policy_service"
UNAUTH = "reject_unauth_destination"
UNAUTHS = UNAUTH, "defer_unauth_destination"
UNLISTED = "reject_unlisted_recipient"
_TOKENS = re.compile(r"\{[^{}]*\}|[^\s,]+")
_MOST = 10_000  # characters


@value
class Step:
    """A restriction, with the table or service that it names."""

    word: str
    argument: str = ""

    @property
    def place(self) -> str:
        """The place that a policy service is asked at."""
        return _TOKENS.findall(self.argument.strip("{} "))[0] if self.argument.strip("{} ") else ""

    @property
    def options(self) -> dict[str, str]:
        """What stands behind the place, within braces."""
        inside = _TOKENS.findall(self.argument.strip("{} "))[1:]
        pairs = (one.partition("=") for one in " ".join(inside).replace(" = ", "=").split())
        return {name: word for name, _equals, word in pairs}

    def __str__(self) -> str:
        """As it stands in main.cf."""
        return f"{self.word} {self.argument}".strip()


def read(text: str) -> list[Step]:
    """Return the restrictions of a list; raise Unseen where it is not understood."""
    if len(text) > _MOST:
        raise Unseen(f"a list of restrictions has more than {_MOST} characters")
    try:
        items = items_of(text)
    except SetupError as cause:
        raise Unseen(str(cause)) from None
    parts = (one.partition(" ") for one in items)
    return [Step(word, argument) for word, _blank, argument in parts]


def service(place: str) -> Step:
    """Return the question as setup writes it: mail is let in where nobody answers."""
    return read(question(place))[0]


def righted(steps: Sequence[Step], asked: Step, *, at_data: bool, unauth: bool) -> str:
    """Return a list with all that has to stand before the question, and the question once.

    What is missing goes right before the question, so it passes over none of the list's own checks.
    """
    ours = [one for one in steps if one.word == ASK and one.place in (asked.place, "")]
    wanted = list(OWN) if at_data else [*OWN, *([UNAUTH] if unauth else []), UNLISTED]
    first = next(
        (n for n, one in enumerate(steps) if one in ours or one.place == asked.place), None
    )
    before = [one for one in steps[:first] if one.word not in ("permit", "reject")]
    after = [one for one in steps[first:] if one.place != asked.place] if first is not None else []
    ends = [one for one in steps[:first] if one.word in ("permit", "reject")]
    head = [Step(word) for word in OWN if not any(one.word == word for one in before)]
    tail = [
        Step(word) for word in wanted[len(OWN) :] if not any(one.word == word for one in before)
    ]
    added = {one.word for one in (*head, *tail)}
    rest = [one for one in (*ends, *after) if one.word not in added]
    return ", ".join(str(one) for one in [*before, *head, *tail, service(asked.place), *rest])
