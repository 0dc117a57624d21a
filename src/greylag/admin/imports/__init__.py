"""What other programs know, read from their files: pure generators of the items below.

Whatever stands in a file, each line gives an item, or is left out with a reason. Who takes the
items into a store is `admin.taking`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from greylag.core.accesslist import Purpose
from greylag.core.client import parse_address
from greylag.core.subject import Subject
from greylag.core.value import value

LONGEST = 8192  # bytes of a line: two addresses have 512
_SHOWN = 60  # characters of a wrong value
_LATEST = 253402300799  # 9999-12-31

Lines: TypeAlias = Iterable[tuple[int, bytes | None]]  # with their numbers; None: it is too long


@value
class Mail:
    """A triplet. Addresses are as the program wrote them."""

    client: bytes  # packed; of a network its first address
    sender: bytes
    recipient: bytes
    first: int  # contact, in Unix seconds
    last: int  # contact, or pass
    passed: bool | None  # None: it passed where last is late enough after first
    expires: int | None = None  # None: as our policy says


@value
class Trusted:
    """A client that the program lets in without a delay, with mail of one domain or of any."""

    clients: tuple[bytes, ...]  # packed
    domain: bytes  # empty: any
    first: int | None  # None: not known
    last: int
    passes: int | None = None  # so far; None: as many as it takes


@value
class Connected:
    """A client whose connections are known, whoever mails whom."""

    client: bytes  # packed
    first: int
    last: int


@value
class Trapped:
    """A client that mailed a trap."""

    client: bytes  # packed
    until: int


@value
class Listed:
    """An entry of a list."""

    subject: Subject
    purpose: Purpose
    comment: str
    denies: bool = False


@value
class Left:
    """What is left out, and why, in words that are the same for all such lines."""

    number: int  # of the line
    why: str


Item: TypeAlias = Mail | Trusted | Connected | Trapped | Listed | Left
Items: TypeAlias = Iterator[Item]

TOO_LONG = f"the line is longer than {LONGEST} bytes"


class NoNumber(ValueError):
    """The text is no number, or none that can be meant. What it says is why a line is left out."""


def seconds(text: bytes) -> int:
    """Return Unix seconds. Raises NoNumber."""
    if not (text.isdigit() and len(text) <= len(str(_LATEST)) and 0 < int(text) <= _LATEST):
        raise NoNumber("a time is no number of seconds since 1970")
    return int(text)


def count(text: bytes) -> int:
    """Return a number of times, bounded. Raises NoNumber."""
    if not (text.isdigit() and len(text) <= len(str(_LATEST))):
        raise NoNumber("a count is no number")
    return int(text)


def client(text: bytes) -> bytes:
    """Return a packed address. Raises NoNumber."""
    packed = parse_address(text)
    if packed is None:
        raise NoNumber("the client is no address")
    return packed


def mailbox(text: bytes) -> bytes:
    """Return an address without the angle brackets that some programs write."""
    return text[1:-1] if text[:1] == b"<" and text[-1:] == b">" else text
