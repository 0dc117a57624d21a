"""The old plugin's settings: `control/greylisting` and the GL* variables, in our words and units.

See moving.md, "What is read as it is". The old names are known here alone. A file that worked
there works here. Numbers are read as C's atoi reads them, and a value that is likely to be a
mistake gets a warning. A value that lets everybody in, or nobody, is ignored with a warning, and
the value of the layer below is used. Spaces around `=` are allowed. The old program ignored such
lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from greylag.core.duration import LONGEST
from greylag.core.value import value

MINUTE, DAY = 60, 86400
MOST_VERBOSE = 5
ACCOUNT = ("mysql_host", "mysql_user", "mysql_pass", "mysql_db")  # of the old plugin's version 0.3
_BOM = b"\xef\xbb\xbf"  # some editors put it first


@value
class Given:
    """One setting as some layer gives it: our key, the value, and where it stands."""

    key: str
    value: object
    origin: str


@value
class OldOption:
    """A setting of the old plugin: its two names, our key, its reader and its default."""

    name: str
    variable: str
    key: str
    read: Callable[[str], object]
    default: object


def _digits(text: str) -> str:
    unsigned = text.strip().removeprefix("-").removeprefix("+")
    return unsigned[: len(unsigned) - len(unsigned.lstrip("0123456789"))]


def _number(text: str) -> int:
    """Read an integer as C's atoi does: "2 # minutes" is 2, "+2" is 2, "no" and "" are 0."""
    digits = _digits(text)
    if len(digits.lstrip("0")) > len(str(LONGEST)):
        raise ValueError("expected a smaller number")
    number = int(digits[-len(str(LONGEST)) :] or "0")
    return -number if text.strip().startswith("-") else number


def _from_nought(text: str) -> int:
    number = _number(text)
    if number < 0:
        raise ValueError("expected 0 or more")
    return number


def _times(unit: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        seconds = _from_nought(text) * unit
        if seconds > LONGEST:
            raise ValueError(f"expected at most {LONGEST // unit}")
        return seconds

    return read


def _mysql_url(text: str) -> str:
    """Return the URL of an option file. An error does not quote the text: it may be an account."""
    path = text.strip()
    if not path or "://" in path or (":" in path and "@" in path):
        raise ValueError("expected the path of a MySQL option file")
    return f"mysql:?default_file={path}"


def _level(text: str) -> int:
    return min(max(_number(text), 0), MOST_VERBOSE)


OLD_OPTIONS = (
    OldOption("mysql_default_file", "GLMYSQLDEFAULTFILE", "store.url", _mysql_url, None),
    OldOption("block_expire", "GLBLOCKEXPIRE", "policy.delay", _times(MINUTE), 55 * MINUTE),
    OldOption(
        "record_expire", "GLRECORDEXPIRE", "policy.retry_window", _times(MINUTE), 500 * MINUTE
    ),
    OldOption("record_expire_good", "GLRECORDEXPIREGOOD", "policy.lifetime", _times(DAY), 36 * DAY),
    OldOption("loglevel", "GLLOGLEVEL", "log.level", _level, 3),
    OldOption(
        "explicit", "GLEXPLICIT", "policy.explicit", lambda text: _from_nought(text) > 0, False
    ),
)
_BY_NAME = {option.name: option for option in OLD_OPTIONS}


class Found:
    """The settings of a layer, with errors, warnings and notes of one line each."""

    def __init__(self) -> None:
        self.given: list[Given] = []
        self.errors: list[str] = []  # it cannot be used
        self.warnings: list[str] = []  # it can be used, but is likely to be a mistake
        self.notes: list[str] = []  # it is ignored, as the old program ignores it

    def add(self, other: Found) -> None:
        """Take over what a later layer holds."""
        self.given += other.given
        self.errors += other.errors
        self.warnings += other.warnings
        self.notes += other.notes

    def read(self, option: OldOption, text: str, where: str, name: str) -> None:
        """Read one setting, which `where` has under this name."""
        shown = f"{text.strip()[:80]!r}" if "@" not in text else "a text with @"  # a URL, perhaps
        try:
            item = Given(option.key, option.read(text), f"{where} ({name})")
        except ValueError as error:
            if option.key == "store.url":
                self.errors.append(f"{where}: {name}: {error}")
            else:
                self.warnings.append(f"{where}: {name}: {error}, got {shown}: it is passed over")
            return
        self.given.append(item)
        if option.key == "store.url":
            return
        number = _number(text)
        if not _digits(text) or text.strip()[0] in "+-":
            self.warnings.append(
                f"{where}: {name}: expected a number, got {shown}: read as {number}"
            )
        if option.key == "policy.lifetime" and not number:
            self.warnings.append(f"{where}: {name}: with 0 days every mail is greylisted again")


def read_file(data: bytes, path: str) -> Found:
    """Return what a `control/greylisting` sets."""
    found = Found()
    accounts: dict[str, tuple[str, str]] = {}
    for number, raw in enumerate(data.removeprefix(_BOM).split(b"\n"), 1):
        line = raw.decode("utf-8", "surrogateescape").strip()
        if not line or line[0] in "#;":
            continue
        name, equals, text = line.partition("=")
        option = _BY_NAME.get(name.strip()) if equals else None
        where = f"{path}:{number}"
        if option is not None:
            found.read(option, text, where, option.name)
        elif equals and name.strip() in ACCOUNT:
            accounts[name.strip()] = (text.strip(), where)
        elif "pass" in name.lower() or "@" in name:
            found.notes.append(f"{where}: a line that may hold a password is no setting: ignored")
        else:
            found.notes.append(f"{where}: {name.strip()[:80]!r} is not a setting: ignored")
    if accounts:
        _add_account(found, accounts)
    return found


def _add_account(found: Found, accounts: dict[str, tuple[str, str]]) -> None:
    """Add the database that the old plugin's version 0.3 names by four settings of their own."""
    place = next(iter(accounts.values()))[1]
    origin = f"{place} ({', '.join(accounts)})"
    if any(item.key == "store.url" for item in found.given):
        found.notes.append(f"{origin}: ignored, mysql_default_file names the database")
        return
    host, user, password, database = (accounts.get(name, ("", ""))[0] for name in ACCOUNT)
    if not user or not database:
        found.errors.append(
            f"{origin}: expected mysql_user and mysql_db, or mysql_default_file in their place"
        )
        return
    host = "" if host == "localhost" else host  # MySQL's clients take its socket
    account = f"{_quoted(user)}:{_quoted(password)}" if password else _quoted(user)
    found.given.append(Given("store.url", f"mysql://{account}@{host}/{_quoted(database)}", origin))


def _quoted(text: str) -> str:
    raw = text.encode("utf-8", "surrogateescape")
    return "".join([chr(b) if chr(b).isalnum() and b < 0x80 else f"%{b:02X}" for b in raw])


def read_variables(environ: Mapping[bytes, bytes]) -> Found:
    """Return what the GL* variables set, as tcprules give them for a client network."""
    found = Found()
    for option in OLD_OPTIONS:
        raw = environ.get(option.variable.encode())
        if raw is not None:
            text = raw.decode("utf-8", "surrogateescape")
            found.read(option, text, "environment", option.variable)
    return found


def old_defaults() -> list[Given]:
    """Return what the old plugin does where neither file nor environment says otherwise."""
    return [
        Given(option.key, option.default, f"the old plugin's default ({option.name})")
        for option in OLD_OPTIONS
        if option.default is not None
    ]
