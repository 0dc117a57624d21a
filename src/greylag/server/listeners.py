"""Where the daemon listens: a unix socket for this machine, and any number of TCP ports."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable

from greylag.core.value import value
from greylag.store.owner import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    Loop = asyncio.AbstractEventLoop
    Make = Callable[[], asyncio.Protocol]  # the protocol of a new connection

_FOLDER_MODE = 0o750  # of the socket's folder: as systemd units make it
BACKLOG = 1024  # connections that wait; the event loop's own default, 100, is soon full


# Descriptors that somebody sends along are refused. Else the kernel would close them in our thread,
# and that may take as long as their SO_LINGER says.
_SO_PASSRIGHTS = 83


class ListenError(Exception):
    """A place cannot be listened at. The text names it and the cause."""


class PlaceTaken(ListenError):
    """Somebody serves there already: once that has ended, it is free."""


@value
class UnixPlace:
    """A unix socket: its path, mode, and group (empty: that of the process)."""

    path: str
    mode: int
    group: str = ""

    def __str__(self) -> str:
        return self.path


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

    local = True  # whoever connects is on this machine, and may open the socket

    def __init__(self, place: UnixPlace, *, records: bool = False) -> None:
        self._path = place.path
        self._lock = _locked(place.path)
        try:
            self.socket = _bound(place, socket.SOCK_SEQPACKET if records else socket.SOCK_STREAM)
        except BaseException:
            os.close(self._lock)
            raise

    async def serve(self, loop: Loop, make: Make, backlog: int) -> asyncio.Server:
        """Accept connections from now on."""
        return await loop.create_unix_server(make, sock=self.socket, backlog=backlog)

    def close(self) -> None:
        """Stop listening, and take the socket's name away."""
        self.socket.close()
        if os.path.lexists(self._path):
            os.unlink(self._path)
        os.close(self._lock)


class TcpListener:
    """A bound TCP port."""

    local = False

    def __init__(self, listener: socket.socket) -> None:
        self.socket = listener

    async def serve(self, loop: Loop, make: Make, backlog: int) -> asyncio.Server:
        """Accept connections from now on."""
        return await loop.create_server(make, sock=self.socket, backlog=backlog)

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()


def listen(place: UnixPlace | TcpPlace) -> UnixListener | TcpListener | None:
    """Bind a place; None for an IPv6 address on a machine without IPv6. Raises ListenError."""
    if isinstance(place, UnixPlace):
        return UnixListener(place)
    bound = tcp_listener(place)
    return None if bound is None else TcpListener(bound)


def _strange(folder: str, found: os.stat_result) -> str:
    us, them = name_of(os.geteuid()), name_of(found.st_uid)
    if found.st_mode & stat.S_IWOTH:
        return f"{folder}: every user may write in it: chmod o-w {folder}"
    return f"{folder}: belongs to {them}, and we run as {us}: run the daemon as {them}, or chown it"


def _locked(path: str) -> int:
    """Take the lock beside a socket; the kernel releases it when the process ends."""
    folder = os.path.dirname(path)
    try:
        found = _folder(folder)
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
            # Whoever owns it, or anybody, could put another socket in the place of ours.
            raise ListenError(_strange(folder, found))
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(f"{path}.lock", flags, 0o600)
    except OSError as error:
        raise ListenError(f"{error.filename}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise PlaceTaken(f"{path}: another greylag serves there") from error
    return handle


def _folder(path: str) -> os.stat_result:
    """Return what is known of the socket's folder; make it where it is missing.

    /run is empty after each start of the machine, and only systemd makes folders there for us.
    Raises ListenError with the command that makes it where we may not; OSError for other causes.
    """
    try:
        return os.stat(path)
    except FileNotFoundError:
        pass
    try:
        os.mkdir(path, _FOLDER_MODE)
    except PermissionError:
        user, group = _names()
        command = f"install -d -o {user} -g {group} -m 0750 {path}"
        raise ListenError(f"{path}: is missing, and root has to make it: {command}") from None
    return os.stat(path)


def _names() -> tuple[str, str]:
    """Return the names of our user and group, or their numbers where they have none."""
    user, group = os.geteuid(), os.getegid()
    try:
        return pwd.getpwuid(user).pw_name, grp.getgrgid(group).gr_name
    except KeyError:
        return str(user), str(group)


def _bound(place: UnixPlace, kind: int) -> socket.socket:
    """Bind the socket; replace one that a dead process left."""
    listener = socket.socket(socket.AF_UNIX, kind)
    made = False
    try:
        if os.path.lexists(place.path):
            _remove_stale(place.path, kind)
        before = os.umask(0o777)  # nobody connects before mode and group are right
        try:
            listener.bind(place.path)
            made = True
        finally:
            os.umask(before)
        if place.group:
            os.chown(place.path, -1, grp.getgrnam(place.group).gr_gid)
        os.chmod(place.path, place.mode)
        if kind == socket.SOCK_STREAM:
            with contextlib.suppress(OSError):  # Linux before 6.16
                listener.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
        listener.listen(BACKLOG)
    except BaseException as error:
        listener.close()
        if made:
            os.unlink(place.path)  # a socket that nobody may connect to would stop the next start
        if isinstance(error, OSError | KeyError):
            cause = _why(error, place.group)
            raise ListenError(f"{place.path}: {cause}") from error
        raise
    return listener


def _why(error: OSError | KeyError, group: str) -> str:
    if isinstance(error, KeyError):
        return f"there is no group {group!r}"
    if isinstance(error, PermissionError) and group:
        return f"{error.strerror} (to give it to the group {group!r}, the daemon has to be in it)"
    return str(error.strerror)


def _remove_stale(path: str, kind: int) -> None:
    """Remove the socket of a process that has ended. Raises ListenError where something serves."""
    found = os.lstat(path)
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"{path}: is there, and is no socket")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(1)
        result = probe.connect_ex(path)
    # A start that failed halfway has left a socket of ours that nobody may connect to. We hold the
    # lock beside it, so no greylag serves there.
    ours = result == errno.EACCES and found.st_uid == os.geteuid()
    if result == errno.EACCES and not ours:
        raise ListenError(f"{path}: belongs to another user, and may not be asked who serves there")
    if not ours and result not in (errno.ECONNREFUSED, errno.ENOENT):
        raise PlaceTaken(f"{path}: another program serves there")
    os.unlink(path)


def tcp_listener(place: TcpPlace) -> socket.socket | None:
    """Return a listening socket; None for an IPv6 address on a machine without IPv6.

    Raises ListenError.
    """
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        listener = socket.socket(family)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise ListenError(f"{place}: {error.strerror}") from error
    try:
        if family == socket.AF_INET6:
            # [::] is every IPv6 address and no IPv4 one, so that 0.0.0.0 can stand beside it.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((place.host, place.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL and _without_ipv6():
            return None
        kind = PlaceTaken if error.errno == errno.EADDRINUSE else ListenError
        raise kind(f"{place}: {error.strerror}") from error
    return listener


def _without_ipv6() -> bool:
    """Tell whether this machine has no IPv6 address at all, not even ::1 (proc(5), if_inet6)."""
    try:
        with open("/proc/net/if_inet6", "rb") as addresses:
            return not addresses.read(1)
    except OSError:
        return True
