"""What a plan waits for: a daemon that answers, sessions that end, a supervisor that is gone."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import time
from pathlib import Path

from greylag.admin import smtpplugins
from greylag.admin.setup.place import Place, SetupError

START = 30.0  # seconds that a daemon may take until it answers
END = 10.0  # seconds for a supervisor, or for sessions, to end
_STEP = 0.1


class Unfinished(Exception):
    """Something has to end first; undo may be run again then."""


def own_word(place: Place, argv: tuple[str, ...], *, lenient: bool) -> None:
    """Carry out a command of our own."""
    word, path = argv
    if word == "@answers" and not lenient:
        _until_it_answers(place, path)
    elif word == "@sessions":
        _until_sessions_end(place, path)
    elif word == "@gone":
        _until_gone(place.real(path))
    elif word == "@start":
        _start(place, path)


def _start(place: Place, unit: str) -> None:
    done = place.run(["systemctl", "start", unit])
    if done.code:
        raise Unfinished(
            f"{unit} ran before setup, and does not start again: `journalctl -u {unit}` says why;"
            " run this again then"
        )


def _until_it_answers(place: Place, path: str) -> None:
    end = time.monotonic() + START
    while True:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(START)  # where nobody accepts, the queue of the socket may be full
            try:
                peer.connect(str(place.real(path, follow=True)))
                return
            except OSError as error:
                if time.monotonic() > end:
                    raise SetupError(f"the daemon does not answer at {path}: {error}") from error
        time.sleep(_STEP)


def _until_sessions_end(place: Place, home: str) -> None:
    """Wait for each qmail-smtpd that has read our lines: without the programs it refuses mail."""
    end = time.monotonic() + END
    while running := smtpplugins.sessions(place.real(home, follow=True)):
        if time.monotonic() > end:
            some = ", ".join(map(str, running[:5]))
            raise Unfinished(
                f"{len(running)} sessions of qmail-smtpd may still call the plugins (process"
                f" {some}): they stay until you run this again"
            )
        time.sleep(_STEP)


def _until_gone(folder: Path) -> None:
    """Wait until no supervisor looks at a folder, then remove what it left there."""
    end = time.monotonic() + END
    while time.monotonic() < end:
        try:
            os.close(os.open(folder / "supervise" / "ok", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT, errno.ENOTDIR):
                break
            raise
        time.sleep(_STEP)
    else:
        raise Unfinished(f"{folder}: its supervisor has not ended: run this again")
    shutil.rmtree(folder / "supervise", ignore_errors=True)
