"""The two lists, and what an entry of them does to mail, in the words that commands use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from greylag.cli.output import say
from greylag.cli.shown import denying, subject_text
from greylag.core.accesslist import Entry
from greylag.core.client import IPV4_BYTES
from greylag.core.subject import Domain, Network, Subject

MOST_TOLD = 20  # subjects that are told one by one
EXPLICIT = (
    "explicit mode (policy.explicit): a recipient domain on the allowlist is what gets greylisted, "
    "and mail that no entry names is let in"
)
# A range that is wider holds whole providers: refusing it by mistake loses mail from all of them.
_WIDEST_IPV4, _WIDEST_IPV6 = 8, 16


@dataclass(frozen=True, slots=True)
class Which:
    """One of the two lists: its command, its name, the other's, and what its entries do."""

    command: str
    name: str
    other_command: str
    other: str
    effect: str

    def holds(self, entry: Entry, now: int) -> bool:
        """Tell whether an entry is on this list."""
        return denying(entry, now) == (self is DENY)


ALLOW = Which("allow", "allowlist", "deny", "denylist", "is let in at once, and never greylisted")
DENY = Which("deny", "denylist", "allow", "allowlist", "is refused for good")


def kind_of(subject: Subject) -> str:
    """Return what kind of thing a subject names."""
    if isinstance(subject, Domain):
        return "recipient domain"
    return "client address" if subject.prefix == 8 * len(subject.packed) else "client range"


def effect_of(which: Which, subject: Subject, *, explicit: bool, asked: bool = False) -> str:
    """Return a sentence: which kind a subject is, and what happens to its mail."""
    domain = isinstance(subject, Domain)
    effect = "is refused" if which is DENY else "is let in"
    if asked:  # before it is done
        effect = effect.replace("is", "would be", 1)
    if which is ALLOW and domain and explicit:
        effect = "is greylisted (policy.explicit is on)"
    side = "TO" if domain else "FROM"
    return f"{kind_of(subject)} {subject_text(subject)}: mail {side} it {effect}"


def tell_effects(which: Which, subjects: Iterable[Subject], *, explicit: bool) -> None:
    """Say what was stored: each subject, or of many how many there are of each kind."""
    stored = list(subjects)
    if len(stored) <= MOST_TOLD:
        for subject in stored:
            say(effect_of(which, subject, explicit=explicit))
        return
    kinds: dict[str, int] = {}
    for subject in stored:
        kinds[kind_of(subject)] = kinds.get(kind_of(subject), 0) + 1
    for kind, number in sorted(kinds.items()):
        say(f"{kind}: {number}, such as {_first(stored, kind)}")


def _first(subjects: list[Subject], kind: str) -> str:
    return next(subject_text(subject) for subject in subjects if kind_of(subject) == kind)


def far_reaching(which: Which, subjects: Iterable[Subject]) -> list[Subject]:
    """Return the subjects that refuse so much mail that an admin has to confirm them."""
    return [s for s in subjects if which is DENY and (isinstance(s, Domain) or _wide(s))]


def _wide(subject: Network) -> bool:
    widest = _WIDEST_IPV4 if len(subject.packed) == IPV4_BYTES else _WIDEST_IPV6
    return subject.prefix < widest
