"""Log lines in postgrey's form, for programs that read its log.

`action=greylist, reason=early-retry (19s missing), client_name=..., client_address=..., sender=...,
recipient=...`: the words are postgrey's where it has the reason, and ours where it has none. Behind
them stands our short id. Nobody can forge a line or a field: odd bytes and commas are escaped.
"""

from __future__ import annotations

from greylag.core.attempt import Attempt
from greylag.core.subject import of_recipient
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.logline import quote

_ACTIONS = {Verdict.PASS: "pass", Verdict.DEFER: "greylist", Verdict.REJECT: "reject"}
_REASONS = {
    Reason.RETRIED: "triplet found",
    Reason.KNOWN: "triplet found",
    Reason.TRUSTED: "client AWL",
    Reason.ALLOWLISTED: "client whitelist",
}
_UNKNOWN = b"unknown"  # as Postfix names a client without a name


def postgrey_line(attempt: Attempt, decision: Decision) -> str:
    """Return the line that says what was answered to an attempt."""
    word = attempt.words.client_name
    fields = {
        "action": _ACTIONS[decision.verdict],
        "reason": _reason(decision),
        "delay": "" if decision.waited is None else str(decision.waited),
        "client_name": _value((word and attempt.told.get(word)) or _UNKNOWN),
        "client_address": _value(attempt.client_address),
        "sender": _value(attempt.sender),
        "recipient": _value(attempt.recipient),
        "id": decision.id,
    }
    return ", ".join([f"{key}={text}" for key, text in fields.items() if text])


def _reason(decision: Decision) -> str:
    if decision.reason is Reason.EARLY:
        return f"early-retry ({decision.retry_after}s missing)"
    entry = decision.entry
    if decision.reason is Reason.ALLOWLISTED and entry and of_recipient(entry.subject):
        return "recipient whitelist"
    return _REASONS.get(decision.reason, decision.reason.value)


def _value(value: bytes | None) -> str:
    """Return a value as it stands there; empty, as the null sender is: postgrey leaves it out."""
    if not value:
        return ""
    text = quote(value)
    if "," not in text:
        return text
    return '"' + text.strip('"').replace(",", "\\x2c") + '"'
