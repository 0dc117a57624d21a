"""What differs from the last run: for cron, which mails whatever is printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from greylag.admin.doctor.finding import Finding, Level

_MOST = 1000  # problems that are kept
Key = tuple[str, str, str]
_TOLD = Level.WARN, Level.ERROR


def read(data: bytes | None) -> dict[str, object]:
    """Return what the last run left; nothing where that is not ours: others may write there."""
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def written(
    found: Iterable[Finding], noted: Mapping[str, object], before: Mapping[str, object]
) -> bytes:
    """Return what the next run has to know; problems of what was skipped are taken to be there."""
    there = list(found)
    skipped = {one.code for one in there if one.level is Level.SKIPPED}
    problems = [list(one.key) for one in there if one.level in _TOLD]
    problems += [list(key) for key in sorted(_keys(before)) if key[0] in skipped]
    return json.dumps({**noted, "problems": problems[:_MOST]}).encode()


def changed(found: Iterable[Finding], before: Mapping[str, object]) -> list[Finding]:
    """Return new problems, and for each that is gone a line that says so."""
    there = list(found)
    old = _keys(before)
    now = {one.key for one in there}
    skipped = {one.code for one in there if one.level is Level.SKIPPED}
    new = [one for one in there if one.level in _TOLD and one.key not in old]
    told = {(one.code, one.about) for one in new}
    gone = [
        Finding(code, Level.OK, f"is mended: {about}" if about else "is mended", about=about)
        for code, about, _level in sorted(old - now)
        if code not in skipped and (code, about) not in told
    ]
    return [*new, *gone]


def _keys(before: Mapping[str, object]) -> set[Key]:
    rows = before.get("problems")
    keys = set()
    for row in rows[:_MOST] if isinstance(rows, list) else ():
        if isinstance(row, list) and len(row) == 3 and all(isinstance(x, str) for x in row):
            keys.add((row[0], row[1], row[2]))
    return keys
