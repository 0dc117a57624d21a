"""What a shell is offered that only the store knows: ids of mail that waits, entries of a list.

Somebody has pressed a key and waits. So it takes a second at most, looks at a fixed number of the
newest, and says nothing at all where anything fails. Only words that mean nothing to a shell are
offered.
"""

from __future__ import annotations

import io
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr

import click

from greylag.admin.deferrals import search, sought
from greylag.admin.lists import Which
from greylag.cli.common import Run, missing_file
from greylag.core.history import Outcome
from greylag.core.shortid import shown_id
from greylag.show.texts import subject_text
from greylag.store.base import Store

SECONDS, LOOK, MOST = 1.0, 2000, 50
_WORD = re.compile(r"[A-Za-z0-9._:/@+=-]+", re.ASCII)
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def waiting_ids(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return ids of mail that waits, the newest first, that begin with what was typed."""
    return _offered(context, begun.upper(), _waiting)


def entries_of(which: Which) -> Complete:
    """Return what completes a list's subjects."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        return _offered(context, begun, lambda store, run: _entries(store, run, which))

    return complete


def _waiting(store: Store, run: Run) -> Iterator[str]:
    waits = sought(run.policy, outcomes=(Outcome.WAITING.value,))
    for deferral in search(store, waits, LOOK, look=LOOK).deferrals:
        yield shown_id(deferral.id)


def _entries(store: Store, run: Run, which: Which) -> Iterator[str]:
    for entry in store.entries_after(0, LOOK).entries:
        if which.holds(entry, run.now) and entry.live(run.now):
            yield subject_text(entry.subject)


def _offered(
    context: click.Context, begun: str, words: Callable[[Store, Run], Iterator[str]]
) -> list[str]:
    found: dict[str, None] = {}
    options = context.find_root().params
    try:
        with _for_a_moment(), redirect_stderr(io.StringIO()):
            run = Run(options.get("config_file"), options.get("qmail_home"))
            if missing_file(run.backend) is not None:
                return []
            with closing(run.backend.open(timeout=SECONDS, create=False)) as store:
                for word in words(store, run):
                    if word.startswith(begun) and _WORD.fullmatch(word):
                        found[word] = None
                    if len(found) == MOST:
                        break
    except Exception:  # noqa: BLE001 - a word that is not offered is typed
        return []
    return list(found)


@contextmanager
def _for_a_moment() -> Iterator[None]:
    """Have the kernel end the process, which prints nothing then, where the store hangs.

    A handler of Python's would not run: SQLite opens a file again when a signal interrupts that.
    """
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
