"""A MySQL server that is not ours: it greets, asks for what it wants, and answers as it likes."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SALT = b"abcdefgh", b"ijklmnopqrst\0"
OK = b"\0\0\0\2\0\0\0"
END = b"\xfe\0\0\2\0"
SSL = 1 << 11


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number % 256]) + payload


def greeting(plugin: bytes = b"mysql_native_password", *, tls: bool = False) -> bytes:
    flags = 0xFFFFF7FF & ~(1 << 24) | (SSL if tls else 0)  # without DEPRECATE_EOF
    low, high = struct.pack("<I", flags)[:2], struct.pack("<I", flags)[2:]
    head = b"\x0a10.11.0-x\0" + struct.pack("<I", 7) + SALT[0] + b"\0" + low + b"\x21\2\0"
    return packet(0, head + high + b"\x15" + bytes(10) + SALT[1] + plugin + b"\0")


class Peer:
    """One connection, as the server sees it, and all that its client said."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def dribble(self, data: bytes, pause: float) -> None:
        """Send it byte by byte."""
        for byte in data:
            self.sock.sendall(bytes([byte]))
            time.sleep(pause)

    def hear(self) -> bytes:
        """Return the next packet of the client, with its header."""
        head = self._exactly(4)
        body = self._exactly(int.from_bytes(head[:3], "little"))
        self.heard += head + body
        return head + body

    def _exactly(self, number: int) -> bytes:
        data = b""
        while len(data) < number:
            more = self.sock.recv(number - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def log_in(self) -> None:
        """Let the client in, as a server does."""
        self.send(greeting())
        self.hear()
        self.send(packet(2, OK))

    def answer_until(self, words: bytes) -> None:
        """Say yes to everything, until a statement has these words in it."""
        while words not in self.hear():
            self.send(packet(1, OK))


@contextmanager
def hostile(play: Callable[[Peer], None]) -> Iterator[tuple[int, list[Peer]]]:
    """Run a server that plays this with every client; yield its port, and whom it met."""
    met: list[Peer] = []
    threads: list[threading.Thread] = []
    stop = threading.Event()

    def one(peer: Peer) -> None:
        with suppress(OSError), peer.sock:
            play(peer)
            while peer.sock.recv(65536):  # what is said afterwards
                pass

    def serve(listener: socket.socket) -> None:
        listener.settimeout(0.1)
        while not stop.is_set():
            with suppress(TimeoutError):
                peer = Peer(listener.accept()[0])
                peer.sock.settimeout(30)
                met.append(peer)
                threads.append(threading.Thread(target=one, args=(peer,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], met
        finally:
            stop.set()
            thread.join()
            for peer in met:
                with suppress(OSError):
                    peer.sock.shutdown(socket.SHUT_RDWR)
            for one_thread in threads:
                one_thread.join(5)
