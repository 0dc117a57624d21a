"""Putting entries on a list: confirming, storing in parts, telling what was done."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from time import sleep

import click

from greylag.cli.common import NO_TERMINAL, NOTHING, OK, USAGE, CommandError, Run, ask, interactive
from greylag.cli.effects import (
    ALLOW,
    DENY,
    EXPLICIT,
    MOST_TOLD,
    Which,
    effect_of,
    far_reaching,
    kind_of,
    tell_effects,
)
from greylag.cli.output import progress, say, write_json
from greylag.cli.shown import subject_text
from greylag.core.accesslist import Entry, speaking_of
from greylag.core.subject import Network, Subject
from greylag.store.base import Store

AT_ONCE = 5000  # entries in one transaction: some 50 ms
PAUSE = 0.12  # seconds between them: whoever waits for SQLite's lock looks every 0.1
MANY = 500  # subjects; for more of them, reading the whole list once is faster
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(which: Which, subjects: Iterable[Subject], *, yes: bool) -> None:
    """Ask about entries that refuse mail of many: a 5xx loses mail at once."""
    grave = far_reaching(which, subjects)
    if not grave or yes:
        return
    for subject in grave[:MOST_TOLD]:
        say(effect_of(which, subject, explicit=False, asked=True))
    if len(grave) > MOST_TOLD:
        say(f"and {len(grave) - MOST_TOLD} more that reach as far")
    if not interactive():
        raise CommandError([NO_TERMINAL, "nothing was stored"], NOTHING)
    if not ask("Refuse all this mail for good?"):
        raise CommandError(["nothing was stored"], NOTHING)


def refuse(errors: list[str]) -> None:
    """Raise CommandError where there are errors: nothing was stored."""
    if errors:
        raise CommandError([*errors, "nothing was stored"], USAGE)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of the subjects that were put on a list."""

    subjects: list[Subject]
    renewed: set[Subject]  # on this list before
    switched: list[Subject]  # on the other list before
    removed: list[Subject] | None = None  # what an import replaced; None where none was asked for


def put(
    run: Run,
    which: Which,
    comments: Mapping[Subject, str | None],
    expires: int,
    *,
    instead_of: str = "",
) -> int:
    """Store entries with their comments and tell what became of each; return the exit code.

    A comment that is None leaves the one that is there, on either list. With `instead_of`, other
    entries of this list whose comments begin with that are removed.
    """
    denied_until = expires if which is DENY else 0
    with closing(run.open_store(create=True)) as store:
        there_now = entries_for(store, list(comments))
        before = {s: e for s, e in there_now.items() if e.live(run.now)}
        entries = []
        for subject, comment in comments.items():
            text = comment
            if text is None:
                text = before[subject].comment if subject in before else ""
            entries.append(Entry(subject, denied_until, expires, text, run.now))
        parts = [entries[at : at + AT_ONCE] for at in range(0, len(entries), AT_ONCE)]
        for part in progress(parts, len(entries), "storing", step=AT_ONCE):
            store.put_entries(part)
            if part is not parts[-1]:
                sleep(PAUSE)  # let the plugins have their turn
        removed = _remove_others(store, run, which, instead_of, comments) if instead_of else None
    switched = [s for s in comments if s in before and not which.holds(before[s], run.now)]
    renewed = {s for s in comments if s in before}.difference(switched)
    _tell(run, which, Stored(list(comments), renewed, switched, removed), instead_of)
    return OK


def _remove_others(
    store: Store, run: Run, which: Which, source: str, kept: Container[Subject]
) -> list[Subject]:
    """Remove from a list what a source brought once and has no more."""
    with store.transaction():
        gone = [
            entry.subject
            for entry in store.entries()
            if (entry.comment == source or entry.comment.startswith(f"{source} "))
            and entry.subject not in kept
            and which.holds(entry, run.now)
        ]
        store.remove_entries(gone)
    return gone


def entries_for(store: Store, subjects: list[Subject]) -> dict[Subject, Entry]:
    """Return the entries that there are for these subjects, without a lock on the lists."""
    wanted = set(subjects)
    if len(wanted) > MANY:
        return speaking_of(entry for entry in store.entries() if entry.subject in wanted)
    found: list[Entry] = []
    for subject in wanted:
        network = isinstance(subject, Network)
        client = subject.packed if isinstance(subject, Network) else bytes(4)
        near = store.matching(client, "" if network else str(subject))
        found += (entry for entry in near if entry.subject == subject)
    return speaking_of(found)


def _tell(run: Run, which: Which, stored: Stored, source: str) -> None:
    if run.json:
        write_json(_document(which, stored))
        return
    for subject in stored.switched:
        say(f"{subject_text(subject)}: was on the {which.other}, is on the {which.name} now")
    tell_effects(which, stored.subjects, explicit=run.policy.explicit)
    renewed, switched = len(stored.renewed), len(stored.switched)
    added = len(stored.subjects) - renewed - switched
    say(f"{which.name}: {added} added, {renewed} replaced, {switched} switched")
    if stored.removed is not None:
        say(f"{which.name}: {len(stored.removed)} removed that {source} brought and lacks now")
    if which is ALLOW and run.policy.explicit:
        say(EXPLICIT)


def _document(which: Which, stored: Stored) -> dict[str, object]:
    names = {s: subject_text(s) for s in stored.subjects}
    moved = stored.renewed.union(stored.switched)
    document: dict[str, object] = {
        "list": which.command,
        "added": [names[s] for s in stored.subjects if s not in moved],
        "replaced": [names[s] for s in stored.subjects if s in stored.renewed],
        "switched": [names[s] for s in stored.switched],
        "kinds": {names[s]: kind_of(s) for s in stored.subjects},
    }
    if stored.removed is not None:
        document["removed"] = [subject_text(s) for s in stored.removed]
    return document
