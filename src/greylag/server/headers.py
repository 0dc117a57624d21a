"""Which messages were told how long they had to wait: once each, whatever their recipients."""

from __future__ import annotations

from collections import OrderedDict

from greylag.core.attempt import Attempt

MOST = 1000  # messages under way that are remembered


class Headers:
    """Remembers the messages whose header has been given, the latest of them."""

    def __init__(self) -> None:
        self._given: OrderedDict[tuple[bytes | None, ...], None] = OrderedDict()

    def is_first(self, instance: bytes | None, attempt: Attempt) -> bool:
        """Tell whether a message has no header yet; from now on it has.

        `instance` is Postfix's word for one transaction. Client and sender are compared too: a
        front end may have one word for all. Without a word every recipient is a message.
        """
        if not instance:
            return True
        message = (instance, attempt.client_address, attempt.sender)
        if message in self._given:
            return False
        self._given[message] = None
        if len(self._given) > MOST:
            self._given.popitem(last=False)
        return True
