"""Where the daemon listens: a unix socket for this machine, and any number of TCP ports."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat

from greylag.core.value import value

BACKLOG = 1024  # connections that wait; the event loop's own default, 100, is soon full


class ListenError(Exception):
    """A place cannot be listened at. The text names it and the cause."""


@value
class UnixPlace:
    """A unix socket: its path, mode, and group (empty: that of the process)."""

    path: str
    mode: int
    group: str = ""


@value
class TcpPlace:
    """A TCP port on an address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixListener:
    """A bound unix socket with the lock that says that it is ours.

    With `records` it keeps what is sent to it in one piece (SOCK_SEQPACKET).
    """

    def __init__(self, place: UnixPlace, *, records: bool = False) -> None:
        self._path = place.path
        self._lock = _locked(place.path)
        try:
            self.socket = _bound(place, socket.SOCK_SEQPACKET if records else socket.SOCK_STREAM)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Stop listening, and take the socket's name away."""
        self.socket.close()
        if os.path.lexists(self._path):
            os.unlink(self._path)
        os.close(self._lock)


def _locked(path: str) -> int:
    """Take the lock beside a socket; it goes with the process, however that ends."""
    folder = os.path.dirname(path)
    try:
        found = os.stat(folder)
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
            # Whoever owns it, or anybody, could put another socket in the place of ours.
            raise ListenError(f"{folder}: must belong to us or root, and not be writable for all")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(f"{path}.lock", flags, 0o600)
    except OSError as error:
        raise ListenError(f"{error.filename}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ListenError(f"{path}: another greylag serves there") from error
    return handle


def _bound(place: UnixPlace, kind: int) -> socket.socket:
    """Bind the socket, taking the place of one that a dead process left."""
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        if os.path.lexists(place.path):
            _remove_stale(place.path, kind)
        before = os.umask(0o777)  # nobody connects before mode and group are right
        try:
            listener.bind(place.path)
        finally:
            os.umask(before)
        if place.group:
            os.chown(place.path, -1, grp.getgrnam(place.group).gr_gid)
        os.chmod(place.path, place.mode)
        listener.listen(BACKLOG)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError | KeyError):
            cause = error.strerror if isinstance(error, OSError) else f"no group {place.group!r}"
            raise ListenError(f"{place.path}: {cause}") from error
        raise
    return listener


def _remove_stale(path: str, kind: int) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ListenError(f"{path}: is there, and is no socket")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(1)
        result = probe.connect_ex(path)
    if result not in (errno.ECONNREFUSED, errno.ENOENT):
        raise ListenError(f"{path}: another program serves there")
    os.unlink(path)


def tcp_listener(place: TcpPlace) -> socket.socket:
    """Return a listening socket. Raises ListenError."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((place.host, place.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(f"{place}: {error.strerror}") from error
    return listener
