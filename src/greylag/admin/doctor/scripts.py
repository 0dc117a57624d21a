"""Run scripts, units, tcprules: whether greylisting is on for anybody, with enough memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from shlex import quote

from greylag.admin.doctor.finding import Check, NotHere, Problem, error, warn
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.qmail import install, listed, program
from greylag.admin.doctor.services import Script, rules, smtp_scripts, user_of
from greylag.admin.doctor.users import User, opened, refusal
from greylag.admin.typed import is_number

_MEMORY = 60_000_000  # bytes that a Python plugin needs
_JGREYLIST = re.compile(r"(?<![\w=])(/[\w./+@-]*/jgreylist)(?![\w./-])")
_TREE = re.compile(r"\bJGREYLIST_DIR=[\"']?(/[^\s\"'$]+)")
_ENVDIR = re.compile(
    r"(?:\b(?:s6-)?envdir(?:\s+-\w+)*|\bchpst\b[^\n|;&]*?\s-e)\s+[\"']?([^\s\"'$]+)"
)
_LIMIT = re.compile(r"\bsoftlimit\b[^\n|;&]*?\s-m\s*[\"']?(\$?\{?\w+)")


def _setting(script: Script, line: str) -> str:
    """Return the command that adds a line to a script or unit, and starts the service anew.

    Nothing where the file is neither: the line would break a table such as inetd.conf.
    """
    if not script.is_unit and not script.is_shells:
        return ""
    at = "/^\\[Service\\]/a " if script.is_unit else "1a "
    line = f"Environment={line}" if script.is_unit else f"export {line}"
    return script.edited(at + line)


def _smtp(place: Place) -> list[Script]:
    if not any(name == "greylisting" for _section, name in listed(place)):
        raise NotHere
    found = smtp_scripts(place)
    if not found:
        raise NotHere
    return found


def greylisting_unset(place: Place) -> Iterator[Problem]:
    """Nothing sets GREYLISTING, so the plugin lets everybody in."""
    found = _smtp(place)
    texts = [one.lines for one in (*found, *rules(place))]
    if any(re.search(r"\bGREYLISTING\b", text) for text in texts):
        return
    if _by_folder(place, found, "GREYLISTING"):
        return
    text = f"nothing sets GREYLISTING for qmail-smtpd ({found[0].path}): nobody is greylisted"
    yield error(text, _setting(found[0], 'GREYLISTING=""'), found[0].path)


def _by_folder(place: Place, found: list[Script], name: str) -> bool:
    """Tell whether a folder of envdir sets it: one beside a run script, or one that it names."""
    folders = []
    for one in found:
        beside = os.path.dirname(one.path)
        named = _ENVDIR.findall(one.lines)
        folders += [place.path(way) if way[0] == "/" else f"{beside}/{way}" for way in named]
        folders += [] if one.is_unit else [f"{beside}/env"]
    return any(os.path.lexists(f"{folder}/{name}") for folder in folders)


def spp_disabled(place: Place) -> Iterator[Problem]:
    """Newer builds run plugins only where ENABLE_SPP is set."""
    found = _smtp(place)
    binary = program(place.home + "/bin/qmail-smtpd") or b""
    if b"ENABLE_SPP" not in binary:
        raise NotHere
    if any("ENABLE_SPP" in one.lines for one in (*found, *rules(place))):
        return
    if _by_folder(place, found, "ENABLE_SPP"):
        return
    text = (
        f"this qmail-smtpd runs plugins only where ENABLE_SPP is set, and {found[0].path} does not"
    )
    yield error(text, _setting(found[0], "ENABLE_SPP=1"), found[0].path)


def softlimit(place: Place) -> Iterator[Problem]:
    """A Python process does not start with less memory."""
    for script in _smtp(place):
        match = _LIMIT.search(script.lines)
        if match is None:
            continue
        word = match[1]
        if word.startswith("$"):
            name = word.strip("${}")
            value = re.search(rf"^\s*{name}=[\"']?(\d+)", script.lines, re.MULTILINE)
            number, swap = (
                (value[1] if value else ""),
                f"s/^\\( *{name}=[\"']*\\)[0-9]*/\\1{_MEMORY}/",
            )
        else:
            number, swap = word, f"s/\\(softlimit.* -m *[\"']*\\)[0-9]*/\\1{_MEMORY}/"
        if is_number(number) and int(number) < _MEMORY:
            text = f"softlimit -m {number} in {script.path} is too low for a Python plugin"
            yield warn(text, script.edited(swap), script.path)


def tcprules_stale(place: Place) -> Iterator[Problem]:
    """The rules that tcpserver reads are older than their source."""
    found = rules(place)
    if not found:
        raise NotHere
    for one in found:
        compiled = f"{one.path}.cdb"
        if not os.path.exists(compiled):
            continue
        if os.stat(compiled).st_mtime < os.stat(one.path).st_mtime - 1:
            where = quote(compiled)
            mend = f"tcprules {where} {where}.tmp < {quote(one.path)}"
            yield warn(f"{one.path} was changed after {compiled} was made of it", mend, one.path)


def jgreylist(place: Place) -> Iterator[Problem]:
    """What stands before qmail-smtpd has to be there, and to write into its tree."""
    found = [one for one in smtp_scripts(place) if _JGREYLIST.search(one.lines)]
    if not found:
        raise NotHere
    for script in found:
        user = user_of(place, script)
        for named in sorted(set(_JGREYLIST.findall(script.lines))):
            path = place.path(named)
            if not os.path.exists(path):
                mend = install(place, *(("--old-names",) if "/bin/" in named else ()))
                yield error(f"{script.path} starts {path}, which is gone", mend, path)
            elif user is not None and (why := refusal(user, path, os.X_OK)) is not None:
                yield error(f"{why}: no mail comes in", opened(user, path, program=True), path)
        tree = _TREE.search(script.lines)
        if tree is not None and user is not None:
            yield from _tree(place, place.path(tree[1]), user)


def _tree(place: Place, path: str, user: User) -> Iterator[Problem]:
    group = quote(place.users.group_name(user.gid))
    owned = f"-o {quote(user.word)} -g {group} -m 0700 {quote(path)}"
    if not os.path.isdir(path):
        text = f"{path}, the tree of jgreylist, is not there: jgreylist ends, and no mail comes in"
        yield error(text, f"install -d {owned}", path)
    elif (why := refusal(user, path, os.R_OK | os.W_OK | os.X_OK)) is not None:
        yield error(f"{why}, the tree of jgreylist", f"install -d {owned}", path)


CHECKS = (
    Check("greylisting-unset", "GREYLISTING is set for qmail-smtpd.", greylisting_unset),
    Check("spp-disabled", "qmail-smtpd runs its plugins.", spp_disabled),
    Check("softlimit", "softlimit leaves plugins enough memory.", softlimit),
    Check("jgreylist", "jgreylist can run, and write into its tree.", jgreylist),
    Check("tcprules-stale", "The compiled tcprules are up to date.", tcprules_stale),
)
