"""Write src/greylag/native/reasons.h, the words of the tables in greylag.core.verdict for C.

usage: PYTHONPATH=src python3 tools/reasons_header.py >src/greylag/native/reasons.h
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from greylag.core.verdict import LEVELS, Reason

HEAD = """\
/*
 * The words of verdicts' reasons, what jgreylist logs for them, and the levels of the log.
 * Written by tools/reasons_header.py from the tables in core/verdict.py: to be changed there.
 */
#ifndef GREYLAG_REASONS_H
#define GREYLAG_REASONS_H
"""


def lines() -> Iterator[str]:
    """Yield the header's lines."""
    yield HEAD
    for reason in Reason:
        yield f'#define REASON_{reason.name} "{reason.value}"'
    rows = [f'{{REASON_{r.name}, "{r.jgreylist}"}}' for r in Reason if r.jgreylist]
    yield ""
    yield "/* Any other reason is said as it is. */"
    yield "#define OUTCOMES \\"
    yield from (f"    {row}, \\" for row in rows[:-1])
    yield f"    {rows[-1]}"
    yield ""
    for number, name in enumerate(LEVELS):
        yield f"#define LEVEL_{name.upper()} {number}"
    yield "#define LEVEL_NAMES " + ", ".join(f'"{name}"' for name in LEVELS)
    yield "\n#endif"


sys.stdout.write("\n".join(lines()) + "\n")
