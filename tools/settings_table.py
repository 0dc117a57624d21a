"""Write the table of all settings into docs/reference/configuration.md.

usage: PYTHONPATH=src python3 tools/settings_table.py

Defaults and the last column are those of greylag.app.options. What is expected is the beginning of
the line "Expected:" of each setting on the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from greylag.app.options import OPTIONS
from greylag.app.written import written

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "configuration.md"
HEAD = "| setting | default | value | takes effect at |\n| --- | --- | --- | --- |\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")


def expected(page: str, key: str) -> str:
    """Return what the page says that a setting may be, without what follows a semicolon."""
    _before, _heading, section = page.partition(f"\n### {key}\n")
    found = re.search(r"^Expected: (.*)$", section.partition("\n### ")[0], re.MULTILINE)
    if found is None:
        raise ValueError(f"{key}: the page does not say what is expected")
    return re.split(r"; |: |\.$", found[1])[0]


def rows(page: str) -> Iterator[str]:
    """Yield the lines of the table, with a link to the section of each setting."""
    for option in OPTIONS:
        anchor = re.sub(r"[^\w-]", "", option.key)
        default = json.dumps(written(option, option.default))
        when = "restart" if option.restart else "reload"
        value = expected(page, option.key)
        yield f"| [{option.key}](#{anchor}) | `{default}` | {value} | {when} |\n"


def with_table(page: str) -> str:
    """Return the page with the table as it should be."""
    return TABLE.sub(lambda _old: HEAD + "".join(rows(page)), page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
