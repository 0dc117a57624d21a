"""`greylag qmail uninstall`: the plugins are taken out while mail goes on."""

from __future__ import annotations

import stat
from pathlib import Path

import click

from greylag.admin import smtpplugins
from greylag.admin.folder import KEPT, Folder, is_ours
from greylag.cli.common import NOTHING, CommandError
from greylag.cli.old_names import check_old_names, sbin_option, take_back
from greylag.cli.plugins import (
    ONESHOTS,
    PLUGINS,
    dry_run_option,
    home_option,
    opened,
)

_MOST_TOLD = 5  # processes


@click.command()
@home_option
@dry_run_option
@click.option("--force", is_flag=True, help="Go on although something still runs the plugins.")
@sbin_option
def uninstall(qmail_home: Path, sbin: Path, *, dry_run: bool, force: bool) -> None:
    """Remove our plugins from QMAIL_HOME/plugins and put back what was there before.

    First our lines are taken out of control/smtpplugins, as a line that names a missing program
    has qmail-spp refuse every recipient. If anything else names a plugin, such as a run script,
    or a running qmail-smtpd has read the lines, nothing is removed.
    """
    with opened(qmail_home / "plugins") as folder, opened(qmail_home / "control") as control:
        removed, restored, others = _ours_in(folder)
        for name in others:
            click.echo(f"{qmail_home / 'plugins' / name}: not ours, left as it is")
        _refuse_if_named(qmail_home, removed, force=force)
        check_old_names(qmail_home, sbin, dry_run=dry_run)
        for one in (folder, control):
            if one is not None and (removed or restored) and not dry_run:
                one.check_writable()
        told = _take_lines_out(control, qmail_home, removed, dry_run=dry_run)
        if folder is not None and not dry_run:
            _refuse_if_running(qmail_home, told, removed, force=force)
            for name in restored:
                folder.rename(name + KEPT, name)
            for name in removed:
                folder.remove(name)
    would = "would be " if dry_run else ""
    for name in (*restored, *removed):
        what = f"restored from {name + KEPT}" if name in restored else "removed"
        told.append(f"{qmail_home / 'plugins' / name}: {would}{what}")
    told += take_back(qmail_home, sbin, dry_run=dry_run)
    click.echo("\n".join(told or ["nothing of ours is installed there"]))


def _ours_in(folder: Folder | None) -> tuple[list[str], list[str], list[str]]:
    """Return which plugins go, which have an earlier program to be restored, and others'."""
    removed: list[str] = []
    restored: list[str] = []
    others: list[str] = []
    for name in (*PLUGINS, *ONESHOTS.values()) if folder else ():
        assert folder is not None
        if not is_ours(folder.read(name)):
            others += [name] if folder.kind(name) is not None else []
        elif folder.kind(name + KEPT) is not None:
            restored.append(name)
        else:
            removed.append(name)
    return removed, restored, others


def _refuse_if_named(home: Path, programs: list[str], *, force: bool) -> None:
    found = list(smtpplugins.references(home, programs)) if programs else []
    if found and not force:
        raise CommandError(
            [
                "nothing was removed: these lines still run our plugins",
                *(f"  {line}" for line in found),
                "without the plugins, mail would be refused there",
                "take these lines out and run this again, or give --force",
            ],
            NOTHING,
        )


def _take_lines_out(
    control: Folder | None, home: Path, programs: list[str], *, dry_run: bool
) -> list[str]:
    """Take our lines out of control/smtpplugins; return what was done."""
    there = smtpplugins.read(control)
    if control is None or not there:
        return []
    kept = control.read(smtpplugins.NAME + KEPT)
    wanted = smtpplugins.without(there, home, programs)
    if kept is not None and smtpplugins.with_ours(kept, home) == there:
        wanted = smtpplugins.without(kept, home, programs)  # nobody has changed it since
    if wanted == there:
        return []
    path = home / "control" / smtpplugins.NAME
    if control.kind(smtpplugins.NAME) == stat.S_IFLNK:
        raise OSError(0, "is a link: take our lines out of the file that it leads to", str(path))
    if dry_run:
        return [f"{path}: our lines would be taken out"]
    control.put(smtpplugins.NAME, wanted, 0o644)
    if kept is not None:
        control.remove(smtpplugins.NAME + KEPT)
    return [f"{path}: our lines are taken out"]


def _refuse_if_running(home: Path, told: list[str], programs: list[str], *, force: bool) -> None:
    """Leave the programs to sessions that have read our lines before they were taken out."""
    if not programs or force:
        return
    running = smtpplugins.sessions(home)
    if running:
        click.echo("\n".join(told))
        raise CommandError(
            [
                "the plugins are left in place: sessions that run may still call them",
                *(f"process {process} (qmail-smtpd)" for process in running[:_MOST_TOLD]),
                *([f"and {len(running) - _MOST_TOLD} more"] if len(running) > _MOST_TOLD else []),
                "run this again when they have ended, or give --force",
            ],
            NOTHING,
        )
