"""`greylag qmail`: put the plugins where qmail-spp looks for them, and take them back."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from greylag.app.config import ServerSettings
from greylag.cli.common import DEFAULT_HOME, Run
from greylag.cli.folder import Folder
from greylag.cli.native import compile_plugin

PLUGINS = {
    "greylisting": "greylag.cli.oneshot",
    "ifauthskip": "greylag.cli.ifauthskip",
    "skipifauth": "greylag.cli.ifauthskip",
    "jgreylist": "greylag.cli.jgreylist",
}
NATIVE = {**{name: name for name in PLUGINS}, "skipifauth": "ifauthskip"}
# What the C programs execute where no daemon answers.
ONESHOTS = {"greylisting": "greylisting-oneshot", "jgreylist": "jgreylist-oneshot"}
KEPT = ".before-greylag"
_MARK = "# greylag plugin"
_LONGEST_SHEBANG = 250  # bytes that Linux reads of a script's first line, less a little
_OTHERS_MAY_USE = stat.S_IROTH | stat.S_IXOTH

_home = click.option(
    "--qmail-home",
    default=lambda: click.get_current_context().ensure_object(Run).home_option or DEFAULT_HOME,
    show_default=DEFAULT_HOME,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The qmail home; plugins go into its folder plugins/.",
)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.group()
def qmail() -> None:
    """Install the plugins into a qmail home, or take them out again."""


@qmail.command()
@_home
@_dry_run
@click.option("--force", is_flag=True, help="Install although others cannot reach the files.")
@click.option("--native", is_flag=True, help="Compile the C plugins, which ask `greylag serve`.")
@click.pass_context
def install(
    context: click.Context, qmail_home: Path, *, dry_run: bool, force: bool, native: bool
) -> None:
    """Write greylisting, ifauthskip, skipifauth and jgreylist into QMAIL_HOME/plugins.

    A program that is there already is kept beside it as NAME.before-greylag. The plugins run this
    very installation of greylag, isolated from PYTHON* variables, with the settings of the
    option --config of greylag itself if that was given. Running it twice changes nothing.

    With --native they are compiled C programs that ask the daemon, at a fraction of the cost; the
    plugin of this installation goes beside them, and answers while no daemon runs.
    """
    folder = qmail_home / "plugins"
    _check_reach(folder, force=force)
    run = context.ensure_object(Run)
    config = run.config_option
    texts = {name: script(module, config) for name, module in PLUGINS.items()}
    contents = {folder / name: text.encode() for name, text in texts.items()}
    if native:
        contents = _compiled(folder, contents, run.settings.server)
    programs = {path.name: content for path, content in contents.items()}
    click.echo("\n".join(_put(folder, programs, dry_run=dry_run)))  # whoever reads it may go away
    click.echo(
        "Now name them in control/smtpplugins:\n\n[rcpt]\nplugins/ifauthskip\nplugins/greylisting\n"
        '\nand set GREYLISTING="" for the clients to greylist (run script or tcprules).'
    )


def _compiled(
    folder: Path, scripts: dict[Path, bytes], server: ServerSettings
) -> dict[Path, bytes]:
    """Return the compiled plugins by their paths, with the one-shots beside them."""
    made = {folder / oneshot: scripts[folder / name] for name, oneshot in ONESHOTS.items()}
    paths = {
        "SOCKET_PATH": server.socket,
        "HANDOVER_PATH": server.handover_path(),
        "ONESHOT_PATH": str(folder / ONESHOTS["greylisting"]),
        "JGREYLIST_ONESHOT_PATH": str(folder / ONESHOTS["jgreylist"]),
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name, source in NATIVE.items():
            target = Path(scratch) / name
            compiler = compile_plugin(source, target, paths)
            # The mark goes behind the program, where the loader does not look.
            made[folder / name] = target.read_bytes() + f"\n{_MARK}\n".encode()
    click.echo(f"compiled with {compiler}; they ask at {server.socket}")
    return made


def _check_reach(folder: Path, *, force: bool) -> None:
    """Refuse what qmail's users could not run: the host would answer 451 to every RCPT."""
    closed = unreachable(folder)
    if closed and not force:
        names = ", ".join(map(str, closed))
        raise click.ClickException(
            f"other users, as qmail's are, cannot reach {names}: every RCPT would be refused with "
            "451. Install greylag where they can, as in /opt; or --force"
        )


@qmail.command()
@_home
@_dry_run
def uninstall(qmail_home: Path, *, dry_run: bool) -> None:
    """Remove our plugins from QMAIL_HOME/plugins and put back what was there before."""
    would = "would be " if dry_run else ""
    with _opened(qmail_home / "plugins") as folder:
        for name in (*PLUGINS, *ONESHOTS.values()):
            if folder is None:
                break  # there is nothing to remove
            path, kept = folder.path / name, name + KEPT
            if not _is_ours(folder.read(name)):
                if folder.kind(name) is not None:
                    click.echo(f"{path}: not ours, left as it is")
            elif folder.kind(kept) is not None:
                click.echo(f"{path}: {would}restored from {kept}")
                if not dry_run:
                    folder.rename(kept, name)
            else:
                click.echo(f"{path}: {would}removed")
                if not dry_run:
                    folder.remove(name)


def script(module: str, config: str | None = None) -> str:
    """Return a plugin's text: this interpreter, isolated (-I) and without site (-S).

    Both keep the environment from choosing what is loaded; -S also saves milliseconds for each
    recipient. What site would have found is named instead. With `config`, that settings' file is
    read where the environment names none. Raises click.ClickException where the interpreter's path
    cannot stand in a script's first line.
    """
    shebang = f"#!{sys.executable} -IS"
    if " " in sys.executable or len(shebang) > _LONGEST_SHEBANG:
        raise click.ClickException(
            f"{sys.executable}: a plugin cannot name an interpreter with a space in its path, "
            f"or one of more than {_LONGEST_SHEBANG - len('#! -IS')} characters"
        )
    packages = str(Path(__file__).parents[2])
    chosen = argument = ""
    if config is not None:
        path = os.fsencode(Path(config).absolute())
        if module == PLUGINS["jgreylist"]:  # must leave the environment as it is
            argument = repr(path)
        else:
            chosen = f"import os\nos.environb.setdefault(b'GREYLAG_CONFIG', {path!r})\n"
    return (
        f"{shebang}\n{_MARK}: written by `greylag qmail install`, run it again after an upgrade\n"
        f"import sys\nsys.path.append({packages!r})\n{chosen}"
        f"from {module} import main\nmain({argument})\n"
    )


def unreachable(plugins: Path) -> list[Path]:
    """Return the folders on the way to our files that other users, as qmail's are, cannot enter."""
    files = [Path(sys.executable), Path(__file__)]
    ways = {parent for file in files for parent in (*file.parents, *file.resolve().parents)}
    if plugins.exists():
        ways.add(plugins)
    return sorted(way for way in ways if way.stat().st_mode & _OTHERS_MAY_USE != _OTHERS_MAY_USE)


@contextmanager
def _opened(path: Path, *, create: bool = False) -> Iterator[Folder | None]:
    """Open the folder of the plugins; None where there is none. Ends with click's exception."""
    try:
        if not create and not os.path.lexists(path):
            yield None
            return
        with closing(Folder(path, create=create)) as folder:
            yield folder
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


def _is_ours(content: bytes | None) -> bool:
    return content is not None and (
        _MARK.encode() in content[:1024] or content.endswith(f"\n{_MARK}\n".encode())
    )


def _put(path: Path, programs: dict[str, bytes], *, dry_run: bool) -> list[str]:
    """Write the plugins; return what was done."""
    with _opened(path, create=not dry_run) as folder:
        for name in (name + end for name in programs for end in ("", KEPT)):
            if folder is not None and folder.kind(name) == stat.S_IFDIR:
                raise click.ClickException(f"{path / name}: is a folder")
        return [_put_one(folder, path / n, c, dry_run=dry_run) for n, c in programs.items()]


def _put_one(folder: Folder | None, path: Path, content: bytes, *, dry_run: bool) -> str:
    name = path.name
    there = folder.read(name) if folder else None
    if there == content:
        return f"{path}: up to date"
    keep = folder is not None and folder.kind(name) is not None and not _is_ours(there)
    kept = f", the program that was there is now {name + KEPT}" if keep else ""
    if dry_run or folder is None:
        return f"{path}: would be written{kept}"
    folder.put(name, content, 0o755, name + KEPT if keep else None)
    return f"{path}: written{kept}"
