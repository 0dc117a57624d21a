"""Postfix: where it asks, in which order, and what becomes of mail while nobody answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from shlex import quote

from greylag.admin.doctor import restrictions
from greylag.admin.doctor.finding import Check, NotHere, Problem, Unseen, error, warn
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.restrictions import ASK, UNAUTHS, UNLISTED, Step
from greylag.admin.doctor.services import daemon_scripts
from greylag.admin.doctor.users import knocked
from greylag.admin.setup.place import SetupError
from greylag.admin.setup.restrictions import OWN, before_rcpt, with_question
from greylag.core.value import value

FOLDER = "/etc/postfix"
RCPT, DATA, END_OF_DATA, RELAY = (
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
    "smtpd_relay_restrictions",
)
_OTHERS = "smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions"
_NAMES = (
    *(RCPT, DATA, END_OF_DATA, RELAY, *_OTHERS),
    *("access_map_defer_code", "queue_directory", "mail_owner", "smtpd_delay_reject"),
    *("smtpd_policy_service_timeout", "smtpd_policy_service_default_action"),
)
_OURS = re.compile(r"greylag")
_LONGEST_WAIT = 10  # seconds that a mail may wait for an answer
_CODE = "451"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "": 1}


@value
class Settings:
    """What main.cf says, with Postfix's own defaults."""

    values: dict[str, str]
    places: tuple[str, ...]  # that may be greylag's

    def steps(self, name: str) -> list[Step]:
        """Return a list of restrictions."""
        return restrictions.read(self.values.get(name, ""))

    def asks(self, name: str) -> list[Step]:
        """Return where a list asks greylag."""
        return [one for one in self.steps(name) if one.word == ASK and self.is_ours(one.place)]

    def is_ours(self, place: str) -> bool:
        """Tell whether a policy service is greylag."""
        place = place.replace("inet:localhost:", "inet:127.0.0.1:")
        return place in self.places or _OURS.search(place) is not None


def is_used(place: Place) -> bool:
    """Tell whether a plugin, a daemon or Postfix is there for greylag, as after its setup."""
    if os.path.lexists(f"{place.home}/plugins/greylisting") or daemon_scripts(place):
        return True
    try:
        return read(place) is not None
    except NotHere:
        return False


def read(place: Place) -> Settings:
    """Return Postfix's settings; raise NotHere where it is not here or does not ask greylag."""
    folder = place.path(FOLDER)
    if not os.path.isfile(f"{folder}/main.cf"):
        raise NotHere
    ran = place.run(["postconf", "-x", "-c", folder, *_NAMES])
    if ran.status is None:
        raise NotHere
    lines = (line.partition(" =") for line in ran.output.splitlines())
    values = {name: text.strip() for name, _equals, text in lines}
    if RCPT not in values:
        raise Unseen(f"postconf cannot read {folder}")
    known = place.known
    places: list[str] = []
    if known is not None:
        places = [f"inet:{port}" for port in known.ports]
        places.append(f"unix:{known.socket}")
        queue = place.path(values.get("queue_directory", "")) + "/"
        if place.path(known.socket).startswith(queue):
            places.append(f"unix:{place.path(known.socket).removeprefix(queue)}")
    found = Settings(values, tuple(places))
    lists = (RCPT, DATA, END_OF_DATA, RELAY, *_OTHERS)
    if not any(found.asks(name) for name in lists):
        raise NotHere
    return found


def postconf(place: Place, setting: str) -> str:
    """Return the command that changes main.cf, and has a running Postfix read it."""
    folder = f" -c {quote(place.path(FOLDER))}" if place.root else ""
    reload = "" if place.root else " && postfix reload"
    return f"postconf{folder} -e {quote(setting)}{reload}"


def _righted(place: Place, found: Settings, name: str) -> str:
    ours = found.asks(RCPT) or found.asks(DATA) or found.asks(RELAY)
    asked = (found.asks(name) or ours or [Step(ASK, found.places[0] if found.places else "")])[0]
    if not found.asks(name) and asked.place:
        with suppress(SetupError):  # a list that ends with reject
            before = before_rcpt(found.values.get(RELAY, "")) if name == RCPT else OWN
            text = with_question(found.values.get(name, ""), asked.place, before)
            return postconf(place, f"{name} = {text}")
    unauth = not any(one.word in UNAUTHS for one in found.steps(RELAY))
    steps = found.steps(name)
    text = restrictions.righted(steps, asked, at_data=name != RCPT, unauth=unauth)
    return postconf(place, f"{name} = {text}")


def _before(found: Settings, name: str) -> list[str]:
    steps = found.steps(name)
    ours = found.asks(name)
    return [one.word for one in steps[: steps.index(ours[0])]] if ours else []


def recipient(place: Place) -> Iterator[Problem]:
    """Senders are decided only where Postfix asks about a recipient."""
    found = read(place)
    if found.asks(RCPT):
        return
    late = found.values.get("smtpd_delay_reject") != "no"
    if found.asks(RELAY) or (late and any(found.asks(name) for name in _OTHERS)):
        return
    text = f"Postfix does not ask greylag in {RCPT}: mail passes"
    yield error(text, _righted(place, found, RCPT), RCPT)


def own_networks(place: Place) -> Iterator[Problem]:
    """Own networks and users who have logged in are never greylisted."""
    found = read(place)
    for name in (RCPT, DATA):
        if not found.asks(name):
            continue
        missing = [word for word in OWN if word not in _before(found, name)]
        if missing:
            text = f"{name} asks greylag before {' and '.join(missing)}: own mail is delayed"
            yield error(text, _righted(place, found, name), name)


def unlisted(place: Place) -> Iterator[Problem]:
    """Mail to recipients who are not there leaves no record."""
    found = read(place)
    if not found.asks(RCPT):
        raise NotHere
    if UNLISTED not in _before(found, RCPT):
        text = f"{RCPT} asks greylag before {UNLISTED}: mail to nobody leaves records"
        yield warn(text, _righted(place, found, RCPT), RCPT)


def unauth(place: Place) -> Iterator[Problem]:
    """Mail to others' domains is refused before greylag is asked."""
    found = read(place)
    if not found.asks(RCPT):
        raise NotHere
    words = [*_before(found, RCPT), *(one.word for one in found.steps(RELAY))]
    if not any(word in UNAUTHS for word in words):
        text = f"{RCPT} asks greylag before reject_unauth_destination: relay attempts leave records"
        yield warn(text, _righted(place, found, RCPT), RCPT)


def data(place: Place) -> Iterator[Problem]:
    """Bounces and probes are decided at DATA."""
    found = read(place)
    if place.known is not None and place.known.null_sender_at_rcpt:
        raise NotHere
    if found.asks(DATA) or found.asks(END_OF_DATA):
        return
    text = f"{DATA} does not ask greylag: bounces and probes are never greylisted"
    yield warn(text, _righted(place, found, DATA), DATA)


def _asked(found: Settings) -> Iterator[tuple[str, Step]]:
    for name in (RCPT, DATA, END_OF_DATA, RELAY, *_OTHERS):
        for step in found.asks(name):
            yield name, step


def default_action(place: Place) -> Iterator[Problem]:
    """Postfix answers 451 to all mail while no daemon runs, unless it is told otherwise."""
    found = read(place)
    general = found.values.get("smtpd_policy_service_default_action", "")
    for name, step in _asked(found):
        action = step.options.get("default_action", general)
        if not action.upper().startswith(("DUNNO", "OK", "PERMIT")):
            text = f"{name}: without default_action=DUNNO all mail gets 451 while no daemon runs"
            yield error(text, _righted(place, found, name), name)


def limit(place: Place) -> Iterator[Problem]:
    """Postfix waits 100 seconds for an answer by itself."""
    found = read(place)
    general = found.values.get("smtpd_policy_service_timeout", "")
    for name, step in _asked(found):
        text = step.options.get("timeout", general)
        match = re.fullmatch(r"(\d{1,6})([smhdw]?)", text)
        if match and int(match[1]) * _SECONDS[match[2]] > _LONGEST_WAIT:
            told = f"{name}: Postfix waits {text} for an answer of greylag's; 5s is enough"
            yield warn(told, _righted(place, found, name), name)


def defer_code(place: Place) -> Iterator[Problem]:
    """Postfix takes the text of a deferral, but a code of its own."""
    found = read(place)
    code = found.values.get("access_map_defer_code", "")
    if code != _CODE:
        text = f"access_map_defer_code is {code}: greylag's answers say {_CODE}"
        yield warn(text, postconf(place, f"access_map_defer_code = {_CODE}"))


def chrooted(place: Place) -> bool:
    """Tell whether smtpd runs in a chroot (master.cf's fifth column)."""
    text = (place.read(place.path(FOLDER) + "/master.cf") or b"").decode("utf-8", "replace")
    for line in text.splitlines():
        words = line.split()
        smtpd = len(words) > 7 and not line[0].isspace() and words[1] == "inet"
        if smtpd and words[7] == "smtpd" and words[4] == "y":
            return True
    return False


def socket(place: Place) -> Iterator[Problem]:
    """Postfix's user has to reach the socket; a smtpd in a chroot sees its queue folder alone."""
    found = read(place)
    if place.known is None:
        raise NotHere
    queue = place.path(found.values.get("queue_directory", "/var/spool/postfix"))
    user = place.users.find(found.values.get("mail_owner", "postfix"))
    named = {step.place: name for name, step in _asked(found)}
    for where, name in named.items():
        if where not in found.places:
            yield _elsewhere(place, found, where)
        elif where.startswith("unix:") and user is not None:
            path = where.removeprefix("unix:")
            path = path if path.startswith("/") else f"{queue}/{path}"
            inside = chrooted(place)
            if inside and where.startswith("unix:/") and not os.path.exists(queue + path):
                yield _elsewhere(place, found, where)
                continue
            root = queue if inside else ""
            path = place.path(path) if not inside else "/" + path.removeprefix(queue).lstrip("/")
            if not os.path.exists(root + path):
                raise NotHere  # no daemon: another check says so
            why = knocked(user, path, root)
            if why in ("EACCES", "EPERM"):
                yield _closed(place, user.gid, root + path, name)


def _elsewhere(place: Place, found: Settings, where: str) -> Problem:
    known = place.known
    assert known is not None
    queue = place.path(found.values.get("queue_directory", "/var/spool/postfix")) + "/"
    socket_ = place.path(known.socket)
    right = f"inet:{known.ports[0]}" if known.ports else ""
    if not right and socket_.startswith(queue):
        right = f"unix:{socket_.removeprefix(queue)}"
    commands = []
    for name, step in _asked(found) if right else ():
        if step.place == where:
            text = ", ".join(
                str(restrictions.service(right) if one == step else one)
                for one in found.steps(name)
            )
            commands.append(postconf(place, f"{name} = {text}"))
    text = f"Postfix asks at {where}, where it cannot reach the daemon"
    return error(text, " && ".join(commands), where)


def _closed(place: Place, gid: int, path: str, name: str) -> Problem:
    group = place.users.group_name(gid)
    folder = os.path.dirname(path)
    enter = f"chgrp {quote(group)} {quote(folder)} && chmod g+x {quote(folder)}"
    mend = f"{enter} && chmod 0666 {quote(path)}"
    return error(f"Postfix's user may not connect to {path} ({name})", mend, path)


CHECKS = (
    Check("postfix-recipient", "Postfix asks greylag about recipients.", recipient),
    Check("postfix-own-networks", "Postfix lets own clients in first.", own_networks),
    Check("postfix-unauth", "Postfix refuses relaying first.", unauth),
    Check("postfix-unlisted", "Postfix refuses unknown recipients first.", unlisted),
    Check("postfix-data", "Postfix asks at DATA.", data),
    Check("postfix-default-action", "Mail passes while no daemon runs.", default_action),
    Check("postfix-timeout", "Postfix does not wait long for an answer.", limit),
    Check("postfix-defer-code", "Postfix defers with greylag's code.", defer_code),
    Check("postfix-socket", "Postfix reaches the daemon.", socket),
)
