"""What an admin chose, and what of it is the same for all mail servers."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from shlex import quote

from greylag.admin.setup import settings
from greylag.admin.setup.place import FILE, MISSING, Place, SetupError
from greylag.admin.setup.steps import TEXT, Builder
from greylag.core.value import value

WEB_USERS = "/var/lib/greylag/web-users"  # as app/options.py says
NO_INPUT = 66  # as in sysexits.h
# For each shell our file, and that of Debian's package.
_COMPLETION = {
    "bash": (
        "/usr/local/share/bash-completion/completions/greylag",
        "/usr/share/bash-completion/completions/greylag",
    ),
    "zsh": (
        "/usr/local/share/zsh/site-functions/_greylag",
        "/usr/share/zsh/vendor-completions/_greylag",
    ),
    "fish": (
        "/usr/local/share/fish/vendor_completions.d/greylag.fish",
        "/usr/share/fish/vendor_completions.d/greylag.fish",
    ),
}


@value
class Choice:
    """The options, with what was answered for those that were not given."""

    program: str  # how the daemon is started
    completion: Mapping[str, bytes]  # the script of each shell
    store: str | None = None  # "sqlite", "mysql", or None: as it is
    mysql_options: str = ""
    observe: bool | None = None
    dashboard: bool = False
    oneshot: bool = False
    supervisor: str | None = None
    qmail_home: str = "/var/qmail"
    by: str | None = None
    user: str = ""

    def settings(self) -> dict[str, object]:
        """Return the settings that were chosen."""
        wanted: dict[str, object] = {}
        if self.store == "mysql":
            wanted["store.url"] = f"mysql:?default_file={self.mysql_options}"
        if self.observe is not None and self.observe:
            wanted["policy.greylist"] = "observe"
        return wanted

    def records(self, named: str = "") -> str:
        """Say where records are kept. `named`: the option file that control/greylisting names."""
        if named:
            return f"MySQL, as control/greylisting says ({named})"
        if self.store == "mysql":
            return f"MySQL, as {self.mysql_options} says"
        return "SQLite, in /var/lib/greylag, unless greylag.toml says otherwise"

    def add_tables(self, builder: Builder) -> None:
        """Have MySQL's tables made before a daemon looks for them: without them it defers no mail.

        An account that may make none fails here. It is enough where all are there, as those of the
        old plugin are, and the question at the end shows whether they do.
        """
        if self.store == "mysql":
            command = (self.program, "--config", settings.PATH, "db", "init")
            builder.act("the tables are in the database", command, may_fail=True)

    def hints(self, place: Place, toml: bytes) -> list[str]:
        """Return what is left to the admin: the dashboard waits for its first user."""
        users = settings.value_of(toml, "web.users") or WEB_USERS
        if not self.dashboard or place.kind(str(users)) == FILE:
            return []
        text = "the dashboard starts when it has a user. Make one, and start it:\n"
        return [f"{text}  greylag web passwd admin\n  systemctl start greylag-web"]

    def add_completion(self, builder: Builder) -> None:
        """Have each shell that is installed complete our commands."""
        for shell, (path, packaged) in _COMPLETION.items():
            if builder.place.kind(packaged) == FILE or shell not in self.completion:
                continue
            if builder.place.has_program(shell):
                builder.file(path, self.completion[shell], TEXT)


def check_options(place: Place, path: str, user: str, group: str = "") -> None:
    """Raise SetupError where the daemon could not read the option file of MySQL."""
    if place.kind(path) != FILE:
        what = "there is no such file" if place.kind(path) == MISSING else "is no plain file"
        raise SetupError(f"{path}: {what}", code=NO_INPUT)
    owner, main = place.user(user) or (-1, -1)
    groups = {main} | ({place.group(group)} if group else set())
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        part = "/" + "/".join(parts[:depth])
        last = depth == len(parts)
        found = os.stat(place.real(part, follow=True))
        need = stat.S_IROTH if last else stat.S_IXOTH
        mode = found.st_mode
        if found.st_uid == owner:
            mode >>= 6
        elif found.st_gid in groups:
            mode >>= 3
        if not mode & need:
            what = "read" if last else "entered"
            raise SetupError(
                f"{part}: cannot be {what} by the user {user}, which greylag runs as",
                _advice(place, part, found, group or user, last=last),
                code=NO_INPUT,
            )


def _advice(place: Place, path: str, found: os.stat_result, group: str, *, last: bool) -> str:
    """Say how a user may read a file, or enter a folder, and nobody loses what he may do."""
    if not last:
        return f"this lets it: chmod o+x {quote(path)}"
    if found.st_mode & stat.S_IRGRP and found.st_gid != 0:
        return (
            f"{place.group_name(found.st_gid)} may read it: give greylag an option file of its own"
        )
    make = "" if place.group(group) is not None else f"groupadd --system {group}; "
    return f"this lets it: {make}chgrp {group} {quote(path)}; chmod g+r {quote(path)}"
