"""Front ends: the protocols that mail servers ask by. ARCHITECTURE.md says how to add one.

A front end is a class. The daemon makes one object of it, and that makes a codec for each
connection of its listeners (`Endpoint`). The codec knows what the bytes mean, and what its
connection may be trusted with. The front end says what is logged, and writes the answers.
"""

from __future__ import annotations

from collections.abc import Callable

from greylag.core.policy import Policy
from greylag.core.recipients import NO_TABLES, Recipients
from greylag.core.value import value
from greylag.core.verdict import Verdict
from greylag.server.listeners import TcpPlace, UnixPlace
from greylag.wire.reply import Replies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from greylag.server.answering import Inquiry, Shared

    class Codec(Protocol):
        """What the bytes of one connection mean."""

        @property
        def inside(self) -> bool:
            """Tell whether a request has begun and not ended."""

        def feed(self, data: bytes) -> Sequence[object]:
            """Return the requests that these bytes complete.

            What is kept of one that is not complete has to be bounded. Requests may wait for
            `inquire` by the thousand, so a request is little more than its bytes.
            """

        def inquire(self, request: Any) -> Inquiry | bytes | None:
            """Return what there is to answer, or at once the answer (which may be empty).

            None ends the connection, when what came before is answered. Called for one request
            after the other, in their order.
            """

    class Front(Protocol):
        """A front end."""

        def codec(self, *, local: bool) -> Codec:
            """Return the codec of a new connection; a `local` one came through a unix socket."""


@value
class Rules:
    """What answers depend on, and a reload replaces as a whole."""

    policy: Policy
    replies: Replies
    on_failure: Verdict
    header: bool = False  # tell in a header how long mail had to wait
    trees: tuple[str, ...] = ()  # folders of the record trees that are served
    trust_tcp: bool = False  # believe on TCP, too, what qmail's programs add
    recipients: Recipients = NO_TABLES  # what is set for some of them


@value
class Endpoint:
    """A place where the daemon listens, and the front end that is asked there."""

    place: UnixPlace | TcpPlace
    front: Callable[[Shared], Front]
