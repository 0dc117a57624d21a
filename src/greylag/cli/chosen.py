"""Which greylag.toml was chosen for the plugins of a qmail home when they were installed."""

from __future__ import annotations

import os
import re
from ast import literal_eval
from collections.abc import Mapping
from pathlib import Path

from greylag.app.config import CONFIG_VARIABLE, DEFAULT_PATH
from greylag.store.plain_file import read_plain

_PROGRAMS = ("greylisting-oneshot", "greylisting")  # beside the C plugin, or alone
_NAMED = re.compile(rb"setdefault\(b'GREYLAG_CONFIG', (b[^\n]+)\)\n")
_HEAD = 4096  # bytes, in which a script has named it


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
