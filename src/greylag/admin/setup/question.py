"""A real question by the mail server's own path, as setup asks it at its end."""

from __future__ import annotations

import re
import secrets
import smtplib
import socket
from collections.abc import Iterable, Iterator

from greylag.admin.setup.place import Place, SetupError
from greylag.admin.setup.postconf import Postconf
from greylag.admin.setup.postfix import Postfix
from greylag.admin.setup.qmail import Qmail
from greylag.core.value import value

_CLIENT = "192.0.2.17"  # a documentation address: nobody's
_TIME = 15.0  # seconds for a reply
_BROKEN = re.compile(r"^451 .*(?:4\.3\.5|spp failure)|^E?451 .*spp failure", re.IGNORECASE)
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")


@value
class Answer:
    """What was asked, by which way, and what came back."""

    asked: str
    said: str
    deferred: bool


def ask_plugin(place: Place, qmail: Qmail, user: tuple[int, int], recipient: str) -> Answer:
    """Run the plugin as qmail-smtpd does: its user, its folder, its environment."""
    env = {
        "PATH": "/bin:/usr/bin",
        "PROTO": "TCP",
        "TCPREMOTEIP": _CLIENT,
        "TCPREMOTEPORT": "25000",
        "TCPLOCALIP": "127.0.0.1",
        "TCPLOCALPORT": "25",
        "SMTPHELOHOST": "mail.example.org",
        "SMTPMAILFROM": _sender(),
        "SMTPRCPTTO": recipient,
        "SMTPRCPTCOUNT": "0",
        "SMTPRCPTCOUNTALL": "1",
        "SMTPRCPTHOSTSOK": "1",
        "GREYLISTING": "",
    }
    path = f"{qmail.home}/plugins/greylisting"
    done = place.run([str(place.real(path))], user=user, env=env, cwd=str(place.real(qmail.home)))
    if done.code:
        raise SetupError(f"{path}: ended with exit code {done.code}: {done.said.strip()}")
    answers = [line[1:] for line in done.said.splitlines() if line[:1] in ("E", "L")]
    asked = f"{path}, run as {qmail.user}: mail from {_CLIENT} to {recipient}"
    said = answers[0] if answers else done.said.strip() or "(nothing: the mail is let in)"
    return Answer(asked, said, bool(answers) and "4" in answers[0][:3])


def ask_connection(place: Place, qmail: Qmail, user: tuple[int, int]) -> Answer:
    """Run jgreylist as tcpserver does, before a program that would be qmail-smtpd."""
    env = {
        "PATH": "/bin:/usr/bin",
        "PROTO": "TCP",
        "TCPREMOTEIP": _CLIENT,
        "TCPREMOTEPORT": "25000",
        "JGREYLIST_TIMEOUT": "5",
    }
    path = f"{qmail.home}/plugins/jgreylist"
    argv = [str(place.real(path)), "/bin/echo", "let in"]
    done = place.run(argv, user=user, env=env, cwd=str(place.real(qmail.home)))
    lines = [line for line in done.said.splitlines() if "GREY" in line or line == "let in"]
    if done.code or not lines:
        raise SetupError(f"{path}: ended with exit code {done.code}: {done.said.strip()}")
    said = next((line for line in lines if "GREY" in line), lines[0])
    return Answer(f"{path}, run as {qmail.user}: a client at {_CLIENT}", said, "GREY" in said)


def ask_postfix(postconf: Postconf, postfix: Postfix) -> Answer:
    """Speak SMTP to smtpd; from this machine's own addresses, as one of them may be no own network.

    Where no smtpd answers, or all of them are own networks, the daemon's socket is asked as smtpd
    would.
    """
    answer = None
    recipients = list(_recipients(postconf))
    for address in _addresses():
        for recipient in recipients:
            try:
                code, said = _session(address, recipient)
            except (OSError, smtplib.SMTPException):
                break
            if _BROKEN.match(f"{code} {said}"):
                raise SetupError(f"Postfix cannot ask: it answers {code} {said}")
            asked = f"SMTP to {address}:25: mail from {address} to {recipient}"
            answer = Answer(asked, f"{code} {said}", _is_ours(code, said))
            if answer.deferred:
                return answer
    by_socket = _ask_socket(postfix.socket, recipients[0])
    if answer is None:
        return by_socket
    asked = f"{answer.asked}: {answer.said}\n{by_socket.asked}"
    return Answer(asked, by_socket.said, by_socket.deferred)


def _sender() -> str:
    """Return a sender that nobody has asked about: that of an earlier setup may pass by now."""
    return f"setup-{secrets.token_hex(6)}@example.org"


def _is_ours(code: int, said: str) -> bool:
    return 400 <= code < 500 and "reylist" in said


def _recipients(postconf: Postconf) -> Iterator[str]:
    """Yield addresses that should be there. Those of postmaster are never greylisted."""
    for name in ("mydestination", "virtual_mailbox_domains", "relay_domains"):
        for domain in re.split(r"[\s,]+", postconf.expanded(name)):
            if re.fullmatch(r"[\w.-]+\.[\w-]+", domain):
                yield f"root@{domain}"
                yield f"info@{domain}"
                return
    yield f"root@{postconf.expanded('myhostname')}"


def _addresses() -> Iterable[str]:
    """Return this machine's addresses, those of the loopback last."""
    try:
        with open("/proc/net/fib_trie", encoding="ascii") as file:
            found = list(dict.fromkeys(_LOCAL.findall(file.read())))
    except OSError:
        found = ["127.0.0.1"]
    return sorted(found, key=lambda one: one.startswith("127."))[:8]


def _session(address: str, recipient: str) -> tuple[int, str]:
    with smtplib.SMTP(address, 25, "mail.example.org", _TIME, (address, 0)) as smtp:
        smtp.ehlo()
        smtp.mail(_sender())
        code, said = smtp.rcpt(recipient)
    return code, said.decode("ascii", "backslashreplace")


def _ask_socket(path: str, recipient: str) -> Answer:
    """Ask the daemon in the policy protocol."""
    request = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_address": _CLIENT,
        "helo_name": "mail.example.org",
        "sender": _sender(),
        "recipient": recipient,
    }
    lines = "".join(f"{name}={what}\n" for name, what in request.items())
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(_TIME)
        try:
            peer.connect(path)
            peer.sendall(f"{lines}\n".encode())
            said = peer.recv(4096).decode("ascii", "backslashreplace").strip()
        except OSError as error:
            raise SetupError(f"the daemon does not answer at {path}: {error}") from error
    asked = f"the policy socket {path}: mail from {_CLIENT} to {recipient}"
    return Answer(asked, said, "DEFER" in said)
