"""The files of `contrib/`: units, run scripts and snippets, filled in for a server.

They are carried by the package, so an installed greylag has them. `setup` and packages write them:

    places = Places(user="vpopmail", group="vchkpw", options="--qmail-home /var/qmail")
    unit = read("systemd/greylag.service", places)     # bytes, as they belong into the file

`FILES` names all of them with the mode that the file needs; a unit goes to /etc/systemd/system, the
folders `daemontools` and `runit` to /etc/greylag/service with a link to it in /etc/service. What
they are filled in with is checked: a word that would mean more in a unit, in a shell or in main.cf
raises ValueError.
"""

from __future__ import annotations

import re
from pathlib import Path

from greylag.core.value import value

CARRIED = Path(__file__).parents[1] / "contrib"
FILES = {
    "systemd/greylag.service": 0o644,
    "systemd/greylag-web.service": 0o644,
    "systemd/greylag-doctor.service": 0o644,
    "systemd/greylag-doctor.timer": 0o644,
    "systemd/greylag-report.service": 0o644,
    "systemd/greylag-report.timer": 0o644,
    "daemontools/run": 0o755,
    "daemontools/log/run": 0o755,
    "runit/run": 0o755,
    "runit/log/run": 0o755,
    "logrotate/greylag": 0o644,
    "tcprules/tcp.smtp": 0o644,
    "postfix/main.cf": 0o644,
}
_PLACEHOLDER = re.compile(rb"@([a-z]+)@")
_WORD = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_/.:+=,@-]*", re.ASCII)


@value
class Places:
    """What differs from server to server."""

    program: str = "/usr/local/bin/greylag"
    options: str = ""  # between the program and its command, such as `--qmail-home /var/qmail`
    user: str = "greylag"
    group: str = "greylag"
    run: str = "/run/greylag"  # the folder of the daemon's socket; with systemd always this one
    socket: str = "/var/spool/postfix/greylag"  # of the socket, where that is not in `run`
    state: str = "/var/lib/greylag"  # of the records; with systemd always this one
    log: str = "/var/log/greylag"  # with systemd always this one
    mail: str = "root"  # to whom the report goes
    ask: str = "inet:127.0.0.1:10023"  # where Postfix asks the daemon


def read(name: str, places: Places | None = None) -> bytes:
    """Return one of `FILES`, filled in."""
    if name not in FILES:
        raise KeyError(name)
    words = _words(places or Places())
    text = (CARRIED / name).read_bytes()
    return _PLACEHOLDER.sub(lambda found: words[found[1].decode()].encode(), text)


def _words(places: Places) -> dict[str, str]:
    """Return what each placeholder stands for."""
    names = ("user", "group", "run", "socket", "state", "log", "mail", "ask")
    words = {name: _checked(getattr(places, name)) for name in names}
    command = [places.program, *places.options.split()]
    for word in command:
        _checked(word.lstrip("-"))
    words["greylag"] = " ".join(command)
    return words


def _checked(word: str) -> str:
    if _WORD.fullmatch(word) is None:
        raise ValueError(f"{word!r}: letters, digits and _ / . : + = , @ - can stand there alone")
    return word
