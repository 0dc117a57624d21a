"""`greylag setup`: set greylag up beside a mail server, or take it out again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from greylag.admin.setup.service import SUPERVISORS
from greylag.cli.common import Group, Run, examples, json_option
from greylag.cli.home import DEFAULT_HOME
from greylag.cli.settingup import Setup

F = Callable[..., Any]
_OPTIONS = (
    click.option("--store", type=click.Choice(("sqlite",)), help="Keep records in SQLite."),
    click.option(
        "--mysql-options",
        metavar="FILE",
        help="Keep records in MySQL or MariaDB, as this option file (my.cnf) says.",
    ),
    click.option(
        "--observe",
        is_flag=True,
        default=None,
        help="Delay nothing at first: only record and count what would be.",
    ),
    click.option(
        "--dashboard", is_flag=True, default=None, help="Run the dashboard, too (systemd)."
    ),
    click.option(
        "--supervisor",
        type=click.Choice(SUPERVISORS),
        help="What runs the daemon; else what the machine has.",
    ),
    click.option("--user", default="", help="The user that the daemon runs as."),
    click.option("--yes", is_flag=True, help="Do not ask."),
    click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
    click.option("--undo", is_flag=True, help="Put back what was there before setup."),
    click.option("--purge", is_flag=True, help="With --undo: delete the records and logs, too."),
    click.option(
        "--root",
        default="/",
        show_default=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Write below this folder, and start nothing: for tests and images.",
    ),
    json_option,
)


@click.group(
    cls=Group,
    short_help="Set greylag up beside a mail server.",
    epilog=examples(
        "greylag setup qmail --dry-run",
        "greylag setup postfix --observe",
        "greylag setup qmail --undo",
    ),
)
def setup() -> None:
    """Set greylag up beside a mail server: user, daemon, settings, plugins or restrictions.

    Each file is shown as a diff before it is written. What was there is kept, and --undo puts it
    back. If a step fails, all steps before it are taken back. Mail goes on at every moment.
    """


def _common(command: F) -> F:
    """Give a command the options that are the same for all mail servers."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@setup.command("qmail", epilog=examples("greylag setup qmail --dry-run", "greylag setup qmail"))
@click.option(
    "--qmail-home",
    metavar="DIR",
    help=f"The qmail home, as seen in --root (else {DEFAULT_HOME}).",
)
@click.option(
    "--by",
    type=click.Choice(("spp", "jgreylist")),
    help="Ask for each recipient (qmail-spp), or each connection (jgreylist); else as found.",
)
@click.option("--oneshot", is_flag=True, help="Run no daemon: a process for each recipient.")
@_common
@click.pass_obj
def qmail_command(run: Run, /, **options: Any) -> int | None:
    """Set greylag up beside qmail.

    The daemon is started, then the C plugins are put into the qmail home, and then
    control/smtpplugins names them. The one-shot goes beside them: it answers while the daemon is
    away.
    """
    options["qmail_home"] = options["qmail_home"] or _home(run, options["root"])
    return Setup(run, "qmail", options).carry_out()


def _home(run: Run, root: Path) -> str:
    """Return what `greylag --qmail-home DIR setup qmail` names, as the machine in root sees it."""
    if run.home_option is None:
        return DEFAULT_HOME
    home = Path(os.path.abspath(run.home_option))
    if not home.is_relative_to(root.absolute()):
        raise click.UsageError(f"--qmail-home {home} is not in {root}")
    return f"/{home.relative_to(root.absolute())}"


@setup.command(
    "postfix", epilog=examples("greylag setup postfix --dry-run", "greylag setup postfix")
)
@_common
@click.pass_obj
def postfix_command(run: Run, /, **options: Any) -> int | None:
    """Set greylag up beside Postfix.

    The daemon is started, with its socket where smtpd reaches it from its chroot. Then main.cf
    asks it, last of all restrictions, and Postfix is reloaded.
    """
    options["qmail_home"] = _home(run, options["root"])  # of the daemon: it may have settings, too
    return Setup(run, "postfix", options).carry_out()
