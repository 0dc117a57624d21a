"""Whether all is as it should be: many small checks, each with a code that stays the same.

A check that fails by itself is one quiet line: the others still look, and nobody sees a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from greylag.admin.doctor import daemon, machine, postfix, qmail, scripts, settings, store
from greylag.admin.doctor.finding import Check, Finding, Level, NotHere, TooSlow, Unseen
from greylag.admin.doctor.place import Place
from greylag.store.base import StoreError

_LONGEST = 15.0  # seconds for one check
_MOST = 10  # problems that one check tells
_MOST_TEXT = 300  # characters

CHECKS: tuple[Check, ...] = (
    *settings.CHECKS,
    *qmail.CHECKS,
    *scripts.CHECKS,
    *postfix.CHECKS,
    *daemon.CHECKS,
    *store.CHECKS,
    *machine.CHECKS,
)


def diagnose(place: Place, checks: Iterable[Check] = CHECKS) -> Iterator[Finding]:
    """Yield what each check says, in the order of the checks."""
    for check in checks:
        yield from _found(check, place)


def _found(check: Check, place: Place) -> list[Finding]:
    try:
        with place.within(_LONGEST):
            problems = list(check.look(place))
    except (NotHere, StoreError):  # a store that cannot be read is told once: db-unusable
        return []
    except TooSlow:
        return [_skipped(check, f"was not looked at: it took longer than {_LONGEST:.0f} s")]
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return [_skipped(check, f"cannot be looked at: {why}")]
    except Unseen as error:
        return [_skipped(check, f"cannot be looked at: {error}")]
    except Exception as error:  # noqa: BLE001 - what a check cannot read is no reason to end
        return [_skipped(check, f"cannot be looked at: {type(error).__name__}: {error}")]
    if not problems:
        return [Finding(check.code, Level.OK, check.fine)]
    return [
        Finding(check.code, one.level, one.text, one.mend, one.about) for one in problems[:_MOST]
    ]


def _skipped(check: Check, text: str) -> Finding:
    return Finding(check.code, Level.SKIPPED, " ".join(text.split())[:_MOST_TEXT])


def worst(found: Iterable[Finding]) -> Level:
    """Return the worst level of all; what was skipped does not count."""
    levels = {one.level for one in found}
    if Level.ERROR in levels:
        return Level.ERROR
    return Level.WARN if Level.WARN in levels else Level.OK
