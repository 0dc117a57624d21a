"""The lines of what an admin named, read so that none of it can fill the memory.

/dev/zero has no end and no line, nor have a sparse file and a pipe that somebody fills with one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

MOST = 1 << 20  # bytes of a line: no log and no list has one of a hundredth of that


class TooLong(Exception):
    """A line, or all of them together, is longer than is read. The text names it."""


def bounded_lines(
    name: str, readline: Callable[[int], bytes], most: int = sys.maxsize
) -> Iterator[bytes]:
    """Yield lines that `readline` returns, `most` bytes in all. Raises TooLong.

    It waits for a line as long as its writer takes: `<(command)` and a FIFO may be slow.
    """
    number = size = 0
    while line := readline(MOST + 1):
        number += 1
        size += len(line)
        if len(line) > MOST:
            raise TooLong(f"{name}:{number}: expected a line of at most {MOST >> 20} MiB")
        if size > most:
            raise TooLong(f"{name}: has more than {most >> 20} MiB")
        yield line
