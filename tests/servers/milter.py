"""A mail server's side of the milter protocol, as far as a greylisting milter needs it."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

CONTINUE, ACCEPT, TEMPFAIL, REPLY = b"c", b"a", b"t", b"y"


class Milter:
    """One connection of a client to a milter."""

    def __init__(self, port: int, client: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")
        self._ask(b"O", struct.pack("!III", 6, 0x1FF, 0x1FFFFF & ~0x1FF00))
        kind = b"6" if ":" in client else b"4"
        name = b"mail.example.org\0"
        self._macro(b"C", b"j\0mx.example.net\0{daemon_name}\0mx\0")
        self._ask(b"C", name + kind + struct.pack("!H", 4321) + client.encode() + b"\0")
        self._ask(b"H", b"mail.example.org\0")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def mail(self, sender: str, recipient: str) -> bytes:
        """Return the last answer: of RCPT, or of MAIL where that was enough."""
        self._macro(b"M", b"i\0queueid\0{mail_addr}\0" + sender.encode() + b"\0")
        answer = self._ask(b"M", f"<{sender}>".encode() + b"\0")
        if answer[:1] != CONTINUE:
            return answer
        self._macro(b"R", b"{rcpt_addr}\0" + recipient.encode() + b"\0")
        return self._ask(b"R", f"<{recipient}>".encode() + b"\0")

    def _macro(self, command: bytes, pairs: bytes) -> None:
        self._send(b"D", command + pairs)

    def _send(self, command: bytes, data: bytes) -> None:
        self._socket.sendall(struct.pack("!I", 1 + len(data)) + command + data)

    def _ask(self, command: bytes, data: bytes) -> bytes:
        self._send(command, data)
        head = self._file.read(4)
        return self._file.read(struct.unpack("!I", head)[0]) if len(head) == 4 else b""
