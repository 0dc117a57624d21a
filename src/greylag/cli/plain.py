"""`--plain` of the commands that print tables: lines for awk and cut."""

from __future__ import annotations

from functools import wraps
from typing import Any, cast

import click

from greylag.cli.common import F, Run
from greylag.cli.output import PLAIN


def plain_option(command: F) -> F:
    """Give a command the option `--plain`; `cli.output` looks whether it was given."""

    @wraps(command)
    def in_form(*args: Any, plain: bool, **given: Any) -> object:
        context = click.get_current_context()
        run = context.find_object(Run)
        other = "--json" if run is not None and run.json else "--csv"
        if plain and (other == "--json" or given.get("as_csv")):
            raise click.UsageError(f"--plain and {other} exclude each other")
        context.meta[PLAIN] = plain
        return command(*args, **given)

    text = "Print lines for awk: tabs between the columns, no header."
    return cast("F", click.option("--plain", is_flag=True, help=text)(in_form))
