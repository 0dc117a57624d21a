"""Every test here runs twice: with the program as installed, and under ASan and UBSan."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from greylag.wire.logline import parse_event
from tests.e2e.plugin import TIMEOUT, Answer, Value
from tests.native.building import ONESHOT_OUTPUT, Builder

REPORTED = 99  # the exit code of a program that a sanitizer has ended
MOST_VARIABLES = 2000  # with which the program tells the one-shot
SANITIZERS = {
    "ASAN_OPTIONS": f"exitcode={REPORTED}:detect_leaks=0",
    "UBSAN_OPTIONS": f"exitcode={REPORTED}",
}


@dataclass(frozen=True)
class Client:
    """A built plugin, and the environment that the host would start it with."""

    program: Path
    socket: Path
    record: Path
    environ: Mapping[str, Value] = field(default_factory=dict)

    def variables(self, changes: Mapping[str, Value | None]) -> dict[bytes, bytes]:
        """Return the environment of a question; None takes a variable out."""
        plain: dict[str, Value | None] = {
            "PATH": "/usr/bin:/bin",
            "GREYLISTING": "",
            "TCPREMOTEIP": "192.0.2.17",
            "SMTPMAILFROM": "a@example.org",
            "SMTPRCPTTO": "b@example.net",
            "SMTPRCPTHOSTSOK": "1",
            "GREYLAG_SOCKET": str(self.socket),
            "RECORD": str(self.record),
            **self.environ,
            **changes,
        }
        return {
            name.encode(): text if isinstance(text, bytes) else text.encode()
            for name, text in plain.items()
            if text is not None
        }

    def run(self, closed: str = "0<&-", /, **changes: Value | None) -> Answer:
        """Ask once, with these descriptors closed. Whatever happens, the exit code must be 0."""
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", str(self.program)],
            env=self.variables(changes),
            cwd=self.record.parent,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        answer = Answer(done.stdout, done.stderr.decode("ascii"), done.returncode)
        assert answer.code == 0, answer
        return answer

    def of(self, folder: Path, program: str = "greylisting") -> Client:
        """Return the same with the program of another build."""
        return replace(self, program=folder / program)

    def oneshot_ran(self, **changes: Value | None) -> bool:
        """Tell whether the recorder ran, and that it got our environment and what time is left."""
        if not self.record.exists():
            return False
        entries = self.record.read_bytes().removesuffix(b"\0").split(b"\0")
        got = dict(entry.split(b"=", 1) for entry in entries)
        wanted = self.variables(changes)
        if len(wanted) < MOST_VARIABLES:
            assert 0 <= int(got.pop(b"GREYLAG_BUDGET_MS")) <= 5000
        assert got.keys() - wanted.keys() <= {b"PWD", b"OLDPWD", b"_"}  # the shell's own
        assert {name: got[name] for name in wanted} == wanted
        listed = self.record.with_name(self.record.name + ".descriptors").read_text()
        assert "socket:" not in listed
        return True

    def asks_oneshot(self, **changes: Value | None) -> str:
        """Ask once, see that the one-shot answered in our place, and return the log."""
        answer = self.run(**changes)
        assert answer.output == ONESHOT_OUTPUT
        assert self.oneshot_ran(**changes)
        self.record.unlink()
        return answer.log


def events_of(log: str) -> list[dict[str, bytes]]:
    prefix = "greylisting: "
    assert all(line.startswith(prefix) for line in log.splitlines())
    return [parse_event(line.removeprefix(prefix)) for line in log.splitlines()]


@pytest.fixture(scope="session", params=["plain", "sanitized"])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    flavour = str(request.param)
    return Builder(tmp_path_factory.mktemp(flavour), flavour == "sanitized")


@pytest.fixture
def client(build: Builder, tmp_path: Path) -> Client:
    """The plugin with its default settings but for the paths; no daemon runs."""
    environ = SANITIZERS if build.sanitized else {}
    return Client(build() / "greylisting", tmp_path / "s", tmp_path / "record", environ)
