"""Putting entries on a list: what `add` and `import` share, and `import` itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import BinaryIO

import click

from greylag.admin.bounded import TooLong, bounded_lines
from greylag.admin.entries import Reading, read_lines, source_of
from greylag.admin.lists import ALLOW, DENY, Stored, Which, far_reaching, kind_of
from greylag.admin.lists import put as put_entries
from greylag.cli.common import (
    NO_INPUT,
    NO_TERMINAL,
    NOTHING,
    OK,
    USAGE,
    CommandError,
    InputFile,
    Run,
    ask,
    examples,
    interactive,
    json_option,
)
from greylag.cli.output import progress, say, write_json
from greylag.cli.shown import subject_text
from greylag.core.accesslist import NEVER
from greylag.core.subject import Domain, Subject

MOST_TOLD = 20  # subjects that are told one by one
EXPLICIT = (
    "explicit mode (policy.explicit): a recipient domain on the allowlist is what gets greylisted, "
    "and mail that no entry names is let in"
)
# Bytes of a file, whose subjects are held in memory: some millions of them. A pipe may have no end.
_MOST = 256 << 20
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
    expires: int,
    *,
    instead_of: str = "",
) -> int:
    """Store entries as `admin.lists.put` does, and tell what became of each; return OK."""
    with closing(run.open_store(create=True)) as store:
        stored = put_entries(
            *(store, which, comments, expires, run.now), instead_of=instead_of, progress=progress
        )
    _tell(run, which, stored, instead_of)
    return OK


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


def effect_of(which: Which, subject: Subject, *, explicit: bool, asked: bool = False) -> str:
    """Return a sentence: which kind a subject is, and what happens to its mail."""
    domain = isinstance(subject, Domain)
    effect = "is refused" if which is DENY else "is let in"
    if asked:  # before it is done
        effect = effect.replace("is", "would be", 1)
    if which is ALLOW and domain and explicit:
        effect = "is greylisted (policy.explicit is on)"
    side = "TO" if domain else "FROM"
    return f"{kind_of(subject)} {subject_text(subject)}: mail {side} it {effect}"


def tell_effects(which: Which, subjects: Iterable[Subject], *, explicit: bool) -> None:
    """Say what was stored: each subject, or of many how many there are of each kind."""
    stored = list(subjects)
    if len(stored) <= MOST_TOLD:
        for subject in stored:
            say(effect_of(which, subject, explicit=explicit))
        return
    kinds: dict[str, int] = {}
    for subject in stored:
        kinds[kind_of(subject)] = kinds.get(kind_of(subject), 0) + 1
    for kind, number in sorted(kinds.items()):
        say(f"{kind}: {number}, such as {_first(stored, kind)}")


def _first(subjects: list[Subject], kind: str) -> str:
    return next(subject_text(subject) for subject in subjects if kind_of(subject) == kind)


def import_command(which: Which) -> click.Command:
    """Return the command that puts the subjects of a file on a list."""

    @click.command(
        "import",
        help=f"Put the subjects of a FILE (- is stdin) on the {which.name}, all or none.\n\n"
        "One subject a line; behind it, if wanted, a comment, which # may begin. Lines that begin "
        "with # are skipped. With one line in error nothing is stored. Each entry's comment "
        "begins with the name of the file, such as [networks.txt].",
        short_help="Put the subjects of a file on the list.",
        epilog=examples(
            f"greylag {which.command} import networks.txt",
            f"greylag {which.command} import --replace --mask networks.txt",
            f"printf '192.0.2.0/24 branch office\\n' | greylag {which.command} import -",
        ),
    )
    @click.argument("file", type=InputFile())
    @click.option("--domain", is_flag=True, help="Take names for recipient domains.")
    @click.option("--mask", is_flag=True, help="Clear the host bits of ranges.")
    @click.option("--replace", is_flag=True, help="Also remove what the file had and lacks now.")
    @click.option("--source", metavar="NAME", help="The name to remember instead of the file's.")
    @yes_option
    @json_option
    @click.pass_obj
    def import_(
        run: Run, /, file: BinaryIO, source: str | None, replace: bool, yes: bool, **reading: bool
    ) -> int:
        name = str(getattr(file, "name", "stdin"))
        try:
            how = Reading(name, source_of(name, source), **reading)
        except ValueError as error:
            raise CommandError([str(error), "nothing was stored"], USAGE) from None
        if replace and not how.source:
            raise click.UsageError("--replace of standard input needs --source NAME")
        comments = _read(file, how, replace=replace)
        confirm(which, comments, yes=yes)
        kept = {subject: comment or None for subject, comment in comments.items()}
        return put(run, which, kept, NEVER, instead_of=how.source if replace else "")

    return import_


def _read(file: BinaryIO, how: Reading, *, replace: bool) -> dict[Subject, str]:
    """Return a file's subjects; one without any, as after a failed download, replaces nothing."""
    try:
        comments, errors = read_lines(bounded_lines(how.name, file.readline, _MOST), how)
    except TooLong as error:
        raise CommandError([str(error), "nothing was stored"], USAGE) from None
    except OSError as error:
        cause = f"{how.name}: {error.strerror}"
        raise CommandError([cause, "nothing was stored"], NO_INPUT) from None
    refuse(errors)
    if not comments and replace:
        raise CommandError([f"{how.name}: names no subject", "nothing was removed"], USAGE)
    if not comments:
        say(f"{how.name}: names no subject")
    return comments
