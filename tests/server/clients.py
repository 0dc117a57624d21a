"""Clients whose sockets are handed to a daemon, as `native/jgreylist` does it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

ACCEPTED = b"action=OK\n\n"
GREY = b"450 GREYLIST Try again later."


def opening(address: str = "192.0.2.17", reply: bytes = GREY, **more: str | bytes) -> bytes:
    """Return the request of a hand-over."""
    fields: dict[str, str | bytes]
    fields = {"client_address": address, "greylag_client": "jgreylist", "greylag_reply": reply}
    lines = (
        name.encode() + b"=" + (text if isinstance(text, bytes) else text.encode()) + b"\n"
        for name, text in {**fields, **more}.items()
    )
    return b"request=smtpd_access_policy\nprotocol_state=CONNECT\n" + b"".join(lines) + b"\n"


def hand_over(
    folder: Path, descriptors: Sequence[int], request: bytes, timeout: float = 10
) -> bytes:
    """Hand descriptors over; return the answer, empty if the daemon hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
        giver.settimeout(timeout)
        giver.connect(str(folder / "handover.sock"))
        with contextlib.suppress(BrokenPipeError):
            socket.send_fds(giver, [request], descriptors)
        try:
            return giver.recv(1000)
        except ConnectionResetError:
            return b""


def send_along(policy: socket.socket, text: bytes, descriptors: Sequence[int]) -> None:
    """Send descriptors with a question; where the kernel refuses them, ask without them."""
    try:
        socket.send_fds(policy, [text], descriptors)
    except PermissionError:  # Linux 6.16 and later
        policy.sendall(text)


def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection: a client's, and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), 20)
        server, _address = listener.accept()
    return client, server


class Talker:
    """A greylisted client."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._unread = b""

    def reply(self) -> bytes:
        """Return the next line, without its end; empty at the end of the connection."""
        while b"\r\n" not in self._unread:
            try:
                received = self.socket.recv(65536)
            except ConnectionResetError:
                received = b""
            if not received:
                assert self._unread == b"", "half a reply"
                return b""
            self._unread += received
        line, _end, self._unread = self._unread.partition(b"\r\n")
        return line

    def ask(self, line: bytes) -> bytes:
        self.socket.sendall(line + b"\r\n")
        return self.reply()

    def rest(self) -> list[bytes]:
        """Return all lines up to the end."""
        return list(iter(self.reply, b""))


@contextlib.contextmanager
def talking(
    folder: Path, address: str = "192.0.2.17", reply: bytes = GREY, **more: str
) -> Iterator[Talker]:
    """Hand a client over, and be that client."""
    client, server = connected_pair()
    with client:
        with server:
            answer = hand_over(folder, [server.fileno()], opening(address, reply, **more))
        assert answer == ACCEPTED
        yield Talker(client)


def open_file() -> int:
    """Return a descriptor that is no socket."""
    return os.open(os.devnull, os.O_RDONLY)
