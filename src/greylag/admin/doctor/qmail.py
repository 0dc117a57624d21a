"""qmail-spp and control/smtpplugins: whether plugins are called, in which order, and can run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from shlex import quote

from greylag.admin.doctor.finding import Check, NotHere, Problem, error, warn
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.services import scripts, smtp_users
from greylag.admin.doctor.users import closed_folder, opened, refusal
from greylag.admin.folder import MARK as TEXT_MARK
from greylag.store.plain_file import read_plain

MARK = TEXT_MARK.encode()
_PROGRAM = 8 << 20  # bytes that are read of one
_SKIPPERS = "ifauthskip", "skipifauth"
_ASKED_AT = "r", "p"  # sections [rcpt] and [pass]
_LINES = "plugins/ifauthskip", "plugins/greylisting"
_TAIL = 4096  # bytes at its end, in which a C plugin of ours says where it asks
_ASKS_AT = re.compile(rb"\n# asks at ([^\n]+)\n# greylag plugin\n$")
_PATHS = re.compile(rb"sys\.path\.append\('([^'\n]+)'\)")


def program(path: str) -> bytes | None:
    """Return the start of a program; None where there is none that can be read."""
    if not os.path.isfile(path):  # a pipe or a device is not opened
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            return file.read(_PROGRAM)
    except OSError:
        return None


def plugins_file(place: Place) -> str:
    """Return the path of control/smtpplugins."""
    return place.home + "/control/smtpplugins"


def listed(place: Place) -> list[tuple[str, str]]:
    """Return the lines of smtpplugins: a section's letter, and the program as it is named there.

    Programs of plugins/ have their bare names.
    """
    try:
        data = read_plain(plugins_file(place))
    except FileNotFoundError:
        return []
    section, found = "", []
    for line in data.decode("utf-8", "replace").splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text[1:2]
        elif text and not text.startswith("#"):
            way, _slash, name = text.rpartition("/")
            ours = way in ("plugins", "./plugins", place.home + "/plugins")
            found.append((section, name if ours else text))
    return found


def _here(place: Place) -> list[tuple[str, str]]:
    """Return the lines where this qmail home is to greylist; raise NotHere where it is not."""
    found = listed(place)
    if any(name == "greylisting" for _section, name in found):
        return found
    if not os.path.lexists(place.home + "/plugins/greylisting"):
        raise NotHere
    return found


def _asked(place: Place) -> list[str]:
    return [name for section, name in _here(place) if section in _ASKED_AT]


def _edit(place: Place, *expressions: str) -> str:
    return (
        f"sed -i {' '.join(f'-e {quote(one)}' for one in expressions)} {quote(plugins_file(place))}"
    )


def spp_missing(place: Place) -> Iterator[Problem]:
    """Without the patch qmail-smtpd reads no smtpplugins."""
    _here(place)
    path = place.home + "/bin/qmail-smtpd"
    found = program(path)
    if found is None:
        raise NotHere
    if b"smtpplugins" in found or found.startswith(b"#!"):
        return
    others = [p for p in _beside(path) if b"smtpplugins" in (program(p) or b"")]
    new = quote(f"{path}.new")  # no session starts a half of it, and one that runs keeps its own
    mend = f"cp -p {quote(others[0])} {new} && mv {new} {quote(path)}" if others else ""
    yield error(f"{path} was built without qmail-spp: it calls no plugins", mend, path)


def _beside(path: str) -> list[str]:
    folder, name = os.path.split(path)
    names = [one for one in sorted(os.listdir(folder)) if one.startswith(f"{name}.")]
    return [f"{folder}/{one}" for one in names[:20]]


def plugin_unnamed(place: Place) -> Iterator[Problem]:
    """Nothing calls greylisting."""
    if "greylisting" in _asked(place):
        return
    path = plugins_file(place)
    lines = quote("\\n[rcpt]\\n" + "\\n".join(_LINES) + "\\n")
    text = f"{path} does not name plugins/greylisting under [rcpt] or [pass]: it is never asked"
    if not os.path.lexists(path):
        text = f"{path} is not there: a qmail-smtpd that runs plugins answers 421 to all mail"
    mend = f"printf {lines} >> {quote(path)}"
    if not all(os.path.lexists(f"{place.home}/{one}") for one in _LINES):
        mend = f"{install(place)} && {mend}"  # a name without its program refuses all mail
    yield error(text, mend, path)


def plugin_order(place: Place) -> Iterator[Problem]:
    """Clients that have logged in are passed over before greylisting is asked."""
    names = _asked(place)
    skippers = [name for name in names if name in _SKIPPERS]
    if not skippers or "greylisting" not in names:
        raise NotHere
    name = skippers[0]
    if names.index(name) > names.index("greylisting"):
        path = plugins_file(place)
        mend = _edit(
            place, rf"/^[^#:]*plugins\/{name}[ \t]*$/d",
            rf"0,/^[^#:]*plugins\/greylisting[ \t]*$/s//plugins\/{name}\n&/",
        )  # fmt: skip
        yield error(f"{path} names {name} after greylisting: it has to stand before", mend, path)


def ifauthskip_missing(place: Place) -> Iterator[Problem]:
    """Nothing ends the chain for clients that have logged in."""
    names = _asked(place)
    if "greylisting" not in names:
        raise NotHere
    if any(name in _SKIPPERS for name in names):
        return
    path = plugins_file(place)
    mend = _edit(place, r"0,/^[^#:]*plugins\/greylisting[ \t]*$/s//plugins\/ifauthskip\n&/")
    if not os.path.lexists(place.home + "/plugins/ifauthskip"):
        mend = f"{install(place)} && {mend}"
    text = f"{path} names no ifauthskip before greylisting"
    yield warn(text, mend, path)


def install(place: Place, *more: str) -> str:
    """Return what writes the plugins, of the kind that is there; in a folder setup does it."""
    native = any(found.startswith(b"\x7fELF") for _path, found in _ours(place))
    if place.root:
        return place.setup("qmail", *(() if native else ("--oneshot",)))
    kind = ("--native",) if native else ()
    home = () if "--qmail-home" in place.command else ("--qmail-home", quote(place.home))
    return " ".join((place.command, "qmail install", *kind, *home, *more))


def plugin_missing(place: Place) -> Iterator[Problem]:
    """qmail-spp answers 451 to every recipient where a program is not there."""
    for path in _programs(place):
        if os.path.exists(path):
            continue
        name = os.path.basename(path)
        if name in ("greylisting", *_SKIPPERS):
            mend = install(place)
        else:
            mend = _edit(place, *_without(place, path))
        yield error(
            f"smtpplugins names {path}, which is not there: all mail is refused", mend, path
        )


def _without(place: Place, path: str) -> list[str]:
    """Return the expressions of sed that delete the lines of a program, and no other's."""
    names = {name for _section, name in _here(place) if _path(place, name) == path}
    ways = "plugins/", "./plugins/", f"{place.home}/plugins/"
    lines = [name if "/" in name else way + name for name in sorted(names) for way in ways]
    exact = (re.sub(r"[][\\/.*^$]", r"\\\g<0>", line) for line in dict.fromkeys(lines))
    return [rf"/^[ \t]*{line}[ \t]*$/d" for line in exact]


def _path(place: Place, name: str) -> str:
    return os.path.join(place.home, name if "/" in name else f"plugins/{name}")


def _programs(place: Place) -> list[str]:
    names = (name for _section, name in _here(place) if not name.startswith(":"))  # a shell's
    return list(dict.fromkeys(_path(place, name) for name in names))


def plugin_rights(place: Place) -> Iterator[Problem]:
    """The user of qmail-smtpd has to be able to run all that smtpplugins names."""
    told: list[str] = []
    for user in smtp_users(place):
        for path in _programs(place):
            why, mend = refusal(user, path, os.X_OK), opened(user, path, program=True)
            if why is not None and mend not in told:  # a folder closes all that is in it
                told.append(mend)
                yield error(f"{why}: all mail is refused", mend, closed_folder(user, path) or path)


def _ours(place: Place) -> Iterator[tuple[str, bytes]]:
    for name in ("greylisting", "greylisting-oneshot", "ifauthskip"):
        path = f"{place.home}/plugins/{name}"
        found = program(path)
        if found is not None and MARK in found:
            yield path, found


def python_moved(place: Place) -> Iterator[Problem]:
    """A plugin names its Python in its first line, and where greylag is in a later one."""
    _here(place)
    for path, found in _ours(place):
        if not found.startswith(b"#!"):
            continue
        words = found[2:].partition(b"\n")[0].split()
        if not words:
            yield error(f"{path} names no Python in its first line", install(place), path)
            continue
        python = os.fsdecode(words[0])
        named = _PATHS.search(found[:4096])
        packages = os.fsdecode(named[1]) + "/greylag" if named else ""
        for needed in (python, packages):
            if needed and not place.has(needed):
                yield error(f"{path} needs {needed}, which is gone", install(place), path)
                break


def greylag_closed(place: Place) -> Iterator[Problem]:
    """The user of qmail-smtpd has to reach the Python and the packages of a plugin."""
    _here(place)
    for path, found in _ours(place):
        named = _PATHS.search(found[:4096])
        if named is None or not found.startswith(b"#!"):
            continue
        packages = place.path(os.fsdecode(named[1]))
        # Python lists the folders that it imports from.
        needed = (packages, f"{packages}/greylag", f"{packages}/greylag/__init__.py")
        for user in smtp_users(place):
            closed = next((x for x in needed if refusal(user, x, os.R_OK) is not None), None)
            if closed is not None:
                text = f"{refusal(user, closed, os.R_OK)}, and {path} needs it"
                mend = opened(user, closed, program=os.path.isdir(closed))
                yield error(text, mend, closed_folder(user, closed) or closed)


def old_plugin(place: Place) -> Iterator[Problem]:
    """A program of before stands where ours belongs, beside others of ours."""
    _here(place)
    folder = place.home + "/plugins"
    names = [n for n in ("greylisting", "ifauthskip") if os.path.lexists(f"{folder}/{n}")]
    ours = {os.path.basename(path) for path, _found in _ours(place)}
    old = [name for name in names if name not in ours]
    mixed = bool(ours) or os.path.lexists(f"{folder}/greylisting.before-greylag")
    for name in old if mixed else ():
        path = f"{folder}/{name}"
        yield warn(f"{path} is not greylag's: old and new programs are mixed", install(place), path)
    jgreylist = place.home + "/bin/jgreylist"
    content = program(jgreylist)
    if content is None or MARK in content or not os.path.lexists(folder + "/jgreylist"):
        return
    if scripts(place, "/bin/jgreylist"):
        text = f"run scripts call {jgreylist}, which is not greylag's"
        yield warn(text, install(place, "--old-names"), jgreylist)


def plugin_socket(place: Place) -> Iterator[Problem]:
    """C plugins have the path of the socket in them."""
    _here(place)
    if place.known is None:
        raise NotHere
    path = place.home + "/plugins/greylisting"
    found = program(path)
    if found is None or not found.startswith(b"\x7fELF") or MARK not in found:
        raise NotHere
    told = _ASKS_AT.search(found[-_TAIL:])
    if told is None:
        raise NotHere  # an older greylag made it
    if os.fsdecode(told[1]) != place.known.socket:
        text = f"{path} asks at another socket than server.socket ({place.known.socket})"
        yield error(text, install(place), path)


CHECKS = (
    Check("spp-missing", "qmail-smtpd was built with qmail-spp.", spp_missing),
    Check("plugin-unnamed", "control/smtpplugins names greylisting.", plugin_unnamed),
    Check("plugin-order", "ifauthskip stands before greylisting.", plugin_order),
    Check("ifauthskip-missing", "ifauthskip is named.", ifauthskip_missing),
    Check("plugin-missing", "All that smtpplugins names is there.", plugin_missing),
    Check("plugin-rights", "qmail-smtpd's user may run all plugins.", plugin_rights),
    Check("python-moved", "The Python of each plugin is there.", python_moved),
    Check("greylag-closed", "qmail-smtpd's user reaches greylag's files.", greylag_closed),
    Check("old-plugin", "The programs of plugins/ are greylag's.", old_plugin),
    Check("plugin-socket", "The C plugin asks at the daemon's socket.", plugin_socket),
)
