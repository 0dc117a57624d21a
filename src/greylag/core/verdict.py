"""Verdicts, and the reasons for them: the same words in logs, commands, figures and docs."""

from __future__ import annotations

from enum import Enum

from greylag.core.accesslist import Entry
from greylag.core.record import Change, Record
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from greylag.core.triplet import Triplet


class Verdict(Enum):
    """What the mail server is told: let in, refuse for now, refuse for good."""

    PASS = "pass"
    DEFER = "defer"
    REJECT = "reject"

    __hash__ = object.__hash__  # members are one of a kind; Enum's own costs ten times as much


# The levels of the log, by the old plugin's numbers: a line is written at its own and all above.
LEVELS = ("off", "fatal", "error", "warn", "info", "debug")
FATAL, ERROR, WARN, INFO, DEBUG = range(1, len(LEVELS))

_PASS, _DEFER, _REJECT = (Verdict.PASS,), (Verdict.DEFER,), (Verdict.REJECT,)


def _row(  # noqa: PLR0913 - as many as the table has columns
    word: str,
    verdicts: tuple[Verdict, ...],
    meaning: str,
    *,
    of_connection: str = "",
    jgreylist: str = "",
    counted: bool = True,
    logged: int = INFO,
) -> tuple[Any, ...]:
    return word, verdicts, meaning, of_connection or meaning, jgreylist, counted, logged


class Reason(Enum):
    """Why: the one table of reasons, in the order in which they are looked at.

    A row has the word that stands in the log, the figures, the metrics, the commands and the docs;
    the verdicts it can have; its meaning for the admin, and another where a connection is asked
    about (`of_connection`); what jgreylist's own log says, in the words of the program that it
    replaces; whether the store's figures count it; and the level at which the log has it.
    `native/reasons.h` is made of this table by `tools/reasons_header.py`.
    """

    DISABLED = _row(
        "disabled", _PASS, "greylisting is not turned on for this client", counted=False
    )
    OTHER_STAGE = _row(
        "other-stage",
        _PASS,
        "nothing is decided at this stage of the session, but at another one",
        counted=False,  # the answer that counts is given at the other stage
        logged=DEBUG,
    )
    RELAY = _row("relay", _PASS, "the client may relay: it is one of ours", counted=False)
    AUTHENTICATED = _row("authenticated", _PASS, "the client has logged in", counted=False)
    INCOMPLETE = _row(
        "incomplete",
        _PASS,
        "the mail server did not name client, sender and recipient",
        counted=False,
        logged=FATAL,
    )
    RECIPIENT_REFUSED = _row(
        "recipient-refused",
        _PASS,
        "the mail server is about to refuse this recipient itself",
        counted=False,
    )
    INVALID_CLIENT = _row(
        "invalid-client", _PASS, "the client address is no IP address", counted=False
    )
    DENYLISTED = _row(
        "denylisted",
        _REJECT,
        "an entry of the denylist refuses it",
        jgreylist="DENY blacklisted",
    )
    ALLOWLISTED = _row(
        "allowlisted", _PASS, "an entry of the allowlist lets it in", jgreylist="OK whitelisted"
    )
    NOT_LISTED = _row(
        "not-listed", _PASS, "explicit mode: no list names this client or recipient domain"
    )
    OFF = _row("off", _PASS, "greylisting is off: by a setting, or by `greylag off`")
    NULL_SENDER = _row("null-sender", _PASS, "the null sender is never deferred under this policy")
    NO_REVERSE_DNS = _row(
        "no-reverse-dns",
        _REJECT,
        "the client address has no name, and such clients are refused here",
        jgreylist="DENY no reverse DNS",
        counted=False,
    )
    EXPECTED = _row("expected", _PASS, "this mailbox expects mail: `greylag expect`")
    CORRESPONDENT = _row(
        "correspondent", _PASS, "one of our users wrote to this sender from this mailbox"
    )
    TRUSTED = _row(
        "trusted", _PASS, "this sender has passed often enough, first a day ago or longer"
    )
    PROVIDER = _row("provider", _PASS, "a big sender publishes this address as one of its own")
    DNSWL = _row("dnswl", _PASS, "a DNSWL that the configuration names lists the client")
    TRAPPED = _row(
        "trapped", (Verdict.REJECT, Verdict.DEFER), "it has mailed a trap, and never passed"
    )
    UNSUSPICIOUS = _row("unsuspicious", _PASS, "it shows too few signs of spam to be greylisted")
    OBSERVED = _row(
        "observed", _PASS, "greylisting only observes: it would have been deferred or refused"
    )
    NEW = _row(
        "new",
        _DEFER,
        "this client network, sender and recipient were not seen together before",
        of_connection="this client network was not seen before",
        jgreylist="GREY first time",
    )
    EARLY = _row(
        "early",
        _DEFER,
        "it was seen before, and its delay is not over yet",
        of_connection="it connected before, and its delay is not over yet",
        jgreylist="GREY too soon",
    )
    RETRIED = _row(
        "retried",
        _PASS,
        "its delay is over: who comes again then is a real mail server",
        jgreylist="OK known",
    )
    KNOWN = _row("known", _PASS, "it passed before", jgreylist="OK known")
    STORE_UNAVAILABLE = _row(
        "store-unavailable",
        (Verdict.PASS, Verdict.DEFER),
        "the records could not be read or written",
        counted=False,  # there is no store to count in
    )
    CONFIG_ERROR = _row(
        "config-error",
        _PASS,
        "the configuration has errors: see the log",
        counted=False,
        logged=ERROR,
    )
    INTERNAL_ERROR = _row(
        "internal-error", _PASS, "greylag failed: see the log", counted=False, logged=FATAL
    )

    if TYPE_CHECKING:  # or it would be Any, because of __new__

        @property
        def value(self) -> str:
            """Return the word."""

    verdicts: tuple[Verdict, ...]
    meaning: str
    meaning_of_connection: str
    jgreylist: str  # empty: its log says the verdict and the word
    counted: bool
    logged: int

    def __new__(cls, *row: Any) -> Self:
        """Make a member of its row; the attributes are plain, as each answer reads some."""
        member = object.__new__(cls)
        member._value_, member.verdicts, member.meaning = row[:3]
        member.meaning_of_connection, member.jgreylist, member.counted, member.logged = row[3:]
        return member

    __hash__ = object.__hash__


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
    instead: Reason | None = None  # of `observed`: why it would not have been let in
    pool: bytes | None = None  # whose record decided in place of the network's
    client: bytes = b""  # packed, as the mail server told it; empty where it may be unreadable
    waiting: Triplet | None = None  # whose record waits, while this is let in for another reason
    # The short id of a deferral (`core.shortid`), also where it passes now; a connection has none.
    id: str = ""
