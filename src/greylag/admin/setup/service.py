"""The daemon under the supervisor that the machine has: systemd, daemontools or runit."""

from __future__ import annotations

import socket
from collections.abc import Callable

from greylag.admin.setup import settings
from greylag.admin.setup.place import FILE, FOLDER, MISSING, Place, SetupError
from greylag.admin.setup.steps import LOGS_IN, PROGRAM, RECORDS, TEXT, Builder
from greylag.core.value import value

SUPERVISORS = ("systemd", "daemontools", "runit")
UNITS = "/etc/systemd/system"
PACKAGED = "/usr/lib/systemd/system"  # of Debian's package
SCRIPTS = "/etc/greylag/service"
RECORDS_IN = "/var/lib/greylag"
_RESTART = {"daemontools": ("svc", "-t", SCRIPTS), "runit": ("sv", "restart", SCRIPTS)}
_LINKED = ("/service", "/etc/service", "/var/service")


@value
class Daemon:
    """What runs, and as whom."""

    user: str
    group: str
    socket: str
    options: str = ""
    dashboard: bool = False
    trees: tuple[str, ...] = ()  # of jgreylist, that the daemon writes to


Read = Callable[[str, Daemon], bytes]  # a file of contrib/, filled in


def which(place: Place, wanted: str | None, *, by_scripts: bool) -> str:
    """Return the supervisor to use. `by_scripts`: the mail server itself is run by a run script."""
    if wanted is not None:
        return wanted
    scripts = None
    if any(place.kind(path) == FOLDER for path in _LINKED):
        if place.has_program("svscan"):
            scripts = "daemontools"
        elif place.has_program("runsvdir"):
            scripts = "runit"
    if scripts and by_scripts:
        return scripts
    runs = "/run/systemd/system" if place.live else "/etc/systemd/system"
    if place.kind(runs) == FOLDER:
        return "systemd"
    if scripts:
        return scripts
    raise SetupError(
        "neither systemd nor a folder of services (daemontools, runit) was found",
        "name the one to write files for with --supervisor, or set up --oneshot (qmail)",
    )


def add(builder: Builder, daemon: Daemon, supervisor: str, read: Read, *, fresh: bool) -> None:
    """Have the daemon run; restart it where `fresh` tells that its settings are."""
    folder = builder.folder
    if supervisor != "systemd":  # which gives StateDirectory= to its user by itself
        refuse_foreign(builder.place, daemon.user, daemon.group)
    folder(RECORDS_IN, 0o2770, daemon.user, daemon.group, inside=RECORDS)
    folder(LOGS_IN, 0o750, daemon.user, daemon.group, inside=RECORDS)
    if supervisor == "systemd":
        _add_unit(builder, "greylag", daemon, read, fresh=fresh)
        if daemon.dashboard:
            _check_port(builder.place)
            _add_unit(builder, "greylag-web", daemon, read, fresh=fresh)
    else:
        if daemon.dashboard:
            raise SetupError("the dashboard is set up under systemd alone: leave out --dashboard")
        _add_scripts(builder, daemon, supervisor, read, fresh=fresh)


def run_again(builder: Builder, supervisor: str, *, dashboard: bool) -> None:
    """Have undo start again what runs now, at its end: its settings and unit are back by then."""
    if supervisor == "systemd":
        for name in ("greylag", *(("greylag-web",) if dashboard else ())):
            active = ("systemctl", "is-active", "--quiet", name)
            if builder.place.live and builder.place.run(active).code == 0:
                builder.act("", undo=(("@start", name),))
    elif _linked_to(builder.place):
        builder.act("", undo=(_RESTART[supervisor],))


def _linked_to(place: Place) -> str:
    """Return the folder of services that has ours in it already; "" where none has."""
    ours = place.real(SCRIPTS)
    named = (f"{folder}/greylag" for folder in _LINKED if place.kind(folder) == FOLDER)
    return next((path for path in named if place.real(path, follow=True) == ours), "")


def refuse_foreign(place: Place, user: str, group: str) -> None:
    """Raise SetupError where records of another user are there already."""
    there, ids = place.look(RECORDS_IN), place.user(user)
    if there.kind != FOLDER or ids is None or there.owner == ids[0]:
        return
    if not (there.mode & 0o020 and there.group == place.group(group)):
        raise SetupError(
            f"{RECORDS_IN}: belongs to another user than {user}, which greylag runs as",
            f"this gives it away: chown -R {user}:{group} {RECORDS_IN}",
        )


def _check_port(place: Place) -> None:
    """Raise SetupError where something else listens where the dashboard is to."""
    listen = settings.value_of(place.read(settings.PATH), "web.listen") or "127.0.0.1:8025"
    host, _, port = str(listen).rpartition(":")
    if not place.live or place.kind(f"{UNITS}/greylag-web.service") == FILE:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, ValueError, OverflowError) as error:
            raise SetupError(
                f"the dashboard cannot listen at {listen}: {error}",
                f"give it another place in {settings.PATH}: [web] listen",
            ) from error


def _add_unit(builder: Builder, name: str, daemon: Daemon, read: Read, *, fresh: bool) -> None:
    since = len(builder.steps)
    unit = f"{name}.service"
    reload = ("systemctl", "daemon-reload")
    builder.act("", undo=(reload,))
    text = read(f"systemd/{unit}", daemon)
    path = f"{UNITS}/{unit}"
    packaged = f"{PACKAGED}/{unit}"
    if builder.place.read(packaged) == text and builder.place.kind(path) == MISSING:
        path = packaged
    else:
        builder.file(path, text, TEXT)
    wanted = f"{UNITS}/multi-user.target.wants/{unit}"
    # Of a package's unit, /lib/systemd is as good as /usr/lib/systemd.
    if path != packaged or builder.place.kind(wanted) == MISSING:
        builder.link(wanted, path)
    if not builder.changed(since) and not fresh:
        del builder.steps[since:]
        return
    start, stop = ("systemctl", "restart", name), ("systemctl", "stop", name)
    builder.act(f"systemd runs {name}", reload, start, undo=(stop,))
    if name == "greylag":
        builder.act(f"the daemon answers at {daemon.socket}", ("@answers", daemon.socket))


def _add_scripts(
    builder: Builder, daemon: Daemon, supervisor: str, read: Read, *, fresh: bool
) -> None:
    since = len(builder.steps)
    for name in ("run", "log/run"):
        text = read(f"{supervisor}/{name}", daemon)
        builder.file(f"{SCRIPTS}/{name}", text, PROGRAM)
    written = builder.changed(since)
    log = f"{SCRIPTS}/log"
    ended = (("@gone", SCRIPTS), ("@gone", log))
    end = ("svc", "-dx", SCRIPTS, log) if supervisor == "daemontools" else ("sv", "exit", SCRIPTS)
    if not _linked_to(builder.place):  # else it was supervised before, and stays so
        builder.act("", undo=(end, *ended))
    folder = next((path for path in _LINKED if builder.place.kind(path) == FOLDER), _LINKED[1])
    linked = builder.link(f"{folder}/greylag", SCRIPTS)
    if not linked and not written and not fresh:
        del builder.steps[since:]
        return
    if not linked:
        builder.act("the daemon is restarted", _RESTART[supervisor])
    builder.act(f"the daemon answers at {daemon.socket}", ("@answers", daemon.socket))
