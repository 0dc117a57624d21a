"""The programs below QMAIL_HOME/plugins: their names, their texts, and how they are told apart."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from greylag.admin.folder import MARK, Folder
from greylag.cli.common import InputFolder, Run
from greylag.cli.home import DEFAULT_HOME

PLUGINS = {
    "greylisting": "greylag.plugin.greylisting",
    "ifauthskip": "greylag.plugin.ifauthskip",
    "skipifauth": "greylag.plugin.ifauthskip",
    "jgreylist": "greylag.plugin.jgreylist",
}
NATIVE = {**{name: name for name in PLUGINS}, "skipifauth": "ifauthskip"}
# What the C programs execute where no daemon answers.
ONESHOTS = {"greylisting": "greylisting-oneshot", "jgreylist": "jgreylist-oneshot"}
_LONGEST_SHEBANG = 250  # bytes that Linux reads of a script's first line, less a little

home_option = click.option(
    "--qmail-home",
    default=lambda: click.get_current_context().ensure_object(Run).home_option or DEFAULT_HOME,
    show_default=DEFAULT_HOME,
    type=InputFolder(path_type=Path),
    help="The qmail home; plugins go into its folder plugins/.",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be done, and do nothing."
)


def script(
    module: str, config: str | None = None, *, home: str = "", function: str = "main"
) -> str:
    """Return a plugin's text: this interpreter, isolated (-I) and without site (-S).

    Both keep the environment from choosing what is loaded; -S also saves milliseconds for each
    recipient. What site would have found is named instead. With `config`, that settings' file is
    read where the environment names none; with `home`, it works there. Raises
    click.ClickException where the interpreter's path cannot stand in a script's first line.
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
    if home:
        chosen += f"import os\nos.chdir({home!r})\n"
    return (
        f"{shebang}\n{MARK}: written by `greylag qmail install`, run it again after an upgrade\n"
        f"import sys\nsys.path.append({packages!r})\n{chosen}"
        f"from {module} import {function}\n{function}({argument})\n"
    )


def unreachable(plugins: Path) -> list[Path]:
    """Return the folders on the way to our files that other users, as qmail's are, cannot enter.

    Those that Python imports from have to be listed, too.
    """
    files = [Path(sys.executable), Path(__file__)]
    ways = {parent for file in files for parent in (*file.parents, *file.resolve().parents)}
    if plugins.exists():
        ways.add(plugins)
    here = Path(__file__)
    packages = here.parents[2], here.resolve().parents[2]
    needed = {
        way: stat.S_IXOTH | (stat.S_IROTH if any(map(way.is_relative_to, packages)) else 0)
        for way in ways
    }
    return sorted(way for way, mode in needed.items() if way.stat().st_mode & mode != mode)


@contextmanager
def opened(path: Path, *, create: bool = False) -> Iterator[Folder | None]:
    """Open the folder of the plugins; None where there is none. Ends with click's exception."""
    try:
        if not create and not os.path.lexists(path):
            yield None
            return
        with closing(Folder(path, create=create)) as folder:
            yield folder
    except BrokenPipeError:
        raise  # the reader of our output went away: that is no error of the folder
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
