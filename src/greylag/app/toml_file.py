"""Reading `greylag.toml`: every error at once, each with file, line, key and what was expected.

Importing `tomllib` takes a quarter of a one-shot's time. So simple files are read without it: what
is read here means the same to it. All else is left to it: escapes, numbers but whole ones, tables
in tables, values on several lines, anything that may be an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from greylag.app.options import BY_KEY
from greylag.app.recipients import SECTION, read_table
from greylag.core.recipients import Table
from greylag.store import shown_wrong
from greylag.wire.oldplugin import Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    Value = str | int | bool | list["Value"] | dict[str, "Value"]
    Content = dict[str, Value]

_MARK = b"\xef\xbb\xbf"  # UTF-8's, as some editors write it; Python's codec for it costs a file
_MOST_DOTS = 1000  # of a line: for a key of 30,000 parts tomllib needs 12 seconds
_MOST_ERRORS = 50  # that are told: to find the line of each, the file is walked through
_SHOWN = 80  # characters of a wrong value that an error quotes

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_SPACE = " \t"
_QUOTES = ('"', "'")
_WORDS = {"true": True, "false": False}
_MOST_DIGITS = 18  # they fit into 64 bits


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
    data = data.removeprefix(_MARK)
    try:
        text = data.decode()
        for number, line in enumerate(text.split("\n"), 1):
            if line.count(".") > _MOST_DOTS:
                told = f"{path}:{number}: expected at most {_MOST_DOTS} dots in a line"
                return Toml(errors=[told])
        tables = read_plain_toml(text)
        if tables is None:
            from tomllib import loads

            tables = loads(text)
    except UnicodeDecodeError as error:
        return Toml(errors=[f"{path}: expected UTF-8 text, got byte 0x{data[error.start]:02x}"])
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond measure
        return Toml(errors=[f"{path}: not TOML: {error}"])
    return _read_tables(tables, (path, text))


def _read_tables(tables: Mapping[str, object], file: tuple[str, str]) -> Toml:
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


class _NotPlainError(Exception):
    """It may be TOML, but it is for others to read."""


def read_plain_toml(text: str) -> Content | None:
    """Return what a text sets; None where it is not simple."""
    if not (text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()):
        return None
    tables: Content = {}
    table = tables
    try:
        for line in text.split("\n"):
            bare = line.strip(_SPACE)
            if not bare or bare[0] == "#":
                continue
            if bare[0] == "[":
                table = _begun(bare, tables)
                continue
            name, _equals, rest = bare.partition("=")
            _put(table, name.rstrip(_SPACE), _value(rest.lstrip(_SPACE)))
    except _NotPlainError:
        return None
    return tables


def _begun(line: str, tables: Content) -> Content:
    """Return the table that a header begins."""
    several = line.startswith("[[")
    end = "]]" if several else "]"
    name, found, rest = line[len(end) :].partition(end)
    table: Content = {}
    if not found:
        raise _NotPlainError
    _end(rest)
    if not several:
        _put(tables, name, table)
    else:
        before = tables.get(name)
        if before is None:
            _put(tables, name, [table])
        elif isinstance(before, list) and before and isinstance(before[-1], dict):
            before.append(table)
        else:
            raise _NotPlainError
    return table


def _put(table: Content, name: str, found: Value) -> None:
    if not name or not _BARE.issuperset(name) or name in table:
        raise _NotPlainError
    table[name] = found


def _value(text: str) -> Value:
    """Return a value that is the rest of a line, but for a comment."""
    if text[:1] in _QUOTES:
        found, rest = _string(text)
        _end(rest)
        return found
    if text[:1] == "[":
        return _strings(text[1:].lstrip(_SPACE))
    word = text.partition("#")[0].rstrip(_SPACE)
    if word in _WORDS:
        return _WORDS[word]
    plain = word.isascii() and word.isdecimal()
    if plain and len(word) <= _MOST_DIGITS and (word[0] != "0" or word == "0"):
        return int(word)
    raise _NotPlainError


def _string(text: str) -> tuple[str, str]:
    """Return the string that a text begins with, and what follows."""
    quote = text[:1]
    if quote not in _QUOTES:
        raise _NotPlainError
    found, closed, rest = text[1:].partition(quote)
    is_long = not found and rest[:1] == quote  # on several lines
    if not closed or is_long or (quote == '"' and "\\" in found):
        raise _NotPlainError
    return found, rest.lstrip(_SPACE)


def _strings(rest: str) -> list[Value]:
    """Return a list of strings on one line, of which the first bracket is read."""
    found: list[Value] = []
    while rest[:1] != "]":
        one, rest = _string(rest)
        found.append(one)
        if rest[:1] == ",":
            rest = rest[1:].lstrip(_SPACE)
        elif rest[:1] != "]":
            raise _NotPlainError
    _end(rest[1:])
    return found


def _end(rest: str) -> None:
    """See that nothing but a comment follows."""
    if rest.lstrip(_SPACE)[:1] not in ("", "#"):
        raise _NotPlainError
