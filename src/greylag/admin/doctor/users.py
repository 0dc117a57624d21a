"""The users that ask, and what they may do: tried as that user, or told by modes."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from shlex import quote

from greylag.admin.typed import is_number
from greylag.core.value import value
from greylag.store.plain_file import read_plain

_ROOT = 0
_LONGEST = 5  # seconds that a child may take
_ANSWER = 4096  # bytes
_WORDS = {os.R_OK: "read", os.W_OK: "write to", os.X_OK: "execute"}


@value
class User:
    """Somebody who asks, with the groups that his process has."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    top: str = ""  # the folder that his machine is in: those above it are none of his

    @property
    def word(self) -> str:
        """What a command calls him: his name may be another's here, or nobody's."""
        return str(self.uid) if self.top else self.name


class Users:
    """The users and groups of a machine: those of this one by its own means, else by its files."""

    def __init__(self, root: str) -> None:
        self._root = root

    def _lines(self, name: str) -> list[list[str]]:
        try:
            text = read_plain(f"{self._root}/etc/{name}").decode("utf-8", "replace")
        except OSError:
            return []
        return [line.split(":") for line in text.splitlines()]

    def find(self, word: str) -> User | None:
        """Return a user by his name or number, with his groups."""
        if self._root:
            return self._by_files(word)
        import pwd

        try:
            found = pwd.getpwuid(int(word)) if is_number(word) else pwd.getpwnam(word)
            groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
        except (KeyError, ValueError, OverflowError, OSError):
            return None
        return User(found.pw_name, found.pw_uid, found.pw_gid, groups)

    def _by_files(self, word: str) -> User | None:
        for fields in self._lines("passwd"):
            named = len(fields) > 3 and word in (fields[0], fields[2])
            if named and is_number(fields[2]) and is_number(fields[3]):
                name, gid = fields[0], int(fields[3])
                groups = [
                    int(one[2])
                    for one in self._lines("group")
                    if len(one) > 3 and is_number(one[2]) and name in one[3].split(",")
                ]
                return User(name, int(fields[2]), gid, (gid, *groups), self._root)
        return None

    def number(self, name: str) -> int | None:
        """Return the number of a user."""
        found = self.find(name)
        return None if found is None else found.uid

    def group(self, word: str) -> int | None:
        """Return the number of a group, by its name or number."""
        if is_number(word):
            return int(word)
        if self._root:
            lines = [one for one in self._lines("group") if len(one) > 2 and one[0] == word]
            return int(lines[0][2]) if lines and is_number(lines[0][2]) else None
        import grp

        try:
            return grp.getgrnam(word).gr_gid
        except (KeyError, ValueError):
            return None

    def group_name(self, number: int) -> str:
        """Return what a command calls a group: its name, or its number."""
        if self._root:
            return str(number)
        import grp

        try:
            return grp.getgrgid(number).gr_name
        except (KeyError, OverflowError):
            return str(number)


def refusal(user: User, path: str, mode: int) -> str | None:
    """Return why a user may not do this with a path; None where he may, or it is not there."""
    way = _closed_way(user, path)
    if way is not None:
        return way
    if not os.path.exists(path) or _may(user, path, mode):
        return None
    what = " and ".join(word for bit, word in _WORDS.items() if mode & bit)
    return f"the user {user.name} may not {what} {path}"


def _closed_way(user: User, path: str) -> str | None:
    folder = closed_folder(user, path)
    return None if folder is None else f"the user {user.name} may not enter {folder}"


def closed_folder(user: User, path: str) -> str | None:
    """Return the outermost folder above a path that a user may not enter."""
    folders: list[str] = []
    folder = os.path.dirname(_inside(user, path) if user.top else os.path.realpath(path))
    while folder not in folders:
        folders.insert(0, folder)
        folder = os.path.dirname(folder)
    there = [one for one in folders if os.path.isdir(user.top + one)]
    if os.geteuid() == _ROOT:
        told = as_user(user, lambda: b"y" + os.fsencode(_first_closed(there)), user.top)
        if told:
            return user.top + os.fsdecode(told[1:]) if told[1:] else None
    closed = (one for one in there if not _by_mode(user, user.top + one, os.X_OK))
    return next((user.top + one for one in closed), None)


def opened(user: User, path: str, *, program: bool = False) -> str:
    """Return the command that lets a user read or run a file, and shows nobody anything else.

    A folder above it may be entered then, and its names stay hidden. Other bits, as set-uid, stay.
    """
    folder = closed_folder(user, path)
    if folder is not None:
        return f"chmod a+x {quote(folder)}"
    return f"chmod a+r{'x' if program else ''} {quote(path)}"


def _inside(user: User, path: str) -> str:
    """Return a path as the machine of a user has it."""
    return "/" + path.removeprefix(user.top).lstrip("/")


def _first_closed(folders: list[str]) -> str:
    return next((one for one in folders if not os.access(one, os.X_OK)), "")


def _may(user: User, path: str, mode: int) -> bool:
    """Tell it as that user, where we can become it: lists of rights (ACLs) count then, too."""
    if os.geteuid() == _ROOT:
        inside = _inside(user, path)
        told = as_user(user, lambda: b"y" if os.access(inside, mode) else b"n", user.top)
        if told:
            return told == b"y"
    return _by_mode(user, path, mode)


def _by_mode(user: User, path: str, mode: int) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return True  # what is not seen is not judged
    if user.uid == _ROOT:
        return True
    bits = found.st_mode & stat.S_IRWXO
    if found.st_uid == user.uid:
        bits = (found.st_mode & stat.S_IRWXU) >> 6
    elif found.st_gid in (user.gid, *user.groups):
        bits = (found.st_mode & stat.S_IRWXG) >> 3
    return bits & mode == mode


def as_user(user: User, look: Callable[[], bytes], chroot: str = "") -> bytes:
    """Return what a look gives to a user: in a child that has his rights alone, for seconds.

    Empty where the child failed. Only for root.
    """
    here, there = os.pipe()
    child = os.fork()
    if not child:
        _look_in_child(user, look, chroot, there)
    os.close(there)
    try:
        answer = b""
        while part := os.read(here, _ANSWER):  # ends with the child, which has an alarm
            answer = (answer + part)[:_ANSWER]
    finally:
        os.close(here)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return answer


def _look_in_child(user: User, look: Callable[[], bytes], chroot: str, there: int) -> None:
    """Look and end; nothing of it comes back into the program, whatever happens."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.alarm(_LONGEST)
        if chroot:
            os.chroot(chroot)
            os.chdir("/")
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        os.write(there, look())
    finally:
        os._exit(0)


def knocked(user: User, path: str, chroot: str = "") -> str | None:
    """Return why a user cannot connect to a unix socket; None where he can."""

    def knock() -> bytes:
        try:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(2)
                asked.connect(path)
        except OSError as error:
            return (errno.errorcode.get(error.errno or 0, "") or str(error)).encode()[:200]
        return b"y"

    if os.geteuid() == _ROOT:
        said = as_user(user, knock, chroot).decode("utf-8", "replace")
    else:
        whole = chroot + path
        said = "y" if _closed_way(user, whole) is None and _by_mode(user, whole, os.W_OK) else ""
        said = said or "EACCES"
    return None if said == "y" else said or "no answer"
