"""What a check says: how it is, in one sentence, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING

from greylag.core.value import value

if TYPE_CHECKING:
    from greylag.admin.doctor.place import Place


class Level(Enum):
    """How bad it is. `SKIPPED`: it could not be looked at."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"
    SKIPPED = "skipped"

    __hash__ = object.__hash__


@value
class Problem:
    """Something that is not as it should be, or is worth a word although it is."""

    level: Level
    text: str  # one sentence
    mend: str = ""  # a command that can be run as it stands; empty where there is none
    about: str = ""  # what it is about, such as a path: stays the same when numbers change


@value
class Finding:
    """What one check found. `code` is stable, and docs/running/doctor.md has a section for it."""

    code: str
    level: Level
    text: str
    mend: str = ""
    about: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """By what it is known again in the next run."""
        return self.code, self.about, self.level.value


@value
class Check:
    """One thing to look at."""

    code: str
    fine: str  # what is said where there is no problem
    look: Callable[[Place], Iterable[Problem]]


class NotHere(Exception):
    """The check has nothing to look at on this machine; it says nothing."""


class Unseen(Exception):
    """The check cannot look, and the text says why."""


class TooSlow(Exception):
    """A check took longer than it may."""


def fine(text: str) -> Problem:
    """Return what is as it should be, where that is more than the check's own sentence."""
    return Problem(Level.OK, text)


def warn(text: str, mend: str = "", about: str = "") -> Problem:
    """Return a problem that costs no mail now."""
    return Problem(Level.WARN, text, mend, about)


def error(text: str, mend: str = "", about: str = "") -> Problem:
    """Return a problem because of which mail is let in, refused or not greylisted."""
    return Problem(Level.ERROR, text, mend, about)
