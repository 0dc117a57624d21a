"""The machine that is set up: files below a root, its users, and what runs its commands.

Below another root than / nothing is started, and no link leads out of it: an absolute link there
means a place in it, as it will when that root is a machine's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from greylag.admin.folder import LONGEST, Folder
from greylag.admin.typed import is_number
from greylag.core.value import value

MISSING, FILE, FOLDER, LINK, OTHER = "missing", "file", "folder", "link", "other"
_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: LINK}
_MOST_LINKS = 40  # as the kernel follows


class SetupError(Exception):
    """Setup cannot go on: one line each for why, and what to do."""

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("; ".join(lines))
        self.lines = list(lines)
        self.code = code


@value
class Ran:
    """What became of a command: its exit code, and all that it said."""

    code: int
    said: str


# Gives a folder of a command's own for a while, with this main.cf in it.
Copied = Callable[[bytes], AbstractContextManager[str]]


class Runner(Protocol):
    """Runs a command of the system, with a time limit, and never through a shell."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        user: tuple[int, int] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> Ran:
        """Run it as this user and group; a program that is missing is code 127."""
        ...


@value
class State:
    """All that is restored of a path: kind, content (or where a link leads), mode, owner, times."""

    kind: str
    content: bytes = b""
    mode: int = 0
    owner: int = 0
    group: int = 0
    changed: int = 0  # nanoseconds since 1970

    def same(self, other: State) -> bool:
        """Tell whether nothing but times differs."""
        mine = (self.kind, self.content, self.mode, self.owner, self.group)
        return mine == (other.kind, other.content, other.mode, other.owner, other.group)


NOTHING = State(MISSING)


class Place:
    """A machine. Paths are as it sees them; `real` says where they are for us."""

    def __init__(self, root: Path, run: Runner, copied: Copied | None = None) -> None:
        self.root = root.absolute()
        self.live = self.root == Path("/")
        self.run = run
        self.copied = copied

    def real(self, path: str, *, follow: bool = False) -> Path:
        """Return where a path is: links in its folders are followed within the root.

        The last part is followed only where that is wanted. Raises OSError for endless links.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")][::-1]
        found, links = self.root, 0
        while parts:
            part = parts.pop()
            if part == "..":
                found = found if found == self.root else found.parent
                continue
            step = found / part
            if (not parts and not follow) or not _is_trusted_link(step):
                found = step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(step))
            target = os.readlink(step)
            found = self.root if target.startswith("/") else found
            parts += [one for one in target.split("/") if one not in ("", ".")][::-1]
        return found

    def seen(self, real: Path) -> str:
        """Return the machine's own path of what `real` returned."""
        return "/" + str(real.relative_to(self.root)) if real != self.root else "/"

    def target(self, path: str) -> str:
        """Return the path of what a link leads to, so that the link stays as it is."""
        return self.seen(self.real(path, follow=True))

    @contextmanager
    def folder(self, path: str) -> Iterator[Folder]:
        """Open the folder that a path is in. Raises OSError."""
        with closing(Folder(self.real(path).parent)) as opened:
            yield opened

    def look(self, path: str) -> State:
        """Return what is there, itself: no link is followed at its end. Raises OSError."""
        real = self.real(path)
        try:
            found = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError):
            return NOTHING
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), OTHER)
        content = b""
        if kind == LINK:
            content = os.fsencode(os.readlink(real))
        elif kind == FILE:
            content = self._content(path, found.st_size)
        mode = 0 if kind == LINK else stat.S_IMODE(found.st_mode)
        return State(kind, content, mode, found.st_uid, found.st_gid, found.st_mtime_ns)

    def _content(self, path: str, size: int) -> bytes:
        with self.folder(path) as folder:
            content = folder.read(path.rpartition("/")[2])
        if content is None:
            cause = "is too large" if size > LONGEST else "cannot be read"
            raise OSError(errno.EIO, cause, path)
        return content

    def kind(self, path: str) -> str:
        """Return the kind of what is there, links followed."""
        try:
            found = os.lstat(self.real(path, follow=True))
        except OSError:
            return MISSING
        return _KINDS.get(stat.S_IFMT(found.st_mode), OTHER)

    def read(self, path: str) -> bytes | None:
        """Return what a file holds, links followed; None where there is none to read."""
        try:
            found = self.look(self.target(path))
        except OSError:
            return None
        return found.content if found.kind == FILE else None

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; none where there is no such folder."""
        try:
            return sorted(os.listdir(self.real(path, follow=True)))
        except OSError:
            return []

    def has_program(self, *names: str) -> bool:
        """Tell whether a program is installed, where programs usually are."""
        folders = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
        return any(
            self.kind(f"{folder}/{name}") == FILE
            for folder in (*folders, "/command")
            for name in names
        )

    def user(self, name: str) -> tuple[int, int] | None:
        """Return the ids of a user and of his group; None where there is no such user."""
        for fields in self._lines("/etc/passwd"):
            if len(fields) > 3 and name in (fields[0], fields[2]):
                return int(fields[2]), int(fields[3])
        if not self.live:
            return None
        import pwd  # for users that a directory service knows

        try:
            found = pwd.getpwuid(int(name)) if is_number(name) else pwd.getpwnam(name)
        except KeyError:
            return None
        return found.pw_uid, found.pw_gid

    def group(self, name: str) -> int | None:
        """Return the id of a group; None where there is no such group."""
        for fields in self._lines("/etc/group"):
            if len(fields) > 2 and name in (fields[0], fields[2]):
                return int(fields[2])
        if not self.live:
            return None
        import grp

        try:
            return grp.getgrgid(int(name)).gr_gid if is_number(name) else grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    def group_name(self, number: int) -> str:
        """Return the name of a group, or its number."""
        for fields in self._lines("/etc/group"):
            if len(fields) > 2 and fields[2] == str(number):
                return fields[0]
        return str(number)

    def user_name(self, number: str) -> str:
        """Return the name of a user that is known by his number."""
        for fields in self._lines("/etc/passwd"):
            if len(fields) > 3 and fields[2] == number:
                return fields[0]
        return number

    def _lines(self, path: str) -> list[list[str]]:
        text = (self.read(path) or b"").decode("utf-8", "surrogateescape")
        rows = [line.split(":") for line in text.splitlines()]
        return [row for row in rows if len(row) > 2 and is_number(row[2]) and _has_group(row)]


def _has_group(row: Sequence[str]) -> bool:
    """Tell whether a line of users, which has more fields than one of groups, names one."""
    return len(row) < len(("user", "x", 1, 1, "text", "home", "shell")) or is_number(row[3])


def _is_trusted_link(path: Path) -> bool:
    """Tell whether a link may be followed: root, or who runs this, has made it."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISLNK(found.st_mode):
        return False
    if found.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, "is a link of another user: not followed", str(path))
    return True
