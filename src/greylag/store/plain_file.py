"""Reading small files that an admin named: what is none holds nobody, and fills no memory.

A pipe that nobody ever writes to would hold the daemon's loop for ever, and /dev/zero has no end.
"""

from __future__ import annotations

import os
from stat import S_ISREG

NOT_PLAIN = "expected a plain file"
MOST = 1 << 20  # bytes: the largest files that are read here have some thousands


def read_plain(path: str) -> bytes:
    """Return what is in a file. Raises OSError, which names the path."""
    _refuse_others(path, os.stat(path))  # to open a device may be enough to set it going
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _refuse_others(path, os.fstat(handle))
        with open(handle, "rb", closefd=False) as file:
            data = file.read(MOST + 1)
    finally:
        os.close(handle)
    if data is None:  # /proc/kmsg, and such: a file by its type, but one that has to be waited for
        raise OSError(0, NOT_PLAIN, path)
    if len(data) > MOST:
        raise OSError(0, "expected a file of at most 1 MiB", path)
    return data


def _refuse_others(path: str, found: os.stat_result) -> None:
    if not S_ISREG(found.st_mode):
        raise OSError(0, NOT_PLAIN, path)
