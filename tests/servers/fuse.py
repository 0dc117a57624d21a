"""A file system that opens its one file and then never answers again: FUSE, by its own protocol.

Whoever closes the file, or reads it, waits for as long as we wish.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DEVICE = Path("/dev/fuse")
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _RELEASE, _FLUSH, _INIT = 1, 2, 3, 14, 15, 18, 25, 26
_HEADER, _ANSWER, _DETACH = "<IIQQIIII", "<IiQ", 2
_NOT_THERE = -38  # ENOSYS
_LIBC = ctypes.CDLL(None, use_errno=True)


def _attributes(node: int) -> bytes:
    mode = 0o40755 if node == 1 else 0o100666
    return struct.pack("<6Q10I", node, 0, *[0] * 4, *[0] * 3, mode, 1, 0, 0, 0, 4096, 0)


_PATIENCE = 10  # seconds until the last file is closed, and the kernel ends the connection


class Silent:
    """The server of the file system."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "file"
        self._folder = str(folder).encode()
        self._device = os.open(DEVICE, os.O_RDWR)
        self._unanswered: list[int] = []
        self._lets_go = False
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if _LIBC.mount(b"silent", self._folder, b"fuse", 0, options.encode()):
            os.close(self._device)
            pytest.skip("no FUSE here")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many wait for us."""
        return len(self._unanswered)

    def _serve(self) -> None:
        with suppress(OSError):  # unmounted
            while True:
                self._take(os.read(self._device, 1 << 18))

    def _take(self, request: bytes) -> None:
        _size, what, unique, node, *_who = struct.unpack_from(_HEADER, request)
        if what == _FORGET:
            return
        if what in (_READ, _FLUSH, _RELEASE) and not self._lets_go:
            self._unanswered.append(unique)
        elif what == _INIT:
            self._answer(
                unique, struct.pack("<4I2H2I2HI", 7, 31, 65536, 0, 10, 10, 65536, 1, 0, 0, 0)
            )
        elif what == _LOOKUP:
            self._answer(unique, struct.pack("<4Q2I", 2, 0, 3600, 3600, 0, 0) + _attributes(2))
        elif what == _GETATTR:
            self._answer(unique, struct.pack("<QII", 3600, 0, 0) + _attributes(node))
        elif what == _OPEN:
            self._answer(unique, struct.pack("<QII", 1, 1, 0))
        else:
            self._answer(unique, b"", 0 if self._lets_go else _NOT_THERE)

    def _answer(self, unique: int, body: bytes, error: int = 0) -> None:
        if error == 0 and len(body) == 36:  # of INIT: the kernel wants the fields that are new, too
            body += bytes(28)
        os.write(self._device, struct.pack(_ANSWER, 16 + len(body), error, unique) + body)

    def end(self) -> None:
        """Let all go who wait, and unmount."""
        self._lets_go = True
        for unique in self._unanswered:
            with suppress(OSError):
                self._answer(unique, b"")
        _LIBC.umount2(self._folder, _DETACH)
        self._thread.join(_PATIENCE)
        if not self._thread.is_alive():  # else it would read from what gets the number next
            os.close(self._device)


@contextmanager
def silent(folder: Path) -> Iterator[Silent]:
    """Mount such a file system for a while."""
    if os.geteuid() != 0 or not DEVICE.exists():
        pytest.skip("only root mounts, where there is FUSE")
    folder.mkdir()
    server = Silent(folder)
    try:
        yield server
    finally:
        server.end()
