"""How mail servers and the daemon are started: run scripts, units, tcprules; and as which users."""

from __future__ import annotations

import os
import re
from shlex import quote

from greylag.admin.doctor.finding import NotHere
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.users import User
from greylag.admin.smtpplugins import SCRIPTS
from greylag.core.value import replace, value

UNITS = "/lib/systemd/system/greylag.service", "/usr/lib/systemd/system/greylag.service"
RULES = "/etc/tcp.smtp", "/home/vpopmail/etc/tcp.smtp", "/etc/tcprules.d/tcp.smtp"
_MOST = 50  # scripts
_LONGEST = 16_384  # bytes of one that are looked at
_USUAL = "vpopmail", "qmaild"  # where no script names a user
_ID = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(\w+)=[\"']?[`$]\(?\s*id\s+-[ug]\s+([\w.-]+)", re.MULTILINE
)
_PLAIN = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)=[\"']?([\w.-]+)[\"']?[ \t]*$", re.MULTILINE)
_SHELL = re.compile(r"#!\s*(?:\S*/env\s+)?\S*\b(?:|ba|da|k|z)sh\b")
_UID = re.compile(r"\s-u\s*[\"']?(\$?\{?[\w.-]+)")
_GID = re.compile(r"\s-g\s*[\"']?(\$?\{?[\w.-]+)")
_SETUSER = re.compile(
    r"\b(?:setuidgid|envuidgid|chpst\s+-u)\s+([\w.-]+)|^User=([\w.-]+)", re.MULTILINE
)


@value
class Script:
    """What starts a service."""

    path: str
    text: str
    live: bool = True  # else it is of a machine in a folder

    @property
    def lines(self) -> str:
        """The text without comments."""
        return "\n".join(x for x in self.text.splitlines() if not x.lstrip().startswith("#"))

    @property
    def is_unit(self) -> bool:
        """Tell a unit of systemd from a run script."""
        return self.path.endswith(".service")

    @property
    def acts(self) -> bool:
        """Tell whether a command reaches it: systemctl names a unit of this machine."""
        return self.live or not self.is_unit

    @property
    def is_shells(self) -> bool:
        """Tell a run script that a shell reads from others, and from tables as inetd.conf."""
        return os.path.basename(self.path) == "run" and _SHELL.match(self.text) is not None

    def edited(self, expression: str) -> str:
        """Return the command that edits it with sed, and starts the service anew if it is one."""
        edit = f"sed -i {quote(expression)} {quote(self.path)}"
        one_service = self.is_unit or os.path.basename(self.path) == "run"
        return f"{edit} && {self.restart()}" if one_service and self.acts else edit

    def reload(self) -> str:
        """Return the command that has the service open its log anew."""
        if self.is_unit:
            return f"systemctl reload {quote(os.path.basename(self.path))}"
        tool = "sv hup" if self.is_runit else "svc -h"
        return f"{tool} {quote(os.path.dirname(self.path))}"

    def reread(self) -> str:
        """Return the command that has the service read its settings anew, where it runs."""
        if self.is_unit:
            return f"systemctl try-reload-or-restart {quote(os.path.basename(self.path))}"
        return self.reload()

    def restart(self) -> str:
        """Return the command that starts the service anew."""
        if self.is_unit:
            return (
                f"systemctl daemon-reload && systemctl restart {quote(os.path.basename(self.path))}"
            )
        tool = "sv restart" if self.is_runit else "svc -t"
        return f"{tool} {quote(os.path.dirname(self.path))}"

    def start(self) -> str:
        """Return the command that starts the service where it is down."""
        if self.is_unit:
            return f"systemctl restart {quote(os.path.basename(self.path))}"
        tool = "sv up" if self.is_runit else "svc -u"
        return f"{tool} {quote(os.path.dirname(self.path))}"

    @property
    def is_runit(self) -> bool:
        """Tell a script of runit from one of daemontools."""
        return "chpst" in self.text


def scripts(place: Place, word: str) -> list[Script]:
    """Return the scripts and units whose commands name this word."""
    found: list[Script] = []
    seen: set[str] = set()
    for path in place.files(*SCRIPTS, *UNITS, "/etc/greylag/service/run"):
        real = os.path.realpath(path)
        data = None if real in seen else place.read(path)
        seen.add(real)
        if data is None or len(found) == _MOST:
            continue
        script = Script(path, data[:_LONGEST].decode("utf-8", "replace"), not place.root)
        if word in script.lines:
            found.append(script)
    return found


def smtp_scripts(place: Place) -> list[Script]:
    """Return what starts qmail-smtpd."""
    return scripts(place, "qmail-smtpd")


def daemon_scripts(place: Place) -> list[Script]:
    """Return what starts the daemon."""
    found = scripts(place, "greylag")
    return [one for one in found if re.search(r"greylag\b.*\sserve\b", one.lines)]


def reread(place: Place) -> str:
    """Return what follows a command that edits greylag.toml: a daemon that runs reads it anew."""
    service = next(iter(daemon_scripts(place)), None)
    return f" && {service.reread()}" if service is not None and service.acts else ""


def begun_anew(place: Place, path: str | None, told: str, init: str) -> str:
    """Return what puts a file aside that SQLite can read nothing of, and begins another by `init`.

    The daemon has the old one open, and opens the new one when it is started anew.
    """
    if not init or not told.endswith("file is not a database"):
        return ""
    files = " ".join(quote(f"{path}{end}") for end in ("", "-wal", "-shm"))
    aside = f'for one in {files}; do [ ! -e "$one" ] || mv "$one" "$one.damaged"; done'
    service = next(iter(daemon_scripts(place)), None)
    restart = f" && {service.restart()}" if service is not None and service.acts else ""
    return f"{aside} && {init}{restart}"


def user_of(place: Place, script: Script) -> User | None:
    """Return the user that a script's service becomes, with the groups that its process has."""
    text = script.lines
    named = {**dict(_PLAIN.findall(text)), **dict(_ID.findall(text))}

    def meant(word: str) -> str:
        return named.get(word.strip("${}"), "") if word.startswith("$") else word

    uid, gid, becomes = _UID.search(text), _GID.search(text), _SETUSER.search(text)
    if "tcpserver" in text and uid is not None:
        user = place.users.find(meant(uid[1]))
        group = place.users.group(meant(gid[1])) if gid is not None else None
        if user is None or group is None:
            return user
        return replace(user, gid=group, groups=(group,))  # tcpserver drops all others
    if becomes is None:
        return None
    user = place.users.find(becomes[1] or becomes[2])
    if user is None or script.is_unit:
        return user
    return replace(user, groups=(user.gid,))  # setuidgid gives the first group alone


def smtp_users(place: Place) -> list[User]:
    """Return the users that qmail-smtpd runs as. Raise NotHere where none is known."""
    named = [user_of(place, script) for script in smtp_scripts(place)]
    found = {user.uid: user for user in named if user is not None}
    if not found:
        usual = next((user for name in _USUAL if (user := place.users.find(name))), None)
        if usual is None:
            raise NotHere
        return [usual]
    return list(found.values())


def daemon_user(place: Place) -> User | None:
    """Return the user that the daemon is started as."""
    named = [user_of(place, script) for script in daemon_scripts(place)]
    return next((user for user in named if user is not None), None)


def rules(place: Place) -> list[Script]:
    """Return the sources of tcprules that are there."""
    named = {
        match[1].removesuffix(".cdb")
        for script in smtp_scripts(place)
        for match in re.finditer(r"\s-x\s*[\"']?([^\s\"'$]+)", script.lines)
    }
    found = []
    for path in sorted({*RULES, *named}):
        data = place.read(place.path(path))
        if data is not None:
            found.append(Script(place.path(path), data.decode("utf-8", "replace")))
    return found
