"""The old plugin's settings: `control/greylisting` and the GL* variables, in our words and units.

Source: spec/greylisting-plugin.md "Configuration". Old names live here and nowhere further in.
Where the old program went wrong without a word (its fault 8), this reader speaks: a negative or
unreadable number is an error. Spaces around `=`, which it overlooked, are taken as meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from greylag.core.duration import LONGEST
from greylag.core.value import value

MINUTE, DAY = 60, 86400
MOST_VERBOSE = 5
_BOM = b"\xef\xbb\xbf"  # some editors put it first


@value
class Given:
    """One setting as some layer gives it: our key, the value, and where it stands."""

    key: str
    value: object
    origin: str


@value
class OldOption:
    """A setting of the old plugin: its two names, the setting of ours that it is, its default."""

    name: str
    variable: str
    key: str
    read: Callable[[str], object]
    default: object


def _number(text: str) -> int:
    """Read an integer by its leading digits, as the old program does ("2 # minutes" is 2)."""
    stripped = text.strip()
    digits = stripped[: len(stripped) - len(stripped.lstrip("0123456789"))]
    if not digits:
        raise ValueError("expected a whole number, 0 or more")
    if len(digits) > len(str(LONGEST)):
        raise ValueError("expected a smaller number")
    return int(digits)


def _times(unit: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        seconds = _number(text) * unit
        if seconds > LONGEST:
            raise ValueError(f"expected at most {LONGEST // unit}")
        return seconds

    return read


def _days(text: str) -> int:
    seconds = _times(DAY)(text)
    if not seconds:
        raise ValueError("expected at least 1 day, or every mail would be greylisted again")
    return seconds


def _mysql_url(text: str) -> str:
    if not text.strip():
        raise ValueError("expected the path of a MySQL option file")
    return f"mysql:?default_file={text.strip()}"


def _level(text: str) -> int:
    return min(_number(text), MOST_VERBOSE)


OLD_OPTIONS = (
    OldOption("mysql_default_file", "GLMYSQLDEFAULTFILE", "store.url", _mysql_url, None),
    OldOption("block_expire", "GLBLOCKEXPIRE", "policy.delay", _times(MINUTE), 55 * MINUTE),
    OldOption(
        "record_expire", "GLRECORDEXPIRE", "policy.retry_window", _times(MINUTE), 500 * MINUTE
    ),
    OldOption("record_expire_good", "GLRECORDEXPIREGOOD", "policy.lifetime", _days, 36 * DAY),
    OldOption("loglevel", "GLLOGLEVEL", "log.level", _level, 3),
    OldOption("explicit", "GLEXPLICIT", "policy.explicit", lambda text: _number(text) > 0, False),
)
_BY_NAME = {option.name: option for option in OLD_OPTIONS}


def read_file(data: bytes, path: str) -> tuple[list[Given], list[str], list[str]]:
    """Return what a `control/greylisting` sets, its errors, and notes on what it ignores."""
    given: list[Given] = []
    errors: list[str] = []
    notes: list[str] = []
    for number, raw in enumerate(data.removeprefix(_BOM).split(b"\n"), 1):
        line = raw.decode("utf-8", "surrogateescape").strip()
        if not line or line[0] in "#;":
            continue
        name, equals, text = line.partition("=")
        option = _BY_NAME.get(name.strip()) if equals else None
        where = f"{path}:{number}"
        if option is None:
            notes.append(f"{where}: {name.strip()[:80]!r} is not a setting: ignored")
        else:
            _read_one(option, text, (where, option.name), given, errors)
    return given, errors, notes


def read_variables(environ: Mapping[bytes, bytes]) -> tuple[list[Given], list[str]]:
    """Return what the GL* variables set, as tcprules give them for a client network; and errors."""
    given: list[Given] = []
    errors: list[str] = []
    for option in OLD_OPTIONS:
        raw = environ.get(option.variable.encode())
        if raw is not None:
            text = raw.decode("utf-8", "surrogateescape")
            _read_one(option, text, ("environment", option.variable), given, errors)
    return given, errors


def _read_one(
    option: OldOption, text: str, place: tuple[str, str], given: list[Given], errors: list[str]
) -> None:
    where, name = place
    origin = f"{where} ({name})"
    try:
        given.append(Given(option.key, option.read(text), origin))
    except ValueError as error:
        errors.append(f"{where}: {name}: {error}, got {text.strip()[:80]!r}")


def old_defaults() -> list[Given]:
    """Return what the old plugin does where neither file nor environment says otherwise."""
    return [
        Given(option.key, option.default, f"the old plugin's default ({option.name})")
        for option in OLD_OPTIONS
        if option.default is not None
    ]
