"""`greylag allow import` and `greylag deny import`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

import click

from greylag.admin.bounded import TooLong, bounded_lines
from greylag.admin.entries import Reading, origin_of, read_lines
from greylag.admin.lists import How, Which
from greylag.admin.tables import (
    LineReader,
    PostfixTable,
    postgrey_clients,
    postgrey_recipients,
)
from greylag.cli.common import (
    NO_INPUT,
    USAGE,
    CommandError,
    InputFile,
    Run,
    examples,
    json_option,
)
from greylag.cli.dryrun import dry_run_option
from greylag.cli.kinds import chosen, kind_options
from greylag.cli.listput import confirm, put, refuse, yes_option
from greylag.cli.output import say
from greylag.core.subject import Subject

_PLAIN, _POSTFIX = "plain", "postfix"
_POSTGREY: dict[str, LineReader] = {
    "postgrey-clients": postgrey_clients,
    "postgrey-recipients": postgrey_recipients,
}
# Bytes of a file, whose subjects are held in memory: some millions of them. A pipe may have no end.
_MOST = 256 << 20
_LINES = (
    "One subject a line; behind it, if wanted, a comment, which # may begin. Lines that begin with "
    "# are skipped. With one line in error nothing is stored. Each entry remembers the name of the "
    "file as its origin."
)


def import_command(which: Which) -> click.Command:
    """Return the command that puts the subjects of a file on a list."""

    @click.command(
        "import",
        help=f"Put the subjects of a FILE (- is stdin) on the {which.name}.\n\n{_LINES}",
        short_help="Put the subjects of a file on the list.",
        epilog=examples(
            f"greylag {which.command} import networks.txt",
            f"greylag {which.command} import --replace --dry-run networks.txt",
            f"greylag {which.command} import --format postfix --client-name access",
            f"printf '192.0.2.0/24 branch office\\n' | greylag {which.command} import -",
        ),
    )
    @click.argument("file", type=InputFile())
    @kind_options
    @click.option(
        "--format",
        "form",
        type=click.Choice((_PLAIN, *_POSTGREY, _POSTFIX)),
        default=_PLAIN,
        show_default=True,
        help="Whose lines they are.",
    )
    @click.option("--partly", is_flag=True, help="Store what can be read; tell the other lines.")
    @click.option("--mask", is_flag=True, help="Clear the host bits of ranges.")
    @click.option("--replace", is_flag=True, help="Also remove what the file had and lacks now.")
    @click.option("--source", metavar="NAME", help="The name to remember instead of the file's.")
    @yes_option
    @dry_run_option
    @json_option
    @click.pass_obj
    def import_(run: Run, /, file: BinaryIO, source: str | None, form: str, **flags: bool) -> int:
        name = str(getattr(file, "name", "stdin"))
        kind, below = chosen(flags)
        how = Reading(name, kind, below, mask=flags["mask"], origin=_origin(name, source))
        return _import(run, which, file, how, form, flags)

    return import_


def _origin(name: str, source: str | None) -> str:
    try:
        return origin_of(name, source)
    except ValueError as error:
        raise CommandError([str(error), "nothing was stored"], USAGE) from None


def _import(
    run: Run, which: Which, file: BinaryIO, how: Reading, form: str, flags: Mapping[str, bool]
) -> int:
    if form in _POSTGREY and how.kind is not None:
        raise click.UsageError(f"--format {form} says itself what each line names")
    if flags["replace"] and not how.origin:
        raise click.UsageError("--replace of standard input needs --source NAME")
    table = PostfixTable(which, how.kind) if form == _POSTFIX else None
    comments = _read(file, how, table or _POSTGREY.get(form), flags)
    if table is not None and table.others:
        also = f"greylag {which.other_command} import reads them"
        say(f"{how.name}: {table.others} lines are for the {which.other} ({also})")
    confirm(which, comments, yes=flags["yes"] or run.dry_run)
    kept = {subject: comment or None for subject, comment in comments.items()}
    return put(run, which, kept, How(origin=how.origin, replace=flags["replace"]), imported=True)


def _read(
    file: BinaryIO, how: Reading, read: LineReader | None, flags: Mapping[str, bool]
) -> dict[Subject, str]:
    """Return a file's subjects; one without any, as after a failed download, replaces nothing."""
    try:
        comments, errors = read_lines(bounded_lines(how.name, file.readline, _MOST), how, read)
    except TooLong as error:
        raise CommandError([str(error), "nothing was stored"], USAGE) from None
    except OSError as error:
        cause = f"{how.name}: {error.strerror}"
        raise CommandError([cause, "nothing was stored"], NO_INPUT) from None
    if errors and flags["partly"]:
        for line in errors:
            say(line)
        say(f"{how.name}: {len(errors)} lines were left out")
    elif errors and read is not None:
        refuse([*errors, "--partly stores all other lines"])
    refuse([] if flags["partly"] else errors)
    if not comments and flags["replace"]:
        raise CommandError([f"{how.name}: names no subject", "nothing was removed"], USAGE)
    if not comments:
        say(f"{how.name}: names no subject")
    return comments
