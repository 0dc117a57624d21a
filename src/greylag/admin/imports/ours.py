"""The lines of `greylag export`: each is checked in full, as a file may come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeAlias

from greylag.admin.entries import MAX_COMMENT
from greylag.admin.exporting import DEFERRAL, END, ENTRY, FIGURED, HEAD, SWITCHED, VERSION
from greylag.admin.imports import Left, Lines
from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.client import parse_address
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import Greylist
from greylag.core.record import Record
from greylag.core.subject import NETWORK, Network, Subject, named, parse_subject
from greylag.core.switch import MOST_WHO, Switch
from greylag.core.triplet import Triplet, kind_of
from greylag.core.value import value

LONGEST = 65536  # bytes of a line: a comment has 255 characters
_MOST_COUNT = 1 << 53
_MOST_NAMES = 2000  # of the figures of one hour
_LONGEST_NAME = 255  # of an address
_LONGEST_NETWORK = 300  # with the kind of a pool before its name
_POOLS = {kind.name.lower(): kind for kind in PoolKind}
_PURPOSES = {purpose.value: purpose for purpose in Purpose}
_SWITCHES = {mode.value: mode for mode in (Greylist.OFF, Greylist.OBSERVE)}
_HISTORY = "the history of single mails is not imported"

Fields: TypeAlias = Mapping[str, Any]


class NoExport(Exception):
    """The lines are none of `greylag export`, or of a newer version. The text says which."""


@value
class Hour:
    """The figures of one hour."""

    hour: int
    figures: Mapping[str, int]


@value
class Cut:
    """The last line is missing, or says that there were others before it."""

    number: int


Found: TypeAlias = tuple[Triplet, Record] | Entry | Switch | Hour | Left | Cut


class Wrong(ValueError):
    """What is wrong with a line."""


def read(lines: Lines) -> Iterator[Found]:
    """Yield what the lines say, each checked. Raises NoExport where the first is none of ours."""
    number, ended = 0, False
    for number, line in lines:
        try:
            fields = _fields(line)
            if number == 1:
                _head(fields)
                continue
            if fields.get("kind") == END:
                ended = _count(fields, "lines") == number
                continue
            ended = False
            yield _read(fields)
        except Wrong as error:
            if number == 1:
                raise NoExport(f"expected the first line of `greylag export`: {error}") from error
            yield Left(number, str(error))
    if number == 0:
        raise NoExport("expected the first line of `greylag export`, and it is empty")
    if not ended:
        yield Cut(number)


def _head(fields: Fields) -> None:
    if fields.get("kind") != HEAD:
        raise Wrong("it is another file")
    version = _count(fields, "version")
    if version != VERSION:
        raise NoExport(f"it has version {version}, and this greylag reads version {VERSION}")


def _fields(line: bytes | None) -> Fields:
    if line is None:
        raise Wrong(f"it is longer than {LONGEST} bytes")
    try:
        found = json.loads(line.decode("utf-8"), parse_float=_no_number, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise Wrong("it is not UTF-8") from None
    except RecursionError:
        raise Wrong("it is nested too deep") from None
    except Wrong:
        raise
    except ValueError:
        raise Wrong("it is not JSON") from None
    if not isinstance(found, dict):
        raise Wrong("it is no object of JSON")
    return found


def _no_number(_text: str) -> NoReturn:
    raise Wrong("a number is not whole")


def _read(fields: Fields) -> Found:
    kind = fields.get("kind")
    if kind == ENTRY:
        return _entry(fields)
    if kind == SWITCHED:
        return _switch(fields)
    if kind == FIGURED:
        return _hour(fields)
    if kind == DEFERRAL:
        raise Wrong(_HISTORY)
    return _record(fields, kind)


def _record(fields: Fields, kind: object) -> tuple[Triplet, Record]:
    key = Triplet(_network(_text(fields, "network", _LONGEST_NETWORK)), _name(fields, "sender"), "")
    key = Triplet(key.network, key.sender, _name(fields, "recipient"))
    if kind_of(key) != kind:
        raise Wrong("its kind is not known, or is not that of its fields")
    times = _time(fields, "first_seen"), _time(fields, "defer_until"), _time(fields, "expires")
    return key, Record(*times, _count(fields, "blocked"), _count(fields, "passed"))


def _network(text: str) -> bytes:
    packed = parse_address(text.encode("utf-8", "replace"))
    if packed is not None:
        return packed
    kind, _colon, name = text.partition(":")
    if kind not in _POOLS or not name.isascii() or not name.isprintable():
        raise Wrong("network is no address, and no name of a pool")
    try:
        return Pool(_POOLS[kind], name).packed
    except ValueError:
        raise Wrong("network is no address, and no name of a pool") from None


def _entry(fields: Fields) -> Entry:
    purpose = _PURPOSES.get(_text(fields, "purpose"))
    if purpose is None:
        raise Wrong("purpose is none that is known")
    comment = _text(fields, "comment", MAX_COMMENT)
    origin = _text(fields, "origin", MAX_COMMENT)
    spoofable = fields.get("spoofable")
    if not isinstance(spoofable, bool):
        raise Wrong("spoofable is neither true nor false")
    times = _time(fields, "denied_until"), _time(fields, "expires")
    created = _time(fields, "created")
    about = (_subject(fields), *times, comment, created, 0, None)
    return Entry(*about, purpose, origin, spoofable)


def _subject(fields: Fields) -> Subject:
    kind, text = _text(fields, "names"), _name(fields, "subject")
    try:
        if kind != NETWORK:
            if not text:
                raise Wrong("subject is empty")
            return named(kind, text)
        found = parse_subject(text)
    except KeyError:
        raise Wrong("names is no kind that is known") from None
    except ValueError as error:
        raise Wrong(str(error)) from None
    if not isinstance(found, Network):
        raise Wrong("subject is no address and no range")
    return found


def _switch(fields: Fields) -> Switch:
    mode = _SWITCHES.get(_text(fields, "mode"))
    if mode is None:
        raise Wrong("mode is neither off nor observe")
    return Switch(
        mode, _time(fields, "until"), _time(fields, "since"), _text(fields, "who", MOST_WHO)
    )


def _hour(fields: Fields) -> Hour:
    hour, figures = _time(fields, "hour"), fields.get("figures")
    if not isinstance(figures, dict) or len(figures) > _MOST_NAMES or hour % 3600:
        raise Wrong("its figures are none of an hour")
    return Hour(hour, {_figure(name): _count(figures, name) for name in figures})


def _figure(name: str) -> str:
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= _LONGEST_NAME):
        raise Wrong("a figure has a bad name")
    return name


def _text(fields: Fields, name: str, most: int = _LONGEST_NAME) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or len(text) > most:
        raise Wrong(f"{name} is no text of at most {most} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Wrong(f"{name} is no text of Unicode") from None
    return text


def _name(fields: Fields, name: str) -> str:
    """Return an address as keys have it: visible ASCII without blanks."""
    text = _text(fields, name)
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise Wrong(f"{name} is no address as greylag writes it: visible ASCII")
    return text


def _whole(fields: Fields, name: str, most: int) -> int:
    number = fields.get(name)
    if type(number) is not int or not 0 <= number <= most:
        raise Wrong(f"{name} is no whole number from 0 to {most}")
    return number


def _time(fields: Fields, name: str) -> int:
    return _whole(fields, name, NEVER)


def _count(fields: Fields, name: str) -> int:
    return _whole(fields, name, _MOST_COUNT)
