"""The driver's session with bounds: on what a server may cost us, and on what it is told.

A server that is not ours, or has gone mad, may send its answer byte by byte, or without end, or
ask for the password itself. So the time and the bytes of each answer are counted, not those of
each read; connecting, with greeting, TLS and login, is one answer. The password itself is sent
under TLS alone; and where a method sends it at once, to a server that has proved who it is.
"""

from __future__ import annotations

import socket
import ssl
from importlib.util import find_spec
from time import monotonic

from pymysql.connections import Connection
from pymysql.constants import CR
from pymysql.err import OperationalError

from greylag.store.mysql.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pymysql.cursors import Cursor

    class Base(Connection[Cursor]):
        """The driver's class, with what its stubs leave out."""

        _sock: Any  # None until it connects
        server_version: str

        def _execute_command(self, command: int, sql: str | bytes) -> None: ...
        def _force_close(self) -> None: ...
        def _request_authentication(self) -> None: ...
        def _process_auth(self, plugin_name: bytes, *rest: Any) -> Any: ...
else:
    Base = Connection

MOST = 64 * 1024 * 1024  # bytes of one answer; 300,000 rows of a table are 30 MB
_EACH = 64  # what each packet counts for beyond its bytes: a row is an object here
_SLOWEST = 4 * 1024 * 1024  # bytes a second: what arrives as fast as that is waited for
_CHUNK = 256 * 1024  # bytes that one read takes
# Ways to log in by which a server learns nothing that lets it log in elsewhere; those of sha2 send
# the password, too, but under TLS alone (see `server_public_key`).
_KEEP_THE_PASSWORD = (
    *("mysql_native_password", "client_ed25519", "auth_gssapi_client"),
    *("caching_sha2_password", "sha256_password"),
)
_WANTS_PASSWORD = (
    "the server asks for the password in clear text ({}): it is sent to a server alone that TLS"
    " has verified (ssl-ca or ssl-verify-server-cert in the option file)"
)
_WANTS_TLS = (
    "the server asks for the password itself (caching_sha2_password): that needs TLS, or the"
    " server's key in the option file (server-public-key-path, or get-server-public-key to"
    " believe the key that it sends)"
)
_NO_CRYPTOGRAPHY = (
    "caching_sha2_password without TLS needs the Python package cryptography (python3-cryptography)"
)


class Bounded(Base):
    """A session whose answers are bounded; `timeout` in seconds is for each of them."""

    def __init__(self, tls: Tls, timeout: float, **arguments: Any) -> None:
        self._tls = tls
        self._timeout = timeout
        self._opened = False
        self._until = 0.0
        self._rest = 0  # bytes that the answer may still have
        self._late = False  # the time is over, and what was there was taken
        self._buffer, self._at = b"", 0
        self._filled_from: socket.socket | None = None
        self._limit: float | None = None  # the socket's time-out
        self._key: bytes | None = None
        super().__init__(
            defer_connect=True, read_timeout=timeout, write_timeout=timeout, **arguments
        )

    def connect(self, sock: socket.socket | None = None) -> None:
        """Connect and log in."""
        self._next_answer()
        super().connect(sock)

    def opened(self) -> None:
        """End the time of connecting: from now on each answer has its own."""
        self._opened = True

    def close(self) -> None:
        """Close, if that is still to be done."""
        if self.open:
            super().close()

    def _next_answer(self) -> None:
        self._until = monotonic() + self._timeout
        self._rest = MOST
        self._late = False

    def _execute_command(self, command: int, sql: str | bytes) -> None:
        if self._opened:
            self._next_answer()
        super()._execute_command(command, sql)

    def _write_bytes(self, data: bytes) -> None:
        try:
            self._wait_for(self._timeout)
            self._sock.sendall(data)  # its time-out is for all of them
        except OSError as error:
            self._force_close()
            raise OperationalError(CR.CR_SERVER_GONE_ERROR, f"cannot send: {error}") from error

    def _read_bytes(self, num_bytes: int) -> bytes:
        self._rest -= num_bytes + _EACH
        if self._rest < 0:
            self._force_close()
            raise OperationalError(CR.CR_NET_PACKET_TOO_LARGE, f"an answer of over {MOST} bytes")
        if self._filled_from is not self._sock:  # what came before TLS is not part of it
            self._filled_from, self._buffer, self._at = self._sock, b"", 0
        end = self._at + num_bytes
        if end > len(self._buffer):
            self._fill(num_bytes)
            end = num_bytes
        data = self._buffer[self._at : end]
        self._at = end
        return data

    def _fill(self, wanted: int) -> None:
        """Read until so many bytes are there."""
        got = bytearray(memoryview(self._buffer)[self._at :])
        try:
            while len(got) < wanted:
                data = self._receive(self._until - monotonic())
                if not data:
                    raise ConnectionError("closed")
                got += data
                self._until += len(data) / _SLOWEST
        except OSError as error:
            self._force_close()
            text = f"Lost connection to MySQL server during query ({error})"
            raise OperationalError(CR.CR_SERVER_LOST, text) from error
        self._buffer, self._at = bytes(got), 0

    def _receive(self, left: float) -> bytes:
        """Return what comes within the time that is left; then what is there, once.

        It may have been us who stood still, as on a machine that slept.
        """
        if left > 0:
            self._wait_for(left)
            return bytes(self._sock.recv(_CHUNK))
        if self._late:
            raise TimeoutError("timed out")
        self._late = True
        self._wait_for(0.0)
        try:
            return bytes(self._sock.recv(_CHUNK))
        except (BlockingIOError, ssl.SSLWantReadError):
            raise TimeoutError("timed out") from None

    def _wait_for(self, seconds: float) -> None:
        """Set the socket's time-out; the most usual one need not be set again."""
        seconds = self._timeout if seconds > self._timeout * 0.99 else seconds
        if seconds != self._limit:
            self._sock.settimeout(seconds)
            self._limit = seconds

    def _request_authentication(self) -> None:
        self._limit = max(0.001, self._until - monotonic())
        self._sock.settimeout(self._limit)  # for all of the TLS handshake
        try:
            super()._request_authentication()
        except RuntimeError as error:  # a package is missing; the text says which
            raise OperationalError(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, str(error)) from error

    def _process_auth(self, plugin_name: bytes, *rest: Any) -> Any:
        name = plugin_name.decode("ascii", "replace")[:40]
        if name not in _KEEP_THE_PASSWORD and not self._tls.verifies:
            raise OperationalError(CR.CR_AUTH_PLUGIN_ERR, _WANTS_PASSWORD.format(name))
        return super()._process_auth(plugin_name, *rest)

    @property
    def server_public_key(self) -> bytes | None:
        """The key that the password is encrypted with where there is no TLS."""
        return self._key

    @server_public_key.setter
    def server_public_key(self, key: bytes | None) -> None:
        """Take the key that the option file names; one that the server sends only if asked to."""
        if key is not None and self._sock is not None and not self._tls.believe_key:
            raise OperationalError(CR.CR_AUTH_PLUGIN_ERR, _WANTS_TLS)
        if key is not None and find_spec("cryptography") is None:
            raise OperationalError(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, _NO_CRYPTOGRAPHY)
        self._key = key
