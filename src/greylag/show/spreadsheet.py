"""Rows as CSV (RFC 4180), for spreadsheets: no cell acts in them, whoever wrote it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO

from greylag.show.texts import clean

# A spreadsheet takes a cell that begins so for a formula, and runs it.
_ACTS = ("=", "+", "-", "@")
_TIMES = frozenset(("first_seen", "may_pass_at", "forgotten_at", "ended", "released"))


def as_csv(documents: Sequence[Mapping[str, object]]) -> str:
    """Return documents of the same keys as lines, after one with the keys; "" of none."""
    if not documents:
        return ""
    made = StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(documents[0])
    for document in documents:
        writer.writerow(_cells(document.items()))
    return made.getvalue()


def _cells(items: Iterable[tuple[str, object]]) -> Iterable[str]:
    for key, item in items:
        if item is None:
            yield ""
        elif key in _TIMES and isinstance(item, int):
            yield _time(item)
        elif isinstance(item, list | tuple):
            yield _harmless(" ".join(map(str, item)))
        else:
            yield str(item) if isinstance(item, int) else _harmless(str(item))


def _harmless(text: str) -> str:
    shown = clean(text)
    return f"'{shown}" if shown.lstrip().startswith(_ACTS) else shown


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
