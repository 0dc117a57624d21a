"""How much work something is: counted, as seconds tell as much about the machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Seconds by which a busy machine may miss a deadline: a test tells a deadline from none at all.
LATE = 10.0
# Seconds: before a usual resolver gives up, whose first pause is 5 s (resolv.conf(5)).
BEFORE_RESOLVERS = 4.5


class Calls:
    """How many functions were called in this thread, those of Python's own library, too."""

    def __init__(self) -> None:
        self.number = 0

    def count(self, _frame: FrameType, event: str, _called: object) -> None:
        self.number += event in {"call", "c_call"}


@contextmanager
def calls() -> Iterator[Calls]:
    """Count calls: the same code with the same input makes about as many on each machine."""
    counted, before = Calls(), sys.getprofile()
    sys.setprofile(counted.count)
    try:
        yield counted
    finally:
        sys.setprofile(before)
