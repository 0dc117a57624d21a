"""Scripted daemons: unix sockets that do with a question whatever a test says, right or wrong."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from greylag.wire.policy import Request, RequestReader

Script = Callable[[socket.socket, bytes], None]  # the connection, and the question it brought
PATIENCE = 20.0  # seconds until a script gives a client up for dead


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Reads a request, unless told not to, and lets the script go on from there."""

    request_queue_size = 128
    block_on_close = True

    def __init__(self, path: Path, script: Script, *, reads: bool = True) -> None:
        self.script = script
        self.reads = reads
        self.questions: list[bytes] = []
        self.afterwards: list[bytes] = []  # what clients sent behind their requests
        self.errors: list[BaseException] = []
        super().__init__(str(path), socketserver.BaseRequestHandler)

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        request.settimeout(PATIENCE)
        try:
            question = read_until(request, b"\n\n") if self.reads else b""
            self.questions += [question] if self.reads else []
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.script(request, question)
                if self.reads:
                    request.shutdown(socket.SHUT_WR)
                    self.afterwards.append(read_until(request))
        except Exception as error:  # noqa: BLE001 - the test that looks at it is in another thread
            self.errors.append(error)

    def parsed(self) -> list[dict[bytes, bytes]]:
        """Return the attributes of all requests; each connection must hold exactly one."""
        parsed = []
        for question in self.questions:
            (event,) = RequestReader().feed(question)
            assert isinstance(event, Request), event
            names = event.names()
            assert len(names) == len(set(names))
            parsed.append({name: event.get(name) or b"" for name in names})
        return parsed


def read_until(connection: socket.socket, end: bytes = b"") -> bytes:
    """Read up to these bytes, or to the end of the connection."""
    received = b""
    while not (end and received.endswith(end)):
        try:
            more = connection.recv(65536)
        except ConnectionResetError:
            break
        if not more:
            break
        received += more
    return received


@contextlib.contextmanager
def running(path: Path, script: Script, *, reads: bool = True) -> Iterator[Daemon]:
    """Run a daemon; what went wrong in its threads is raised at the end."""
    with Daemon(path, script, reads=reads) as daemon:
        thread = threading.Thread(target=daemon.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield daemon
        finally:
            daemon.shutdown()
            thread.join()
            path.unlink()
    assert not daemon.errors, daemon.errors
    assert not any(daemon.afterwards), "a client wrote more than its request"


def answering(*pieces: bytes, pause: float = 0.0) -> Script:
    """Send these pieces, each by itself."""

    def script(connection: socket.socket, _question: bytes) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    return script


def hanging(connection: socket.socket, _question: bytes) -> None:
    """Say nothing until the client goes away."""
    read_until(connection)


def deaf(connection: socket.socket, _question: bytes) -> None:
    """Read nothing until the client goes away."""
    poller = select.poll()
    poller.register(connection, 0)  # nothing but POLLHUP, which is always told
    poller.poll(PATIENCE * 1000)
