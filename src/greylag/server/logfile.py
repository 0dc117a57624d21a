"""Where the daemon's log goes, and the thread that writes it.

Whoever reads the log may stop, its disk may fill up, a FIFO may stand at its path: the thread alone
waits then. What it cannot keep is dropped and counted; the log tells how many lines, once it can.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from collections import deque
from contextlib import suppress
from time import gmtime, strftime, time

from greylag.core.verdict import WARN
from greylag.server.rest import rest
from greylag.wire.logline import BEGINNINGS, format_event

PREFIX = "greylag: "
_MAX_HELD = 4 << 20  # bytes that wait for a slow reader of the log; more is dropped
_PAUSE = 0.1  # seconds between writes: under load a thousand lines go together
_GLANCE = 0.2  # seconds until a writer that waits looks whether it is still wanted
_AT_ONCE = 1 << 18  # bytes in one write to a file; a pipe takes PIPE_BUF without waiting
_MODE = 0o640  # who mails whom is nobody else's business


class LogFile:
    """A file, or stderr: what takes the bytes. Nothing of it is called in the loop."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self.path = path
        self._descriptor = _open(path) if path else _stderr()
        self._torn = path != "" and _ends_torn(path)
        regular = self._descriptor >= 0 and stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._most = _AT_ONCE if regular else select.PIPE_BUF
        self._poll = select.poll()
        if self._descriptor >= 0:
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, data: bytes, wanted: threading.Event) -> bytes:
        """Write whole lines; return what could not be written, from the torn line on.

        Waits for the reader for as long as `wanted` is set.
        """
        if self._torn and not self._some(b"\n", wanted):
            return data
        self._torn = False  # what was cut off is closed before the next event
        while data:
            cut = data.rfind(b"\n", 0, self._most) + 1 or self._most
            written = self._some(data[:cut], wanted)
            if not written:
                break
            self._torn = data[written - 1 : written] != b"\n"
            data = data[written:]
        return data

    def _some(self, data: bytes, wanted: threading.Event) -> int:
        try:
            while self._descriptor >= 0:
                if self._poll.poll(_GLANCE * 1000):
                    return os.write(self._descriptor, data)
                if not wanted.is_set():
                    break
        except OSError:
            pass  # nobody is left to tell
        return 0

    def close(self) -> None:
        """Let go of a file; stderr is not ours to close."""
        if self.path:
            with suppress(OSError):
                os.close(self._descriptor)


def _open(path: str) -> int:
    flags = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_WRONLY, _MODE)
    except OSError:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            raise
        return os.open(path, flags | os.O_RDWR, _MODE)  # a FIFO whose reader may still come


def _ends_torn(path: str) -> bool:
    """Tell whether a file's last line has no end, as after a full disk."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = os.fstat(handle).st_size
            return size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        finally:
            os.close(handle)
    return False


def _stderr() -> int:
    return sys.stderr.fileno() if sys.stderr is not None else -1


class LogWriter(threading.Thread):
    """Writes lines in their order; `add`, `reopen` and `end` return at once."""

    def __init__(self, path: str, *, stamped: bool = False) -> None:
        """Raises OSError where the file cannot be opened. Lines get their time if `stamped`."""
        super().__init__(name="greylag-log", daemon=True)
        self._path = path
        self._file = LogFile(path)
        self._lines: deque[tuple[int, str]] = deque()  # when, and what
        self._added = self._taken = 0  # bytes; each is changed in one thread alone
        self._refused = self._lost = self._told = 0  # lines; the same
        self._wake = threading.Event()
        self._wanted = threading.Event()  # to wait for the reader
        self._wanted.set()
        self._reopen = False
        self._failure: str | None = None
        self.stamped = self._to_stamp = stamped
        self._second = (0, "")  # the stamp that was made last, and of when
        self._ended = False

    @property
    def dropped(self) -> int:
        """Return how many lines were not written."""
        return self._refused + self._lost

    def _stamp(self, when: int) -> str:
        if not self.stamped:
            return ""
        made, stamp = self._second
        if when != made:
            stamp = strftime("%Y-%m-%dT%H:%M:%SZ ", gmtime(when))
            self._second = when, stamp
        return stamp

    def add(self, event: str) -> None:
        """Have an event written as a line, or count it as dropped."""
        line = f"{PREFIX}{event}\n"
        if self._added - self._taken > _MAX_HELD:
            self._refused += 1
        else:
            self._lines.append((int(time()), line))
            self._added += len(line)
        if not self._wake.is_set():
            self._wake.set()

    def stamp(self, *, stamped: bool, at_once: bool) -> None:
        """Have lines get their time, or not: from now on, or from the next file on."""
        self._to_stamp = stamped
        if at_once:
            self.stamped = stamped

    def reopen(self, path: str) -> None:
        """Have this file opened, anew if it is the same.

        What the reader of the one before does not take any more is dropped.
        """
        if not (path or self._path):
            return  # stderr stays what it is
        self._path = path
        self._wanted.clear()  # before what makes the thread set it again
        self._reopen = True
        self._wake.set()

    def end(self, patience: float) -> None:
        """Write what is held, if that can be done in so many seconds."""
        self._ended = True
        self._wake.set()
        self.join(patience / 2)
        self._wanted.clear()
        self.join(patience / 2)

    def run(self) -> None:
        """Write, until the end."""
        while True:
            try:
                self._wake.wait()
                self._wake.clear()
                ended = self._ended
                if self._reopen:
                    self._open_anew()
                self._write()
                if ended:
                    return
            except Exception:  # noqa: BLE001, S110 - no memory: the next line is as good
                pass
            try:  # noqa: SIM105 - there may be no memory for `suppress` itself
                rest(_PAUSE)
            except MemoryError:  # any call can fail so; then the next lines come sooner
                pass

    def _write(self) -> None:
        taken: list[str] = []
        try:
            while self._lines:
                when, line = self._lines.popleft()
                self._taken += len(line)
                taken.append(self._stamp(when) + line)  # as the file wants it that is open now
            dropped = self.dropped
            if dropped > self._told:
                number = dropped - self._told
                told = format_event({"event": "log-dropped", "lines": number})
                stamp = self._stamp(int(time()))
                taken.insert(0, f"{stamp}{PREFIX}{BEGINNINGS[WARN]}{told}\n")
            left = self._file.write("".join(taken).encode("ascii"), self._wanted)
        except Exception:
            self._lost += len(taken)
            raise
        self._count(taken, left, dropped)

    def _count(self, taken: list[str], left: bytes, dropped: int) -> None:
        """Count what was not written; the line about what was dropped is none of it."""
        lost = left.count(b"\n")
        if dropped > self._told:
            if lost >= len(taken):
                lost -= 1
            else:
                self._told = dropped
        self._lost += lost

    def _open_anew(self) -> None:
        self._reopen = False
        self._wanted.set()
        try:
            before, self._file = self._file, LogFile(self._path)
            self.stamped = self._to_stamp
        except OSError as error:
            told = format_event(
                {"level": "error", "event": "log-not-reopened", "error": str(error)}
            )
            self.add(told)
            return
        before.close()
