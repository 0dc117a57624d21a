"""Compiling the C plugins on the mail server, as qmail people compile everything.

The one place where greylag starts another program: at an admin's word, never for a mail.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import click

from greylag.cli.common import NOTHING, CommandError

SOURCES = Path(__file__).parents[1] / "native"
# A static program of musl starts in half the time of one of glibc.
COMPILERS = (("musl-gcc", "-static"), ("cc", "-static"), ("cc",))
FLAGS = (
    "-std=c11",
    "-O2",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=2",
    "-fstack-protector-strong",
    "-Wall",
    "-Wextra",
    "-Werror",
)
NO_COMPILER = [
    "there is no C compiler here, and the C plugins are compiled on this server",
    "  with one: apt-get install gcc musl-tools",
    "  without, Python alone and no daemon: greylag setup qmail --oneshot, or",
    "    greylag qmail install --python",
    "  or install the Debian package, which has them compiled",
]
_LONGEST = 60  # seconds for one compilation


def compile_plugin(name: str, target: Path, paths: Mapping[str, str]) -> str:
    """Compile a plugin to a file, with these paths in it; return the compiler used.

    Raises click.ClickException with every compiler's words where none can.
    """
    source = SOURCES / f"{name}.c"
    defines = [f'-D{name}="{_quotable(path)}"' for name, path in paths.items()]
    said = []
    for compiler in COMPILERS:
        command = [*compiler, *FLAGS, *defines, "-o", str(target), str(source)]
        try:
            done = subprocess.run(  # noqa: S603 - our own words and checked paths
                command, capture_output=True, text=True, timeout=_LONGEST, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said.append(f"{compiler[0]}: {error}")
            continue
        if done.returncode == 0:
            return " ".join(compiler)
        said.append(f"{' '.join(compiler)}: {done.stderr.strip()[-300:]}")
    if not has_compiler():
        raise CommandError(NO_COMPILER, NOTHING)
    raise click.ClickException("no C compiler could build the plugin: " + "; ".join(said))


def has_compiler() -> bool:
    """Tell whether any of COMPILERS is here."""
    return any(shutil.which(compiler[0]) for compiler in COMPILERS)


def _quotable(path: str) -> str:
    if '"' in path or "\\" in path or not path.isprintable():
        raise click.ClickException(f"{path!r}: a compiled plugin cannot hold such a path")
    return path
