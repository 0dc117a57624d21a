"""Verdicts, and the reasons for them: the same words in logs, commands, figures and docs."""

from __future__ import annotations

from enum import Enum

from greylag.core.accesslist import Entry
from greylag.core.record import Change, Record
from greylag.core.value import value


class Verdict(Enum):
    """What the mail server is told: let in, refuse for now, refuse for good."""

    PASS = "pass"
    DEFER = "defer"
    REJECT = "reject"

    __hash__ = object.__hash__  # members are one of a kind; Enum's own costs ten times as much


class Reason(Enum):
    """Why. Each stands in `MEANING` with a sentence for the admin."""

    DISABLED = "disabled"
    OTHER_STAGE = "other-stage"
    RELAY = "relay"
    AUTHENTICATED = "authenticated"
    INCOMPLETE = "incomplete"
    INVALID_CLIENT = "invalid-client"
    RECIPIENT_REFUSED = "recipient-refused"
    DENYLISTED = "denylisted"
    ALLOWLISTED = "allowlisted"
    NOT_LISTED = "not-listed"
    NULL_SENDER = "null-sender"
    NO_REVERSE_DNS = "no-reverse-dns"
    NEW = "new"
    EARLY = "early"
    RETRIED = "retried"
    KNOWN = "known"
    STORE_UNAVAILABLE = "store-unavailable"
    CONFIG_ERROR = "config-error"
    INTERNAL_ERROR = "internal-error"

    __hash__ = object.__hash__


MEANING = {
    Reason.DISABLED: "greylisting is not turned on for this client",
    Reason.OTHER_STAGE: "nothing is decided at this stage of the session, but at another one",
    Reason.RELAY: "the client may relay: it is one of ours",
    Reason.AUTHENTICATED: "the client has logged in",
    Reason.INCOMPLETE: "the mail server did not name client, sender and recipient",
    Reason.INVALID_CLIENT: "the client address is no IP address",
    Reason.RECIPIENT_REFUSED: "the mail server is about to refuse this recipient itself",
    Reason.DENYLISTED: "an entry of the denylist refuses it",
    Reason.ALLOWLISTED: "an entry of the allowlist lets it in",
    Reason.NOT_LISTED: "explicit mode: no list names this client or recipient domain",
    Reason.NULL_SENDER: "the null sender is never deferred under this policy",
    Reason.NO_REVERSE_DNS: "the client address has no name, and such clients are refused here",
    Reason.NEW: "this client network, sender and recipient were not seen together before",
    Reason.EARLY: "it was seen before, and its delay is not over yet",
    Reason.RETRIED: "its delay is over: who comes again then is a real mail server",
    Reason.KNOWN: "it passed before",
    Reason.STORE_UNAVAILABLE: "the records could not be read or written",
    Reason.CONFIG_ERROR: "the configuration has errors: see the log",
    Reason.INTERNAL_ERROR: "greylag failed: see the log",
}
# Where a connection was asked about, and not a recipient.
MEANING_OF_CONNECTION = {
    **MEANING,
    Reason.NEW: "this client network was not seen before",
    Reason.EARLY: "it connected before, and its delay is not over yet",
}


@value
class Decision:
    """A verdict with its reason, what it rests on, and the changes it asks the store to make."""

    verdict: Verdict
    reason: Reason
    retry_after: int = 0  # seconds until a retry passes, where deferred
    at_data: bool = False  # defer at DATA rather than at this RCPT
    waited: int | None = None  # seconds from first contact to first pass, where retried
    changes: tuple[Change, ...] = ()
    record: Record | None = None  # as it was before this attempt
    entry: Entry | None = None  # the list entry that decided
