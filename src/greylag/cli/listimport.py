"""`greylag allow import` and `greylag deny import`: lists that somebody else keeps in a file."""

from __future__ import annotations

from typing import BinaryIO

import click

from greylag.admin.entries import Reading, read_lines, source_of
from greylag.admin.lists import Which
from greylag.cli.common import USAGE, CommandError, InputFile, Run, examples, json_option
from greylag.cli.listput import confirm, put, refuse, yes_option
from greylag.cli.output import say
from greylag.core.accesslist import NEVER
from greylag.core.subject import Subject

# Bytes of a file, which is read whole: some millions of subjects. A device has no end.
_MOST = 256 << 20


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
    data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise CommandError([f"{how.name}: has more than 256 MiB", "nothing was stored"], USAGE)
    comments, errors = read_lines(data, how)
    refuse(errors)
    if not comments and replace:
        raise CommandError([f"{how.name}: names no subject", "nothing was removed"], USAGE)
    if not comments:
        say(f"{how.name}: names no subject")
    return comments
