"""What a setting is: a row of the table in `app.options`."""

from __future__ import annotations

from collections.abc import Callable

from greylag.core.value import value


@value
class Option:
    """A setting: its key, how a TOML value is read (ValueError says what was expected), default."""

    key: str
    read: Callable[[object], object]
    default: object
    meaning: str
    secret: bool = False  # may hold a password: a wrong value is not quoted
    restart: bool = False  # a running daemon uses a changed value only after a restart
