"""Setting up greylag on qmail: finding it, and the plan."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from greylag.admin import smtpplugins
from greylag.admin.folder import KEPT, is_ours
from greylag.admin.setup import service, settings
from greylag.admin.setup.choice import Choice
from greylag.admin.setup.place import FILE, FOLDER, MISSING, Place, SetupError
from greylag.admin.setup.steps import PROGRAM, RECORDS, TEXT, Builder, Plan
from greylag.core.value import value

_SERVICES = ("/service", "/etc/service", "/var/service", "/etc/sv", "/var/qmail/supervise")
_SINGLE = ("/var/qmail/rc", "/etc/inetd.conf", "/etc/systemd/system/qmail-smtpd.service")
# How run scripts tell the user of qmail-smtpd, the surest first.
_USERS = (
    re.compile(rb"\b(?:setuidgid|chpst -u)\s+([A-Za-z_][\w-]*)"),
    re.compile(rb"^User=([A-Za-z_][\w-]*)", re.MULTILINE),
    re.compile(rb"QMAILDUID=[`\"'$(]*id -u ([A-Za-z_][\w-]*)"),
    re.compile(rb"QMAILDUID=[\"']?(\d+)"),
    re.compile(rb"\s-u\s*[\"']?(\d+)"),
    re.compile(rb"id -u ([A-Za-z_][\w-]*)"),
)
_USUAL = ("vpopmail", "qmaild")
_TREE = re.compile(rb"JGREYLIST_DIR=[\"']?(/[^\s\"']+)")
_RULES = re.compile(rb"-x\s*[\"']?(/[^\s\"']+)\.cdb")
_ENVDIR = re.compile(rb"(?:envdir|chpst\b[^\n|;&]*?\s-e)\s+[\"']?([^\s\"'$]+)")
_LIMIT = re.compile(rb"softlimit\s+-m\s*[\"']?(\d+)|SOFTLIMIT=[\"']?(\d+)")
_ENOUGH = 60_000_000  # bytes for a Python process, the one-shot
_CRON = "/etc/cron.d/greylag"


@value
class Qmail:
    """What was found of a qmail."""

    home: str
    by: str  # "spp" or "jgreylist"
    user: str
    group: str
    scripts: Mapping[str, bytes]  # run scripts of qmail-smtpd
    rules: Mapping[str, bytes]  # the tcprules that they name, as text

    def says(self, word: bytes) -> bool:
        """Tell whether a run script or a rule has a word."""
        return any(word in text for text in (*self.scripts.values(), *self.rules.values()))


def find(place: Place, choice: Choice) -> Qmail:
    """Look for qmail. Raises SetupError where there is none, or not all is known."""
    home = choice.qmail_home
    if place.kind(f"{home}/control") != FOLDER:
        raise SetupError(f"no qmail was found: there is no {home}/control (--qmail-home names it)")
    scripts = _scripts(place)
    user = choice.user or _user(place, scripts)
    found = place.user(user) if user else None
    if found is None:
        raise SetupError(
            f"there is no user {user}" if user else "the user of qmail-smtpd was not found",
            "name the user that qmail-smtpd runs as, with --user",
        )
    smtpd = place.read(f"{home}/bin/qmail-smtpd") or b""
    spp = b"smtpplugins" in smtpd or place.kind(f"{home}/control/smtpplugins") == FILE
    before = any(b"jgreylist" in text for text in scripts.values())
    by = choice.by or ("spp" if spp else "jgreylist" if before else "")
    if not by:
        raise SetupError(
            f"{home}/bin/qmail-smtpd has no qmail-spp patch, and no run script names jgreylist",
            "--by jgreylist sets up what needs no patch, --by spp the plugins anyway",
        )
    group = place.group_name(found[1])
    return Qmail(home, by, place.user_name(str(found[0])), group, scripts, _rules(place, scripts))


def _scripts(place: Place) -> dict[str, bytes]:
    paths = [f"{folder}/{name}/run" for folder in _SERVICES for name in place.names(folder)]
    found: dict[str, bytes] = {}
    for path in (*paths, *_SINGLE):
        real = place.target(path)
        text = place.read(real)
        if text is not None and b"qmail-smtpd" in text:
            found[real] = text
    # Those for port 25 come first: they tell the user.
    return dict(sorted(found.items(), key=lambda one: "sub" in one[0] or "smtps" in one[0]))


def _user(place: Place, scripts: Mapping[str, bytes]) -> str:
    for text in scripts.values():
        for pattern in _USERS:
            for found in pattern.findall(text):
                if place.user(found.decode()) is not None:
                    return str(found.decode())
    return next((name for name in _USUAL if place.user(name) is not None), "")


def _rules(place: Place, scripts: Mapping[str, bytes]) -> dict[str, bytes]:
    named = [found.decode() for text in scripts.values() for found in _RULES.findall(text)]
    found = {path: place.read(path) for path in (*named, "/etc/tcp.smtp")}
    return {path: text for path, text in found.items() if text is not None}


def plan(
    place: Place, choice: Choice, qmail: Qmail, programs: Mapping[str, bytes], read: service.Read
) -> Plan:
    """Return what has to be done. `programs` are the plugins by their names."""
    builder = Builder(place)
    supervisor = "none"
    if not choice.oneshot:
        supervisor = service.which(place, choice.supervisor, by_scripts=_by_scripts(qmail))
        service.run_again(builder, supervisor, dashboard=choice.dashboard)
    wanted = choice.settings() | _trees(place, qmail)
    text = settings.with_settings(place.read(settings.PATH), wanted)
    changed = builder.file(place.target(settings.PATH), text)
    if changed:
        choice.add_tables(builder)
    if choice.oneshot:
        if re.search(r"[^\w/.:+=,@-]", f"{choice.program}{qmail.home}", re.ASCII):
            raise SetupError(
                f"{choice.program} or {qmail.home} has signs that mean more in a crontab",
                f"letters, digits and _ / . : + = , @ - can stand in {_CRON}",
            )
        service.refuse_foreign(place, qmail.user, qmail.group)
        builder.folder("/var/lib/greylag", 0o2770, qmail.user, qmail.group, inside=RECORDS)
        line = f"10 2 * * * {qmail.user} {choice.program} --qmail-home {qmail.home} expire\n"
        builder.file(_CRON, b"# Deletes expired records of greylag.\n" + line.encode(), TEXT)
    else:
        daemon = service.Daemon(
            qmail.user, qmail.group, socket_of(text), f"--qmail-home {qmail.home}",
            choice.dashboard, _trees_of(text),
        )  # fmt: skip
        service.add(builder, daemon, supervisor, read, fresh=changed)
    _add_plugins(builder, qmail, programs)
    choice.add_completion(builder)
    found = (
        f"qmail in {qmail.home}, asked by {_BY[qmail.by]}, as {qmail.user}:{qmail.group}",
        f"records: {choice.records(qmail_store(place, qmail.home))}",
        "the one-shot alone, no daemon" if choice.oneshot else f"the daemon, under {supervisor}",
    )
    hints = (*_hints(place, qmail), *choice.hints(place, text))
    return Plan("qmail", tuple(builder.steps), hints, found, _waits(qmail))


_BY = {"spp": "qmail-spp", "jgreylist": "jgreylist before qmail-smtpd"}


def reads_plugins(place: Place, home: str) -> bool:
    """Tell whether qmail-smtpd may read control/smtpplugins: then it refuses all without it."""
    smtpd = place.read(f"{home}/bin/qmail-smtpd") or b""
    if b"ENABLE_SPP" not in smtpd:
        return b"smtpplugins" in smtpd or smtpd.startswith(b"#!")  # which starts another one
    scripts = _scripts(place)
    texts = (*scripts.values(), *_rules(place, scripts).values())
    return any(b"ENABLE_SPP" in text for text in texts) or any(
        place.kind(f"{folder}/ENABLE_SPP") == FILE
        for path, text in scripts.items()
        for folder in _env_folders(path.rpartition("/")[0], text)
    )


def _env_folders(beside: str, script: bytes) -> list[str]:
    """Return the folders that envdir, or chpst, may take variables from."""
    named = (os.fsdecode(one) for one in _ENVDIR.findall(script))
    return [f"{beside}/env", *(os.path.join(beside, one) for one in named)]


def _by_scripts(qmail: Qmail) -> bool:
    return any(path.endswith("/run") for path in qmail.scripts)


def socket_of(toml: bytes) -> str:
    """Return where the daemon listens by these settings."""
    return str(settings.value_of(toml, "server.socket") or "/run/greylag/greylag.sock")


def _trees_of(toml: bytes) -> tuple[str, ...]:
    found = settings.value_of(toml, "jgreylist.trees")
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def qmail_store(place: Place, home: str) -> str:
    """Return the option file of MySQL that control/greylisting names; "" where it names none."""
    text = place.read(f"{home}/control/greylisting") or b""
    found = re.search(rb"^mysql_default_file\s*=\s*(\S+)", text, re.MULTILINE)
    if found is None:
        return ""
    path = found[1].decode("utf-8", "surrogateescape")
    return path if path.startswith("/") else f"{home}/{path}"


def _trees(place: Place, qmail: Qmail) -> dict[str, object]:
    named = {found.decode() for text in qmail.scripts.values() for found in _TREE.findall(text)}
    trees = sorted(path for path in named if place.kind(path) == FOLDER)
    return {"jgreylist.trees": trees} if trees else {}


def _add_plugins(builder: Builder, qmail: Qmail, programs: Mapping[str, bytes]) -> None:
    """Put the programs there, those first that others start, and then the lines that name them."""
    home, place = qmail.home, builder.place
    paths = {f"{home}/plugins/{name}": content for name, content in programs.items()}
    old = f"{home}/bin/jgreylist"
    if any(old.encode() in text for text in qmail.scripts.values()):
        paths[old] = programs["jgreylist"]
    for path, content in sorted(paths.items(), key=lambda one: "-oneshot" not in one[0]):
        there = place.look(path)
        foreign = there.kind not in (MISSING, FOLDER) and not is_ours(there.content)
        if there.kind == FOLDER:
            raise SetupError(f"{path}: is a folder")
        if foreign and there.kind == FILE and place.look(path + KEPT).kind == MISSING:
            builder.file(path + KEPT, there.content, there.mode)
        builder.file(path, content, PROGRAM)
    if qmail.by != "spp":
        return
    lines = place.target(f"{home}/control/smtpplugins")
    text = place.read(lines) or b""
    builder.act("", undo=(("@sessions", home),))
    if not builder.file(lines, smtpplugins.with_ours(text, Path(home))):
        builder.steps.pop()


def _waits(qmail: Qmail) -> bool:
    """Tell whether no session is greylisted before the admin has said so."""
    return not qmail.says(b"GREYLISTING" if qmail.by == "spp" else b"jgreylist")


def _hints(place: Place, qmail: Qmail) -> list[str]:
    """Return what is left to the admin: it takes effect when qmail-smtpd is restarted."""
    hints = []
    script = next(iter(qmail.scripts), "the run script of qmail-smtpd")
    rules = next(iter(qmail.rules), "/etc/tcp.smtp")
    if qmail.by == "spp" and _waits(qmail):
        hints.append(
            "GREYLISTING is set nowhere, so no mail is greylisted yet. Either put this line into"
            f" {rules} instead of `:allow`, and compile the rules again:\n"
            '  :allow,GREYLISTING=""\n'
            f"  tcprules {rules}.cdb {rules}.tmp < {rules}\n"
            f"or this one into {script}, and restart qmail-smtpd:\n"
            '  export GREYLISTING=""'
        )
    smtpd = place.read(f"{qmail.home}/bin/qmail-smtpd") or b""
    if qmail.by == "spp" and b"ENABLE_SPP" in smtpd and not qmail.says(b"ENABLE_SPP"):
        hints.append(f"this qmail-smtpd runs plugins only where ENABLE_SPP is set: see {script}")
    if qmail.by == "jgreylist" and _waits(qmail):
        hints.append(
            f"put {qmail.home}/plugins/jgreylist before {qmail.home}/bin/qmail-smtpd in {script},"
            " and restart qmail-smtpd"
        )
    for path, text in qmail.scripts.items():
        limits = [int(one or two) for one, two in _LIMIT.findall(text)]
        if limits and min(limits) < _ENOUGH:
            hints.append(f"{path}: softlimit -m {min(limits)} is too little: give it {_ENOUGH}")
    return hints
