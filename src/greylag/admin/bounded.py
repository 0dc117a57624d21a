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


_ENDLESS = 64 * MOST  # bytes without a line's end: /dev/zero, or a sparse file


def numbered_lines(
    name: str, readline: Callable[[int], bytes], longest: int
) -> Iterator[tuple[int, bytes | None]]:
    """Yield lines with their numbers; None for one that is longer than it may be.

    Raises TooLong where a line seems to have no end.
    """
    number = 0
    while line := readline(longest + 1):
        number += 1
        if len(line) <= longest:
            yield number, line
            continue
        size = len(line)
        while not line.endswith(b"\n") and (line := readline(MOST)):
            size += len(line)
            if size > _ENDLESS:
                raise TooLong(f"{name}:{number}: expected a line of at most {_ENDLESS >> 20} MiB")
        yield number, None
