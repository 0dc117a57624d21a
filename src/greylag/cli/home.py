"""The qmail home: where it is, and which greylag.toml was chosen for its plugins."""

from __future__ import annotations

import os
import re
import stat
from ast import literal_eval
from collections.abc import Mapping
from pathlib import Path

from greylag.app.config import CONFIG_VARIABLE, DEFAULT_PATH, OLD_PATH
from greylag.cli.output import say
from greylag.store.plain_file import read_plain

DEFAULT_HOME = "/var/qmail"
_ROOT = 0
_PROGRAMS = ("greylisting-oneshot", "greylisting")  # beside the C plugin, or alone
_NAMED = re.compile(rb"setdefault\(b'GREYLAG_CONFIG', (b[^\n]+)\)\n")
_HEAD = 4096  # bytes, in which a script has named it


def default_home() -> str:
    """Return the qmail home: where we are if the old plugin's file is below, else the usual one.

    That file chooses the database, and root may stand in anybody's folder: it counts only where
    nobody else could have put it.
    """
    if not os.path.lexists(OLD_PATH):
        return DEFAULT_HOME
    if os.path.realpath(".") == os.path.realpath(DEFAULT_HOME):
        return "."
    for path in (".", os.path.dirname(OLD_PATH), OLD_PATH):
        if _is_foreign(path):
            place = os.path.realpath(path)
            cause = f"others may change it, so {OLD_PATH} is not read"
            say(f"{place}: {cause} (--qmail-home . reads it)")
            return DEFAULT_HOME
    return "."


def _is_foreign(path: str) -> bool:
    """Tell whether somebody else but root owns or may change what is there; a link leads away."""
    found = os.stat(path) if path == "." else os.lstat(path)
    owned = found.st_uid in (_ROOT, os.geteuid())
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not owned or bool(writable) or stat.S_ISLNK(found.st_mode)


def named_config(folder: Path) -> str | None:
    """Return the greylag.toml that the plugins in a folder read; None: the usual one."""
    for name in _PROGRAMS:
        try:
            if found := _NAMED.search(read_plain(str(folder / name))[:_HEAD]):
                return os.fsdecode(literal_eval(found[1].decode()))
        except (OSError, ValueError, TypeError, SyntaxError):
            continue
    return None


def another_configuration(home: str, environ: Mapping[bytes, bytes]) -> list[str]:
    """Say where the plugins of a qmail home read another greylag.toml than a command does."""
    folder = Path(home).absolute() / "plugins"
    ours = os.fsdecode(environ.get(CONFIG_VARIABLE, os.fsencode(DEFAULT_PATH)))
    theirs = named_config(folder)
    if theirs is None or theirs == os.path.abspath(ours):
        return []
    return [f"the plugins in {folder} read {theirs}, and this command {ours}"]
