"""What reaches the terminal: data on stdout, talk on stderr, and never a control character.

Comments and database contents may be written by others, so every text passes `clean` on its way
out (CVE-2009-4487: an escape sequence in a log reached the terminal). rich is handed
finished `Text` objects, because it would read square brackets in a plain str as markup.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from datetime import timedelta
from shutil import get_terminal_size
from textwrap import TextWrapper
from time import monotonic
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from greylag.show.spreadsheet import as_csv
from greylag.show.texts import clean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

T = TypeVar("T")
# What was typed in the wrong place is quoted by click: a URL's account, or the like of it.
# In two steps: one pattern for both would look through a long word again from each letter.
_BEFORE_AT = re.compile(r"(?<![^\s'\"])[^\s'\"]*@")
_ACCOUNT = re.compile(r"(?i)\b[a-z]+:/*[^\s'\"@/:]*:|\bmysql")
_QUIET = 1.0  # seconds before a progress bar is shown: most work is done by then
_STROKE = 0.1  # seconds between two strokes of it
_DEFAULT_WIDTH = 80  # characters, where no terminal tells its own
_GAP = "  "  # between the columns of a table
PLAIN = "greylag.plain"  # in the `meta` of click's context: see `cli.plain`
# Whether a program reads what went wrong: `--json` was given, maybe beside what is wrong.
ERRORS_AS_JSON = ContextVar("ERRORS_AS_JSON", default=False)


def say(text: str) -> None:
    """Write one line of talk to stderr; a store URL in it loses its password (T43)."""
    click.echo(f"greylag: {_sayable(text)}", err=True)


def say_error(lines: Sequence[str], code: int) -> int:
    """Write to stderr what went wrong, a line each, or all as one of JSON; return the exit code."""
    if ERRORS_AS_JSON.get():
        error = "\n".join(map(_sayable, lines))
        click.echo(json.dumps({"error": error, "exit": code}), err=True)
    else:
        for line in lines:
            say(line)
    return code


def _sayable(text: str) -> str:
    return clean(_BEFORE_AT.sub(_without_account, text))


def _without_account(found: re.Match[str]) -> str:
    word = found[0]
    account = _ACCOUNT.search(word, 0, len(word) - 1)
    return word if account is None else f"{word[: account.start()]}***@"


def say_wrapped(text: str) -> None:
    """Write a footnote to stderr, in lines that fit the terminal; 80 characters without one."""
    width = _DEFAULT_WIDTH
    if sys.stderr.isatty():
        width = os.get_terminal_size(sys.stderr.fileno()).columns or width
    whole = TextWrapper(
        width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )
    for line in whole.wrap(f"greylag: {clean(text)}"):
        click.echo(line, err=True)


def write(text: str) -> None:
    """Write one line of data to stdout."""
    click.echo(_encodable(clean(text), sys.stdout))


def write_marked(mark: str, colour: str, text: str) -> None:
    """Write one line of data whose first word has a colour, on a terminal alone."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        mark = click.style(mark, fg=colour)
    click.echo(mark + _encodable(clean(text), sys.stdout))


def write_json(document: dict[str, object]) -> None:
    """Write one JSON document to stdout, in visible ASCII."""
    text = json.dumps(document, ensure_ascii=True, indent=2)
    click.echo(text.replace("\x7f", "\\u007f"))  # DEL is ASCII, and json leaves it as it is


def write_csv(documents: Sequence[Mapping[str, object]]) -> None:
    """Write documents of the same keys to stdout, for a spreadsheet."""
    for line in as_csv(documents).splitlines():
        click.echo(_encodable(line, sys.stdout))


def write_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Write names and values, one pair a line, aligned."""
    rows = list(fields)
    if plain():
        _write_plain(rows)
        return
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        write(f"{name:<{width}}  {value}")


def plain() -> bool:
    """Tell whether `--plain` was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(PLAIN))


def write_remark(text: str = "") -> None:
    """Write a title, a sentence or an empty line: what tells people something, but not awk."""
    if not plain():
        write(text)


def write_table(header: Sequence[str], rows: Sequence[Sequence[str]], name: str = "") -> None:
    """Write a table; where a terminal is too narrow for it, each row as a block of lines.

    So an address is in one piece, to be read and copied; a pipe always gets the table. With
    `--plain` the rows begin with the name, where a command writes more than one table.
    """
    if plain():
        _write_plain([(name, *row) if name else row for row in rows])
        return
    cleaned = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cleaned, strict=True)]
    needed = sum(widths) + len(_GAP) * (len(widths) - 1)
    if sys.stdout.isatty() and needed > get_terminal_size().columns:
        _write_blocks(header, cleaned)
    else:
        _write_aligned([header, *cleaned])


def _write_plain(rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        click.echo(_encodable("\t".join(clean(cell).strip() for cell in row), sys.stdout))


def _write_aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo(_encodable(_GAP.join(cells).rstrip(), sys.stdout))


def _write_blocks(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for number, row in enumerate(rows):
        if number:
            write("")
        write_fields((name, cell) for name, cell in zip(header, row, strict=True) if cell)


def progress(
    items: Iterable[T], total: int | None, label: str, step: int = 1, unit: str = "rows"
) -> Iterator[T]:
    """Yield the items; on a terminal with a bar on stderr, once they have taken a second.

    Each item stands for `step` of the total; without a total the bar only shows how fast it goes.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    began = monotonic()
    due = began + _QUIET
    with ExitStack() as stack:
        bar: Progress | None = None
        for done, item in enumerate(items, 1):
            yield item
            now = monotonic()
            if now < due:  # drawing costs more than most items do
                continue
            due = now + _STROKE
            if bar is None:
                bar = stack.enter_context(_bar(label, total))
            rate = step * done / (now - began)
            speed = f"{rate:,.0f} {unit}/s"
            if total is not None:
                speed += f", {timedelta(seconds=round(max(0, total - step * done) / rate))} left"
            bar.update(bar.task_ids[0], completed=step * done, speed=speed, refresh=True)


def _bar(label: str, total: int | None) -> Progress:
    """Return a bar with the share that is done, how fast it goes, and how long it will take."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    name, speed = (TextColumn(f"{{task.{of}}}") for of in ("description", "fields[speed]"))
    columns = name, BarColumn(), TaskProgressColumn(), speed
    bar = Progress(*columns, console=_console(sys.stderr), transient=True)
    bar.add_task(label, total=total, speed="")
    return bar


def _console(terminal: TextIO) -> Console:
    from rich.console import Console

    return Console(
        file=terminal,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        markup=False,
        highlight=False,
        emoji=False,
    )


def drawable(text: str) -> bool:
    """Tell whether stdout's encoding has these characters."""
    return _encodable(text, sys.stdout) == text


def _encodable(text: str, stream: TextIO) -> str:
    """Escape what the stream's encoding lacks, so that no locale can make output fail."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
