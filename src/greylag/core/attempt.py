"""What a mail server asks: one question about one recipient."""

from __future__ import annotations

from greylag.core.value import value


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
