"""Rest for the threads that have to live as long as the daemon."""

from __future__ import annotations

import select
from time import sleep


def rest(seconds: float) -> None:
    """Wait for so many seconds, whatever becomes of the clock.

    `sleep` goes by a moment of the clock, and fails where that is changed under it, as by
    libfaketime; poll(2) takes a length of time.
    """
    try:
        sleep(seconds)
    except OSError:
        select.poll().poll(seconds * 1000)
