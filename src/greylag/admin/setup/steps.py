"""What a plan is made of: changes of files, accounts and commands, in the order they happen."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable

from greylag.admin.setup.hiding import hidden
from greylag.admin.setup.place import FILE, FOLDER, LINK, MISSING, Place, SetupError, State
from greylag.core.value import value

PROGRAM, TEXT = 0o755, 0o644
# What undo does with what a daemon wrote into a folder of ours: records are kept unless they are to
# be deleted too, and a socket with its lock goes with the folder.
RECORDS, RUN = "records", "run"
LOGS_IN = "/var/log/greylag"  # of the daemon, where one writes there


@value
class Change:
    """A path that gets a new state. What it was is put back by undo."""

    path: str
    kind: str
    content: bytes
    mode: int | None  # None: as it is
    user: str  # "": as it is, else root's
    group: str
    old: State
    inside: str = ""  # of a folder, what others write into it: RECORDS, RUN, or nothing

    def new(self, place: Place) -> State:
        """Return the state that is wanted, with the numbers of its owners.

        Owners that are still to be made have none yet: None of them is -1.
        """
        kept = self.old.kind == self.kind != LINK  # another's link is not to lead to ours
        mode = self.mode if self.mode is not None else self.old.mode if kept else TEXT
        owner, group = (self.old.owner, self.old.group) if kept else (0, 0)
        if self.user:
            owner, group = place.user(self.user) or (-1, -1)
        if self.group:
            found = place.group(self.group)
            group = -1 if found is None else found
        return State(self.kind, self.content, 0 if self.kind == LINK else mode, owner, group)


@value
class Account:
    """A user for the daemon alone, with a group of the same name; made where it is missing."""

    user: str
    home: str
    with_group: bool  # the group is missing too


@value
class Act:
    """Commands of the system: to go forward, and to go back. A first word with @ is our own."""

    says: str
    do: tuple[tuple[str, ...], ...] = ()
    undo: tuple[tuple[str, ...], ...] = ()
    may_fail: bool = False  # then why is told, and the plan goes on


Step = Change | Account | Act


@value
class Plan:
    """What setup would do, in this order, and what it tells besides."""

    mta: str
    steps: tuple[Step, ...]
    hints: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    waits: bool = False  # mail is not greylisted before the admin does what the first hint says

    @property
    def changes(self) -> list[Change]:
        """Return the changes of paths alone."""
        return [step for step in self.steps if isinstance(step, Change)]

    def empty(self) -> bool:
        """Tell whether nothing is left to do: commands alone are no reason to run them."""
        return not any(isinstance(step, Change | Account) for step in self.steps)


class Builder:
    """Gathers steps, leaving out what is so already."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.steps: list[Step] = []
        self._made: set[str] = set()

    def file(
        self, path: str, content: bytes, mode: int | None = None, user: str = "", group: str = ""
    ) -> bool:
        """Have a file with this content; tell whether that changes something."""
        return self._add(Change(path, FILE, content, mode, user, group, self.place.look(path)))

    def link(self, path: str, target: str) -> bool:
        """Have a link that leads there."""
        return self._add(Change(path, LINK, target.encode(), 0, "", "", self.place.look(path)))

    def folder(
        self, path: str, mode: int = 0o755, user: str = "", group: str = "", *, inside: str = ""
    ) -> None:
        """Have a folder; one that is there stays as it is."""
        if path in self._made or self.place.kind(path) == FOLDER:
            return
        parent = path.rpartition("/")[0]
        if parent:
            self.folder(parent)
        self._made.add(path)
        old = self.place.look(path)
        if old.kind != MISSING:
            raise SetupError(f"{path}: has to be a folder, and is something else: move it away")
        self.steps.append(Change(path, FOLDER, b"", mode, user, group, old, inside))

    def act(
        self,
        says: str,
        *do: tuple[str, ...],
        undo: tuple[tuple[str, ...], ...] = (),
        may_fail: bool = False,
    ) -> None:
        """Have commands run."""
        self.steps.append(Act(says, do, undo, may_fail))

    def account(self, user: str, home: str) -> None:
        """Have a user."""
        if self.place.user(user) is None:
            self.steps.append(Account(user, home, self.place.group(user) is None))

    def _add(self, change: Change) -> bool:
        parent = change.path.rpartition("/")[0]
        if parent:
            self.folder(parent)
        if change.old.kind not in (FILE, LINK, MISSING):
            what = "a folder" if change.old.kind == FOLDER else "neither a file nor a link"
            raise SetupError(f"{change.path}: is {what}, so it is not replaced: move it away")
        if change.old.same(change.new(self.place)):
            return False
        self.steps.append(change)
        return True

    def changed(self, since: int) -> bool:
        """Tell whether a path was to be changed since so many steps were there."""
        return any(isinstance(step, Change) for step in self.steps[since:])


def digest(state: State) -> str:
    """Return a name for what a state is, apart from its times."""
    head = f"{state.kind} {state.mode:o} {state.owner} {state.group}\n".encode()
    return hashlib.sha256(head + state.content).hexdigest()


def diff(change: Change, name_of: Callable[[str], str] = str) -> str:
    """Return a unified diff of a change, without secrets; one line where it is no text."""
    old, path = change.old, name_of(change.path)
    if change.kind == FOLDER:
        return f"new folder {path} ({_access(change)})\n"
    if change.kind == LINK:
        return f"new link {path} -> {change.content.decode()}\n"
    before = _lines(old.content if old.kind == FILE else b"")
    after = _lines(change.content)
    if before is None or after is None:
        what = "replaced" if old.kind != MISSING else "new"
        return f"{what} program {path} ({len(change.content)} bytes, {_access(change)})\n"
    first = path if old.kind != MISSING else "/dev/null"
    text = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in map(hidden, difflib.unified_diff(before, after, first, path))
    )
    return text or f"{path}: {_access(change)}, it was mode {old.mode:04o}\n"


def _lines(content: bytes) -> list[str] | None:
    if b"\0" in content:
        return None
    return content.decode("utf-8", "backslashreplace").splitlines(keepends=True)


def _access(change: Change) -> str:
    owner = f"{change.user or 'root'}:{change.group or change.user or 'root'}"
    return f"mode {change.mode if change.mode is not None else change.old.mode:04o}, {owner}"
