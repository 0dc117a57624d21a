"""`greylag config explain`: what settings mean, and what they are now."""

from __future__ import annotations

import json

import click

from greylag.app.explained import explained, takes_effect
from greylag.app.option import Option
from greylag.app.options import BY_KEY, OPTIONS
from greylag.app.spelling import close
from greylag.app.written import shown_value
from greylag.cli.common import Run
from greylag.cli.output import write, write_fields, write_json


def explain(run: Run, keys: tuple[str, ...]) -> None:
    """Explain the settings that have these keys, those of these sections, or all."""
    named = {option.key: option for key in keys for option in _options(key)}
    chosen = tuple(named.values()) if keys else OPTIONS
    settings = run.settings
    documents = [
        explained(option)
        | {
            "value": shown_value(option, settings.values[option.key]),
            "origin": settings.origins[option.key],
        }
        for option in chosen
    ]
    if run.json:
        write_json({"settings": documents})
        return
    for number, document in enumerate(documents):
        if number:
            write("")
        _write(document)


def _options(key: str) -> list[Option]:
    if key in BY_KEY:
        return [BY_KEY[key]]
    if of_section := [option for option in OPTIONS if option.key.startswith(f"{key}.")]:
        return of_section
    meant = close(key, BY_KEY) or [known for known in BY_KEY if known.endswith(f".{key}")]
    if meant:
        raise click.UsageError(f"unknown setting {key!r}. Did you mean {' or '.join(meant)}?")
    raise click.UsageError(f"unknown setting {key!r}: greylag config shows all")


def _write(document: dict[str, object]) -> None:
    value, default = (json.dumps(document[name], ensure_ascii=False) for name in _VALUES)
    write_fields(
        [
            ("setting", str(document["key"])),
            ("meaning", str(document["meaning"])),
            ("value", f"{value} (from: {document['origin']})"),
            ("default", default),
            ("expected", str(document["expected"])),
            ("takes effect", takes_effect(document["restart"])),
        ]
    )


_VALUES = ("value", "default")
