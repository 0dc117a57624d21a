"""What a mail server asks: one question about one recipient."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Told(Protocol):
        """Where what a mail server told is looked up."""

        def get(self, name: bytes, /) -> bytes | None:
            """Return what it told under this name, or None."""


_UNKNOWN = b"unknown"  # Postfix's word where there is no name


class Stage(Enum):
    """When in the SMTP session the mail server asks, and so what can be decided then."""

    RCPT = "rcpt"  # it keeps a deferral until DATA if told so (qmail-spp)
    RCPT_FIRST = "rcpt-first"  # it asks once more at DATA (Postfix)
    RCPT_ONLY = "rcpt-only"  # it does not tell the stage, and will not ask again (qmail-postgrey)
    DATA = "data"  # about all recipients; it names none if there are several
    OTHER = "other"  # before there is a recipient: nothing can be decided

    __hash__ = object.__hash__


@value
class Words:
    """The names under which a mail server tells more of an attempt; empty: it does not tell it."""

    client_name: bytes = b""
    confirmed: bool = False  # that name's addresses lead back to the client; `unknown` is none
    reverse_name: bytes = b""  # what reverse DNS says, which may be anything
    helo: bytes = b""
    instance: bytes = b""  # one for each message
    tls: bytes = b""  # the version of TLS
    recipients: bytes = b""  # how many were accepted
    user: bytes = b""  # who has logged in


_NO_WORDS = Words()
_NOTHING: Mapping[bytes, bytes] = {}
_MOST_DIGITS = 9  # of a number of recipients


@value
class Attempt:
    """One RCPT as the mail server tells it, in the bytes that came from the network.

    `None` stands for what the server did not say at all; an empty sender is the null sender. What
    is rarely asked for is looked up in what the server told when it is: `client_name` to `user`,
    which are empty where it is not known.
    """

    client_address: bytes | None
    sender: bytes | None
    recipient: bytes | None
    enabled: bool = True  # the admin turned greylisting on for this client
    relay: bool = False  # the client may relay
    authenticated: bool = False  # SMTP AUTH succeeded
    recipient_refused: bool = False  # the server is about to refuse the recipient
    further: bool = False  # there was another recipient before it in this transaction
    stage: Stage = Stage.RCPT
    overrides: tuple[tuple[bytes, bytes], ...] = ()  # variables that change policy for this client
    told: Told = _NOTHING
    words: Words = _NO_WORDS

    def _lookup(self, word: bytes) -> bytes:
        return (word and self.told.get(word)) or b""

    @property
    def client_name(self) -> bytes:
        """The client's name, for people to read. Only `confirmed_name` is worth a rule."""
        return self._lookup(self.words.client_name)

    @property
    def confirmed_name(self) -> bytes:
        """The client's name whose addresses lead back to the client."""
        name = self.client_name if self.words.confirmed else b""
        return b"" if name == _UNKNOWN else name

    @property
    def reverse_name(self) -> bytes:
        """What reverse DNS says, confirmed or not: who controls the address can say anything."""
        name = self._lookup(self.words.reverse_name)
        return b"" if name == _UNKNOWN else name

    @property
    def helo(self) -> bytes:
        """What the client calls itself."""
        return self._lookup(self.words.helo)

    @property
    def instance(self) -> bytes:
        """The mail server's word for one message, or one session."""
        return self._lookup(self.words.instance)

    @property
    def tls(self) -> bytes:
        """The version of TLS that the client speaks."""
        return self._lookup(self.words.tls)

    @property
    def recipients(self) -> int:
        """How many recipients were accepted; 0 where the mail server does not count yet."""
        number = self._lookup(self.words.recipients)
        return int(number) if number.isdigit() and len(number) <= _MOST_DIGITS else 0

    @property
    def user(self) -> bytes:
        """Who has logged in."""
        return self._lookup(self.words.user)
