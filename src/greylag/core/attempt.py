"""What a mail server asks: one question about one recipient."""

from __future__ import annotations

from enum import Enum

from greylag.core.value import value


class Stage(Enum):
    """When in the SMTP session the mail server asks, and so what can be decided then."""

    RCPT = "rcpt"  # it keeps a deferral until DATA if told so (qmail-spp)
    RCPT_FIRST = "rcpt-first"  # it asks once more at DATA (Postfix)
    RCPT_ONLY = "rcpt-only"  # it does not tell the stage, and will not ask again (qmail-postgrey)
    DATA = "data"  # about all recipients; it names none if there are several
    OTHER = "other"  # before there is a recipient: nothing can be decided

    __hash__ = object.__hash__


@value
class Attempt:
    """One RCPT as the mail server tells it, in the bytes that came from the network.

    `None` stands for what the server did not say at all; an empty sender is the null sender.
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
