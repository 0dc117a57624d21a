"""Reading `greylag.toml`: every error at once, each with file, line, key and what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from greylag.app.options import BY_KEY
from greylag.app.recipients import SECTION, read_table
from greylag.core.recipients import Table
from greylag.store import shown_wrong
from greylag.wire.oldplugin import Given

_MARK = b"\xef\xbb\xbf"  # UTF-8's, as some editors write it; Python's codec for it costs a file
_MOST_DOTS = 1000  # of a line: for a key of 30,000 parts tomllib needs 12 seconds
_MOST_ERRORS = 50  # that are told: to find the line of each, the file is walked through
_SHOWN = 80  # characters of a wrong value that an error quotes


class Toml:
    """What a file sets, and its errors."""

    def __init__(self, *, errors: Sequence[str] = ()) -> None:
        self.given: list[Given] = []
        self.tables: list[Table] = []  # of some recipients
        self.errors = list(errors)

    @property
    def full(self) -> bool:
        """Tell whether there are as many errors as are told."""
        return len(self.errors) >= _MOST_ERRORS


def read_toml(data: bytes, path: str) -> Toml:
    """Return what the file sets, and its errors."""
    import tomllib  # costs a one-shot process more than all of greylag: only where a file is

    data = data.removeprefix(_MARK)
    try:
        text = data.decode()
        for number, line in enumerate(text.split("\n"), 1):
            if line.count(".") > _MOST_DOTS:
                told = f"{path}:{number}: expected at most {_MOST_DOTS} dots in a line"
                return Toml(errors=[told])
        tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        return Toml(errors=[f"{path}: expected UTF-8 text, got byte 0x{data[error.start]:02x}"])
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond measure
        return Toml(errors=[f"{path}: not TOML: {error}"])
    return _read_tables(tables, (path, text))


def _read_tables(tables: dict[str, object], file: tuple[str, str]) -> Toml:
    path, text = file
    found = Toml()
    for section, content in tables.items():
        if found.full:
            break
        if isinstance(content, dict) and any(key.startswith(f"{section}.") for key in BY_KEY):
            for name, raw in content.items():
                if not found.full:
                    _read_one(f"{section}.{name}", raw, file, found)
        elif section == SECTION:
            _read_recipients(content, file, found)
        elif section in _sections():
            where = _place(path, text, section, None)
            found.errors.append(f"{where}: expected a section [{section}], not a value or a list")
        else:
            where = _place(path, text, section, None)
            found.errors.append(
                f"{where}: unknown section or key {_shown(section, secret=False)}"
                f"{_hint(section, [*_sections(), SECTION])}"
            )
    if found.full:
        found.errors.append(f"{path}: these are {_MOST_ERRORS} errors, and there may be more")
    return found


def _read_recipients(content: object, file: tuple[str, str], found: Toml) -> None:
    path, text = file
    if not isinstance(content, list):
        where = _place(path, text, SECTION, None)
        found.errors.append(f"{where}: expected tables [[{SECTION}]]")
        return
    begins = _tables_begin(text)
    for number, raw in enumerate(content):
        if found.full:
            break
        begin = begins[number] if number < len(begins) else None
        origin = path if begin is None else f"{path}:{begin}"
        table, errors = read_table(raw, origin, partial(_shown, secret=False))
        found.tables += [] if table is None else [table]
        for name, error in errors:
            where = origin if begin is None else f"{path}:{_line_of(text, begin, name)}"
            found.errors.append(f"{where}: {error}")


def _tables_begin(text: str) -> list[int]:
    """Return the lines of the headers [[recipient]]; tomllib does not tell."""
    lines = enumerate(text.splitlines(), 1)
    heads = ((n, line.partition("#")[0].replace(" ", "").strip()) for n, line in lines)
    return [number for number, head in heads if head == f"[[{SECTION}]]"]


def _line_of(text: str, begin: int, name: str) -> int:
    """Return the line of a key in the table that begins at a line, or that line."""
    for number, line in enumerate(text.splitlines()[begin:], begin + 1):
        word = line.partition("=")[0].strip().strip("\"'")
        if word == name:
            return number
        if word.startswith("[["):
            break
    return begin


def _read_one(key: str, raw: object, file: tuple[str, str], found: Toml) -> None:
    path, text = file
    section, _dot, name = key.partition(".")
    where = _place(path, text, section, name)
    option = BY_KEY.get(key)
    if option is None:
        shown = _shown(key, secret=False)
        found.errors.append(f"{where}: unknown key {shown}{_hint(key, list(BY_KEY))}")
        return
    try:
        found.given.append(Given(key, option.read(raw), where))
    except ValueError as error:
        found.errors.append(f"{where}: {key}: {error}, got {_shown(raw, secret=option.secret)}")


def _shown(raw: object, *, secret: bool) -> str:
    """Quote a wrong value, unless it may hold a password, in whatever place it was put (T43)."""
    try:
        text = repr(raw)
    except RecursionError:  # keys within keys, thousands deep
        return type(raw).__name__
    hidden = secret or "://" in text or ("@" in text and raw != "@")  # a sign is no password
    return (shown_wrong(raw) if hidden else text)[:_SHOWN]


def _sections() -> list[str]:
    return sorted({key.partition(".")[0] for key in BY_KEY})


def _hint(word: str, known: list[str]) -> str:
    from greylag.app.spelling import close  # most files have no error

    section, _dot, name = word.rpartition(".")
    here = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == section}
    meant = [here[found] for found in close(name, here)]
    meant = meant or [key for key in BY_KEY if key.rpartition(".")[2] == name]
    if not meant and name in _sections():
        return f": did you mean the section [{name}]?"
    return (
        f": did you mean {meant[0]!r}?"
        if meant
        else f": known are {', '.join(here.values() or known)}"
    )


def _place(path: str, text: str, section: str, name: str | None) -> str:
    """Return `path:line` of a key; tomllib does not tell, so look for it. Without a find: path."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("["):
            current = bare.strip("[] \t").partition("]")[0].strip()
            if name is None and current == section:
                return f"{path}:{number}"
        else:
            word = bare.partition("=")[0].strip().strip("\"'")
            wanted = section if name is None else name
            at_home = current == (section if name is not None else "")
            if (word == wanted and at_home) or (word == f"{section}.{name}" and not current):
                return f"{path}:{number}"
    return path
