"""Lines as logs have them: stamps, and what qmail-smtpd and Postfix write of accepted mail."""

from __future__ import annotations

from datetime import datetime

from greylag.core.triplet import connection_of

NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC
DAY = 86400
AT = NOW - 2 * DAY
NETWORK = bytes((192, 0, 2, 0))
CONNECTION = connection_of(NETWORK, 24)


def tai(seconds: int) -> str:
    return f"@{2**62 + 10 + seconds:016x}1234abcd"


def accepted(address: str, age: int) -> str:
    return f"{tai(NOW - age)} qmail-smtpd: remote={address} result=accepted code=250 ip={address}\n"


def local(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).strftime("%b %e %H:%M:%S")  # noqa: DTZ006


def iso(seconds: int) -> str:
    """Return a local time without a zone, as Exim has it."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006


def stamped(seconds: int, text: str, host: str = "mx") -> str:
    return f"{local(seconds)} {host} {text}".replace("  postfix", " postfix")


def client(mail: str = "4F1AB2", address: str = "192.0.2.17", more: str = "") -> str:
    return f"postfix/smtpd[12]: {mail}: client=mail.example.org[{address}]{more}"


def active(mail: str = "4F1AB2", sender: str = "user@example.org") -> str:
    return f"postfix/qmgr[14]: {mail}: from=<{sender}>, size=1234, nrcpt=1 (queue active)"


def sent(mail: str = "4F1AB2", recipient: str = "info@example.net", status: str = "sent") -> str:
    dsn = "2.0.0" if status == "sent" else "4.2.0"
    return (
        f"postfix/lmtp[15]: {mail}: to=<{recipient}>, relay=mx.example.net[private/lmtp], "
        f"delay=1.2, delays=0.1/0.01/0.5/0.6, dsn={dsn}, status={status} (250 2.0.0 Saved)"
    )


REMOVED = "postfix/qmgr[14]: 4F1AB2: removed"
MAIL = [client(), active(), sent(), REMOVED]
