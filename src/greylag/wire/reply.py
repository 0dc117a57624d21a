"""SMTP replies: the operator's texts, filled in, and always one legal reply line.

Only a few placeholders exist and they are replaced as plain text, so neither a text nor an address
can reach anything else (CVE-2005-1127: a sender that was used as a format).
"""

from __future__ import annotations

from functools import lru_cache

from greylag.core.client import format_address, is_packed
from greylag.core.escape import QUESTION_MARKS
from greylag.core.subject import of_recipient
from greylag.core.value import value
from greylag.core.verdict import Decision, Verdict

_CLIENT, _ID = "{client_address}", "{id}"
PLACEHOLDERS = ("{retry_after}", _CLIENT)
OF_DEFERRALS = (*PLACEHOLDERS, _ID)  # a refusal has no id: nothing waits
_NO_ID = "-"
MAX_LENGTH = 500  # bytes; RFC 5321 4.5.3.1.5 allows 512 with CR LF, and some hosts add a little
_CODE_LENGTH = len("451 ")


@value
class Replies:
    """The texts of a deferral and of a refusal, each with its SMTP code."""

    defer: str = "451 4.7.1 Greylisted, please try again in {retry_after} seconds (id {id})"
    deny: str = "553 5.7.1 Mail from {client_address} is not accepted here"
    # A recipient domain on the denylist: the client has done nothing wrong.
    deny_recipient: str = "553 5.7.1 Mail to this recipient is not accepted here"

    def of(self, decision: Decision) -> str:
        """Return the text for a DEFER or REJECT."""
        if decision.verdict is Verdict.DEFER:
            return self.defer
        entry = decision.entry
        if entry is not None and of_recipient(entry.subject):
            return self.deny_recipient
        return self.deny


def header_of(decision: Decision) -> bytes:
    """Return the header that says how long mail had to wait, and its id; empty if it did not.

    All of it are our own words.
    """
    if decision.waited is None:
        return b""
    named = f" (id {decision.id})" if decision.id else ""
    return f"X-Greylist: delayed {decision.waited} seconds by greylag{named}".encode("ascii")


OLD_REPLIES = Replies(  # word for word, as admins' log filters know them
    "451 temporary failure (#4.3.0)",
    "553 sorry, your envelope sender has been denied (#5.7.1)",
    "553 sorry, your envelope sender has been denied (#5.7.1)",
)


def check_template(text: str, first_digit: str) -> str:
    """Return the text if it can become a reply of this class ("4" or "5").

    Raises ValueError with what was expected.
    """
    code, text_after = text[:_CODE_LENGTH], text[_CODE_LENGTH:]
    digits = code[:3]
    if not (digits.isascii() and digits.isdigit() and code.endswith(" ") and text_after.strip()):
        example = "451 try again later" if first_digit == "4" else "550 not accepted"
        raise ValueError(f'expected an SMTP reply such as "{example}"')
    if digits[0] != first_digit:
        raise ValueError(f"expected a reply code that begins with {first_digit}")
    if not (text.isascii() and text.isprintable()):
        raise ValueError("expected printable ASCII on one line")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"expected at most {MAX_LENGTH} characters, got {len(text)}")
    bare, names = text, OF_DEFERRALS if first_digit == "4" else PLACEHOLDERS
    for name in names:
        bare = bare.replace(name, "x")  # not "": the rest must not join to a placeholder
    if "{" in bare or "}" in bare:
        some = f"{', '.join(names[:-1])} and {names[-1]}"
        raise ValueError(f"expected no braces but those of {some}")
    return text


def render(decision: Decision, replies: Replies) -> bytes:
    """Return the reply to a DEFER or REJECT, without its line end: printable ASCII, bounded."""
    text = replies.of(decision)
    client = decision.client if _CLIENT in text else b""
    parts = _filled(text, decision.retry_after, client)
    if len(parts) == 1:
        return parts[0][:MAX_LENGTH]
    return (decision.id or _NO_ID).encode("ascii").join(parts)[:MAX_LENGTH]


@lru_cache(maxsize=1000)  # nearly all are the same few
def _filled(text: str, retry_after: int, client: bytes) -> list[bytes]:
    """Return what stands before, between and behind the ids."""
    if retry_after == 1:
        text = text.replace("{retry_after} seconds", "{retry_after} second")
    text = text.replace("{retry_after}", str(retry_after))
    shown = format_address(client) if is_packed(client) else "unknown"
    return [_printable(part.replace(_CLIENT, shown)) for part in text.split(_ID)]


def _printable(text: str) -> bytes:
    if text.isascii() and text.isprintable():
        return text.encode("ascii")
    return text.encode("ascii", "replace").translate(QUESTION_MARKS)
