"""Settings as they are written and shown."""

from __future__ import annotations

from enum import Enum

from greylag.app.option import Option
from greylag.core.duration import format_duration
from greylag.core.verdict import LEVELS
from greylag.store import without_password


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


def shown_value(option: Option, value: object) -> object:
    """Return a value as it may be shown: without a password (T43)."""
    if option.secret and isinstance(value, str):
        return without_password(value)  # a store's URL
    return written(option, value)
