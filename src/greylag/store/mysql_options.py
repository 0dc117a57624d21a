"""Where a MySQL database is: store URLs, and the option files that the old plugin names.

`mysql://user:password@host,host:3307/database`, or `mysql:?default_file=/path/my.cnf`, whose
`[client]` section says the same. Source: spec/greylisting-plugin.md "Configuration"
(`mysql_default_file`).
"""

from __future__ import annotations

from greylag.core.value import value
from greylag.store.base import StoreError

PORT = 3306
SOCKET = "/run/mysqld/mysqld.sock"  # Debian's; what the server's own clients try first
EXPECTED = "mysql://USER[:PASSWORD]@HOST[:PORT][,HOST...]/DATABASE or mysql:?default_file=/path"
_SCHEME = "mysql://"
_BY_FILE = "mysql:?default_file="


@value
class Place:
    """One database: the hosts that may be asked for it, in their order, and as whom."""

    hosts: tuple[tuple[str, int], ...]  # empty: the unix socket
    socket: str
    user: str
    password: str
    database: str
    ssl: tuple[tuple[str, str], ...] = ()  # ca, cert, key: paths of PEM files

    def __str__(self) -> str:
        """Name the place for logs and errors: never the password."""
        where = ",".join(f"{host}:{port}" for host, port in self.hosts) or self.socket
        return f"mysql {self.user}@{where}/{self.database}"


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
    places = tuple(_host(text) for text in hosts.split(",")) if hosts else ()
    return Place(places, SOCKET, unquote(user), unquote(password), unquote(database))


def _host(text: str, port: int = PORT) -> tuple[str, int]:
    host, _colon, number = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    if number and not (number.isdigit() and 0 < int(number) < 65536):
        raise ValueError(f"expected a port from 1 to 65535, got {number[:20]!r}")
    if not host.strip("[]"):
        raise ValueError("expected a host name or address")
    return host.strip("[]"), int(number) if number else port


def read_option_file(path: str) -> Place:
    """Return the place that the [client] section of a MySQL option file names.

    What other sections and options say is theirs; a missing user, as with the server's own
    clients, is the user of this process. Raises StoreError with the path.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            found = _client_section(file.read())
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    database = found.get("database")
    if not database:
        raise StoreError(f"{path}: expected database=NAME in its [client] section")
    try:
        port = _host(f"h:{found['port']}")[1] if "port" in found else PORT
        hosts = tuple(
            _host(part.strip(), port) for part in found.get("host", "").split(",") if part
        )
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from error
    if hosts == (("localhost", port),):
        hosts = ()  # to MySQL's clients that name means the socket
    ssl = [(k, found[f"ssl-{k}"]) for k in ("ca", "cert", "key") if found.get(f"ssl-{k}")]
    socket, user = found.get("socket") or SOCKET, found.get("user") or _own_name()
    return Place(hosts, socket, user, found.get("password", ""), database, tuple(ssl))


def _client_section(text: str) -> dict[str, str]:
    """Read `key=value` lines; later ones win, `_` is `-`, quotes around a value are taken off."""
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("["):
            section = bare.strip("[]").strip().lower()
        elif section == "client" and bare and bare[0] not in "#;!":
            key, _equals, raw = bare.partition("=")
            word = raw.strip()
            if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
                word = word[1:-1]
            elif " #" in word:
                word = word.partition(" #")[0].rstrip()
            found[key.strip().lower().replace("_", "-")] = word
    return found


def _own_name() -> str:
    import os
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
