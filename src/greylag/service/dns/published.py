"""The ranges that a domain publishes, by asking DNS. Nobody waits for them, so it has patience."""

from __future__ import annotations

import asyncio

from greylag.core.spf.ranges import ranges_of
from greylag.service.dns.cache import ERROR
from greylag.service.dns.gatherer import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.spf.ranges import Ranges
    from greylag.service.dns.resolver import Resolver

TRIES = 3  # a name server that is asked for the first time today may be slow


async def published(domain: str, resolver: Resolver, tries: int = TRIES) -> Ranges:
    """Return what the record of a domain passes; what was answered is not asked for again."""
    for left in reversed(range(tries)):
        found = await run(ranges_of(domain), resolver)
        if not (found.is_unanswered and left):
            break
        await asyncio.sleep(1.1 * ERROR)  # until then the cache answers
    return found
