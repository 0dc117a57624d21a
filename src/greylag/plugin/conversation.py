"""The fake conversation on descriptors 0 and 1, in a process of its own."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from time import monotonic

from greylag.wire.tempfail import BANNER, ROOM, TIMEOUT, Dialogue, End, Manner

Tell = Callable[[str, bytes], None]  # ">>>" or "<<<", and a line


def converse(refusal: bytes, manner: Manner, tell: Tell) -> End:
    """Talk to the client until it ends, or its time is over. Raises OSError where it is gone."""
    until = monotonic() + manner.seconds
    dialogue = Dialogue(refusal, manner.limit)
    _say(BANNER, until, tell)
    while _ready(0, select.POLLIN, until):
        data = os.read(0, ROOM)
        if not data:
            return End.HUNG_UP
        dialogue.feed(data)
        while (turn := dialogue.next_turn()) is not None:
            tell("<<<", turn.line)
            _say(turn.reply, until, tell)
            if turn.end is not None:
                return turn.end
    _say(TIMEOUT, monotonic() + 1, tell)
    return End.TIMEOUT


def _say(reply: bytes, until: float, tell: Tell) -> None:
    """Send a whole reply; a client that does not read it in time is gone to us."""
    tell(">>>", reply.rstrip())
    while reply:
        if not _ready(1, select.POLLOUT, until):
            raise TimeoutError
        reply = reply[os.write(1, reply) :]


def _ready(descriptor: int, events: int, until: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, events)
    left = until - monotonic()
    return left > 0 and bool(poll.poll(left * 1000))
