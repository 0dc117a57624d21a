"""milter-greylist: the lines of its dump file.

    client <TAB> <sender> <TAB> <recipient> <TAB> time [AUTO] # date

Of a tuple that waits it is the time from which a retry passes; of one that has passed (AUTO) the
time until which that is remembered.
"""

from __future__ import annotations

from greylag.admin.imports import (
    TOO_LONG,
    Item,
    Items,
    Left,
    Lines,
    Mail,
    NoNumber,
    client,
    mailbox,
    seconds,
)

_COLUMNS = 4


def read(lines: Lines, now: int) -> Items:
    """Yield what the dump says."""
    for number, line in lines:
        if line is None:
            yield Left(number, TOO_LONG)
            continue
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        try:
            yield _item(number, text, now)
        except NoNumber as error:
            yield Left(number, str(error))


def _item(number: int, text: bytes, now: int) -> Item:
    columns = text.split(b"\t")
    if len(columns) != _COLUMNS:
        return Left(number, "the line is not client, sender, recipient and time")
    address, sender, recipient, rest = columns
    words = rest.partition(b"#")[0].split()
    if not words or words[1:] not in ([], [b"AUTO"], [b"TARPIT"]):
        return Left(number, "the time is not a number, with or without AUTO")
    moment = seconds(words[0])
    who = client(address), mailbox(sender), mailbox(recipient)
    if words[1:] != [b"AUTO"]:
        return Mail(*who, min(moment, now), min(moment, now), passed=False)
    if moment <= now:
        return Left(number, "it has expired")
    return Mail(*who, now, now, passed=True, expires=moment)
