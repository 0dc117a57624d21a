"""What asks on a terminal before something is deleted that was named: how many, which, and `--yes`.

Without a terminal nobody can be asked. What was named one by one goes then, as scripts rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from greylag.cli.common import NOTHING, CommandError, Run, ask, interactive
from greylag.cli.output import say

_SHOWN = 5
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm_deletion(
    run: Run, question: str, found: Callable[[], Iterable[str]], *, yes: bool
) -> None:
    """Show what there is that would go, and ask; a no ends the command.

    It is looked up where somebody is asked alone. Where nothing would go, nobody is asked.
    """
    if yes or run.dry_run or not interactive():
        return
    names = list(found())
    if not names:
        return
    for name in names[:_SHOWN]:
        say(name)
    if len(names) > _SHOWN:
        say(f"and {len(names) - _SHOWN} more")
    if not ask(f"{question} ({len(names)})?"):
        raise CommandError(["nothing was deleted"], NOTHING)
