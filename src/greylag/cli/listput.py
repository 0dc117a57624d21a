"""Putting entries on a list: what `add` and `import` share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing

import click

from greylag.admin.audit import of_import
from greylag.admin.lists import ALLOW, How, Stored, Which, far_reaching, kind_of
from greylag.admin.lists import put as put_entries
from greylag.cli.common import (
    NO_TERMINAL,
    NOTHING,
    OK,
    USAGE,
    CommandError,
    Run,
    ask,
    interactive,
)
from greylag.cli.dryrun import write_changes
from greylag.cli.kinds import effect_of
from greylag.cli.noting import noted
from greylag.cli.output import progress, say
from greylag.core.subject import CLIENT_NAME, Subject, of_sender
from greylag.show.texts import subject_text, subjects_text

MOST_TOLD = 20  # subjects that are told one by one
EXPLICIT = (
    "explicit mode (policy.explicit): a recipient domain on the allowlist is what gets greylisted, "
    "and mail that no entry names is let in"
)
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


def put(
    run: Run,
    which: Which,
    comments: Mapping[Subject, str | None],
    how: How,
    *,
    imported: bool = False,
) -> int:
    """Store entries as `admin.lists.put` does, and tell what became of each; return OK."""
    with closing(run.open_store(create=True)) as store:
        try:
            stored = put_entries(store, which, comments, how, run.now, progress=progress)
        except KeyboardInterrupt:
            say("it was ended: what was stored before stays; it may be run again")
            raise
        if imported and comments:
            brought = of_import(len(comments), len(stored.removed or ()), how.origin)
            noted(run, store, f"{which.command}-import", brought)
        elif comments:
            noted(run, store, which.command, subjects_text(comments))
    _tell(run, which, stored, how)
    return OK


def _tell(run: Run, which: Which, stored: Stored, how: How) -> None:
    if run.json:
        write_changes(run, _document(which, stored))
        return
    for subject in stored.switched:
        say(f"{subject_text(subject)}: was on the {which.other}, is on the {which.name} now")
    tell_effects(which, stored.subjects, explicit=run.policy.explicit, spoofable=how.spoofable)
    renewed, switched = len(stored.renewed), len(stored.switched)
    added = len(stored.subjects) - renewed - switched
    say(f"{which.name}: {added} added, {renewed} replaced, {switched} moved from the {which.other}")
    if stored.removed is not None:
        gone = len(stored.removed)
        say(f"{which.name}: {gone} removed that {how.origin} brought and lacks now")
    if which is ALLOW and run.policy.explicit:
        say(EXPLICIT)
    if not run.policy.dns:
        _tell_what_waits_for_dns(which, stored.subjects, how)


def _tell_what_waits_for_dns(which: Which, subjects: Iterable[Subject], how: How) -> None:
    """Say which entries speak never or rarely, where nobody may be asked."""
    if which is ALLOW and not how.spoofable and any(map(of_sender, subjects)):
        say("DNS is off (dns.servers), so SPF never passes: --spoofable lets the sender in")
    if any(subject.kind == CLIENT_NAME for subject in subjects):
        say("DNS is off (dns.servers): names count where the mail server tells them (Postfix)")


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


def tell_effects(
    which: Which, subjects: Iterable[Subject], *, explicit: bool, spoofable: bool = False
) -> None:
    """Say what was stored: each subject, or of many how many there are of each kind."""
    stored = list(subjects)
    if len(stored) <= MOST_TOLD:
        for subject in stored:
            say(effect_of(which, subject, explicit=explicit, spoofable=spoofable))
        return
    kinds: dict[str, int] = {}
    for subject in stored:
        kinds[kind_of(subject)] = kinds.get(kind_of(subject), 0) + 1
    for kind, number in sorted(kinds.items()):
        say(f"{kind}: {number}, such as {_first(stored, kind)}")


def _first(subjects: list[Subject], kind: str) -> str:
    return next(subject_text(subject) for subject in subjects if kind_of(subject) == kind)
