"""The qmail-spp plugin protocol: the environment of a `[rcpt]` plugin in, one command line out.

See plugins.md, and the documentation of qmail-spp. The line is built from our own texts alone,
in printable ASCII. So nothing from the network can end it and begin another command.
"""

from __future__ import annotations

from collections.abc import Mapping

from greylag.core.attempt import Attempt, Words
from greylag.core.verdict import Decision, Verdict
from greylag.wire.reply import Replies, header_of, render

# tcpserver confirms TCPREMOTEHOST only with -p, and does not say whether it did.
_WORDS = Words(
    client_name=b"TCPREMOTEHOST",
    reverse_name=b"TCPREMOTEHOST",
    helo=b"SMTPHELOHOST",
    recipients=b"SMTPRCPTCOUNT",
    user=b"SMTPAUTHUSER",
)


def read_environment(environ: Mapping[bytes, bytes]) -> Attempt:
    """Return the attempt that the variables of a `[rcpt]` plugin describe."""
    return Attempt(
        client_address=environ.get(b"TCPREMOTEIP"),
        sender=environ.get(b"SMTPMAILFROM"),
        recipient=environ.get(b"SMTPRCPTTO"),
        enabled=b"GREYLISTING" in environ,
        relay=b"RELAYCLIENT" in environ,
        authenticated=authenticated(environ),
        recipient_refused=environ.get(b"SMTPRCPTHOSTSOK") == b"0",
        further=further_recipient(environ.get(b"SMTPRCPTCOUNT"), environ.get(b"SMTPRCPTCOUNTALL")),
        told=environ,
        words=_WORDS,
    )


def further_recipient(accepted: bytes | None, commands: bytes | None) -> bool:
    """Tell a recipient that is not the first, by the host's two counts.

    The count of all RCPT commands includes this one. The count of accepted recipients does so in
    the section [pass] alone, so it is used only where the host does not give the other.
    """
    if commands is not None:
        return commands not in (b"0", b"1")
    return accepted not in (None, b"0")


def authenticated(environ: Mapping[bytes, bytes]) -> bool:
    """Tell whether the client has logged in (all that `ifauthskip` asks)."""
    return bool(environ.get(b"SMTPAUTHUSER"))


def write_command(decision: Decision, replies: Replies, *, header: bool = False) -> bytes:
    """Return the plugin's output: nothing, or exactly one command with its newline.

    With `header`, mail that had to wait gets one that says for how long.
    """
    if decision.verdict is Verdict.PASS:
        told = header_of(decision) if header else b""
        return b"H" + told + b"\n" if told else b""
    # LD refuses at the next DATA: call-outs, which stop after RCPT, still succeed.
    command = b"LD" if decision.at_data else b"E"
    return command + render(decision, replies) + b"\n"
