"""`greylag qmail`: put the plugins where qmail-spp looks for them, and take them back."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path

import click

from greylag.admin import smtpplugins
from greylag.admin.folder import KEPT, Folder, is_ours
from greylag.app.config import DEFAULT_PATH, ConfigError, ServerSettings
from greylag.cli.asker import closed_to_others, for_root_alone
from greylag.cli.common import NOTHING, CommandError, Group, Run, examples
from greylag.cli.compiling import compiled
from greylag.cli.home import named_config
from greylag.cli.old_names import IN_BIN, cleaners, offer, sbin_option
from greylag.cli.output import say
from greylag.cli.plugins import (
    PLUGINS,
    dry_run_option,
    home_option,
    opened,
    script,
    unreachable,
)
from greylag.cli.uninstall import uninstall

_MODE = 0o755  # of a plugin: anybody may run it


@click.group(cls=Group, epilog=examples("greylag qmail install --dry-run"))
def qmail() -> None:
    """Install the plugins into a qmail home, or take them out again."""


@qmail.command()
@home_option
@dry_run_option
@click.option("--force", is_flag=True, help="Install although others cannot reach the files.")
@click.option("--native", is_flag=True, help="Compile the C plugins, which ask `greylag serve`.")
@click.option(
    "--python",
    is_flag=True,
    help="Write the Python plugins. Without either, what is there stays of its kind.",
)
@click.option("--edit", is_flag=True, help="Add the lines to control/smtpplugins.")
@click.option("--old-names", is_flag=True, help="Write what run scripts and crontabs name, too.")
@sbin_option
@click.pass_context
def install(  # noqa: PLR0913 - one for each option
    context: click.Context,
    qmail_home: Path,
    sbin: Path,
    *,
    dry_run: bool,
    force: bool,
    native: bool,
    python: bool,
    edit: bool,
    old_names: bool,
) -> None:
    """Write greylisting, ifauthskip, skipifauth and jgreylist into QMAIL_HOME/plugins.

    A program that is there already is kept beside it as NAME.before-greylag. The plugins run this
    very installation of greylag, isolated from PYTHON* variables, with the settings of the
    option --config of greylag itself if that was given. Running it twice changes nothing.

    With --native they are compiled C programs that ask the daemon, at a fraction of the cost; the
    plugin of this installation goes beside them, and answers while no daemon runs.

    With --old-names also bin/jgreylist, and the old cleaners in --sbin.
    """
    run, folder = context.ensure_object(Run), qmail_home / "plugins"
    native = _is_native(folder, native=native, python=python)
    check_reach(folder, force=force)
    config = run.config_option
    contents = {folder / name: script(of, config).encode() for name, of in PLUGINS.items()}
    if native:
        contents = _compiled(folder, contents, run.settings.server)
    before = named_config(folder) if config is None else None
    places = {folder: {path.name: content for path, content in contents.items()}}
    if old_names:
        in_bin = {name: places[folder][name] for name in IN_BIN}
        places |= {qmail_home / "bin": in_bin, sbin: cleaners(qmail_home, config)}
    _refuse_what_cannot_be_done(qmail_home, places, edit=edit, dry_run=dry_run)
    click.echo("\n".join(_put(places, dry_run=dry_run)))  # whoever reads it may go away
    _tell_settings(run, folder / "greylisting", before)
    _name_them(qmail_home, edit=edit, dry_run=dry_run)
    offer(run, qmail_home / "jgreylist", old_names=old_names, native=native)


def _is_native(path: Path, *, native: bool, python: bool) -> bool:
    """Tell whether the C plugins are wanted; unless it is said, an upgrade keeps their kind."""
    if native and python:
        raise click.UsageError("--native and --python exclude each other")
    if native or python:
        return native
    with opened(path) as folder:
        there = folder.read("greylisting") if folder else None
    return there is not None and is_ours(there) and there.startswith(b"\x7fELF")


def _tell_settings(run: Run, plugin: Path, before: str | None) -> None:
    """Say which settings were chosen, and what keeps the user that will ask from using them."""
    if before is not None:
        say(f"the plugins read {before} before, and now {DEFAULT_PATH}")
        say(f"to have {before} read again: greylag --config {before} qmail install")
    if run.config_option is not None:
        path = Path(run.config_option).absolute()
        say(f"for other commands, set GREYLAG_CONFIG={path} or give --config {path}")
    with suppress(ConfigError):  # the plugins tell it themselves
        for line in [*for_root_alone(run), *closed_to_others([str(plugin)], run.backend)]:
            say(line)


def _name_them(home: Path, *, edit: bool, dry_run: bool) -> None:
    """Say what control/smtpplugins lacks, or add it."""
    with opened(home / "control", create=edit and not dry_run) as control:
        there = smtpplugins.read(control)
        wanted = smtpplugins.with_ours(there, home)
        path = home / "control" / smtpplugins.NAME
        if wanted == there:
            click.echo(f"{path}: names the plugins")
        elif edit and control is not None:
            keep = smtpplugins.NAME + KEPT if control.kind(smtpplugins.NAME) else None
            control.put(smtpplugins.NAME, wanted, 0o644, keep)
            click.echo(f"{path}: names the plugins now")
        else:
            lines = "\n".join(line.decode() for line in smtpplugins.LINES)
            click.echo(
                f"Now name them in {path} (--edit does that):\n\n"
                f"{smtpplugins.SECTION.decode()}\n{lines}"
            )
    click.echo('\nSet GREYLISTING="" for the clients to greylist (run script or tcprules).')


def _compiled(
    folder: Path, scripts: dict[Path, bytes], server: ServerSettings
) -> dict[Path, bytes]:
    """Return the compiled plugins by their paths, with the one-shots beside them."""
    made, compiler = compiled(folder, scripts, server.socket, server.handover_path())
    click.echo(f"compiled with {compiler}; they ask at {server.socket}")
    return made


def check_reach(folder: Path, *, force: bool) -> None:
    """Refuse what qmail's users could not run: the host would answer 451 to every RCPT."""
    closed = unreachable(folder)
    if closed and not force:
        raise CommandError(
            [
                "nothing was written: other users, as qmail's are, cannot enter these folders",
                *(f"  {folder}" for folder in closed),
                "every RCPT would be refused with 451",
                "install greylag where they can enter, as in /opt, or give --force",
            ],
            NOTHING,
        )


def _refuse_what_cannot_be_done(
    home: Path, places: dict[Path, dict[str, bytes]], *, edit: bool, dry_run: bool
) -> None:
    """Look at all that would be written before anything is: what fails half way is worse."""
    for path, programs in places.items():
        with opened(path) as folder:
            for name in (name + end for name in programs for end in ("", KEPT)):
                if folder is not None and folder.kind(name) == stat.S_IFDIR:
                    raise click.ClickException(f"{path / name}: is a folder")
            if folder is not None and not dry_run:
                folder.check_writable()
    with opened(home / "control") as control:
        smtpplugins.read(control)
        if edit:
            smtpplugins.refuse_unwritable(control, home)


def _put(places: dict[Path, dict[str, bytes]], *, dry_run: bool) -> list[str]:
    """Write the programs into their folders; return what was done."""
    said = []
    for path, programs in places.items():
        with opened(path, create=not dry_run) as folder:
            said += [_put_one(folder, path / n, c, dry_run=dry_run) for n, c in programs.items()]
    return said


def _put_one(folder: Folder | None, path: Path, content: bytes, *, dry_run: bool) -> str:
    name = path.name
    if folder is not None and folder.is_program(name, content, _MODE):
        return f"{path}: up to date"
    there = folder.read(name) if folder else None
    keep = folder is not None and folder.kind(name) is not None and not is_ours(there)
    kept = f", the program that was there is now {name + KEPT}" if keep else ""
    if dry_run or folder is None:
        return f"{path}: would be written{kept}"
    folder.put(name, content, _MODE, name + KEPT if keep else None)
    return f"{path}: written{kept}"


qmail.add_command(uninstall)
