"""postgrey: what `db_dump` writes of its two databases, with or without `-p`.

postgrey.db           client network/sender/recipient    first,last
postgrey_clients.db   client address                     passes,last
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterator

from greylag.admin.imports import (
    TOO_LONG,
    Item,
    Items,
    Left,
    Lines,
    Mail,
    NoNumber,
    Trusted,
    client,
    count,
    seconds,
)

_HASHED = re.compile(rb"[0-9a-f]{40}")
_ESCAPE = re.compile(rb"\\(\\|[0-9a-fA-F]{2})")
_ENOUGH = 5  # passes after which postgrey lets a client in at once, unless it is told otherwise


class NoDump(Exception):
    """The lines are none of `db_dump`."""


def read(lines: Lines) -> Items:
    """Yield what one or several dumps have. Raises NoDump."""
    for number, key, value in _pairs(lines):
        if key is None or value is None:
            yield Left(number, TOO_LONG)
            continue
        try:
            yield _item(number, key, value)
        except NoNumber as error:
            yield Left(number, str(error))


def _item(number: int, key: bytes, value: bytes) -> Item:
    if _HASHED.fullmatch(key):
        return Left(number, "the key is a hash (postgrey --privacy): nobody can read it back")
    numbers = value.split(b",")
    if len(numbers) < 2:
        return Left(number, "the value is not two numbers")
    if b"/" not in key:
        passes, last = count(numbers[0]), seconds(numbers[1])
        trusted = passes >= _ENOUGH
        since = max(1, last - 3600 * max(0, passes - 1))  # it counts one an hour
        return Trusted((client(key),), b"", since, last, None if trusted else passes)
    address, _slash, rest = key.partition(b"/")
    sender, slash, recipient = rest.rpartition(b"/")
    if not slash or not recipient:
        return Left(number, "the key is not client/sender/recipient")
    first, last = seconds(numbers[0]), seconds(numbers[1])
    return Mail(client(address), sender, recipient, first, last, None)


def _pairs(lines: Lines) -> Iterator[tuple[int, bytes | None, bytes | None]]:
    """Yield keys and values, each with the number of its line; None for what is too long."""
    found = printed = data = False
    key: tuple[int, bytes | None] | None = None
    for number, line in lines:
        text = None if line is None else line.rstrip(b"\r\n")
        if text is not None and not data:
            printed = text == b"format=print" or (printed and text != b"format=bytevalue")
            if text == b"HEADER=END":
                found = data = True
                key = None
        elif text == b"DATA=END":
            data = False
        elif data and key is None:
            key = number, _unescaped(text, printed=printed)
        elif data and key is not None:
            yield key[0], key[1], _unescaped(text, printed=printed)
            key = None
    if not found:
        raise NoDump("expected what db_dump writes (a line HEADER=END)")


def _unescaped(text: bytes | None, *, printed: bool) -> bytes | None:
    if text is None:
        return None
    text = text.removeprefix(b" ")
    if printed:
        return _ESCAPE.sub(lambda m: b"\\" if m[1] == b"\\" else unhexlify(m[1]), text)
    try:
        return unhexlify(text)
    except ValueError:
        return b"?"  # no key, and no value
