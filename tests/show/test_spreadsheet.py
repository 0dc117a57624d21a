"""CSV for spreadsheets."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from greylag.show.spreadsheet import as_csv


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1@example.org", "@SUM(A1)", " =1", "\t=1"])
def test_no_cell_is_a_formula_t12(text: str) -> None:
    """T12: strangers choose senders; a spreadsheet would run what begins so."""
    ((_key,), (cell,)) = csv.reader(StringIO(as_csv([{"sender": text}])))
    assert cell[0] in "'\\"
    assert cell.lstrip("'") == text.replace("\t", "\\x09")


def test_whatever_cells_hold_a_row_stays_a_row_t12() -> None:
    evil = 'a","b\r\n=cmd|x\x1b[2J\u202e\x00;'
    found = list(csv.reader(StringIO(as_csv([{"a": evil, "b": "c"}, {"a": "1", "b": evil}]))))
    assert [len(row) for row in found] == [2, 2, 2]
    assert found[0] == ["a", "b"]
    assert all(cell.isprintable() for row in found for cell in row)


def test_times_lists_and_what_is_not_there() -> None:
    shown = as_csv(
        [{"first_seen": 1_800_000_000, "ended": None, "signs": ["helo", "spf"], "tries": -2}]
    )
    assert shown == "first_seen,ended,signs,tries\n2027-01-15T08:00:00Z,,helo spf,-2\n"
    assert as_csv([{"ended": 1 << 60}]) == f"ended\n{1 << 60}\n"
    assert as_csv([]) == ""
