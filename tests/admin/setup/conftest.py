"""A scratch root with the files of a small machine, and a look at all that is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from greylag.admin.setup.place import Place
from greylag.cli.setuprun import run

Look = Callable[[], dict[str, tuple[object, ...]]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    for folder in ("etc/systemd/system", "var/lib", "usr/bin", "usr/local"):
        (made / folder).mkdir(parents=True)
    (made / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nvpopmail:x:8900:8901::/:/bin/sh\npostfix:x:101:102::/:/bin/sh\n"
    )
    (made / "etc/group").write_text("root:x:0:\nvchkpw:x:8901:\npostfix:x:102:\n")
    (made / "usr/bin/bash").write_text("")
    return made


@pytest.fixture
def place(root: Path) -> Place:
    return Place(root, run)


@pytest.fixture
def look(root: Path) -> Look:
    return lambda: looked(root)


def looked(root: Path) -> dict[str, tuple[object, ...]]:
    """Return mode, owner, time of change and content of each path; of folders no time."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder) / name
            seen = path.lstat()
            row: tuple[object, ...] = (oct(seen.st_mode), seen.st_uid, seen.st_gid)
            if stat.S_ISREG(seen.st_mode):
                row += (seen.st_mtime_ns, path.read_bytes())
            elif stat.S_ISLNK(seen.st_mode):
                row += (os.readlink(path),)
            found[str(path.relative_to(root))] = row
    return found
