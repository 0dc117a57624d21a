"""`greylag doctor`: whether all is as it should be, and the command that mends what is not."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import click

from greylag.admin.doctor import changes, diagnose, worst
from greylag.admin.doctor.finding import Finding, Level
from greylag.admin.doctor.place import Place
from greylag.admin.doctor.store import store_users
from greylag.admin.folder import Folder
from greylag.cli.common import OK, InputFolder, Run, examples, json_option
from greylag.cli.output import plain, say, write, write_json, write_marked, write_table
from greylag.cli.place import place_of
from greylag.cli.plain import plain_option

WARNINGS, ERRORS = 10, 11  # as `check` has it: 1 and 2 mean the same for all commands
_STATE = "/var/lib/greylag"
_NAME = "doctor.json"
_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.ERROR: "red", Level.SKIPPED: "cyan"}
_CODES = {Level.WARN: WARNINGS, Level.ERROR: ERRORS}


@click.command(
    short_help="Check mail server, daemon and database.",
    epilog=examples("greylag doctor", "greylag doctor --changes", "greylag doctor --json"),
)
@click.option(
    "--changes",
    "only_changes",
    is_flag=True,
    help="Print only what differs from the last run with this option; for cron or a timer.",
)
@click.option(
    "--root",
    type=InputFolder(),
    metavar="DIR",
    help="Look at the machine whose files are below DIR.",
)
@plain_option
@json_option
@click.pass_obj
def doctor(run: Run, root: str | None, *, only_changes: bool) -> int:
    """Look whether mail server, daemon, settings and database are as they should be.

    Each check is a line: ok, warn or error, its code, and what was found. Below a problem stands
    the command that mends it. docs/running/doctor.md explains each code.

    Run it as root: only root can look as the users of the mail server and the daemon.
    The exit code is 0 where all is ok, 10 where there are warnings, 11 where there are errors.
    """
    if os.geteuid() and not only_changes:
        say("run it as root: another user cannot look at all of it")
    top = "" if root is None else os.path.abspath(root).rstrip("/")
    before = changes.read(_kept(top))
    place = place_of(run, top, before)
    found = list(diagnose(place))
    if only_changes:
        _keep(place, changes.written(found, place.noted, before))
        found = changes.changed(found, before)
    if run.json:
        write_json({"worst": worst(found).value, "checks": [_json(one) for one in found]})
    elif plain():
        write_table((), [(one.level.value, one.code, one.text, one.mend) for one in found])
    else:
        for one in found:
            _show(one)
    return _CODES.get(worst(found), OK)


def _json(one: Finding) -> dict[str, object]:
    return {
        "code": one.code,
        "level": one.level.value,
        "text": one.text,
        "mend": one.mend or None,
        "about": one.about or None,
    }


def _show(one: Finding) -> None:
    write_marked(f"{one.level.value:<8}", _COLOURS[one.level], f"{one.code:<24}{one.text}")
    if one.mend:
        write(f"        {one.mend}")


def _kept(root: str) -> bytes | None:
    """Return what the last run left, whoever may write there."""
    try:
        with closing(Folder(Path(root + _STATE))) as folder:
            return folder.read(_NAME)
    except OSError:
        return None


def _keep(place: Place, content: bytes) -> None:
    path = Path(place.root + _STATE)
    try:
        if not path.exists():  # it is the folder of the database, so it is for those who open that
            for user in store_users(place)[:1]:
                with closing(Folder(path.parent)) as parent:
                    parent.put_folder(path.name, 0o2770, (user.uid, user.gid))
        with closing(Folder(path)) as folder:
            folder.put(_NAME, content, 0o600)
    except OSError as error:
        where = error.filename or path
        say(f"{where}: {error.strerror}: the next run with --changes tells the same again")
