"""What systemd is told, where it asked for it."""

from __future__ import annotations

import contextlib
import os
import socket


class Supervisor:
    """systemd, where it asked to be told (sd_notify(3)): all in order, and nobody waits for it."""

    def __init__(self) -> None:
        place = os.environ.get("NOTIFY_SOCKET", "")
        self._place = "\0" + place[1:] if place.startswith("@") else place
        self._untold: list[str] = []

    def tell(self, state: str) -> None:
        """Tell a state, now or when it listens again."""
        if self._place.startswith(("/", "\0")):
            self._untold.append(state)
            self.go_on()

    def go_on(self) -> None:
        """Tell what it did not listen to before."""
        with contextlib.suppress(OSError):
            while self._untold:
                self._send(self._untold[0])
                del self._untold[0]

    def _send(self, state: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(self._place)
            client.send(state.encode())
