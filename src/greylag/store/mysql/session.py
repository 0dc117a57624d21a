"""A session's statements, in as few trips to the server as can be, and the transaction around them.

On one machine a trip costs as much as a short statement does. So what is written waits, and goes
with whatever is asked next or with the commit; the beginning goes with the first question. A node
of a Galera cluster gets one at a time: it can take a transaction back between two statements, and
in one trip it does not always tell of that before the commit has found nothing to do.

Who is in a hurry waits for his turn, and for nothing else: one row that another program keeps
locked must not hold up a whole batch. (MariaDB has a wait of less than a second, and of one
statement; MySQL has neither, so there all locks are waited for alike.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from greylag.store.base import StoreConflict, StoreError
from greylag.store.mysql import sql
from greylag.store.mysql.link import (
    Guard,
    connect,
    is_about_table,
    is_broken_table,
    is_wait,
    longest_wait,
    suppress_conflict,
)
from greylag.store.mysql.options import Place
from greylag.store.unkept import Unkept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")
    Rows = Sequence[tuple[Any, ...]]

_MOST_AT_ONCE = 256 * 1024  # characters; servers take at least 1 MiB in one trip
_MARIADB = re.compile(r"(\d+)\.(\d+)\.\d+-MariaDB")
_WAIT_IN_STATEMENTS = (10, 3)  # the first MariaDB that has it


class MysqlSession:
    """A session with the server. Errors are the driver's: callers hold the guard."""

    def __init__(self, place: Place, guard: Guard, timeout: float) -> None:
        self._guard = guard
        self._connection = connect(place, guard, timeout)
        with guard, self._connection.cursor() as cursor:
            self._together = not cursor.execute(sql.CLUSTERED)
        self._longest = self._waits = longest_wait(timeout)  # seconds, for a lock
        self._shortest = 0 if _can_hurry(self._connection.server_version) else self._longest
        self._hurried = False
        self.take_turns_at_own_table()
        self._first: list[str] = []  # begins, and waits for our turn
        self._waiting: list[str] = []  # writes
        self._asked: list[str] = []  # questions
        self._before = ""  # each statement
        self._extra: set[str] = set()  # of the writes: those without which all else is written
        self.unkept = Unkept()  # refused ones
        self.is_suspect = False  # one of our own tables, since they were last looked at
        self.broken: dict[str, str] = {}  # those that cannot be used, and why

    def read(self, statement: str, parameters: Sequence[object] = ()) -> Rows:
        """Run a statement, after all that waits; return its rows."""
        return self._send(self._filled(statement, parameters))[-1]

    def ask(self, statement: str, parameters: Sequence[object] = ()) -> None:
        """Put a question, to be sent together with others."""
        self._asked.append(self._filled(statement, parameters))

    def answers(self) -> list[Rows]:
        """Run what was asked, after all that waits; return the rows of each question."""
        asked, self._asked = self._asked, []
        return self._send(*asked)[-len(asked) :] if asked else []

    def write(self, statements: Mapping[int, str], rows: Sequence[Sequence[object]]) -> None:
        """Put rows to be written, with that of the statements that takes so many."""
        for part in parts(rows):
            items = [item for row in part for item in row]
            self._waiting.append(self._filled(statements[len(part)], items))

    def count(self, statements: Mapping[int, str], rows: Sequence[Sequence[object]]) -> None:
        """Put rows without which all else is written, where the server refuses them."""
        if not self.unkept.now:
            before = len(self._waiting)
            self.write(statements, rows)
            self._extra.update(self._waiting[before:])

    def flush(self) -> None:
        """Send what waits to be written, so that an error comes here and now."""
        if self._waiting:
            self._send()

    @property
    def clustered(self) -> bool:
        """Tell whether this is a node of a Galera cluster."""
        return not self._together

    def _filled(self, statement: str, parameters: Sequence[object]) -> str:
        with self._connection.cursor() as cursor:
            return self._before + cursor.mogrify(statement, tuple(parameters))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Say what waits for no table that another program has locked."""
        before, self._before = self._before, sql.TABLE_AT_ONCE
        try:
            yield
        finally:
            self._before = before

    def note_broken(self, table: str, error: Exception) -> None:
        """Note why all goes on without a table of ours."""
        self.broken[table] = f"{self._guard.said(error)}: all goes on without {table}"

    def why_without(self, why: str) -> str:
        """Return why a table that a text names cannot be used: that text, or that it is broken."""
        return next((said for table, said in self.broken.items() if table in why), why)

    def warning(self) -> str | None:
        """Return what an admin has to look after."""
        return next(iter(self.broken.values()), None) or self.unkept.warning()

    def make_lock(self) -> None:
        """Make the row at which writers take turns; another may be doing so, too."""
        with suppress_conflict():
            self._exchange([sql.MAKE_LOCK])

    def take_turns_at_own_table(self) -> None:
        """Take turns at the row of our own table."""
        lock = sql.LOCK + sql.TURN_WAITS.format(self._longest)
        self._turn, self._own_turn = [sql.BEGIN, lock], True

    def take_turns_at_old_table(self) -> None:
        """From now on take turns without a table of our own."""
        lock = sql.LOCK_FIRST + sql.TURN_WAITS.format(self._longest)
        self._turn, self._own_turn = [sql.ISOLATION, sql.BEGIN, lock], False

    def begin(self, *, hurried: bool = False) -> None:
        """Begin a transaction when it is our turn, with the next statement."""
        self._hurried = hurried
        self._first, self._extra = [*self._turn], set()

    def prove(self) -> None:
        """See whether anything can be written, and take it back."""
        self.begin(hurried=True)
        try:
            self.read(sql.INSERT_NOBODY, (bytes(4),))
        finally:
            self._roll_back()

    def end(self, *, commit: bool) -> None:
        """End it. One in which nothing was said costs nothing."""
        if self._first and not (commit and self._waiting):
            self._first, self._waiting = [], []
            return
        if commit:
            try:
                self._send(sql.COMMIT)
            except BaseException:  # a commit can lose against another node; the session goes on
                with suppress(Exception):
                    self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        self._waiting, self._asked = [], []
        self._send(sql.ROLLBACK)

    def _send(self, *texts: str) -> list[Rows]:
        first, waiting = self._first, self._waiting
        self._first, self._waiting = [], []
        if first:
            first = [*self._other_wait(), *first]
        if first and waiting:
            # Nothing is written but when it is our turn, and whether it is the answer tells.
            self._begun(self._exchange(first)[-1])
            return self._exchange([*waiting, *texts])
        results = self._exchange([*first, *waiting, *texts])
        if first:
            self._begun(results[len(first) - 1])
        return results

    def _other_wait(self) -> list[str]:
        """Say how long rows are waited for from now on, where that changes."""
        waits = self._shortest if self._hurried else self._longest
        if waits == self._waits:
            return []
        self._waits = waits
        return [sql.ROWS_WAIT.format(waits)]

    def _exchange(self, texts: Sequence[str]) -> list[Rows]:
        """Run statements; return the rows of each. After an error none is run."""
        results: list[Rows] = []
        try:
            with self._connection.cursor() as cursor:
                for statement in self._trips(texts):
                    cursor.execute(statement)
                    results.append(cursor.fetchall())
                    while cursor.nextset():
                        results.append(cursor.fetchall())
        except Exception as error:
            self.is_suspect |= is_broken_table(error)
            # The statements before it have their results.
            if texts[len(results)] in self._extra:
                if is_about_table(error):
                    raise self.unkept.refused(self._guard.said(error)) from error
                if is_wait(error):
                    raise self.unkept.waited(self._guard.said(error)) from error
            raise
        return results

    def _trips(self, texts: Sequence[str]) -> Iterator[str]:
        """Join statements into as few trips as the server takes."""
        trip: list[str] = []
        size = 0
        for text in texts:
            size += len(text)
            if trip and (not self._together or size > _MOST_AT_ONCE):
                yield ";\n".join(trip)
                trip, size = [], len(text)
            trip.append(text)
        if trip:
            yield ";\n".join(trip)

    def _begun(self, locked: Rows) -> None:
        """See that it is our turn: the row may be gone, as from a table that was emptied."""
        if self._own_turn and not locked:
            self._exchange([sql.ROLLBACK])
            self.make_lock()
            raise StoreConflict("the row at which writers take turns was gone")

    def close(self) -> None:
        """Close the connection, if that is still to be done."""
        self._connection.close()


class Transaction:
    """A write transaction, one of ours at a time; a second one inside is part of it.

    The old tables have no unique key, so two writers could both find nothing and both insert.
    So ours take turns at the lock of a row. (The server's advisory locks, GET_LOCK, are open to
    every account there is.)
    """

    def __init__(self, session: MysqlSession, guard: Guard, ended: Callable[[], None]) -> None:
        self._session = session
        self._guard = guard
        self._ended = ended
        self._depth = 0
        self._hurried = False

    def for_who_is(self, *, hurried: bool) -> Transaction:
        """Return it, to be entered; inside one that is under way nothing changes."""
        if not self._depth:
            self._hurried = hurried
        return self

    @property
    def active(self) -> bool:
        """Tell whether one is under way."""
        return self._depth > 0

    def __enter__(self) -> None:
        if self._depth == 0:
            with self._guard:
                self._session.begin(hurried=self._hurried)
        self._depth += 1

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        self._ended()
        try:
            with self._guard:
                self._session.end(commit=kind is None)
        except StoreError:
            if kind is None:  # else it is the first error that tells the cause
                raise


def _can_hurry(version: str) -> bool:
    """Tell whether a server of this version knows a wait for one statement alone."""
    found = _MARIADB.search(version)
    return found is not None and (int(found[1]), int(found[2])) >= _WAIT_IN_STATEMENTS


def parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts of those sizes that there are statements for."""
    for start in range(0, len(items), sql.MOST):
        yield items[start : start + sql.MOST]
