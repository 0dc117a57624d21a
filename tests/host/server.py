"""tcpserver with this folder's qmail-smtpd under it, and a client to talk to it.

For tests and the demo: a qmail home with its control files, a server on a free loopback port, and
SMTP dialogues of raw bytes. Nothing here waits for ever.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

PYTHON = "/usr/bin/python3"
SMTPD = Path(__file__).with_name("qmail_smtpd.py")
LOOPBACK = "127.0.0.1"
TIMEOUT = 30.0  # seconds for one reply: a plugin on a busy machine, not a network, is waited for
START_TIMEOUT = 10.0
BACKLOG = "1024"  # over tcpserver's 20, clients seem connected, yet never get a banner
PATH = "/usr/local/bin:/usr/bin:/bin"
NOTHING: Mapping[str, str] = MappingProxyType({})
NO_SECTIONS: Mapping[str, Sequence[str]] = MappingProxyType({})

Text = bytes | str
Reply = tuple[int, bytes]
_SHORT_ID = re.compile(rb" \(id [0-9A-Z]{4}-[0-9A-Z]{3}\)")


def bare(reply: Reply) -> Reply:
    """Return a deferral without its short id, which differs from mail to mail."""
    return reply[0], _SHORT_ID.sub(b"", reply[1])


class ConnectionLost(Exception):
    """The server hung up where a reply was due; the argument is what it still sent."""


def raw(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


class Client:
    """An SMTP client that sends exactly what it is told; replies are (code, text) pairs."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._unread = b""
        self.banner: Reply = (0, b"")

    @classmethod
    def connect(
        cls, port: int, *, source: str = LOOPBACK, timeout: float = TIMEOUT, host: str = LOOPBACK
    ) -> Self:
        """Connect from a loopback address of choice and read the banner.

        Raises ConnectionLost if there is none, as where tcprules denies the address.
        """
        connection = socket.create_connection((host, port), timeout, (source, 0))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = cls(connection)
        try:
            client.banner = client.reply()
        except BaseException:
            connection.close()
            raise
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they stand, as for a pipeline or half a command."""
        self._socket.sendall(data)

    def end_input(self) -> None:
        """Tell the server that no more will come, while still reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def reply(self) -> Reply:
        """Read one reply; the lines of a longer one are joined by newlines, without their codes."""
        texts: list[bytes] = []
        while True:
            line = self._line()
            texts.append(line[4:])
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(texts)

    def rest(self) -> bytes:
        """Read up to the end of the connection."""
        with contextlib.suppress(ConnectionResetError):
            while received := self._socket.recv(65536):
                self._unread += received
        rest, self._unread = self._unread, b""
        return rest

    def _line(self) -> bytes:
        while (end := self._unread.find(b"\r\n")) < 0:
            try:
                received = self._socket.recv(65536)
            except ConnectionResetError:
                received = b""
            if not received:
                raise ConnectionLost(self._unread)
            self._unread += received
        line, self._unread = self._unread[:end], self._unread[end + 2 :]
        return line

    def command(self, line: Text) -> Reply:
        self.send(raw(line) + b"\r\n")
        return self.reply()

    def helo(self, name: Text = "client.example.org") -> Reply:
        return self.command(b"HELO " + raw(name))

    def ehlo(self, name: Text = "client.example.org") -> Reply:
        return self.command(b"EHLO " + raw(name))

    def mail(self, sender: Text) -> Reply:
        return self.command(b"MAIL FROM:<%b>" % raw(sender))

    def rcpt(self, recipient: Text) -> Reply:
        return self.command(b"RCPT TO:<%b>" % raw(recipient))

    def data(self, message: Text) -> Reply:
        """Send a message whose lines end in LF; where DATA itself is refused, return that."""
        refusal = self.command("DATA")
        if refusal[0] != 354:
            return refusal
        lines = raw(message).removesuffix(b"\n").split(b"\n")
        stuffed = (b"." + line if line.startswith(b".") else line for line in lines)
        return self.command(b"".join(line + b"\r\n" for line in stuffed) + b".")

    def auth_plain(self, user: Text, password: Text) -> Reply:
        response = base64.b64encode(b"\0%b\0%b" % (raw(user), raw(password)))
        return self.command(b"AUTH PLAIN " + response)

    def rset(self) -> Reply:
        return self.command("RSET")

    def quit(self) -> Reply:
        """Say good-bye and close."""
        reply = self.command("QUIT")
        self.close()
        return reply


@dataclass(frozen=True, slots=True)
class Host:
    """A running server."""

    port: int
    home: Path
    log: Path
    pid: int

    def connect(self, source: str = LOOPBACK, timeout: float = TIMEOUT) -> Client:
        return Client.connect(self.port, source=source, timeout=timeout)

    def messages(self) -> list[bytes]:
        """Return the messages that were accepted, oldest first."""
        return [path.read_bytes() for path in sorted((self.home / "queue" / "new").glob("*"))]


def make_home(
    path: Path,
    rcpt_plugins: Sequence[str],
    *,
    sections: Mapping[str, Sequence[str]] = NO_SECTIONS,
    me: str = "mx.example.org",
    rcpthosts: Sequence[str] | None = None,
    users: Mapping[str, str] | None = None,
) -> Path:
    """Write the control files of a qmail home, which may exist, and make its queue.

    `sections` are further ones of control/smtpplugins by name, such as "mail" or "pass". Without
    `rcpthosts` every domain is accepted; without `users` there is no AUTH.
    """
    control = path / "control"
    control.mkdir(parents=True, exist_ok=True)
    (path / "queue").mkdir(exist_ok=True)
    plugins: list[str] = []
    for section, lines in {"rcpt": rcpt_plugins, **sections}.items():
        plugins += [f"[{section}]", *lines]
    files: dict[str, Sequence[str] | None] = {
        "me": [me],
        "smtpplugins": plugins,
        "rcpthosts": rcpthosts,
        "users": None if users is None else [f"{user}:{word}" for user, word in users.items()],
    }
    for name, content in files.items():
        if content is None:
            (control / name).unlink(missing_ok=True)
        else:
            (control / name).write_text("".join(f"{line}\n" for line in content))
    return path


def needed(program: str) -> str:
    """Return the path of a program of ucspi-tcp."""
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program} is missing: apt-get install ucspi-tcp")
    return found


@contextlib.contextmanager
def running(
    home: Path,
    *,
    rules: str = ":allow\n",
    env: Mapping[str, str] = NOTHING,
    concurrency: int = 40,
    wrapper: Sequence[str] = (),
    program: Sequence[str] = (PYTHON, "-IS", str(SMTPD)),
    log: Path,
) -> Iterator[Host]:
    """Run the server in a home, with PATH and `env` as its whole environment.

    `wrapper` is a command line to run `program` under, such as jgreylist. `rules` are those of
    tcprules: `127.0.0.2:allow,RELAYCLIENT=""`. What tcpserver and plugins write to stderr is
    appended to `log`. At the end all that it started is ended too.
    """
    tcpserver, tcprules = needed("tcpserver"), needed("tcprules")
    with tempfile.TemporaryDirectory(prefix="tcprules-") as folder, log.open("ab") as stderr:
        cdb = f"{folder}/rules.cdb"
        compiling = [tcprules, cdb, f"{folder}/rules.tmp"]
        subprocess.run(compiling, input=rules.encode(), timeout=START_TIMEOUT, check=True)
        options = ["-1vHRl0", "-b", BACKLOG, "-c", str(concurrency), "-x", cdb, LOOPBACK, "0"]
        with subprocess.Popen(
            [tcpserver, *options, *wrapper, *program],
            cwd=home,
            env={"PATH": PATH, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        ) as process:
            try:
                yield Host(_announced_port(process, log), home, log, process.pid)
            finally:
                _end(process)


def _announced_port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Read the port that the kernel chose: `-1` prints it once tcpserver is listening."""
    assert process.stdout is not None
    if select.select([process.stdout], [], [], START_TIMEOUT)[0]:
        line = process.stdout.readline()
        if line.strip().isdigit():
            return int(line)
    raise RuntimeError(f"tcpserver did not start: {log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its connections: the group is ours until its leader is waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(START_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
