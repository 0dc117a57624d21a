"""The daemon's way to DNS: one resolver and what it is asked, exchanged when settings change."""

from __future__ import annotations

import asyncio

from greylag.core.value import value
from greylag.service.dns.gatherer import Gatherer
from greylag.service.dns.recipes import recipes_of
from greylag.service.dns.resolver import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from greylag.core.evidence import Evidence, Kind
    from greylag.core.question import Question
    from greylag.core.zones import Zone
    from greylag.service.dns.exchange import Server


@value
class Sources:
    """Whom to ask, and which zones. Without a server nothing is asked."""

    servers: tuple[Server, ...] = ()
    dnsbl: tuple[Zone, ...] = ()
    dnswl: tuple[Zone, ...] = ()


class Asking:
    """A `GatherLater` of `service.evidence`. It belongs to one event loop."""

    def __init__(self) -> None:
        self._sources = Sources()
        self._gatherer: Gatherer | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.resolver: Resolver | None = None  # None: nothing is to be asked
        self._asked = self._errors = 0  # by resolvers before this one

    def use(self, sources: Sources) -> None:
        """Ask these from now on. What is under way ends without an answer."""
        if sources == self._sources:
            return
        self._sources, before = sources, self.resolver
        self.resolver = self._gatherer = None
        if sources.servers:
            self.resolver = Resolver(sources.servers)
            recipes = recipes_of(sources.dnsbl, sources.dnswl)
            self._gatherer = Gatherer(recipes, self.resolver)
        if before is not None:
            self._asked += before.asked
            self._errors += before.errors
            task = asyncio.get_running_loop().create_task(before.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    @property
    def asked(self) -> int:
        """Return how many queries were sent."""
        return self._asked + (0 if self.resolver is None else self.resolver.asked)

    @property
    def errors(self) -> int:
        """Return how many queries had no answer."""
        return self._errors + (0 if self.resolver is None else self.resolver.errors)

    @property
    def kept(self) -> int:
        """Return how many answers are kept in memory."""
        return 0 if self.resolver is None else len(self.resolver.cache)

    async def close(self) -> None:
        """End what is under way."""
        self.use(Sources())
        await asyncio.gather(*self._closing, return_exceptions=True)

    def kept_about(self, question: Question, kinds: frozenset[Kind]) -> Evidence | None:
        """Return what is found by answers that are kept; None where one of them is missing."""
        gatherer = self._gatherer
        return None if gatherer is None else gatherer.kept_about(question, kinds)

    def __call__(
        self,
        question: Question,
        kinds: frozenset[Kind],
        seconds: float,
        tell: Callable[[Evidence], None],
    ) -> None:
        """Return at once, and tell later; where all is kept in memory, tell now."""
        if self._gatherer is None:
            tell({})
        else:
            self._gatherer(question, kinds, seconds, tell)
