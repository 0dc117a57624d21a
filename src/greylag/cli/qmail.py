"""`greylag qmail`: put the plugins where qmail-spp looks for them, and take them back."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import click

from greylag.app.config import ServerSettings
from greylag.cli.common import DEFAULT_HOME, Run
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
    for path in contents:
        if path.is_dir():
            raise click.ClickException(f"{path}: is a folder")
    if native:
        contents = _compiled(folder, contents, run.settings.server)
    said = [_install_one(path, content, dry_run=dry_run) for path, content in contents.items()]
    click.echo("\n".join(said))  # when all is done: whoever reads this may go away
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
    for name in (*PLUGINS, *ONESHOTS.values()):
        path = qmail_home / "plugins" / name
        kept = path.with_name(name + KEPT)
        if not _is_ours(path):
            if path.exists():
                click.echo(f"{path}: not ours, left as it is")
        elif kept.exists():
            click.echo(f"{path}: {would}restored from {kept.name}")
            if not dry_run:
                kept.replace(path)
        else:
            click.echo(f"{path}: {would}removed")
            if not dry_run:
                path.unlink()


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


def _is_ours(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return _MARK.encode() in content[:1024] or content.endswith(f"\n{_MARK}\n".encode())


def _install_one(path: Path, content: bytes, *, dry_run: bool) -> str:
    """Write one plugin; return what was done."""
    if _is_ours(path) and path.read_bytes() == content:
        return f"{path}: up to date"
    old = path.with_name(path.name + KEPT)
    keep = os.path.lexists(path) and not _is_ours(path)
    kept = f", the program that was there is now {old.name}" if keep else ""
    if dry_run:
        return f"{path}: would be written{kept}"
    new = path.with_name(path.name + ".new")
    try:
        if not path.parent.exists():
            path.parent.mkdir()
            path.parent.chmod(0o755)  # whatever the umask
        new.write_bytes(content)
        new.chmod(0o755)
        if keep:
            # A link first, so that at no moment there is no program under the name: qmail-spp
            # answers 451 to every RCPT while a plugin is missing.
            old.unlink(missing_ok=True)
            os.link(path, old, follow_symlinks=False)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    return f"{path}: written{kept}"
