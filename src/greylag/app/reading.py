"""How settings are read from what TOML makes of them; a ValueError says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from greylag.core.address import MAX_LENGTH
from greylag.core.client import format_address, parse_address
from greylag.core.duration import EXPECTED, format_duration, parse_duration
from greylag.core.names import LONGEST_NAME
from greylag.core.signs import Sign
from greylag.core.verdict import LEVELS, Verdict

_DAY = 86400
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_SEPARATORS = frozenset("!#$%&'*+-./=?^_`{|}~")  # what RFC 5321 allows in a mailbox
_LONGEST_WAIT = 4  # seconds, so that a plugin answers as configured within its 5


def text(raw: object) -> str:
    """Return a text."""
    if not isinstance(raw, str):
        raise ValueError("expected a text in quotes")
    return raw


def duration(raw: object) -> int:
    """Return seconds from a duration with its unit."""
    if not isinstance(raw, str):
        raise ValueError(f"expected {EXPECTED}")
    return parse_duration(raw)


def lasting(raw: object) -> int:
    """Return seconds of at least a day."""
    seconds = duration(raw)
    if seconds < _DAY:
        raise ValueError('expected at least "1d", or every mail would be greylisted again')
    return seconds


def off_or(shortest: int) -> Callable[[object], int]:
    """Return a reader of durations, and of "off", which is 0."""
    expected = f'expected a duration of at least "{format_duration(shortest)}", or "off"'

    def read(raw: object) -> int:
        try:
            seconds = 0 if raw == "off" else duration(raw)
        except ValueError:
            raise ValueError(expected) from None
        if raw != "off" and seconds < shortest:
            raise ValueError(expected)
        return seconds

    return read


def wait(raw: object) -> int:
    """Return seconds that a plugin can wait."""
    seconds = duration(raw)
    if not 1 <= seconds <= _LONGEST_WAIT:
        raise ValueError('expected a duration from "1s" to "4s"')
    return seconds


def between(shortest: int, longest: int) -> Callable[[object], int]:
    """Return a reader of durations from `shortest` to `longest` seconds."""

    def read(raw: object) -> int:
        seconds = duration(raw)
        if not shortest <= seconds <= longest:
            raise ValueError(f'expected a duration from "{shortest}s" to "{longest}s"')
        return seconds

    return read


def count(lowest: int, highest: int) -> Callable[[object], int]:
    """Return a reader of whole numbers."""

    def read(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not lowest <= raw <= highest:
            raise ValueError(f"expected a whole number from {lowest} to {highest}")
        return raw

    return read


def flag(raw: object) -> bool:
    """Return true or false."""
    if not isinstance(raw, bool):
        raise ValueError("expected true or false")
    return raw


def member_of(words: type[Enum]) -> Callable[[object], Enum]:
    """Return a reader of one of some words."""
    *others, last = [f'"{word.value}"' for word in words]

    def read(raw: object) -> Enum:
        if not isinstance(raw, str) or raw not in [word.value for word in words]:
            raise ValueError(f"expected {', '.join(others)} or {last}")
        return words(raw)

    return read


def signs(raw: object) -> frozenset[Sign]:
    """Return signs of spam."""
    words = [sign.value for sign in Sign]
    if not isinstance(raw, list) or not all(item in words for item in raw):
        raise ValueError("expected a list of " + ", ".join(f'"{word}"' for word in words))
    return frozenset(map(Sign, raw))


def separator(raw: object) -> str:
    """Return what stands between a mailbox and a tag, or nothing."""
    if raw != "" and (not isinstance(raw, str) or raw not in _SEPARATORS):
        raise ValueError('expected one sign such as "+" or "-", or ""')
    return str(raw)


def hosts(raw: object) -> tuple[str, ...]:
    """Return names of hosts in lower case, and addresses in their usual form."""
    wrong = 'expected a list of names and addresses, such as ["mail.example.net", "192.0.2.25"]'
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise ValueError(wrong)
    found = []
    for item in raw:
        packed = parse_address(item.encode("utf-8", "replace"))
        name = item.lower()
        if packed is None and (not name or len(name) > LONGEST_NAME or set(name) - _HOST):
            raise ValueError(wrong)
        found.append(name if packed is None else format_address(packed))
    return tuple(found)


def senders(raw: object) -> tuple[str, ...]:
    """Return senders in canonical form: `name@` for any domain, or whole addresses."""
    wrong = 'expected a list of senders such as ["postmaster@", "probe@example.org"]'
    if not isinstance(raw, list):
        raise ValueError(wrong)
    for item in raw:
        plain = isinstance(item, str) and item.isascii() and item.isprintable()
        if not plain or " " in item or item.find("@") < 1 or len(item) > MAX_LENGTH:
            raise ValueError(wrong)
    return tuple(item.lower() for item in raw)


def on_failure(raw: object) -> Verdict:
    """Return the answer when the store fails."""
    if raw not in ("pass", "defer"):
        raise ValueError('expected "pass" or "defer"')
    return Verdict(raw)


def level(raw: object) -> int:
    """Return a log level by its name."""
    if not isinstance(raw, str) or raw not in LEVELS:
        raise ValueError("expected one of " + ", ".join(f'"{name}"' for name in LEVELS))
    return LEVELS.index(raw)


def times(raw: object) -> str:
    """Return when the lines of the log begin with their time."""
    if raw not in ("file", "always", "never"):
        raise ValueError('expected "file", "always" or "never"')
    return str(raw)


def log_format(raw: object) -> str:
    """Return in which form the log tells of answers."""
    if raw not in ("greylag", "postgrey"):
        raise ValueError('expected "greylag" or "postgrey"')
    return str(raw)


def path(raw: object) -> str:
    """Return an absolute path, or nothing."""
    if not isinstance(raw, str) or (raw and not raw.startswith("/")) or "\0" in raw:
        raise ValueError("expected an absolute path in quotes")
    return raw


def paths(raw: object) -> tuple[str, ...]:
    """Return absolute paths of folders."""
    if not isinstance(raw, list) or not all(item and path(item) for item in raw):
        raise ValueError('expected a list of absolute paths, such as ["/var/qmail/jgreylist"]')
    return tuple(raw)


def mode(raw: object) -> int:
    """Return file permissions in octal."""
    octal = isinstance(raw, str) and len(raw) in (3, 4) and not set(raw) - set("01234567")
    if not octal or int(str(raw), 8) > 0o777:
        raise ValueError('expected an octal mode in quotes, such as "0660"')
    return int(str(raw), 8)


def places(raw: object) -> tuple[str, ...]:
    """Return addresses with ports."""
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise ValueError('expected a list of address:port, such as ["127.0.0.1:10023"]')
    for item in raw:
        host, _colon, port = item.rpartition(":")
        address = parse_address(host.strip("[]").encode())
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
        if address is None or not 0 < number < 65536:
            raise ValueError('expected address:port, such as "127.0.0.1:10023"')
    return tuple(raw)


def place(raw: object) -> str:
    """Return an address with its port, or nothing."""
    return raw if raw == "" else places([raw])[0]


def some_place(raw: object) -> str:
    """Return an address with its port."""
    return places([raw])[0]


def addresses(raw: object) -> tuple[str, ...]:
    """Return addresses in their usual form."""
    wrong = 'expected a list of addresses, such as ["127.0.0.1", "2001:db8::1"]'
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise ValueError(wrong)
    found = [parse_address(item.encode("utf-8", "replace")) for item in raw]
    if None in found:
        raise ValueError(wrong)
    return tuple(format_address(packed) for packed in found if packed is not None)
