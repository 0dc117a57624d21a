"""The file by which a mail server asks greylag, when undo comes to it: main.cf or smtpplugins.

An admin may have edited it since setup. Then only setup's own parts are taken out. The service and
the plugins stay as long as anything still asks: without them mail would be refused, or let in
without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from greylag.admin import smtpplugins
from greylag.admin.folder import is_ours
from greylag.admin.setup import restrictions
from greylag.admin.setup.manifest import Entry, Written
from greylag.admin.setup.place import FILE, MISSING, Place, SetupError
from greylag.admin.setup.postconf import CONFIG, MAIN, Postconf
from greylag.admin.setup.postfix import CODE, DATA, NEW_CODE, RCPT, RELAY
from greylag.admin.setup.qmail import reads_plugins
from greylag.admin.setup.service import SCRIPTS, UNITS
from greylag.admin.setup.steps import Act, digest
from greylag.admin.setup.waiting import Unfinished

_SERVICES = (
    f"{UNITS}/greylag.service",
    f"{UNITS}/multi-user.target.wants/greylag.service",
    f"{SCRIPTS}/run",
)
_ASKS = re.compile(rb"^[^#\n]*\bgreylag/greylag\.sock.*$", re.MULTILINE)


class Asking:
    """What of a mail server's own files goes when setup is undone."""

    def __init__(self, place: Place, mta: str, entries: Sequence[Entry]) -> None:
        self._place = place
        self._entries = [one for one in entries if isinstance(one, Written)]
        self._postfix = mta == "postfix"
        self._file = place.target(MAIN) if self._postfix else ""
        words = [argv for one in entries if isinstance(one, Act) for argv in one.undo]
        self._home = next((argv[1] for argv in words if argv[0] == "@sessions"), "")
        if self._home and not self._postfix:
            self._file = place.target(f"{self._home}/control/{smtpplugins.NAME}")

    def without(self, one: Written, now: bytes) -> bytes | None:
        """Return a file without what setup put into it; None where it is another file's turn.

        Raises SetupError where that cannot be told.
        """
        if one.path != self._file or one.old.kind not in (FILE, MISSING):
            return None
        if self._postfix:
            return self._without_question(one.old.content, now)
        home = Path(self._home)
        old = smtpplugins.named(one.old.content, home)
        return smtpplugins.without(now, home, {*self._plugins(), *_OURS} - old)

    def instead(self, one: Written) -> tuple[bytes, str] | None:
        """Return what a file has to hold instead of what it held before setup, and why.

        None where it may be as it was. Else the mail server would take no mail: the admin has
        changed other files since, and they build upon what setup put here.
        """
        now = self._place.look(one.path) if one.path == self._file else None
        if now is None or digest(now) not in one.wrote:
            return None
        if self._postfix:
            wanted = self._with_guard(one.old.content, now.content)
            why = f"keeps {RCPT}, without which Postfix would take no mail now"
            return None if wanted is None else (wanted, why)
        if one.old.kind != MISSING or not reads_plugins(self._place, self._home):
            return None
        return b"", "stays, empty: without it this qmail-smtpd would refuse all mail"

    def _with_guard(self, old: bytes, now: bytes) -> bytes | None:
        postconf = Postconf(self._place)
        try:
            wanted = self._without_question(old, now)
            same = postconf.written(wanted, RCPT) == postconf.written(old, RCPT)
        except SetupError:  # what master.cf says now is not understood
            return None
        return None if same else wanted

    def own_lines(self) -> tuple[str, bytes, str] | None:
        """Return smtpplugins, what has to be left in it, and the qmail home.

        That is for a file in which setup had nothing to write, and which names a program by now
        that undo removes: qmail-spp would answer 451 to every recipient.
        """
        home = self._plugins_home()
        if self._postfix or not home:
            return None
        path = self._place.target(f"{home}/control/{smtpplugins.NAME}")
        if any(one.path == path for one in self._entries):
            return None
        now = self._place.read(path) or b""
        left = smtpplugins.without(now, Path(home), self._plugins())
        return None if left == now else (path, left, home)

    def _plugins_home(self) -> str:
        """Return the qmail home that setup wrote plugins into."""
        end = "/plugins/greylisting"
        paths = [one.path for one in self._entries if one.path.endswith(end)]
        return paths[0].removesuffix(end) if paths else self._home

    def refuse_if_used(self) -> None:
        """Raise Unfinished where the mail server would still ask what undo takes away."""
        try:
            still = list(self._postfix_lines() if self._postfix else self._qmail_lines())
        except SetupError as error:
            raise Unfinished("\n".join(error.lines)) from error
        if still:
            raise Unfinished(
                "\n".join(
                    [
                        "nothing was undone: these lines still ask greylag",
                        *(f"  {line}" for line in still),
                        "take greylag out of them"
                        + (", and run `postfix reload`" if self._postfix else ""),
                    ]
                )
            )

    def _without_question(self, old: bytes, now: bytes) -> bytes:
        """Return main.cf with each list as it was; of one that was edited only our question goes.

        What setup put before the question stays in such a list: the admin's own lines may build
        upon it.
        """
        postconf = Postconf(self._place)
        before = postconf.written(old, RCPT, DATA, CODE)
        there = postconf.written(now, RCPT, DATA, CODE)
        changes: dict[str, str | None] = {}
        for name, wanted in ((RCPT, restrictions.BEFORE_RCPT), (DATA, restrictions.OWN)):
            new = restrictions.undone(before[name], there[name], wanted)
            if new != there[name]:
                changes[name] = new
        if there[CODE] == NEW_CODE != before[CODE]:
            changes[CODE] = before[CODE]
        if not changes:
            return now
        after = postconf.edited(now, changes)
        if RCPT in changes:
            lost = _unguarded(postconf, after) - _unguarded(postconf, now)
            if lost - (_unguarded(postconf, old) & {""}):  # which took no mail before setup either
                changes[RCPT] = restrictions.without_question(there[RCPT] or "")
                after = postconf.edited(now, changes)
        return after

    def _postfix_lines(self) -> Iterator[str]:
        """Yield the lines of Postfix's files that would ask a daemon that is gone."""
        if not any(one.path in _SERVICES and one.old.kind == MISSING for one in self._entries):
            return
        main = self._after()
        for path, text in ((self._file, main), (f"{CONFIG}/master.cf", None)):
            content = self._place.read(path) if text is None else text
            for found in _ASKS.finditer(content or b""):
                line = (content or b"").count(b"\n", 0, found.start()) + 1
                yield f"{path}:{line}: {found[0].strip().decode('utf-8', 'replace')}"

    def _after(self) -> bytes | None:
        """Return what the file will hold; None where undo does not touch it."""
        for one in self._entries:
            if one.path == self._file:
                now = self._place.look(one.path)
                if now.same(one.old) or digest(now) in one.wrote or now.kind != FILE:
                    return b"" if _ASKS.search(one.old.content) else one.old.content
                content = self.without(one, now.content) or b""
                return b"" if _ASKS.search(one.old.content) else content
        return b""  # it asked before setup

    def _plugins(self) -> set[str]:
        """Return the programs in plugins/ that undo removes."""
        gone = (
            one.path.rpartition("/")
            for one in self._entries
            if one.old.kind == MISSING and is_ours(self._place.read(one.path))
        )
        return {name for folder, _, name in gone if folder.endswith("/plugins")}

    def _qmail_lines(self) -> Iterator[str]:
        gone, folder = self._plugins(), self._plugins_home()
        if not gone or not folder:
            return
        home = self._place.real(folder, follow=True)
        control = f"{home}/control/"
        for line in smtpplugins.references(home, gone):
            inside = line.startswith(control)
            named = line.startswith(f"{control}{smtpplugins.NAME}:")
            if named or (not inside and self._place.live):
                yield line


_OURS = {line.rpartition(b"/")[2].decode() for line in smtpplugins.LINES}


def _unguarded(postconf: Postconf, main: bytes) -> set[str]:
    """Return the services that would take no mail with a main.cf; "" for those it alone rules."""
    rcpt, relay = (postconf.expanded_in(main, name) for name in (RCPT, RELAY))
    ways = {"": relay}
    for service, own in postconf.services().items():
        if RELAY in own and RCPT not in own:
            ways[service] = own[RELAY]
    return {service for service, text in ways.items() if not restrictions.guarded(rcpt, text)}
