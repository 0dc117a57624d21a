"""Running the real plugin as qmail-smtpd does, without the SMTP around it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from greylag.core.accesslist import NEVER
from greylag.core.identity import is_network
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import Filter

BIN = Path(sys.executable).parent
CLOSED_STDIN = ["/bin/sh", "-c", 'exec "$@" 0<&-', "sh"]
TIMEOUT = 30
Value = str | bytes


@dataclass(frozen=True)
class Answer:
    """What one run of a plugin printed."""

    output: bytes
    log: str
    code: int

    @property
    def deferred(self) -> bool:
        return self.output.startswith(b"E451")


@dataclass(frozen=True)
class Plugin:
    """An installed plugin below a qmail home, with the variables that the host would set."""

    home: Path
    database: Path  # of SQLite, where that keeps the records
    program: Path
    environ: Mapping[str, Value] = field(default_factory=dict)
    url: str = ""  # of the store

    def variables(self, changes: Mapping[str, Value | None]) -> dict[bytes, bytes]:
        """Return the environment of an attempt; None takes a variable out."""
        plain: dict[str, Value | None] = {
            "PATH": "/usr/bin:/bin",
            "GREYLISTING": "",
            "TCPREMOTEIP": "192.0.2.17",
            "SMTPMAILFROM": "a@example.org",
            "SMTPRCPTTO": "b@example.net",
            "SMTPRCPTHOSTSOK": "1",
            **self.environ,
            **changes,
        }
        return {
            name.encode(): text if isinstance(text, bytes) else text.encode()
            for name, text in plain.items()
            if text is not None
        }

    def run(self, *wrapper: str, **changes: Value | None) -> Answer:
        """Ask once; `wrapper` is a command line to run the plugin under."""
        done = subprocess.run(
            [*CLOSED_STDIN, *wrapper, str(self.program)],
            env=self.variables(changes),
            cwd=self.home,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Answer(done.stdout, done.stderr.decode("ascii"), done.returncode)

    def write_toml(self, text: str) -> None:
        """Write the greylag.toml that the plugin reads; the store stays the test's own.

        No name server is asked unless the text says so.
        """
        url = "" if "[store]" in text else f'\n[store]\nurl = "{self.url}"\n'
        dns = "" if "dns" in text else '\n[dns]\nservers = "off"\n'
        (self.home / "greylag.toml").write_text(
            text.replace("[store]", f"{dns}[store]") if "[store]" in text else text + dns + url
        )

    def records(self) -> dict[Triplet, Record]:
        """Return all records of mail: who has earned trust has others."""
        with closing(open_store(self.url, timeout=10)) as store:
            found = store.search(Filter(), 100_000)
            return {key: one for key, one in found if is_network(key.network)}

    def figures(self) -> Counter[str]:
        """Return the figures of all hours together."""
        with closing(open_store(self.url, timeout=10)) as store:
            return sum(map(Counter, store.figures(0, NEVER).values()), Counter())

    def untouched(self) -> bool:
        """Tell whether there is no record, and with SQLite not even a database."""
        if self.url.startswith("sqlite:"):
            return not self.database.exists()
        return not self.records()

    def write_old(self, text: str) -> None:
        """Write control/greylisting, as users of the old plugin have it."""
        (self.home / "control" / "greylisting").write_text(text)

    def greylag(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `greylag` command on the same configuration."""
        return subprocess.run(
            [BIN / "greylag", *arguments],
            env={"PATH": "/usr/bin:/bin", "GREYLAG_CONFIG": str(self.home / "greylag.toml")},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Let whoever opens a file hang for as long as this lasts, or 45 seconds: by a lease."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # tells us that somebody waits
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield
    finally:
        os.close(handle)
        signal.signal(signal.SIGIO, before)


def needed(command: str, package: str) -> str:
    """Return the path of a program from Debian; missing, it fails CI and skips loudly elsewhere."""
    found = shutil.which(command)
    if found is None:
        message = f"{command} is missing: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@cache
def faketime_library() -> str:
    """Return libfaketime, for processes that should believe in another time."""
    needed("faketime", "faketime")
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0])


def at(shift: str) -> dict[str, Value | None]:
    """Return the variables that shift a process's clock, such as `at("+10m")`."""
    return {"LD_PRELOAD": faketime_library(), "FAKETIME": shift, "FAKETIME_DONT_RESET": "1"}
