"""The option `--since` of commands that show what happened in a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from greylag.core.duration import parse_duration

F = TypeVar("F", bound=Callable[..., object])


def since_option(default: str, text: str) -> Callable[[F], F]:
    """Give a command the option `--since`: a time that is longer than none."""
    return click.option(
        "--since",
        metavar="DURATION",
        default=default,
        show_default=True,
        callback=read_time,
        help=text,
    )


def read_time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """Read an option's time, which is longer than none; None where it was not given."""
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, got {text!r}") from None
    if not seconds:
        raise click.BadParameter(f"expected a time longer than none, got {text!r}")
    return seconds
