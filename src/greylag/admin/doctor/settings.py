"""The settings: whether they can be read, by those who ask, and mail can pass under them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from shlex import quote

from greylag.admin.doctor.finding import Check, NotHere, Problem, error, fine, warn
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.qmail import install
from greylag.admin.doctor.services import reread
from greylag.admin.doctor.store import known, store_users
from greylag.admin.doctor.users import closed_folder, refusal
from greylag.admin.moments import span
from greylag.admin.switch import holding, switch_text
from greylag.core.accesslist import NEVER
from greylag.store.base import SWITCH

_AT_LINE = re.compile(r"^(/[^:\n]*):(\d{1,6}): ")
_OF_TOML = re.compile(r"^(/[^:\n]*): not TOML: .*at line (\d{1,6}), ")
_ROOM = 4 * 3600  # seconds after the delay, in which slow senders come again
_PASSWORD = re.compile(rb"://[^\s/@\"]{0,99}:[^\s/@\"]{1,99}@")


def readable(place: Place) -> Iterator[Problem]:
    """Settings with errors are not used at all: all mail is let in."""
    for text in place.errors:
        yield error(f"{text}: all mail is let in", _left_out(place, text), text)


def _left_out(place: Place, text: str) -> str:
    """Return the command that leaves out the line that a text names; empty where it names none."""
    match = _AT_LINE.match(text) or _OF_TOML.match(text)
    if match is None or not _stands_alone(place, match[1], int(match[2])):
        return ""
    return f"sed -i {quote(match[2] + 's/^/# /')} {quote(match[1])}{reread(place)}"


def _stands_alone(place: Place, path: str, number: int) -> bool:
    """Tell whether a line can be left out: without a [section] its lines mean something else."""
    lines = (place.read(path) or b"").splitlines()
    line = lines[number - 1].strip() if 0 < number <= len(lines) else b"["
    return not line.startswith(b"[") and not line.endswith((b"[", b",", b"{", b'"""', b"'''"))


def doubtful(place: Place) -> Iterator[Problem]:
    """What the settings say and cannot mean."""
    for text in place.warnings:
        # Without DNS the line does nothing. A number of the old plugin means something as it is.
        mend = _left_out(place, text) if text.endswith(" needs DNS") else ""
        yield warn(text, mend or f"{place.command} config --check", text)


def rights(place: Place) -> Iterator[Problem]:
    """The file is read by those who ask, and hides a password from all others."""
    path = place.config
    if not os.path.isfile(path):
        raise NotHere
    secret = _PASSWORD.search(place.read(path) or b"") is not None
    users = store_users(place)
    for user in users:
        why = refusal(user, path, os.R_OK)
        if why is None:
            continue
        closed = closed_folder(user, path)
        if closed is not None:
            mend = f"chmod o+x {quote(closed)}"
        elif secret or len(users) == 1:
            group = quote(place.users.group_name(user.gid))
            mend = f"chgrp {group} {quote(path)} && chmod g+r {quote(path)}"
        else:
            mend = f"chmod o+r {quote(path)}"
        yield error(f"{why}: the settings do not hold there", mend + reread(place), path)
    if secret and os.stat(path).st_mode & stat.S_IROTH:
        yield error(
            f"all users may read {path}, which has a password", f"chmod o= {quote(path)}", path
        )
    if os.stat(path).st_mode & (stat.S_IWOTH):
        yield error(f"all users may write to {path}", f"chmod o-w {quote(path)}", path)


def elsewhere(place: Place) -> Iterator[Problem]:
    """Plugins that read another file greylist by other settings."""
    for text in place.elsewhere:
        yield warn(text, install(place), text)


def window(place: Place) -> Iterator[Problem]:
    """A retry must come after the delay, and before its record expires."""
    found = known(place)
    left = found.retry_window - found.delay
    if left >= _ROOM:
        return
    text = (
        f"a retry passes for {span(left)} alone (policy.delay, policy.retry_window): "
        "slow senders come again later"
    )
    yield warn(text, _longer(place), "policy.retry_window")


def _longer(place: Place) -> str:
    """Return the command that sets another window, or delay where that is what was set."""
    assert place.known is not None
    for key, line in (
        ("policy.retry_window", 'retry_window = "2d"'),
        ("policy.delay", 'delay = "5m"'),
    ):
        origin = place.known.origins.get(key, "")
        at = re.fullmatch(r"(/.*):(\d{1,6})", origin)
        if at:
            return f"sed -i {quote(f'{at[2]}s/.*/{line}/')} {quote(at[1])}{reread(place)}"
        if origin.startswith(("control/", "/")):
            path = os.path.join(place.home, origin.partition(":")[0])
            swap = "s/^ *record_expire *=.*/record_expire=2000/"
            return f"sed -i {quote(swap)} {quote(path)}{reread(place)}"
    return ""


def switched(place: Place) -> Iterator[Problem]:
    """Nobody is greylisted, and nothing ends that by itself."""
    found = known(place)
    if not found.greylists:
        origin = found.origins.get("policy.greylist", "")
        at = re.fullmatch(r"(/.*):(\d{1,6})", origin)
        mend = f"sed -i {quote(at[2] + 'd')} {quote(at[1])}{reread(place)}" if at else ""
        yield warn(
            f"policy.greylist is off ({origin}): nobody is greylisted", mend, "policy.greylist"
        )
    path = found.backend.file
    if SWITCH in found.backend.lacks or (path is not None and not _is_file(path)):
        return
    with closing(place.open_store()) as store:
        switch = holding(store, place.now)
    if switch is not None and switch.until >= NEVER:
        yield warn("greylisting is switched off without an end", place.on_store("on"), "switch")
    elif switch is not None:
        yield fine(switch_text(switch, place.now))


def _is_file(path: str) -> bool:
    """Tell whether there is a file. Raises OSError where that may not be seen."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


CHECKS = (
    Check("settings", "The settings have no errors.", readable),
    Check("settings-doubtful", "The settings mean what they say.", doubtful),
    Check("settings-permissions", "Who asks may read the settings.", rights),
    Check("other-settings", "The plugins read the same settings.", elsewhere),
    Check("delay-window", "A retry has time to come.", window),
    Check("switched-off", "Greylisting is on.", switched),
)
