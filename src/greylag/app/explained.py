"""What one setting means: its default, what it may be, and when a change takes effect."""

from __future__ import annotations

from greylag.app.option import Option
from greylag.app.written import written

_PROBES: tuple[object, ...] = (object(), "0s", "500w")  # one of them is wrong for any reader


def expected(option: Option) -> str:
    """Return what a value may be, in the words in which a wrong one is refused."""
    told = [text for raw in _PROBES if (text := _refusal(option, raw))]
    ranges = [text for text in told if any(letter.isdigit() for letter in text)]
    # A wrong type is refused first; where a duration is bounded, its bounds say more.
    return (ranges[-1] if ranges else told[0]).removeprefix("expected ")


def _refusal(option: Option, raw: object) -> str:
    try:
        option.read(raw)
    except ValueError as error:
        return str(error)
    return ""


def takes_effect(restart: object) -> str:
    """Return when a change counts, in words."""
    return "at a restart" if restart else "at a reload"


def explained(option: Option) -> dict[str, object]:
    """Return what there is to say of a setting, whatever its value is."""
    return {
        "key": option.key,
        "meaning": option.meaning,
        "default": written(option, option.default),
        "expected": expected(option),
        "restart": option.restart,
    }
