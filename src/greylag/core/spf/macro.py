"""Macros of SPF records: the text of a domain that is filled in for each check (RFC 7208, 7).

A spec is parsed once, so a record with a fault in any term is refused before anything is asked.
It is filled in from its right end, and only as far as a domain name can be long: a
record of many macros costs no more than its own length.
"""

from __future__ import annotations

from greylag.core.names import LONGEST_NAME, name_of
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGITS = "0123456789"
_LETTERS = frozenset("slodiphv")  # c, r and t stand in explanations alone (7.2)
_OF_THE_DOMAIN = frozenset("dov")  # the same for every client, sender's mailbox and HELO name
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_DELIMITERS = ".-+,/_="
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class RecordError(ValueError):
    """A record breaks the grammar (RFC 7208, 12): permerror."""


@value
class Macro:
    """One `%{...}`."""

    letter: str
    quoted: bool = False  # written as a capital: the value is quoted as in URLs
    keep: int = 0  # so many parts from the right; 0: all
    reverse: bool = False
    delimiters: str = "."

    def filled(self, values: Mapping[str, str | None]) -> str | None:
        """Return the text that stands for the macro, or None if it can be no part of a name."""
        text = values[self.letter]
        if text is None:
            return None
        for delimiter in self.delimiters[1:]:
            text = text.replace(delimiter, self.delimiters[0])
        parts = text.split(self.delimiters[0])
        if self.reverse:
            parts.reverse()
        text = ".".join(parts[-self.keep :])
        if self.quoted:
            text = "".join([c if c in _UNRESERVED else f"%{ord(c):02X}" for c in text])
        return text


Spec = tuple[str | Macro, ...]


def parse_spec(text: str) -> Spec:
    """Parse a domain-spec: its end must be a macro, or a dot and a top label."""
    parts, literal = _parse(text)
    if literal:
        _rest, dot, top = literal.removesuffix(".").rpartition(".")
        label = top.lower()
        plain = label and label.strip("-") == label and _HOST.issuperset(label)
        if not (dot and plain) or label.isdigit():
            raise RecordError(text)
    elif not parts:
        raise RecordError(text)
    return parts


def check_macros(text: str) -> None:
    """Refuse a faulty macro-string: that of a modifier which nobody knows."""
    _parse(text)


def _parse(text: str) -> tuple[Spec, str]:
    """Return the parts of a macro-string, and the literal text that it ends with."""
    parts: list[str | Macro] = []
    at = 0
    while (percent := text.find("%", at)) >= 0:
        if percent > at:
            parts.append(text[at:percent])
        kind = text[percent + 1 : percent + 2]
        at = percent + 2
        if kind == "{":
            end = text.find("}", at)
            if end < 0:
                raise RecordError(text)
            parts.append(_macro(text[at:end]))
            at = end + 1
        elif kind in _ESCAPES:
            parts.append(_ESCAPES[kind])
        else:
            raise RecordError(text)
    literal = text[at:]
    return (*parts, literal) if literal else tuple(parts), literal


def _macro(inner: str) -> Macro:
    letter = inner[:1].lower()
    rest = inner[1:].lstrip(_DIGITS)
    digits = inner[1 : len(inner) - len(rest)]
    number = digits.lstrip("0")
    reverse = rest[:1] in ("r", "R")
    delimiters = rest[1:] if reverse else rest
    if letter not in _LETTERS or delimiters.strip(_DELIMITERS) or (digits and not number):
        raise RecordError(inner)
    # No name has a thousand parts. Python refuses to read numbers of some thousand digits.
    keep = int(number) if 0 < len(number) <= 3 else 0
    unique = "".join(dict.fromkeys(delimiters)) or "."
    return Macro(letter, inner[:1].isupper(), keep, reverse, unique)


def is_fixed(spec: Spec) -> bool:
    """Tell whether a spec is the same domain for every client and mailbox."""
    return all(isinstance(part, str) or part.letter in _OF_THE_DOMAIN for part in spec)


def needs(spec: Spec, letter: str) -> bool:
    """Tell whether a spec has a macro of this letter."""
    return any(isinstance(part, Macro) and part.letter == letter for part in spec)


def fill(spec: Spec, values: Mapping[str, str | None]) -> str | None:
    """Return the domain that a spec stands for, or None if that can be no domain.

    What is over-long loses labels at its left (7.3).
    """
    name = ""
    for part in reversed(spec):
        text = part if isinstance(part, str) else part.filled(values)
        if text is None:
            return None
        name = text + name
        if len(name) > LONGEST_NAME + 1:
            break
    name = name.removesuffix(".")
    if len(name) > LONGEST_NAME:
        cut = name[-LONGEST_NAME - 1 :]
        name = cut.partition(".")[2]
    return name_of(name)


def printable(raw: bytes) -> str | None:
    """Return what a macro stands for, or None for what no name can hold.

    With bytes outside ASCII a term that uses them matches nothing (RFC 8616, 4). Control characters
    and what is longer than any name are treated alike.
    """
    if len(raw) > LONGEST_NAME or not raw.isascii():
        return None
    text = raw.decode("ascii")
    return text if text.isprintable() else None
