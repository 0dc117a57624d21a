"""`greylag config`: the settings that hold, where each comes from, and an example to start with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import click

from greylag.admin.switch import holding, switch_text
from greylag.app.config import ConfigError
from greylag.app.options import BY_KEY, OPTIONS
from greylag.app.recipients import MATCH, SECTION, TABLE_OPTIONS
from greylag.app.written import shown_value, written
from greylag.cli.asker import as_option, for_root_alone, refuse_unusable
from greylag.cli.common import (
    CONFIG_ERROR,
    OK,
    STORE_ERROR,
    CommandError,
    Run,
    examples,
    json_option,
    missing_file,
    opened,
)
from greylag.cli.explaining import explain
from greylag.cli.home import another_configuration
from greylag.cli.output import say, write, write_json, write_table
from greylag.cli.plain import plain_option
from greylag.cli.switched import switch_json
from greylag.core.recipients import Table
from greylag.core.switch import Switch
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

_EXPLAIN = "explain"  # a word, as it is typed
_RESTART = " (a running daemon has to be restarted)"


def _offered(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return what can be typed next: `explain`, and then keys of settings."""
    keys = list(BY_KEY) if context.params.get("words") else [_EXPLAIN]
    return [key for key in keys if key.startswith(begun)]


@click.command(
    epilog=examples(
        "greylag config",
        "greylag --config ./greylag.toml config --check",
        "greylag config --check --as vpopmail",
        "greylag config explain policy.delay",
        "greylag config --example > greylag.toml",
    )
)
@click.argument("words", metavar="[explain [KEY]...]", nargs=-1, shell_complete=_offered)
@click.option(
    "--check", is_flag=True, help='Print "ok" or all errors (exit code 78; 74: the database).'
)
@click.option("--example", is_flag=True, help="Print a greylag.toml with all settings explained.")
@as_option
@plain_option
@json_option
@click.pass_obj
def config(run: Run, words: tuple[str, ...], check: bool, example: bool) -> int:
    """Show the settings in force, and where each comes from.

    With `explain` and keys such as policy.delay, or sections such as policy (without: all), each
    setting is shown with its meaning, its default, what it may be, and whether a change needs a
    restart.
    """
    if check and example:
        raise click.UsageError("--check and --example exclude each other")
    if words:
        if words[0] != _EXPLAIN or check or example:
            raise click.UsageError("expected explain and keys, or an option, or nothing")
        explain(run, words[1:])
        return OK
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


def _switch(run: Run) -> Switch | None:
    """Return the switch that lies over the settings, where there is a store to tell."""
    if not run.backend.lasts or missing_file(run.backend) is not None:
        return None
    try:
        with closing(opened(run.backend, run.settings.store_timeout, create=False)) as store:
            return holding(store, run.now)
    except (StoreError, CommandError) as error:
        say(f"whether greylisting is switched off is not known: {error}")
        return None


def _show(run: Run) -> None:
    settings = run.settings
    switch = _switch(run)
    rows = [
        (option.key, shown_value(option, settings.values[option.key]), settings.origins[option.key])
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
                "switch": switch_json(switch),
            }
        )
        return
    lines = [(key, _toml(v), origin) for key, v, origin in rows]
    lines += [row for table in settings.recipients.tables for row in _table_rows(table)]
    write_table(("setting", "value", "from"), lines)
    for line in (
        *([] if switch is None else [switch_text(switch, run.now)]),
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
