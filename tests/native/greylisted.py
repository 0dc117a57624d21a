"""Running the native jgreylist as tcpserver does: a connected TCP socket on 0 and 1."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.plugin import TIMEOUT, Value
from tests.server.clients import Talker, connected_pair

# Stands in for the program behind jgreylist, and for the one-shot: tells how it was started.
RECORDER = """\
#!/bin/sh
cat /proc/$$/environ >"$RECORD"
[ "$RECORD" = /dev/null ] || ls -l /proc/$$/fd >"$RECORD.descriptors"
grep -E '^Sig(Ign|Blk|Cgt)' /proc/$$/status >"$RECORD.signals"
printf '%s\\n' "$$" "$0" "$@" >"$RECORD.arguments"
printf '220 from %s\\r\\n' "${0##*/}"
"""
COMMAND = ("a", "b c", "", "%s")


@dataclass(frozen=True)
class Run:
    """What became of one connection."""

    said: list[bytes]  # to the client
    log: list[str]
    code: int
    pid: int


@dataclass(frozen=True)
class Jgreylist:
    """A built jgreylist, with a one-shot and a program that record how they were started."""

    program: Path
    folder: Path
    environ: Mapping[str, Value] = field(default_factory=dict)

    @property
    def record(self) -> Path:
        return self.folder / "record"

    @property
    def smtpd(self) -> Path:
        return self.folder / "smtpd"

    def variables(self, changes: Mapping[str, Value | None]) -> dict[bytes, bytes]:
        """Return the environment of a connection; None takes a variable out."""
        plain: dict[str, Value | None] = {
            "PATH": "/usr/bin:/bin",
            "TCPREMOTEIP": "192.0.2.17",
            "TCPREMOTEHOST": "mx.example.org",
            "GREYLAG_SOCKET": str(self.folder / "s"),
            "RECORD": str(self.record),
            **self.environ,
            **changes,
        }
        return {
            name.encode(): text if isinstance(text, bytes) else text.encode()
            for name, text in plain.items()
            if text is not None
        }

    @contextlib.contextmanager
    def started(
        self, wrapper: Sequence[str] = (), /, **changes: Value | None
    ) -> Iterator[tuple[Talker, subprocess.Popen[bytes]]]:
        """Start it for a client; `wrapper` is a command line to start it under."""
        client, server = connected_pair()
        with client, server:
            process = subprocess.Popen(
                [*wrapper, str(self.program), str(self.smtpd), *COMMAND],
                env=self.variables(changes),
                stdin=server.fileno(),
                stdout=server.fileno(),
                stderr=subprocess.PIPE,
                close_fds=True,
            )
            server.close()
            try:
                yield Talker(client), process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
                process.communicate()

    def run(self, wrapper: Sequence[str] = (), /, **changes: Value | None) -> Run:
        """Let a client connect and end his input; return all that happened."""
        with self.started(wrapper, **changes) as (client, process):
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)
            said = client.rest()
            _out, log = process.communicate(timeout=TIMEOUT)
            return Run(said, log.decode("ascii").splitlines(), process.returncode, process.pid)

    def recorded_at_all(self) -> None:
        """See that something was executed, and forget it."""
        assert self.record.exists()
        self.record.unlink()

    def recorded(self, **changes: Value | None) -> list[str]:
        """Return the arguments of what was executed, after seeing that nothing of ours is left."""
        pid, *arguments = self.record.with_name("record.arguments").read_text().split("\n")[:-1]
        entries = self.record.read_bytes().removesuffix(b"\0").split(b"\0")
        got = dict(entry.split(b"=", 1) for entry in entries)
        wanted = self.variables(changes)
        if Path(arguments[0]).name.endswith("-oneshot"):  # it is told what time is left
            assert 0 <= int(got.pop(b"GREYLAG_BUDGET_MS")) <= 5000
        assert got.keys() - wanted.keys() <= {b"PWD", b"OLDPWD", b"_"}  # the shell's own
        assert {name: got[name] for name in wanted} == wanted
        listed = self.record.with_name("record.descriptors").read_text()
        opened = {line.split()[-3] for line in listed.splitlines()[1:] if " -> " in line}
        assert {name for name in opened if int(name) < 10} <= {"0", "1", "2", "3"}, listed
        assert listed.count("socket:") == 2, listed
        assert pid.isdigit()
        self.record.unlink()
        return [pid, *arguments]


def write_recorder(path: Path) -> Path:
    """Write a program that records how it was started."""
    path.write_text(RECORDER)
    path.chmod(0o755)
    return path


def sigpipe_is_ignored(folder: Path) -> bool:
    """Tell whether what was executed ignores SIGPIPE."""
    for line in (folder / "record.signals").read_text().splitlines():
        if line.startswith("SigIgn"):
            return bool(int(line.split()[1], 16) >> (signal.SIGPIPE - 1) & 1)
    raise AssertionError("no SigIgn")
