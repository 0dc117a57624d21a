"""The daemon: whether it runs, who reaches its socket, its version, its programs, its log."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote, split
from time import monotonic, sleep

import greylag
from greylag.admin.doctor import postfix
from greylag.admin.doctor.finding import Check, NotHere, Problem, Unseen, error, warn
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.qmail import listed, program
from greylag.admin.doctor.services import Script, daemon_scripts, daemon_user, smtp_users
from greylag.admin.doctor.store import known
from greylag.admin.doctor.users import User, closed_folder, knocked, refusal
from greylag.admin.health import Answer, ask_daemon
from greylag.admin.typed import is_number

_STARTED = 19  # place of a process's start among the fields behind its name (proc_pid_stat(5))
_TAIL = 1 << 20  # bytes of a log that are read
_STARTS = 5.0  # seconds that a daemon may need until it listens
_LARGE = 2 << 30  # bytes of a log
_DROPPED = b"event=log-dropped"
_TREE_FILES = "*.py", "admin/*.py", "core/*.py", "server/*.py", "service/*.py", "store/**/*.py"


def _asked(place: Place) -> Answer:
    """Ask the daemon; raise NotHere where none has to run here, or this user may not ask."""
    found = known(place)
    answer = ask_daemon(place.path(found.socket))
    if isinstance(answer.failed, PermissionError):
        raise NotHere
    if answer.failed is None:
        return answer
    if place.root or not _is_wanted(place):  # in a folder that is no running machine
        raise NotHere
    if answer.failed.errno is None:
        raise Unseen(f"{found.socket}: {answer.failed}")  # such a long path
    return answer


def _is_wanted(place: Place) -> bool:
    plugin = program(place.home + "/plugins/greylisting")
    if plugin is not None and plugin.startswith(b"\x7fELF"):
        return any(name == "greylisting" for _section, name in listed(place))
    try:
        postfix.read(place)
    except NotHere:
        return bool(daemon_scripts(place))
    return True


def _service(place: Place) -> Script | None:
    return next(iter(daemon_scripts(place)), None)


def _start(place: Place) -> str:
    service = _service(place)
    return service.start() if service is not None else ""


def running(place: Place) -> Iterator[Problem]:
    """Without it Postfix lets all in, and qmail's plugins start a Python for each mail."""
    answer = _asked(place)
    end = monotonic() + _STARTS
    while answer.failed is not None and _is_starting(place) and monotonic() < end:
        sleep(0.1)
        answer = _asked(place)
    path = place.path(known(place).socket)
    if answer.good:
        return
    if answer.slow:
        yield error(f"the daemon at {path} does not answer within a second", _start(place), path)
    elif answer.wrong:
        yield error(f"what answers at {path} is no daemon of greylag's", _start(place), path)
    elif (pid := _other(place)) is not None:
        text = f"the daemon {pid} does not listen at server.socket ({path})"
        restart = _restart(place)
        yield error(f"{text}: its settings are others, or older", restart, path)
    elif not os.path.isdir(os.path.dirname(path)) and not path.startswith("/run/"):
        text = f"{os.path.dirname(path)}, where the daemon's socket belongs, is not there"
        yield error(text, f"{_folder_made(place, path)}{_restart(place)}", path)
    else:
        yield error(f"no daemon runs at {path}", _start(place), path)


def _is_starting(place: Place) -> bool:
    """Tell whether a daemon was started just now, and so may not listen yet."""
    pid = _other(place)
    began = None if pid is None else _began(pid)
    return began is not None and time.time() - began < _STARTS


def _folder_made(place: Place, path: str) -> str:
    """Return the command that makes the folder of the socket, as setup does, and ` && `."""
    user, folder = daemon_user(place), os.path.dirname(path)
    if user is None:
        return ""
    group = user.gid
    try:
        values = postfix.read(place).values
        smtpd = place.users.find(values.get("mail_owner", "postfix"))
        if smtpd is not None and path.startswith(place.path(values["queue_directory"]) + "/"):
            group = smtpd.gid
    except (NotHere, Unseen, KeyError):
        pass
    owner = f"-o {quote(user.word)} -g {quote(place.users.group_name(group))}"
    return f"install -d {owner} -m 0710 {quote(folder)} && "


def _restart(place: Place) -> str:
    service = _service(place)
    return service.restart() if service is not None else ""


def _other(place: Place) -> int | None:
    """Return the process of a daemon, wherever it listens."""
    if place.root:
        return None
    for number in os.listdir("/proc"):
        if is_number(number):
            try:
                words = Path(f"/proc/{number}/cmdline").read_bytes()[:4096].split(b"\0")
            except OSError:
                continue
            if b"serve" in words and any(word.endswith(b"/greylag") for word in words):
                return int(number)
    return None


def socket(place: Place) -> Iterator[Problem]:
    """The user of qmail-smtpd has to reach the socket."""
    found = known(place)
    path = place.path(found.socket)
    plugin = program(place.home + "/plugins/greylisting")
    if plugin is None or not plugin.startswith(b"\x7fELF") or not os.path.exists(path):
        raise NotHere
    for user in smtp_users(place):
        folder = closed_folder(user, path)
        if folder is not None:
            yield _closed(place, user, folder, path)
        elif knocked(user, path) in ("EACCES", "EPERM"):
            mode, group = found.socket_mode, found.socket_group
            mend = f"chmod {mode:04o} {quote(path)}"
            if group:
                mend += f" && chgrp {quote(group)} {quote(path)}"
            if _still_closed(place, user, path):
                mend = f"chgrp {quote(place.users.group_name(user.gid))} {quote(path)} && {mend}"
            yield error(f"the user {user.name} may not connect to {path}", mend, path)


def _still_closed(place: Place, user: User, path: str) -> bool:
    """Tell whether the socket stays closed with the mode and group that the settings say."""
    found = known(place)
    group = place.users.group(found.socket_group) if found.socket_group else os.stat(path).st_gid
    if os.stat(path).st_uid == user.uid:
        return not found.socket_mode & stat.S_IWUSR
    if group in (user.gid, *user.groups):
        return not found.socket_mode & stat.S_IWGRP
    return not found.socket_mode & stat.S_IWOTH


def _closed(place: Place, user: User, folder: str, path: str) -> Problem:
    mode = stat.S_IMODE(os.stat(folder).st_mode)
    group = place.users.group_name(user.gid)
    mend = f"chgrp {quote(group)} {quote(folder)} && chmod g+x {quote(folder)}"
    if folder != os.path.dirname(path):
        mend = f"chmod o+x {quote(folder)}"
    text = f"the user {user.name} may not enter {folder} (mode {mode:04o}), where the socket is"
    return error(text, mend, folder)


def version(place: Place) -> Iterator[Problem]:
    """After an upgrade the daemon has to be started anew."""
    if place.root:
        raise NotHere
    answer = _asked(place)
    if not answer.good or not answer.pid:
        raise NotHere
    began = _began(answer.pid)
    if began is None:
        raise NotHere
    folder = Path(greylag.__file__).parent
    newest = max(
        (one.stat().st_ctime for pattern in _TREE_FILES for one in folder.glob(pattern)),
        default=0.0,
    )
    try:
        gone = os.readlink(f"/proc/{answer.pid}/exe").endswith(" (deleted)")
    except OSError:
        gone = False
    if gone:
        yield warn("the daemon's Python was replaced since its start", _restart(place))
    elif newest > began + 1:
        yield warn("greylag's files are newer than the daemon that runs", _restart(place))


def _began(pid: int) -> float | None:
    """Return when a process was started."""
    try:
        _, _, fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")
    except OSError:
        return None
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + int(fields.split()[_STARTED]) / os.sysconf("SC_CLK_TCK")


def program_gone(place: Place) -> Iterator[Problem]:
    """What a unit or run script starts has to be there, with its Python."""
    services = daemon_scripts(place)
    if not services:
        raise NotHere
    for service in services:
        for path in _programs(service):
            missing = _missing(place, path)
            if missing is None:
                continue
            ours = split(place.command)[0]
            swap = f"s|{path}\\b|{ours}|"
            text = f"{service.path} starts {path}, and {missing} is gone"
            yield error(text, service.edited(swap), service.path)


def _programs(service: Script) -> list[str]:
    return sorted(set(re.findall(r"(/[\w./+@-]*/greylag)(?=[ \t][^\n]*\bserve\b)", service.lines)))


def _missing(place: Place, path: str) -> str | None:
    """Return what is missing of a program: itself, or the Python that its first line names."""
    if not place.has(path):
        return path
    found = (program(place.path(path)) or b"")[:1000]
    if not found.startswith(b"#!"):
        return None
    words = os.fsdecode(found[2:].partition(b"\n")[0]).split()
    return words[0] if words and not place.has(words[0]) else None


def log(place: Place) -> Iterator[Problem]:
    """A log that grows for ever fills the disk; lines that could not be written are missing."""
    name = known(place).log_file
    if not name:
        raise NotHere
    path, service = place.path(name), _service(place)
    reload = f" && {service.reload()}" if service is not None and service.acts else ""
    answer = ask_daemon(place.path(known(place).socket))
    user = place.users.find(str(answer.uid)) if answer.good and answer.uid >= 0 else None
    if user is not None and (why := refusal(user, path, os.W_OK)) is not None:
        mend = f"chown {quote(user.word)} {quote(path)}{reload}"
        yield error(f"{why}, the daemon's log", mend, path)
    if not os.path.isfile(path):
        return
    size = os.stat(path).st_size
    if size > _LARGE:
        mend = f"mv {quote(path)} {quote(path + '.old')}{reload}"
        yield warn(f"{path} has {size >> 30} GB: rotate it", mend, path)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        file.seek(max(0, size - _TAIL))
        if _DROPPED in file.read(_TAIL):
            text = f"{path} lacks lines that could not be written (event=log-dropped)"
            yield warn(text, f"df -h {quote(os.path.dirname(path))}", f"{path}:dropped")


CHECKS = (
    Check("daemon", "The daemon answers.", running),
    Check("socket-permissions", "qmail-smtpd's user reaches the daemon.", socket),
    Check("daemon-version", "The daemon is as new as its files.", version),
    Check("daemon-program", "What starts the daemon is there.", program_gone),
    Check("log", "The log is written, and not too large.", log),
)
