"""Which known word a mistyped one was most likely meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_SHORTEST = 3  # letters; of two, each is like any other
_LETTERS_FOR_AN_ERROR = 4  # a word of 4 to 7 letters may have one, of 8 to 11 two


def close(word: str, known: Iterable[str]) -> list[str]:
    """Return the known words that are closest to a word, if they are close at all.

    One wrong, missing, added or swapped letter in four is close; so is a name that consists of
    several words, of which this is one (`--hour` of `--by-hour`). All else would be a guess.
    """
    distances = {name: _errors(word.strip("-"), name.strip("-")) for name in known}
    least = min(filter(None, (d for d in distances.values() if d is not None)), default=0)
    return sorted(name for name, errors in distances.items() if errors and errors == least)


def _errors(word: str, name: str) -> int | None:
    """Return how many letters differ, or None where these are too many to be a slip."""
    if word in name.replace("_", "-").split("-"):
        return 1
    longer = max(len(word), len(name))
    allowed = max(1, longer // _LETTERS_FOR_AN_ERROR)
    if longer < _SHORTEST or abs(len(word) - len(name)) > allowed:
        return None
    errors = _distance(word, name)
    return errors if errors <= allowed else None


def _distance(one: str, other: str) -> int:
    """Return the Damerau-Levenshtein distance, each letter swapped once at most."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]
