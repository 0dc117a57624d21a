"""Reading what an admin wants on a list: subjects, comments, dates, and whole files of them.

Everything is read before anything is stored, and every error is reported, not the first alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from greylag.core.accesslist import NEVER
from greylag.core.duration import EXPECTED, parse_duration
from greylag.core.kinds import parse_kind
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    Network,
    SenderMailbox,
    Subject,
    numeric,
    parse_subject,
)

if TYPE_CHECKING:
    from greylag.admin.tables import LineReader
    from greylag.core.policy import Policy

MAX_COMMENT = 255  # characters: varchar(255) in the old plugin's tables (store/mysql/schema.py)
MOST_ERRORS = 1000  # lines of a file
_NAME = re.compile(r"[a-z0-9.-]*[a-z][a-z0-9-]*", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_BOM = b"\xef\xbb\xbf"
_STDIN = ("-", "stdin", "<stdin>")
_LONGEST_ORIGIN = 64  # characters
_SHOWN = 80  # characters of a wrong value that an error quotes
# What Postfix's access(5) and sendmail's access table have behind a key.
_ACTION = re.compile(
    r"ok|permit|dunno|reject|deny|block|allow|accept|defer|defer_if_permit|defer_if_reject|discard"
    r"|hold|filter|prepend|redirect|bcc|info|warn|ignore|relay|skip|error:.*|\d+",
    re.IGNORECASE | re.ASCII,
)


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


def read_subjects(
    texts: tuple[str, ...], kind: str | None, below: bool = False
) -> tuple[list[Subject], list[str]]:
    """Return the subjects that the texts name, and an error for each text that names none.

    Without a kind a text is a client address or range, or a recipient domain.
    """
    subjects: list[Subject] = []
    errors: list[str] = []
    for text in texts:
        try:
            found = parse_subject(text) if kind is None else parse_kind(text, kind, below=below)
            subjects.append(found)
        except ValueError as error:
            errors.append(f"{error}{_instead(text, kind)}")
    return subjects, errors


def unmatched(subjects: Iterable[Subject], policy: Policy) -> list[str]:
    """Return an error for each sender as keys have it: with `#` for what changes from mail to mail.

    Lists are asked for the sender as it comes, so an entry for it would never speak.
    """
    return [
        f"expected a sender as it comes, got {subject.name!r}: `#` stands for what changes from "
        "mail to mail, so no mail has this sender (a sender domain names all senders of a list)"
        for subject in subjects
        if policy.normalise and isinstance(subject, SenderMailbox) and "#" in subject.name
    ]


def _instead(text: str, kind: str | None) -> str:
    """Return what an admin can do instead who typed a mailbox, a wildcard or a bare name."""
    if kind not in (None, DOMAIN):
        return ""
    if "@" in text:
        return " (--sender takes it for who mail is from, --recipient for whom it is to)"
    name = text.strip().removeprefix("*").strip(".")
    if not _NAME.fullmatch(name):
        return ""
    if "." not in name and kind is None:
        return " (--domain takes it for a recipient domain)"
    return f" (to name the recipient domain itself, write {name})" if name != text else ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the lines of a file are to be read."""

    name: str  # of the file, for errors
    kind: str | None = None  # of all lines; None: addresses and ranges, and a name is an error
    below: bool = False  # with the domains below each
    mask: bool = False  # clear the host bits of ranges; else they are an error
    origin: str = ""  # of the entries that come of it


def origin_of(path: str, name: str | None) -> str:
    """Return what the entries of a file have as their origin; nothing for standard input.

    That is how `import --replace` knows an entry again. Raises ValueError for a bad name.
    """
    given = name if name is not None else ("" if path in _STDIN else os.path.basename(path))
    if name is not None and not given.strip():
        raise ValueError("expected a name that is not empty")
    if len(given) > _LONGEST_ORIGIN or set(given) & set("[]:"):
        raise ValueError(
            f"expected a name of at most {_LONGEST_ORIGIN} characters without brackets and colons: "
            "--source NAME gives one"
        )
    return read_comment(given)


def read_lines(
    lines: Iterable[bytes], how: Reading, read: LineReader | None = None
) -> tuple[dict[Subject, str], list[str]]:
    """Return the subjects of a file with their comments, and its errors as `file:line: ...`.

    One subject a line, and after a blank, if wanted, a comment; `#` begins a line to skip. Of
    lines with the same subject the last counts. `read` reads a line of another format. After
    MOST_ERRORS no more is read: it is another kind of file, and one without an end would fill the
    memory with errors.
    """
    read = read or partial(_read_plain, how=how)
    comments: dict[Subject, str] = {}
    errors: list[str] = []
    for number, raw in enumerate(lines, 1):
        if len(errors) == MOST_ERRORS:
            errors.append(f"{how.name}: line {number} and all that follow were not read")
            break
        whole = raw.removeprefix(_BOM) if number == 1 else raw
        try:
            found = read(whole.decode("utf-8", "surrogateescape").rstrip())
            if found is not None:
                comments[found[0]] = read_comment(found[1])
        except ValueError as error:
            errors.append(f"{how.name}:{number}: {error}")
    return comments, errors


def _read_plain(line: str, how: Reading) -> tuple[Subject, str] | None:
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    text, comment = _subject_and_comment(line)
    return _subject(text, how), comment


def _subject(text: str, how: Reading) -> Subject:
    """Read a subject of a file of which nobody has looked at each line.

    A name may be meant as a client's or a sender's, as in postgrey's whitelist_clients. Taken for
    a recipient domain it would let in all mail to it, and the client stays greylisted.
    """
    kind = how.kind
    # Beside names of clients, and recipient domains, such files have addresses.
    if kind in (None, CLIENT_NAME, DOMAIN):
        try:
            subject = parse_subject(text, mask=how.mask)
        except ValueError:
            if kind is None or numeric(text):
                raise
        else:
            if isinstance(subject, Network):
                return subject
    if kind is None:
        raise ValueError(
            f"expected a client address or range; {text[:_SHOWN]!r} is a name: --client-name takes "
            "names for clients', --domain for recipient domains (mail TO them)"
        )
    return parse_kind(text, kind, below=how.below)


def _subject_and_comment(line: str) -> tuple[str, str]:
    """Cut a line into its subject and its comment.

    What stands behind the subject without a `#` is a comment only if it cannot be anything else.
    Raises ValueError for a second subject, and for the action of a Postfix or sendmail table.
    """
    subject, *rest = line.split(None, 1)
    comment = rest[0] if rest else ""
    if comment.startswith("#"):
        return subject, comment.lstrip("#")
    words = comment.partition("#")[0].split()
    if words and _ACTION.fullmatch(words[0]):
        raise ValueError(
            f"expected one subject and a comment; {words[0][:_SHOWN]!r} is an action of an access "
            "table, which --format postfix reads (write # before a comment)"
        )
    for word in words:
        if _is_subject(word.strip(",;")):
            raise ValueError(
                f"expected one subject a line; {word[:_SHOWN]!r} is another "
                "(write # before a comment)"
            )
    return subject, comment


def _is_subject(word: str) -> bool:
    try:
        parse_subject(word, mask=True)
    except ValueError:
        return False
    return True
