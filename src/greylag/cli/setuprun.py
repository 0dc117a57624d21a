"""What setup runs: commands of the system, at an admin's word."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from greylag.admin.setup.place import Ran

_LONGEST = 90  # seconds for one command
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/command"


def run(
    argv: Sequence[str],
    *,
    user: tuple[int, int] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
) -> Ran:
    """Run a command of the system; what it says on either stream is returned."""
    become: dict[str, object] = {}
    if user is not None and os.geteuid() == 0:
        become = {"user": user[0], "group": user[1], "extra_groups": []}
    try:
        done = subprocess.run(  # type: ignore[call-overload] # noqa: S603 - no shell, our own words
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LONGEST,
            env=dict(env) if env is not None else {"PATH": _PATH, "LC_ALL": "C"},
            cwd=cwd,
            check=False,
            **become,
        )
    except FileNotFoundError:
        return Ran(127, f"{argv[0]}: not found")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Ran(126, str(error))
    return Ran(done.returncode, done.stdout.decode("utf-8", "backslashreplace"))


@contextmanager
def copied(main: bytes) -> Iterator[str]:
    """Give a folder in which postconf(1) edits a copy of main.cf."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "main.cf").write_bytes(main)
        (Path(scratch) / "master.cf").touch()
        yield scratch
