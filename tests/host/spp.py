"""The plugin runner of a patched qmail-smtpd: what plugins get, and what becomes of their output.

It follows the C of the patch step by step, oddities included: they are what a plugin meets on a
real server. An old build, so plugins run unless NOSPP is set; [auth] and [pass] are of newer ones.
Few imports and no annotations at run time, because the host starts anew for each connection.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing's own constant would cost 12 ms
if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED, CHECKED, UNCHECKED = range(3)  # what becomes of a command: UNCHECKED skips qmail's checks
MAX_ADDRESS = 899  # qmail's 900 counts the NUL at its end
ENDING = b"ANOERD"
COULD_NOT_EXECUTE = 120
SIGXFSZ = 25  # Python ignores it and qmail does not; the module signal takes 5 ms to import


class HangUp(Exception):
    """The session is over."""

    def __init__(self, code: int) -> None:
        self.code = code  # the exit code of the host


def read_environment(path: str = "/proc/self/environ") -> dict[bytes, bytes]:
    """Return the environment as the process got it: os.environb has Python's LC_CTYPE added."""
    with open(path, "rb") as source:
        entries = source.read().split(b"\0")
    pairs = (entry.partition(b"=") for entry in entries)
    return {name: value for name, equals, value in pairs if name and equals}


def read_control(path: bytes | str) -> list[bytes] | None:
    """Return the lines of a control file without blank ones and comments; None if it is missing."""
    try:
        with open(path, "rb") as source:
            lines = [line.rstrip(b"\n\t ") for line in source]
    except FileNotFoundError:
        return None
    return [line for line in lines if line and not line.startswith(b"#")]


def c_string(text: bytes) -> bytes:
    """Return what C makes of a text: it ends at a NUL."""
    return text.partition(b"\0")[0]


def parse_address(argument: bytes) -> bytes | None:
    """Take the address out of `FROM:<...>`: without source route, quotes and backslashes."""
    _, found, rest = argument.partition(b"<")
    terminator = ord(">")
    if not found:
        rest = argument.partition(b":")[2]
        if not rest:
            return None
        rest, terminator = rest.lstrip(b" "), ord(" ")
    if rest.startswith(b"@"):
        rest = rest.partition(b":")[2]
    address = bytearray()
    escaped = quoted = False
    for byte in rest:
        if len(address) > MAX_ADDRESS + len("[255.255.255.255]"):
            break  # too long whatever follows
        if escaped:
            address.append(byte)
            escaped = False
        elif byte == terminator and not quoted:
            break
        elif byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            quoted = not quoted
        else:
            address.append(byte)
    return bytes(address)


class Plugins:
    """The state of qmail-spp in one session; `address` is the one that MAIL or RCPT is about."""

    def __init__(self, env: dict[bytes, bytes], say: Callable[[bytes], None]) -> None:
        self.env = env
        self.address = b""
        self.headers = b""
        self._say = say
        self._on = b"NOSPP" not in env
        self._sections: dict[bytes, list[bytes]] = {}
        self._later: dict[bytes, list[bytes]] = {b"M": [], b"R": [], b"D": []}
        self._accepted = self._seen = 0

    def load(self) -> bool:
        """Read the list of plugins; False if it should be there and is not."""
        if not self._on:
            return True
        lines = read_control(self.env.get(b"SPPCONFFILE") or b"control/smtpplugins")
        section: list[bytes] = []  # what stands above the first section is never run
        for line in lines or ():
            if line.startswith(b"["):
                section = self._sections.setdefault(line[1:2], [])
            else:
                section.append(line)
        return lines is not None

    def reset(self) -> None:
        """Forget what plugins said for this message; only RSET and DATA do, not MAIL or HELO."""
        self.headers = b""
        self._later = {command: [] for command in self._later}
        self._accepted = self._seen = 0

    def connection(self) -> int:
        return self._run(b"c")

    def helo(self, name: bytes) -> int:
        self.env[b"SMTPHELOHOST"] = name
        return self._run(b"h")

    def auth(self, method: bytes, user: bytes) -> int:
        """Run [auth] after the password was found right; a refusal leaves the variables set."""
        self.env[b"SMTPAUTHMETHOD"] = method
        self.env[b"SMTPAUTHUSER"] = user
        return self._run(b"a")

    def mail(self) -> int:
        if self._refused_before(b"M"):
            return REFUSED
        self._accepted = self._seen = 0
        return self._run(b"m", b"SMTPMAILFROM")

    def rcpt(self, *, allowed: bool) -> int:
        if self._refused_before(b"R"):
            return REFUSED
        self._seen += 1
        self.env[b"SMTPRCPTCOUNT"] = b"%d" % self._accepted
        self.env[b"SMTPRCPTCOUNTALL"] = b"%d" % self._seen
        self.env[b"SMTPRCPTHOSTSOK"] = b"%d" % allowed
        return self._run(b"r", b"SMTPRCPTTO")

    def rcpt_accepted(self) -> int:
        """Run [pass]; the recipient counts as accepted even if one of these refuses it."""
        self._accepted += 1
        self.env[b"SMTPRCPTCOUNT"] = b"%d" % self._accepted
        return self._run(b"p", b"SMTPRCPTTO")

    def data(self) -> int:
        return REFUSED if self._refused_before(b"D") else self._run(b"d")

    def _refused_before(self, command: bytes) -> bool:
        """Send what LM, LR or LD left. Two of them are two replies, and confuse a client."""
        for text in self._later[command]:
            self._say(text)
        return bool(self._later[command])

    def _run(self, section: bytes, variable: bytes = b"") -> int:
        if not self._on:
            return CHECKED
        if variable:
            self.env[variable] = self.address
        for line in self._sections.get(section, ()):
            ending = self._run_one(line, variable)
            if ending in (b"R", b"D"):
                raise HangUp(0)
            if ending:
                return {b"E": REFUSED, b"O": UNCHECKED}.get(ending, CHECKED)
        return CHECKED

    def _run_one(self, line: bytes, variable: bytes) -> bytes:
        """Run one plugin and return its ending command, if any: E where it could not run or died.

        Reading stops at that command, yet the plugin is waited for. A failure is told to the
        client even if a reply was already sent.
        """
        source, sink = os.pipe()
        with open(source, "rb") as output:
            pid = self._start(line, sink)
            ending = b""
            while not ending and (text := output.readline()):
                if len(text) > 1:  # the last character is thrown away unseen, newline or not
                    ending = self._obey(text[:-1], variable)
        status = os.waitpid(pid, 0)[1] if pid else COULD_NOT_EXECUTE << 8
        if os.WIFSIGNALED(status):
            return self._fail(line, b"child crashed")
        if os.WEXITSTATUS(status) == COULD_NOT_EXECUTE:
            return self._fail(line, b"can't execute")
        return ending

    def _start(self, line: bytes, sink: int) -> int:
        """Start a plugin with its stdout into `sink`, which is closed here; 0 if it cannot be."""
        command = [b"/bin/sh", b"-c", line[1:]] if line.startswith(b":") else [line]
        actions = [(os.POSIX_SPAWN_CLOSE, 0), (os.POSIX_SPAWN_DUP2, sink, 1)]
        try:
            return os.posix_spawn(
                command[0], command, self.env, file_actions=actions, setsigdef=[SIGXFSZ]
            )
        except OSError:
            return 0
        finally:
            os.close(sink)

    def _fail(self, line: bytes, reason: bytes) -> bytes:
        self._say(b"451 qmail-spp failure: %b: %b (#4.3.0)" % (line, reason))
        return b"E"

    def _obey(self, text: bytes, variable: bytes) -> bytes:
        """Do one command; return its letter if it ends the output."""
        letter, rest = text[:1], text[1:]
        if letter in b"ERP":
            self._say(c_string(rest))
        elif letter == b"A":
            self._on = False
        elif letter == b"L" and rest[:1] in self._later:
            self._later[rest[:1]].append(c_string(rest[1:]))
        elif letter == b"H":
            self.headers += rest + b"\n"
        elif letter == b"C" and variable:
            self.address = self.env[variable] = c_string(rest)
        elif letter in b"SU":
            name, equals, value = c_string(rest).partition(b"=")
            self.env.pop(name, None)
            if letter == b"S" and name and equals:
                self.env[name] = value
        return letter if letter in ENDING else b""
