"""What is around: old clean-ups in cron, name servers, big senders' addresses, the dashboard."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from shlex import quote

from greylag.admin.doctor import postfix
from greylag.admin.doctor.daemon import running
from greylag.admin.doctor.finding import Check, NotHere, Problem, error, warn
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.qmail import MARK, install, listed, program
from greylag.admin.doctor.services import reread, scripts, smtp_scripts
from greylag.admin.doctor.store import known
from greylag.admin.health import STALE, asked_within, speaks, stale, used_providers
from greylag.admin.moments import span
from greylag.admin.setup.service import UNITS
from greylag.store.base import FIGURES, LISTS

CRON = "/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/*"
_OLD = "greylisting_cleanup.sh", "jgreylist-clean", "jgreylist_clean"
_DAY, _WEEK = 86400, 7 * 86400


def old_cleanup(place: Place) -> Iterator[Problem]:
    """The old scripts delete what the daemon looks after by itself."""
    trees = place.known is not None and bool(place.known.trees)
    tree_used = trees or any("JGREYLIST_DIR" in one.lines for one in smtp_scripts(place))
    for path in place.files(*CRON):
        for whole in _old_programs(place.read(path) or b""):
            name = os.path.basename(whole)
            if name.startswith("jgreylist") and tree_used:
                continue
            ours = MARK in (program(place.path(whole)) or b"")
            if _daemon_runs(place):
                mend = f"sed -i {quote('/' + re.escape(name) + '/s/^/# /')} {quote(path)}"
                text = f"{path} still runs {whole}, and the daemon deletes expired records itself"
                yield warn(text, mend, path)
            elif not ours:
                text = f"{path} runs the old {whole}, which does not know all that greylag keeps"
                yield warn(text, install(place, "--old-names"), path)


def _old_programs(crontab: bytes) -> list[str]:
    """Return the old clean-ups that the lines of a crontab run."""
    lines = crontab.decode("utf-8", "replace").splitlines()
    words = (word for line in lines if not line.lstrip().startswith("#") for word in line.split())
    return list(dict.fromkeys(word for word in words if os.path.basename(word) in _OLD))


def _daemon_runs(place: Place) -> bool:
    try:
        return not list(running(place))
    except NotHere:
        return False


def resolver(place: Place) -> Iterator[Problem]:
    """Names, SPF and lists in DNS are asked for while mail waits."""
    servers = known(place).servers
    if not servers:
        raise NotHere
    silent = [host for host, port in servers if not speaks(host, port)]
    if not silent:
        return
    names = ", ".join(silent)
    where = "dns.servers" if known(place).origins.get("dns.servers") != "default" else "resolv.conf"
    text = f"no answer from the name server {names} ({where})"
    mend = _without_dns(place)
    if len(silent) == len(servers):
        yield error(f"{text}: SPF and names are not known, and each first mail waits", mend, names)
    else:
        yield warn(f"{text}; others answer", mend, names)


def _without_dns(place: Place) -> str:
    """Return the command that has greylag ask no name server; empty where more has to change."""
    where = known(place).origins.get("dns.servers", "")
    origin = re.fullmatch(r"(/.*):(\d{1,6})", where)
    if origin:
        return _edited(place, origin[2] + 's/.*/servers = "off"/', origin[1])
    if where != "default":
        return ""
    content = place.read(place.config) or b""
    head = re.search(rb"^\[dns\][ \t]*(?:#.*)?\r?$", content, re.MULTILINE)
    if head is not None:
        line = content.count(b"\n", 0, head.start()) + 1
        return _edited(place, f'{line}a servers = "off"', place.config)
    if re.search(rb"^\s*(?:\[+\s*)?[\"']?dns\b", content, re.MULTILINE):
        return ""  # written in another way
    folder = quote(os.path.dirname(place.config))
    made = "" if os.path.isdir(os.path.dirname(place.config)) else f"mkdir -p {folder} && "
    lines = "printf '\\n[dns]\\nservers = \"off\"\\n'"
    return f"{made}{lines} >> {quote(place.config)}{reread(place)}"


def _edited(place: Place, expression: str, path: str) -> str:
    return f"sed -i {quote(expression)} {quote(path)}{reread(place)}"


def providers(place: Place) -> Iterator[Problem]:
    """Addresses of big senders that are too old let in others, or not all of theirs."""
    found = known(place)
    path = found.backend.file
    if LISTS in found.backend.lacks or (path is not None and not os.path.isfile(path)):
        raise NotHere
    with closing(place.open_store()) as store:
        old = stale(used_providers(store), place.now)
    if old:
        names = ", ".join(one.name for one in old[:5])
        text = f"the addresses of {names} are older than {span(STALE)}"
        yield warn(text, place.on_store("providers refresh"), "providers")


def nothing_asked(place: Place) -> Iterator[Problem]:
    """A mail server that has asked until now and asks no more goes past greylag."""
    found = known(place)
    path = found.backend.file
    if FIGURES in found.backend.lacks or (path is not None and not os.path.isfile(path)):
        raise NotHere
    with closing(place.open_store()) as store:
        day = asked_within(store, place.now, _DAY)
        week = asked_within(store, place.now, _WEEK)
    if week > 100 and not day:
        text = f"no mail server has asked for a day, and {week} questions came within this week"
        yield warn(text, place.on_store("stats --since 7d"), "asked")


def nobody_asks(place: Place) -> Iterator[Problem]:
    """A mail server is here, and does not ask greylag."""
    servers = []
    if os.path.exists(place.home + "/bin/qmail-smtpd"):
        servers.append("qmail")
    if os.path.exists(place.path(postfix.FOLDER) + "/main.cf"):
        servers.append("postfix")
    ports = known(place).ports
    elsewhere = [port for port in ports if not port.startswith(("127.", "[::1]", "localhost"))]
    asks = any(name == "greylisting" for _section, name in listed(place))
    if not servers or elsewhere or asks or scripts(place, "jgreylist"):
        return
    try:
        postfix.read(place)
    except NotHere:
        text = f"no mail server asks greylag ({' and '.join(servers)} would)"
        yield warn(text, place.setup(servers[0]), "servers")


def web_users(place: Place) -> Iterator[Problem]:
    """The file has the passwords of the dashboard, as hashes."""
    path = place.path(known(place).web_users)
    if not os.path.lexists(path):
        raise NotHere
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        yield error(f"{path}, the dashboard's users, is no plain file", about=path)
    elif found.st_mode & 0o077:
        text = (
            f"others may use {path} (mode {stat.S_IMODE(found.st_mode):04o}), which has passwords"
        )
        yield error(text, f"chmod 600 {quote(path)}", path)


def web_no_user(place: Place) -> Iterator[Problem]:
    """The dashboard does not start before it has a user."""
    if not os.path.lexists(place.path(f"{UNITS}/multi-user.target.wants/greylag-web.service")):
        raise NotHere
    if not os.path.lexists(place.path(known(place).web_users)):
        start = "" if place.root else " && systemctl restart greylag-web"
        text = "the dashboard does not start, as it has no user"
        yield warn(text, f"{place.command} web passwd admin{start}", "greylag-web")


CHECKS = (
    Check("old-cleanup", "No old clean-up runs from cron.", old_cleanup),
    Check("resolver", "The name servers answer.", resolver),
    Check("providers", "The addresses of big senders are fresh.", providers),
    Check("nothing-asked", "Mail servers ask.", nothing_asked),
    Check("nobody-asks", "A mail server is set up to ask.", nobody_asks),
    Check("web-no-user", "The dashboard has a user.", web_no_user),
    Check("web-users", "The dashboard's passwords are for their owner.", web_users),
)
