"""What run scripts and crontabs that were made for the old programs name (`--old-names`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from greylag.admin.folder import KEPT, is_ours
from greylag.cli.common import Run
from greylag.cli.plugins import opened, script

IN_BIN = ("jgreylist",)  # plugins that are called in the folder bin of the qmail home
IN_SBIN = {  # commands by their names: a module and its function
    "jgreylist-clean": ("greylag.cli.jgreylist_clean", "main"),
    "jgreylist_clean": ("greylag.cli.jgreylist_clean", "main"),
    "greylisting_cleanup.sh": ("greylag.cli.main", "cleanup"),
}

sbin_option = click.option(
    "--sbin",
    default="/usr/local/sbin",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where crontabs look for the old cleaners.",
)


def cleaners(qmail_home: Path, config: str | None) -> dict[str, bytes]:
    """Return the old cleaners by their names; they work below this qmail home."""
    home = str(qmail_home.absolute())
    return {
        name: script(module, config, home=home, function=function).encode()
        for name, (module, function) in IN_SBIN.items()
    }


def offer(run: Run, tree: Path, *, old_names: bool, native: bool) -> None:
    """Say what else there is: the old names, and the line by which the daemon serves a tree."""
    if not old_names:
        click.echo("Old run scripts and crontabs find their programs with --old-names.")
    if native and tree.is_dir() and str(tree) not in run.settings.values["jgreylist.trees"]:
        click.echo(
            "For the daemon to answer where JGREYLIST_DIR is set, greylag.toml has to say:\n\n"
            f'[jgreylist]\ntrees = ["{tree}"]'
        )


def check_old_names(qmail_home: Path, sbin: Path, *, dry_run: bool) -> None:
    """Raise click's exception where `take_back` would fail half way."""
    for path, names in ((qmail_home / "bin", IN_BIN), (sbin, tuple(IN_SBIN))):
        with opened(path) as folder:
            if folder and not dry_run and any(is_ours(folder.read(name)) for name in names):
                folder.check_writable()


def take_back(qmail_home: Path, sbin: Path, *, dry_run: bool) -> list[str]:
    """Put back what was there before, or remove ours; return what was done.

    A jgreylist in bin that has replaced none is left: a run script may name it.
    """
    home = f"os.chdir({str(qmail_home.absolute())!r})\n".encode()
    told = _restore(qmail_home / "bin", IN_BIN, b"", dry_run=dry_run, removes=False)
    return told + _restore(sbin, tuple(IN_SBIN), home, dry_run=dry_run, removes=True)


def _restore(
    path: Path, names: Sequence[str], mark: bytes, *, dry_run: bool, removes: bool
) -> list[str]:
    would = "would be " if dry_run else ""
    told = []
    with opened(path) as folder:
        for name in names if folder else ():
            assert folder is not None
            content = folder.read(name)
            if not is_ours(content) or mark not in (content or b""):
                continue
            if folder.kind(name + KEPT) is not None:
                told.append(f"{path / name}: {would}restored from {name + KEPT}")
                if not dry_run:
                    folder.rename(name + KEPT, name)
            elif removes:
                told.append(f"{path / name}: {would}removed")
                if not dry_run:
                    folder.remove(name)
            else:
                told.append(f"{path / name}: left in place, as a run script may name it")
    return told
