"""A real `greylag serve` for a test, on a socket of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BIN = Path(sys.executable).parent
START = 60.0
PLAIN: dict[str, str | bytes] = {
    "request": "smtpd_access_policy",
    "protocol_state": "RCPT",
    "client_address": "192.0.2.17",
    "sender": "a@example.org",
    "recipient": "b@example.net",
}


def request(**changes: str | bytes) -> bytes:
    """Return the bytes of a request."""
    fields = {**PLAIN, **changes}
    lines = (
        name.encode() + b"=" + (text if isinstance(text, bytes) else text.encode()) + b"\n"
        for name, text in fields.items()
    )
    return b"".join(lines) + b"\n"


class Connection:
    """One connection to the daemon."""

    def __init__(self, place: Path | int, timeout: float = 20.0) -> None:
        if isinstance(place, int):
            self.socket = socket.create_connection(("127.0.0.1", place), timeout)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                # Not settimeout: a full queue would be an error at once.
                patience = struct.pack("ll", int(timeout), 0)
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
                self.socket.connect(str(place))
                self.socket.settimeout(timeout)
            except OSError:
                self.socket.close()
                raise
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def ask(self, **changes: str | bytes) -> bytes:
        """Ask, and return the response without its empty line; empty if there was none."""
        self.send(**changes)
        return self.response()

    def send(self, **changes: str | bytes) -> None:
        self.socket.sendall(request(**changes))

    def response(self) -> bytes:
        """Return the next response."""
        while b"\n\n" not in self._unread:
            received = self.socket.recv(65536)
            if not received:
                return b""
            self._unread += received
        answer, _end, self._unread = self._unread.partition(b"\n\n")
        return answer

    def closed(self) -> bool:
        """Wait for the other side to close; an answer instead is a failure."""
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True


@dataclass
class Daemon:
    """A running daemon."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    @property
    def database(self) -> Path:
        return self.folder / "greylag.db"

    def connect(self, timeout: float = 20.0) -> Connection:
        return Connection(self.socket, timeout)

    def logged(self, text: str, seconds: float = 10.0) -> bool:
        """Wait for a text in the log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text in self.log.read_text():
                return True
            time.sleep(0.02)
        return False

    def memory(self) -> int:
        """Return the bytes that the process holds in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def write_config(
    folder: Path, text: str = "", server: str = "", store: str = "", url: str = ""
) -> Path:
    """Write the settings of a daemon in a folder. It asks no name server unless they say so.

    A machine that runs all the tests may take a second for what a quiet one does at once. So the
    deadline is four seconds, unless the test is about it and says so.
    """
    config = folder / "greylag.toml"
    dns = "" if "[dns]" in text else '[dns]\nservers = "off"\n'
    if "deadline" not in text + server:
        server = f'deadline = "4s"\n{server}'
    config.write_text(
        f'{text}\n[store]\nurl = "{url or f"sqlite://{folder}/greylag.db"}"\n{store}\n'
        f'[server]\nsocket = "{folder}/s"\n{server}\n{dns}'
    )
    return config


@contextlib.contextmanager
def serving(
    folder: Path,
    text: str = "",
    server: str = "",
    store: str = "",
    env: Mapping[str, str] | None = None,
    config: Path | None = None,
    *,
    program: Sequence[str | Path] = (BIN / "greylag",),
) -> Iterator[Daemon]:
    """Run the daemon in a folder until the end of the block."""
    config, log = config or write_config(folder, text, server, store), folder / "daemon.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*program, "--config", config, "serve"],
            env={"PATH": os.defpath, **(env or {})},
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    daemon = Daemon(process, folder, log)
    try:
        wait_until_it_serves(daemon)
        yield daemon
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_it_serves(daemon: Daemon) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and daemon.process.poll() is None:
        with contextlib.suppress(OSError), daemon.connect() as connection:
            if connection.ask(client_address="not-an-ip") == b"action=DUNNO":
                return
        time.sleep(0.02)
    raise RuntimeError(daemon.log.read_text())
