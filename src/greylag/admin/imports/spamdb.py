"""OpenBSD's spamd: what `spamdb` prints.

GREY|client|helo|sender|recipient|first|pass|expire|block|pass
WHITE|client|||first|pass|expire|block|pass
TRAPPED|client|expire
SPAMTRAP|recipient
"""

from __future__ import annotations

from greylag.admin.imports import (
    TOO_LONG,
    Connected,
    Item,
    Items,
    Left,
    Lines,
    Listed,
    Mail,
    NoNumber,
    Trapped,
    Trusted,
    client,
    mailbox,
    seconds,
)
from greylag.core.accesslist import Purpose
from greylag.core.kinds import parse_kind
from greylag.core.subject import RECIPIENT

_FIELDS = {b"GREY": 10, b"WHITE": 9, b"TRAPPED": 3, b"SPAMTRAP": 2}


def read(lines: Lines) -> Items:
    """Yield what the lines say."""
    for number, line in lines:
        if line is None:
            yield Left(number, TOO_LONG)
            continue
        text = line.strip()
        if not text:
            continue
        try:
            yield from _items(number, text)
        except NoNumber as error:
            yield Left(number, str(error))


def _items(number: int, text: bytes) -> list[Item]:
    fields = text.split(b"|")
    kind = fields[0]
    if kind not in _FIELDS:
        return [Left(number, "the line begins with none of GREY, WHITE, TRAPPED and SPAMTRAP")]
    if len(fields) < _FIELDS[kind] or (kind != b"GREY" and len(fields) != _FIELDS[kind]):
        return [Left(number, "the line has not as many fields as its kind has")]
    if kind == b"GREY":
        return [_grey(fields)]
    if kind == b"WHITE":
        first, passed = seconds(fields[4]), seconds(fields[5])
        who = client(fields[1])
        last = max(first, passed)
        return [Connected(who, first, last), Trusted((who,), b"", first, last)]
    if kind == b"TRAPPED":
        return [Trapped(client(fields[1]), seconds(fields[2]))]
    return [_trap(number, fields[1])]


def _grey(fields: list[bytes]) -> Item:
    # A sender may have a `|`: what is numbers stands at the end.
    first, *_rest = fields[-5:]
    sender, recipient = b"|".join(fields[3:-6]), fields[-6]
    at = seconds(first)
    return Mail(client(fields[1]), mailbox(sender), mailbox(recipient), at, at, passed=False)


def _trap(number: int, text: bytes) -> Item:
    try:
        subject = parse_kind(mailbox(text).decode("utf-8"), RECIPIENT, options=False)
    except ValueError:
        return Left(number, "the trap is no mailbox")
    return Listed(subject, Purpose.TRAP, "")
