"""`greylag config`: the settings that hold, where each comes from, and an example to start with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum

import click

from greylag.app.config import ConfigError
from greylag.app.option import Option
from greylag.app.options import OPTIONS
from greylag.app.recipients import MATCH, SECTION, TABLE_OPTIONS
from greylag.cli.asker import as_option, for_root_alone, refuse_unusable
from greylag.cli.common import CONFIG_ERROR, OK, STORE_ERROR, Run, examples, json_option
from greylag.cli.home import another_configuration
from greylag.cli.output import say, write, write_json, write_table
from greylag.core.duration import format_duration
from greylag.core.recipients import Table
from greylag.core.verdict import LEVELS
from greylag.store import without_password
from greylag.store.base import StoreError

_HEAD = """\
# Settings of greylag. Each stands here with its default: remove the # before it to change it.
# `greylag config --check` tells what is wrong with this file, `greylag config` what is in force."""

_TABLE = """
# Settings for some recipients: the first table that names a recipient holds. They can have
# greylist, delay, retry_window, lifetime, identity, trust_after, trust_all_after, signs and
# signs_needed. Write as many tables as you need, at the end of the file:
#
#     [[recipient]]
#     match = ["postmaster@", "user@example.org", "example.net"]
#     greylist = "off\""""

_RESTART = " (a running daemon has to be restarted)"


@click.command(
    epilog=examples(
        "greylag config",
        "greylag --config ./greylag.toml config --check",
        "greylag config --check --as vpopmail",
        "greylag config --example > greylag.toml",
    )
)
@click.option(
    "--check", is_flag=True, help='Print "ok" or all errors (exit code 78; 74: the database).'
)
@click.option("--example", is_flag=True, help="Print a greylag.toml with all settings explained.")
@as_option
@json_option
@click.pass_obj
def config(run: Run, check: bool, example: bool) -> int:
    """Show the settings in force, and where each comes from."""
    if check and example:
        raise click.UsageError("--check and --example exclude each other")
    if check:
        return _check(run)
    if example:
        _example(run)
    else:
        _show(run)
    return OK


def _check(run: Run) -> int:
    errors: list[str] = []
    warnings: tuple[str, ...] = ()
    code = OK
    try:
        warnings = (
            *run.settings.warnings,
            *another_configuration(run.home, run.environ),
            *for_root_alone(run),
        )
        refuse_unusable(run.backend)
    except ConfigError as error:
        errors, code = error.errors, CONFIG_ERROR
    except StoreError as error:
        errors, code = [str(error)], STORE_ERROR
    if run.json:
        write_json({"ok": not errors, "errors": errors, "warnings": list(warnings)})
    else:
        for line in (*errors, *warnings):
            say(line)
        if not errors:
            write("ok")
    return code


def _show(run: Run) -> None:
    settings = run.settings
    rows = [
        (option.key, _shown(option, settings.values[option.key]), settings.origins[option.key])
        for option in OPTIONS
    ]
    if run.json:
        names = ("key", "value", "origin")
        write_json(
            {
                "settings": [dict(zip(names, row, strict=True)) for row in rows],
                "recipients": [_table_json(table) for table in settings.recipients.tables],
                "warnings": list(settings.warnings),
                "notes": list(settings.notes),
            }
        )
        return
    lines = [(key, _toml(v), origin) for key, v, origin in rows]
    lines += [row for table in settings.recipients.tables for row in _table_rows(table)]
    write_table(("setting", "value", "from"), lines)
    for line in (
        *settings.warnings,
        *settings.notes,
        *another_configuration(run.home, run.environ),
    ):
        say(line)


def _table_rows(table: Table) -> Iterator[tuple[str, str, str]]:
    yield f"{SECTION}.{MATCH}", _toml(list(table.match)), table.origin
    for name, value in table.changes:
        shown = written(TABLE_OPTIONS[name], value)
        yield f"  {SECTION}.{name}", _toml(shown), table.origin


def _table_json(table: Table) -> dict[str, object]:
    changes = {name: written(TABLE_OPTIONS[name], value) for name, value in table.changes}
    return {MATCH: list(table.match), "settings": changes, "origin": table.origin}


def written(option: Option, value: object) -> object:
    """Return a value as `greylag.toml` has it: as what the option's own reader reads back to it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(item.value for item in value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, int) and not isinstance(value, bool):
        candidates = (value, format_duration(value), *LEVELS[value : value + 1], f"{value:04o}")
        return next((text for text in candidates if _reads(option, text) == value), value)
    return value


def _reads(option: Option, raw: object) -> object:
    try:
        return option.read(raw)
    except ValueError:
        return None


def _shown(option: Option, value: object) -> object:
    if option.secret and isinstance(value, str):
        return without_password(value)  # a store's URL
    return written(option, value)


def _toml(value: object) -> str:
    """Return a bool, number or text in TOML's notation, which JSON's is for these."""
    return json.dumps(value, ensure_ascii=False)


def _example(run: Run) -> None:
    if run.json:
        options = [
            {
                "key": o.key,
                "default": written(o, o.default),
                "meaning": o.meaning,
                "restart": o.restart,
            }
            for o in OPTIONS
        ]
        write_json({"options": options})
        return
    for line in example_lines():
        write(line)


def example_lines() -> Iterator[str]:
    """Yield the lines of an example `greylag.toml`, made from the table the loader uses."""
    yield from _HEAD.splitlines()
    section = ""
    for option in OPTIONS:
        here, _dot, name = option.key.partition(".")
        if here != section:
            section = here
            yield from ("", f"[{section}]")
        yield f"# {option.meaning}{_RESTART if option.restart else ''}"
        yield f"#{name} = {_toml(written(option, option.default))}"
    yield from _TABLE.splitlines()
