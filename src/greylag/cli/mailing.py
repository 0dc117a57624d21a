"""Mail to an admin, through the mail server's own `sendmail`."""

from __future__ import annotations

import re
import subprocess
from email.message import EmailMessage
from email.utils import formatdate

import click

from greylag.cli.common import STORE_UNAVAILABLE, CommandError

SENDMAIL = "/usr/sbin/sendmail"
PATIENCE = 60  # seconds; it puts the mail into a queue
_LONGEST = 254  # characters of an address
# What every mail server takes unquoted. It begins no option, and holds nothing that divides.
_ADDRESS = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.+=~-]*(@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?", re.ASCII
)


def address(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Return the address that was typed for an option: a mailbox, or the name of a local user."""
    if text is not None and (len(text) > _LONGEST or _ADDRESS.fullmatch(text) is None):
        raise click.BadParameter(f"expected one address, such as user@example.org, got {text!r}")
    return text


def send(to: str, subject: str, plain: str, html: str) -> None:
    """Hand a mail over; raise CommandError where it is not taken."""
    message = EmailMessage()
    message["To"], message["Subject"], message["Date"] = to, subject, formatdate(usegmt=True)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody is away from it
    message.set_content(plain)
    message.add_alternative(html, subtype="html")
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the address is checked, one argument
            [SENDMAIL, "-i", "--", to],
            input=message.as_bytes(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError([f"{SENDMAIL}: {_cause(error)}"], STORE_UNAVAILABLE) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        text = f"{SENDMAIL} did not take the mail (exit code {done.returncode}): {said}"
        raise CommandError([text], STORE_UNAVAILABLE)


def _cause(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"did not end within {PATIENCE} seconds"
