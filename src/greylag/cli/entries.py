"""Reading what an admin wants on a list: subjects, comments, dates, and whole files of them.

Everything is read before anything is stored, and every error is reported, not the first alone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from greylag.core.accesslist import NEVER
from greylag.core.duration import EXPECTED, parse_duration
from greylag.core.subject import Subject, parse_subject

MAX_COMMENT = 255  # characters: varchar(255) in the tables of spec/greylisting-plugin.md
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_BOM = b"\xef\xbb\xbf"


def read_expires(text: str | None, now: int) -> int:
    """Return the moment a duration from now, or a date (its first moment in UTC), stands for.

    Raises ValueError with what was expected.
    """
    if text is None:
        return NEVER
    expires = _date(text) if _DATE.fullmatch(text) else now + _duration(text)
    if expires <= now:
        raise ValueError(f"expected a time that is not over yet, got {text!r}")
    return expires


def _date(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(f"expected a date that there is, as 2026-12-31, got {text!r}") from None


def _duration(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        wanted = f"{EXPECTED}, or a date as 2026-12-31"
        cause = str(error) if EXPECTED not in str(error) else f"expected {wanted}"
        raise ValueError(f"{cause}, got {text!r}") from None


def read_comment(text: str) -> str:
    """Return a comment as it is stored: valid Unicode, bounded. Raises ValueError."""
    comment = text.strip().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if len(comment) > MAX_COMMENT:
        raise ValueError(f"expected a comment of at most {MAX_COMMENT} characters")
    return comment


def read_subjects(texts: tuple[str, ...], *, domain: bool) -> tuple[list[Subject], list[str]]:
    """Return the subjects that the texts name, and an error for each text that names none."""
    subjects: list[Subject] = []
    errors: list[str] = []
    for text in texts:
        try:
            subjects.append(parse_subject(text, domain=domain))
        except ValueError as error:
            errors.append(str(error))
    return subjects, errors


def read_lines(data: bytes, name: str) -> tuple[dict[Subject, str], list[str]]:
    """Return the subjects of a file with their comments, and its errors as `file:line: ...`.

    One subject a line, and after a blank, if wanted, a comment; `#` begins a line to skip. Of
    lines with the same subject the last counts.
    """
    comments: dict[Subject, str] = {}
    errors: list[str] = []
    for number, raw in enumerate(data.removeprefix(_BOM).split(b"\n"), 1):
        line = raw.decode("utf-8", "surrogateescape").strip()
        if not line or line.startswith("#"):
            continue
        text, *rest = line.split(None, 1)
        try:
            subject = parse_subject(text)
            comments[subject] = read_comment(rest[0].lstrip("#")) if rest else ""
        except ValueError as error:
            errors.append(f"{name}:{number}: {error}")
    return comments, errors
