"""The files that setup writes and does not make up itself: services, plugins, completion."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from click.shell_completion import get_completion_class

from greylag.admin.setup.place import SetupError
from greylag.admin.setup.service import Daemon, Read
from greylag.app.config import HANDOVER_NAME
from greylag.app.contrib import Places, read
from greylag.cli.compiling import compiled
from greylag.cli.completion import SHELLS
from greylag.cli.plugins import PLUGINS, script


def plugins(home: str, socket: str, *, oneshot: bool) -> tuple[dict[str, bytes], str]:
    """Return the plugins by their names, and what compiled them ("": they are the one-shot's)."""
    folder = Path(home) / "plugins"
    scripts = {folder / name: script(of).encode() for name, of in PLUGINS.items()}
    if oneshot:
        return {path.name: content for path, content in scripts.items()}, ""
    handover = os.path.join(os.path.dirname(socket), HANDOVER_NAME)
    made, compiler = compiled(folder, scripts, socket, handover)
    return {path.name: content for path, content in made.items()}, compiler


def reader(program: str) -> Read:
    """Return what reads a file of contrib/, filled in for this machine."""

    def text(name: str, daemon: Daemon) -> bytes:
        usual, folder = Places(), os.path.dirname(daemon.socket)
        places = Places(
            program=program,
            options=daemon.options,
            user=daemon.user,
            group=daemon.group,
            socket=usual.socket if folder == usual.run else folder,
        )
        try:
            found = read(name, places)
            return _with_trees(found, daemon) if name == "systemd/greylag.service" else found
        except ValueError as error:
            raise SetupError(str(error)) from error

    return text


def _with_trees(unit: bytes, daemon: Daemon) -> bytes:
    """Return the unit with the trees of jgreylist among the folders that it lets be written."""
    for tree in daemon.trees:
        if not re.fullmatch(r"/[\w/.:+=,@-]+", tree, re.ASCII):
            raise ValueError(
                f"{tree!r}: letters, digits and _ / . : + = , @ - can stand there alone"
            )
    lines = "".join(f"ReadWritePaths=-{tree}\n" for tree in daemon.trees).encode()
    return unit.replace(b"ExecStart=", lines + b"ExecStart=", 1)


def program() -> str:
    """Return the path by which this greylag is started."""
    started = Path(sys.argv[0]).absolute()
    for path in ("/usr/local/bin/greylag", "/usr/bin/greylag"):
        if Path(path).exists() and (not started.exists() or os.path.samefile(path, started)):
            return path
    if started.name == "greylag" and started.exists():
        return str(started)
    beside = Path(sys.executable).with_name("greylag")
    return str(beside) if beside.exists() else shutil.which("greylag") or str(beside)


def completion() -> dict[str, bytes]:
    """Return the completion script of each shell."""
    from greylag.cli.main import cli

    found = {}
    for shell in SHELLS:
        kind = get_completion_class(shell)
        assert kind is not None, "click knows all of SHELLS"
        completer = kind(cli, {}, "greylag", "_GREYLAG_COMPLETE")
        text = completer.source_template % completer.source_vars()
        found[shell] = text.encode()
    return found
