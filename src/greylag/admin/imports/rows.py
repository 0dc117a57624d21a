"""Tables as text: a line of column names, then a row a line, as `psql --csv` and `mysql -B` do.

A row is one line. A field of CSV in which a line ends would swallow all that follows, where a quote
is missing; no address has one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from greylag.admin.imports import TOO_LONG, Left, Lines

Row: TypeAlias = Mapping[str, bytes]

_ESCAPES = {b"\\n": b"\n", b"\\t": b"\t", b"\\0": b"\0", b"\\\\": b"\\"}
_ESCAPE = re.compile(rb"\\[nt0\\]")
_MOST_COLUMNS = 50


class NoTable(Exception):
    """The lines are no table that is known. The text says what was expected."""


def rows_of(lines: Lines, tables: Sequence[set[str]]) -> Iterator[tuple[int, Row | Left]]:
    """Yield the rows by the names of their columns. Raises NoTable.

    A line with the columns' names of one of the tables begins another: files may follow each other.
    """
    names: list[str] | None = None
    tabs = False
    for number, line in lines:
        if line is None:
            yield number, Left(number, TOO_LONG)
            continue
        text = line.rstrip(b"\r\n")
        if not text:
            continue
        head = text.decode("latin-1").lower().replace('"', "")
        found = [name.strip() for name in head.split("\t" if "\t" in head else ",")]
        if len(found) <= _MOST_COLUMNS and any(columns <= set(found) for columns in tables):
            names, tabs = found, "\t" in head
            continue
        if names is None:
            expected = " or ".join(", ".join(sorted(columns)) for columns in tables)
            raise NoTable(f"expected a line of column names, with {expected}")
        fields = _tabs(text) if tabs else _commas(text)
        if fields is None or len(fields) != len(names):
            yield number, Left(number, "the line has not as many fields as there are columns")
        else:
            yield number, dict(zip(names, fields, strict=True))


def _tabs(text: bytes) -> list[bytes]:
    return [_ESCAPE.sub(lambda m: _ESCAPES[m[0]], field) for field in text.split(b"\t")]


def _commas(text: bytes) -> list[bytes] | None:
    try:
        (fields,) = csv.reader([text.decode("latin-1")], strict=True)
    except (csv.Error, ValueError):
        return None
    return [field.encode("latin-1") for field in fields]
