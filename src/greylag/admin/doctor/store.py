"""The database: who may use it, its schema, its clock, its room, and whether expired records go."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from shlex import quote

from greylag.admin.doctor import postfix
from greylag.admin.doctor.finding import Check, NotHere, Problem, TooSlow, error, warn
from greylag.admin.doctor.place import Known, Place, has_others, is_read_by_others
from greylag.admin.doctor.services import begun_anew, daemon_user, smtp_users
from greylag.admin.doctor.users import User, closed_folder, refusal
from greylag.admin.health import clock_ahead
from greylag.admin.moments import span
from greylag.store.base import TABLES, Filter

_CLOCK_OFF = 60  # seconds: some senders retry after a few minutes
_LOOKED_AT = 20_000  # records
_OLD = 86400  # seconds for which an expired record may stay
_FEW = 100  # expired records that no expiry is needed for
_GROWTH = 64 << 20  # bytes in a week that are told of
_WEEK = 7 * 86400
_PASSWORD = re.compile(rb"^\s*pass\w*\s*=", re.MULTILINE)


def known(place: Place) -> Known:
    """Return the settings; raise NotHere where they have errors, which another check tells."""
    if place.known is None:
        raise NotHere
    return place.known


def store_users(place: Place) -> list[User]:
    """Return who opens the database: the daemon, and the one-shot of qmail's plugins."""
    found: dict[int, User] = {}
    if os.path.lexists(place.home + "/plugins/greylisting"):
        try:
            found = {user.uid: user for user in smtp_users(place)}
        except NotHere:
            found = {}
    daemon = daemon_user(place)
    if daemon is not None:
        found.setdefault(daemon.uid, daemon)
    return list(found.values())


def _called(place: Place, arguments: str) -> str:
    """Return the command line that calls greylag as one who opens the database."""
    users = store_users(place)
    return place.on_store(arguments, users[0].name if users else "")


def _file(place: Place) -> str:
    path = known(place).backend.file
    if path is None:
        raise NotHere
    return path


def db_missing(place: Place) -> Iterator[Problem]:
    """A folder that is missing is made by nobody."""
    path = _file(place)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        if not postfix.is_used(place):
            raise NotHere  # setup makes it, for the user that it makes
        owner, users = "", store_users(place)
        if users:
            group = place.users.group_name(users[0].gid)
            owner = f"-o {quote(users[0].word)} -g {quote(group)} "
        mend = f"install -d {owner}-m 2770 {quote(folder)}"
        if init := _called(place, "db init"):
            mend += f" && {init}"
        yield error(f"{folder}, where the database belongs, is not there", mend, folder)


def folder_rights(place: Place) -> Iterator[Problem]:
    """SQLite keeps two more files beside the database."""
    path = _file(place)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise NotHere
    for user in store_users(place):
        why = refusal(user, folder, os.R_OK | os.W_OK | os.X_OK)
        if why is None:
            continue
        closed = closed_folder(user, folder)
        if closed is not None:
            yield error(f"{why}, where the database is", f"chmod o+x {quote(closed)}", closed)
            continue
        if has_others(path):
            hint = "as other files are there, give the database a folder of its own (store.url)"
            yield error(f"{why}: SQLite makes files there; {hint}", about=folder)
            continue
        group = place.users.group_name(user.gid)
        mend = f"chgrp {quote(group)} {quote(folder)} && chmod 2770 {quote(folder)}"
        yield error(f"{why}: SQLite makes files there", mend, folder)


def db_rights(place: Place) -> Iterator[Problem]:
    """Who asks has to read and write the database and the files beside it."""
    path = _file(place)
    for user in store_users(place):
        for one in (path, f"{path}-wal", f"{path}-shm"):
            if not os.path.exists(one) or closed_folder(user, one) is not None:
                continue
            why = refusal(user, one, os.R_OK | os.W_OK)
            if why is not None:
                group = place.users.group_name(user.gid)
                mend = f"chgrp {quote(group)} {quote(path)}* && chmod 660 {quote(path)}*"
                yield error(f"{why}: mail is let in", mend, path)
                break


def db_open(place: Place) -> Iterator[Problem]:
    """It says who mails whom."""
    path = _file(place)
    for one in (path, f"{path}-wal"):
        if os.path.exists(one) and os.stat(one).st_mode & 0o007:
            yield warn(
                f"all users may use {one}, which says who mails whom",
                f"chmod o= {quote(path)}*",
                path,
            )
            return


def option_file(place: Place) -> Iterator[Problem]:
    """The file with the account is for those who ask, and for nobody else."""
    path = known(place).backend.option_file
    if path is None:
        raise NotHere
    if not os.path.isfile(path):
        yield error(f"{path}, which names the database, is not there", about=path)
        return
    users, content = store_users(place), place.read(path) or b""
    hint = ""
    if is_read_by_others(path, content, [one.gid for one in users]):
        mend = ""
        hint = " (other programs read it, too: give greylag an option file of its own)"
    elif len({one.uid for one in users}) == 1:
        mend = f"chown {quote(users[0].word)} {quote(path)} && chmod 600 {quote(path)}"
    elif users:
        group = place.users.group_name(users[0].gid)
        mend = f"chgrp {quote(group)} {quote(path)} && chmod 640 {quote(path)}"
    else:
        mend = f"chmod o= {quote(path)}"
    for user in users:
        if refusal(user, path, os.R_OK) is not None and closed_folder(user, path) is None:
            text = f"the user {user.name} may not read {path}: mail is let in{hint}"
            yield error(text, mend, path)
    if os.stat(path).st_mode & stat.S_IROTH and _PASSWORD.search(content):
        yield error(f"all users may read {path}, which has a password{hint}", mend, path)


def usable(place: Place) -> Iterator[Problem]:
    """The store can be opened and read."""
    path = known(place).backend.file
    if path is not None and not os.path.exists(path):
        raise NotHere
    if path is not None and not os.path.isfile(path):
        yield error(f"{path} is no plain file", about=path)
        return
    try:
        with closing(place.open_store()) as store:
            store.generation()
            text = store.warning()
    except TooSlow:
        raise
    except Exception as cause:  # noqa: BLE001 - a damaged file raises much
        told = " ".join(str(cause).split())[:200]
        if "schema" in told or _schema(place) is not None:
            raise NotHere from None  # the next check tells it
        mend = begun_anew(place, path, told, _called(place, "db init"))
        yield error(f"the database cannot be used: {told}", mend or place.on_store("db check"))
        return
    if text is not None:
        yield warn(text, f"fuser -v {quote(path)}" if path else "")


def _schema(place: Place) -> tuple[int, int] | None:
    """Return the number of the schema and the newest, where these differ."""
    found = known(place)
    path = found.backend.file
    if TABLES in found.backend.lacks or path is None or not os.path.isfile(path):
        return None
    with closing(found.backend.admin(timeout=found.timeout)) as admin:
        numbers = admin.schema()
    return None if numbers is None or numbers[0] in (0, numbers[1]) else numbers


def schema(place: Place) -> Iterator[Problem]:
    """The tables are those that this version needs."""
    found = known(place)
    if TABLES in found.backend.lacks:
        raise NotHere
    numbers = _schema(place)
    if numbers is not None and numbers[0] > numbers[1]:
        text = f"the database has the schema {numbers[0]}, and this greylag knows {numbers[1]}"
        yield error(f"{text}: install the newer greylag again")
    elif numbers is not None:
        text = f"the database has the schema {numbers[0]}, and {numbers[1]} is current"
        yield warn(text, _called(place, "db init"))
    if found.backend.file is not None:
        return
    with closing(found.backend.admin(timeout=found.timeout)) as admin:
        for one in admin.structure():
            ours = one.mend.startswith("greylag ")
            mend = place.on_store(one.mend.removeprefix("greylag ")) if ours else ""
            yield warn(one.what, mend, one.what)


def clock(place: Place) -> Iterator[Problem]:
    """The clocks of all hosts that share a store have to agree."""
    found = known(place)
    sync = "timedatectl set-ntp true"
    if TABLES not in found.backend.lacks and found.backend.file is None:
        with closing(found.backend.admin(timeout=found.timeout)) as admin:
            theirs = admin.clock()
        off = abs(theirs - place.now) if theirs is not None else 0
        if off > _CLOCK_OFF:
            yield error(f"this clock and that of the database differ by {span(off)}", sync, "db")
    if found.backend.file is not None and not os.path.isfile(found.backend.file):
        raise NotHere
    with closing(place.open_store()) as store:
        ahead = clock_ahead(store, place.now)
    if ahead:
        text = f"the newest mail in the store is {span(ahead)} ahead of this clock: one is wrong"
        yield error(text, sync, "peer")


def expiry(place: Place) -> Iterator[Problem]:
    """Records that expired long ago should have been deleted."""
    path = known(place).backend.file
    if path is not None and not os.path.isfile(path):
        raise NotHere
    with closing(place.open_store()) as store:
        if store.contacts() is not None:
            raise NotHere
        old = sum(
            record.expires < place.now - _OLD for _key, record in store.search(Filter(), _LOOKED_AT)
        )
    if old > _FEW:
        text = f"more than {_FEW} records expired over a day ago: nothing deletes them"
        yield warn(text, _called(place, "expire --yes"))


def growth(place: Place) -> Iterator[Problem]:
    """A database that grows fast fills the disk."""
    path = _file(place)
    if not os.path.isfile(path):
        raise NotHere
    size = os.stat(path).st_size
    before, since = place.before.get("size"), place.before.get("sized")
    grown = isinstance(before, int) and isinstance(since, int) and 0 < place.now - since <= _WEEK
    if not grown or place.now - int(str(since)) > _WEEK // 2:
        place.noted["size"], place.noted["sized"] = size, place.now
    else:
        place.noted["size"], place.noted["sized"] = before, since
    if grown and size - int(str(before)) > max(_GROWTH, int(str(before))):
        text = f"{path} has grown from {int(str(before)) >> 20} to {size >> 20} MB within a week"
        yield warn(text, place.on_store("top"), path)


def disk(place: Place) -> Iterator[Problem]:
    """SQLite needs room for its log beside the database."""
    path = _file(place)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise NotHere
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    share = found.f_bavail / found.f_blocks if found.f_blocks else 1
    inodes = found.f_favail / found.f_files if found.f_files else 1
    look = f"df -h {quote(folder)}"
    if free < 16 << 20 or (found.f_files and found.f_favail < 10):
        yield error(f"the disk of {folder} is full ({free >> 20} MB are free)", look, folder)
    elif (share < 0.05 and free < 1 << 30) or inodes < 0.02:
        yield warn(f"the disk of {folder} is nearly full ({free >> 20} MB are free)", look, folder)


CHECKS = (
    Check("db-missing", "The folder of the database is there.", db_missing),
    Check("db-folder", "Who asks may write into the folder of the database.", folder_rights),
    Check("db-permissions", "Who asks may use the database.", db_rights),
    Check("db-open", "The database is for those who ask alone.", db_open),
    Check("mysql-cnf", "The file with the database's account is for those who ask.", option_file),
    Check("db-unusable", "The database can be used.", usable),
    Check("db-schema", "The tables are up to date.", schema),
    Check("clock", "The clocks agree.", clock),
    Check("expiry", "Expired records are deleted.", expiry),
    Check("growth", "The database does not grow fast.", growth),
    Check("disk", "The disk has room.", disk),
)
