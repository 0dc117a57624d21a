"""`--dry-run` of the commands that change what the store holds."""

from __future__ import annotations

from collections.abc import Mapping

import click

from greylag.cli.common import F, Run
from greylag.cli.output import say, write_json

TOLD = "--dry-run: nothing is changed; without it, this would be done:"


def dry_run_option(command: F) -> F:
    """Give a command the option `--dry-run`: it runs on a store in which nothing is written."""

    def remember(context: click.Context, _parameter: click.Parameter, chosen: bool) -> None:
        run = context.find_object(Run)
        if chosen and run is not None:  # none where a shell asks for completions
            run.dry_run = True
            say(TOLD)

    text = "Only tell what would be changed."
    return click.option(
        "--dry-run", is_flag=True, expose_value=False, callback=remember, help=text
    )(command)


def write_changes(run: Run, document: Mapping[str, object]) -> None:
    """Write as JSON what was changed, or would be: then it says so."""
    write_json({**document, "dry_run": True} if run.dry_run else {**document})
