"""Where a MySQL database is: store URLs, and the option files that the old plugin names.

`mysql://user:password@host,host:3307/database`, or `mysql:?default_file=/path/my.cnf`, whose
`[client]` section says the same (`mysql_default_file`). See docs/running/mysql.md, "Naming the
database".
"""

from __future__ import annotations

import os
import re

from greylag.core.value import value
from greylag.store.base import StoreError
from greylag.store.mysql.tls import Tls, read_tls
from greylag.store.plain_file import read_plain

PORT = 3306
_DIGITS = 5  # of a port
SOCKET = "/run/mysqld/mysqld.sock"  # Debian's; what the server's own clients try first
EXPECTED = "mysql://USER[:PASSWORD]@HOST[:PORT][,HOST...]/DATABASE or mysql:?default_file=/path"
_SCHEME = "mysql://"
_BY_FILE = "mysql:?default_file="
_ODD = frozenset(" \t/?#&=;,@:'\"\\")  # between the parts of a URL, however it is mistyped
_SECTIONS = ("client", "client-server", "client-mariadb")  # what the client library reads
_BLANKS = " \t\r\n\v\f"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "s": " ", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"\\([ntrbs\"'\\])")
_MOST_INCLUDES = 10  # files within files
_MOST_FILES = 200  # in all: ten files that each name the next 20 times would be read for years


@value
class Place:
    """One database: the hosts that may be asked for it, in their order, and as whom."""

    hosts: tuple[tuple[str, int], ...]  # empty: the unix socket
    socket: str
    user: str
    password: str
    database: str
    tls: Tls = Tls()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Name the place for logs and errors: never the password."""
        where = ",".join(f"{_shown(host)}:{port}" for host, port in self.hosts) or self.socket
        return f"mysql {_shown(self.user)}@{where}/{_shown(self.database)}"

    def without_urls(self, text: str) -> str:
        """Return what driver or server say, without names that may hold a password."""
        for name in (self.user, self.database, *(host for host, _port in self.hosts)):
            if _shown(name) != name:
                text = text.replace(name, _shown(name))
        return text


def _shown(name: str) -> str:
    """Return a name for an error; a URL that was put in its place may hold a password."""
    before, at, _after = name.rpartition("@")
    return "..." if at and ":" in before else name


def read_url(url: str) -> Place:
    """Return the place that a store URL names. Raises StoreError (a file), ValueError (the URL)."""
    if url.startswith(_BY_FILE):
        return read_option_file(url.removeprefix(_BY_FILE))
    from urllib.parse import unquote

    account, at, rest = url.removeprefix(_SCHEME).rpartition("@")
    hosts, slash, database = rest.partition("/")
    if not url.startswith(_SCHEME) or not at or not slash or not database or "/" in database:
        raise ValueError(f"expected {EXPECTED}")
    user, _colon, password = account.partition(":")
    if not user:
        raise ValueError(f"expected a user name, as in {EXPECTED}")
    if (
        set(user + database) & _ODD
    ):  # or a password would be taken for a part of the name, and shown
        raise ValueError(f"expected odd characters of names as %XX, in {EXPECTED}")
    places = tuple(_host(text) for text in hosts.split(",")) if hosts else ()
    return Place(places, SOCKET, unquote(user), unquote(password), unquote(database))


def _host(text: str, port: int = PORT) -> tuple[str, int]:
    host, _colon, number = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    digits = number.isascii() and number.isdigit() and len(number) <= _DIGITS
    if number and not (digits and 0 < int(number) < 65536):
        raise ValueError("expected a port from 1 to 65535")  # not quoted: maybe a password
    if not host.strip("[]"):
        raise ValueError("expected a host name or address")
    return host.strip("[]"), int(number) if number else port


def read_option_file(path: str) -> Place:
    """Return the place that the [client] section of a MySQL option file names.

    What other sections and options say is theirs; a missing user, as with the server's own
    clients, is the user of this process. Raises StoreError with the path.
    """
    found: dict[str, str] = {}
    _read_client_section(path, found, [])
    database = found.get("database")
    if not database:
        raise StoreError(f"{path}: expected database=NAME in its [client] section")
    try:
        port = _host(f"h:{found['port']}")[1] if "port" in found else PORT
        hosts = tuple(
            _host(part.strip(), port) for part in found.get("host", "").split(",") if part
        )
        tls = read_tls(found)
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from error
    if hosts == (("localhost", port),):
        hosts = ()  # to MySQL's clients that name means the socket
    socket, user = found.get("socket") or SOCKET, found.get("user") or _own_name(path)
    return Place(hosts, socket, user, found.get("password", ""), database, tls)


def _read_client_section(path: str, found: dict[str, str], read: list[str], depth: int = 0) -> None:
    """Read `key=value` lines as MySQL's own clients do; later ones win, and `_` is `-`.

    Files that are named by `!include`, and those below `!includedir`, are read in their place.
    """
    if depth > _MOST_INCLUDES:
        raise StoreError(f"{path}: expected files that do not include each other for ever")
    if len(read) == _MOST_FILES:
        raise StoreError(f"{path}: expected at most {_MOST_FILES} files that include each other")
    read.append(path)
    try:
        text = read_plain(path).decode("utf-8", "surrogateescape")
        section = ""
        for bare in (line.strip(_BLANKS) for line in text.split("\n")):
            if bare.startswith("["):
                section = bare[1:].partition("]")[0].rstrip(_BLANKS).lower()
            elif bare.startswith("!"):
                for other in _included(bare):
                    _read_client_section(other, found, read, depth + 1)
            elif section in _SECTIONS and bare and bare[0] not in "#;":
                key, _equals, raw = _without_comment(bare).partition("=")
                found[key.strip(_BLANKS).lower().replace("_", "-")] = _value(raw.strip(_BLANKS))
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from error


def _included(line: str) -> list[str]:
    word, _blank, rest = line.replace("\t", " ").partition(" ")
    place = rest.strip().replace("\0", "\\0")  # no path holds a zero byte
    if word == "!include":
        return [place]
    if word == "!includedir":
        return [f"{place}/{name}" for name in sorted(os.listdir(place)) if name.endswith(".cnf")]
    return []


def _without_comment(line: str) -> str:
    """Cut a line at the first `#` that is not within quotes."""
    quote, escaped = "", False
    for at, letter in enumerate(line):
        if letter in "'\"" and not escaped:
            quote = "" if letter == quote else quote or letter
        elif letter == "#" and not quote:
            return line[:at]
        escaped = bool(quote) and letter == "\\" and not escaped
    return line


def _value(word: str) -> str:
    """Take off the quotes around a value, and read its escapes; others stay as they are."""
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        word = word[1:-1]
    return _ESCAPE.sub(lambda found: _ESCAPES[found[1]], word)


def _own_name(path: str) -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        cause = f"expected user=NAME in its [client] section: user {os.geteuid()} has no name"
        raise StoreError(f"{path}: {cause}") from None
