"""One SMTP connection on stdin and stdout, as a qmail-smtpd with the qmail-spp patch holds it.

To be started by tcpserver in the qmail home: /usr/bin/python3 -I qmail_smtpd.py. Everything is
bytes; replies, limits and the order of checks are qmail's. It accepts AUTH PLAIN where
control/users (user:password) exists, and keeps messages in queue/new where queue/ exists.
"""

from __future__ import annotations

import os
import select
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.host.spp import (
    CHECKED,
    MAX_ADDRESS,
    HangUp,
    Plugins,
    c_string,
    parse_address,
    read_control,
    read_environment,
)

DEFAULT_TIMEOUT = 1200  # seconds, as control/timeoutsmtpd has it
STRAY_NEWLINE = b"451 See https://cr.yp.to/docs/smtplf.html."


class Wire:
    """Lines in, replies out; replies wait until the next read, so that a client may pipeline."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._unread = bytearray()
        self._unsent = bytearray()

    def say(self, reply: bytes) -> None:
        self._unsent += reply + b"\r\n"

    def line(self) -> bytes:
        """Return the next line with its ending; an end of input within a line ends the session."""
        start = 0
        while (end := self._unread.find(b"\n", start)) < 0:
            start = len(self._unread)
            if not self.flush() or not (received := self._receive()):
                raise HangUp(1)
            self._unread += received
        line = bytes(self._unread[: end + 1])
        del self._unread[: end + 1]
        return line

    def flush(self) -> bool:
        """Write in pieces that a ready socket takes at once, so as never to hang; False if lost."""
        while self._unsent:
            if not select.select([], [1], [], self._timeout)[1]:
                return False
            try:
                del self._unsent[: os.write(1, self._unsent[:4096])]
            except OSError:
                return False
        return True

    def _receive(self) -> bytes:
        if not select.select([0], [], [], self._timeout)[0]:
            self.say(b"451 timeout (#4.4.2)")
            return b""
        try:
            return os.read(0, 65536)
        except OSError:
            return b""


class Dialogue:
    """The SMTP commands, each a method by its name."""

    def __init__(self, env: dict[bytes, bytes], wire: Wire) -> None:
        self._env = env
        self._wire = wire
        self._say = wire.say
        self._plugins = Plugins(env, wire.say)
        self._me = b"".join((read_control("control/me") or [])[:1])
        self._hosts = read_control("control/rcpthosts")
        self._users = read_control("control/users")
        self._relay = env.get(b"RELAYCLIENT")  # read once: a plugin's S does not change it
        self._own = {b"0.0.0.0", b"127.0.0.1", env.get(b"TCPLOCALIP", b"127.0.0.1")}
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._helo = env.get(b"TCPREMOTEHOST", b"unknown")
        self._authenticated = False

    def run(self) -> None:
        """Hold the dialogue until it ends with HangUp. A refused connection gets no greeting."""
        if not self._me or not self._plugins.load():
            self._say(b"421 unable to read controls (#4.3.0)")
            raise HangUp(1)
        if self._plugins.connection():
            self._say(b"220 %b ESMTP" % self._me)
        commands = {
            b"helo": self.helo, b"ehlo": self.ehlo, b"mail": self.mail, b"rcpt": self.rcpt,
            b"data": self.data, b"rset": self.rset, b"noop": self.noop, b"vrfy": self.vrfy,
            b"auth": self.auth, b"quit": self.quit,
        }  # fmt: skip
        while True:
            line = c_string(self._wire.line()[:-1].removesuffix(b"\r"))
            verb, _, argument = line.partition(b" ")
            commands.get(verb.lower(), self.unknown)(argument.lstrip(b" "))

    def unknown(self, argument: bytes) -> None:
        self._say(b"502 unimplemented (#5.5.1)")

    def noop(self, argument: bytes) -> None:
        self._say(b"250 ok")

    def vrfy(self, argument: bytes) -> None:
        self._say(b"252 send some mail, i'll try my best")

    def quit(self, argument: bytes) -> None:
        self._say(b"221 " + self._me)
        raise HangUp(0)

    def rset(self, argument: bytes) -> None:
        self._plugins.reset()
        self._sender = None
        self._say(b"250 flushed")

    def helo(self, name: bytes) -> None:
        self._greet(name, b"250 " + self._me)

    def ehlo(self, name: bytes) -> None:
        auth = [] if self._users is None else [b"250-AUTH PLAIN"]
        self._greet(name, b"250-" + self._me, b"250-PIPELINING", *auth, b"250 8BITMIME")

    def _greet(self, name: bytes, *replies: bytes) -> None:
        if not self._plugins.helo(name):
            return
        for reply in replies:
            self._say(reply)
        self._sender = None
        self._helo = name

    def mail(self, argument: bytes) -> None:
        if not self._take_address(argument) or not self._plugins.mail():
            return
        self._sender = self._plugins.address
        self._recipients = []
        self._say(b"250 ok")

    def rcpt(self, argument: bytes) -> None:
        """Plugins come before rcpthosts; what C puts in the place of the address is not checked."""
        if self._sender is None:
            self._say(b"503 MAIL first (#5.5.1)")
            return
        if not self._take_address(argument):
            return
        plugins = self._plugins
        allowed = self._relay is not None or self._is_ours(plugins.address)
        outcome = plugins.rcpt(allowed=allowed)
        if not outcome:
            return
        if outcome == CHECKED and not allowed:
            self._say(b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)")
            return
        plugins.address += self._relay or b""
        if plugins.rcpt_accepted():
            self._recipients.append(plugins.address)
            self._say(b"250 ok")

    def _take_address(self, argument: bytes) -> bool:
        """Hand an address to the plugins; a domain literal of this host becomes its name."""
        address = parse_address(argument)
        if address is not None:
            local, at, domain = address.rpartition(b"@")
            if at and domain.startswith(b"[") and domain.endswith(b"]"):
                address = local + at + self._me if domain[1:-1] in self._own else address
            if len(address) <= MAX_ADDRESS:
                self._plugins.address = address
                return True
        self._say(b"555 syntax error (#5.5.4)")
        return False

    def _is_ours(self, address: bytes) -> bool:
        """Look the domain up in rcpthosts, where `.example.org` stands for all below it."""
        _, at, domain = address.lower().rpartition(b"@")
        if self._hosts is None or not at:
            return True
        below = (domain[i:] for i in range(1, len(domain)) if domain[i] == b"."[0])
        hosts = {host.lower() for host in self._hosts}
        return domain in hosts or not hosts.isdisjoint(below)

    def data(self, argument: bytes) -> None:
        if self._sender is None:
            self._say(b"503 MAIL first (#5.5.1)")
        elif not self._recipients:
            self._say(b"503 RCPT first (#5.5.1)")
        elif self._plugins.data():
            self._say(b"354 go ahead")
            head = self._envelope(self._sender) + self._plugins.headers
            self._sender = None
            self._plugins.reset()
            self._keep(head + self._message())
            self._say(b"250 ok %d qp %d" % (time.time(), os.getpid()))

    def _envelope(self, sender: bytes) -> bytes:
        """Return the headers that tell of the delivery, as a mailbox of qmail has them."""
        client = self._env.get(b"TCPREMOTEIP", b"unknown")
        date = time.strftime("%d %b %Y %H:%M:%S -0000", time.gmtime()).encode()
        delivered = b"".join(b"Delivered-To: %b\n" % address for address in self._recipients)
        received = b"Received: from unknown (HELO %b) (%b)\n  by %b with SMTP; %b\n"
        path = b"Return-Path: <%b>\n" % sender
        return path + delivered + received % (self._helo, client, self._me, date)

    def _message(self) -> bytes:
        """Read up to the lone dot; a line that ends in a bare LF ends the session."""
        message = bytearray()
        while (line := self._wire.line()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                self._say(STRAY_NEWLINE)
                raise HangUp(1)
            message += line[:-2].removeprefix(b".") + b"\n"
        return bytes(message)

    def _keep(self, message: bytes) -> None:
        if not os.path.isdir("queue"):
            return
        name = f"{time.time_ns()}.{os.getpid()}"
        for folder in ("queue/tmp", "queue/new"):
            os.makedirs(folder, exist_ok=True)
        with open(f"queue/tmp/{name}", "wb") as file:
            file.write(message)
        os.rename(f"queue/tmp/{name}", f"queue/new/{name}")

    def auth(self, argument: bytes) -> None:
        method, _, initial = argument.partition(b" ")
        if self._users is None:
            self._say(b"503 auth not available (#5.3.3)")
        elif self._authenticated:
            self._say(b"503 you're already authenticated (#5.5.0)")
        elif self._sender is not None:
            self._say(b"503 no auth during mail transaction (#5.5.0)")
        elif method.lower() != b"plain":
            self._say(b"504 auth type invalid (#5.5.1)")
        else:
            self._env[b"SMTPAUTHMETHOD"] = b"plain"  # stays, even if the password is wrong
            self._auth_plain(initial.lstrip(b" "), self._users)

    def _auth_plain(self, response: bytes, users: list[bytes]) -> None:
        """Check a password. Whoever knows one may relay, and has the name of an ident user."""
        from binascii import Error, a2b_base64

        if not response:
            self._say(b"334 ")
            response = self._wire.line().rstrip(b"\r\n")
        if response == b"*":
            self._say(b"501 auth exchange canceled (#5.0.0)")
            return
        try:
            _, user, password, *_ = a2b_base64(response, strict_mode=True).split(b"\0")
        except (Error, ValueError):
            self._say(b"501 malformed auth input (#5.5.4)")
            return
        if b"%b:%b" % (user, password) not in users:
            self._say(b"535 authentication failed (#5.7.1)")
        elif self._plugins.auth(b"plain", user):
            self._authenticated = True
            self._relay = b""
            self._env |= {b"TCPREMOTEINFO": user, b"RELAYCLIENT": b"", b"SMTPAUTHUSER": user}
            self._say(b"235 ok, go ahead (#2.0.0)")


def main() -> int:
    limit = read_control("control/timeoutsmtpd")
    wire = Wire(float(limit[0]) if limit else DEFAULT_TIMEOUT)
    try:
        Dialogue(read_environment(), wire).run()
    except HangUp as ended:
        wire.flush()
        return ended.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
