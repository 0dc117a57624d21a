"""Gathers evidence as the process for one recipient does, but with one resolver for all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.world.servers import Server
from greylag.core.evidence import Evidence, Kind
from greylag.core.lookups import confirmed_names
from greylag.core.question import Question
from greylag.core.spf import Outcome, check
from greylag.service.dns.gatherer import find
from greylag.service.dns.resolver import Resolver

if TYPE_CHECKING:
    from greylag.core.spf.questions import Steps


def _spf(question: Question) -> Steps[Outcome]:
    attempt = question.attempt
    assert attempt is not None
    return check(question.client, attempt.sender or b"", attempt.helo)


RECIPES = {Kind.SPF: _spf, Kind.NAMES: lambda question: confirmed_names(question.client)}


class Gathering:
    """Asks a resolver; it keeps its answers and its event loop from attempt to attempt."""

    def __init__(self, server: Server) -> None:
        self._loop = asyncio.new_event_loop()
        self._resolver = Resolver([server])

    def __call__(self, question: Question, kinds: frozenset[Kind], seconds: float) -> Evidence:
        """Return what is found within so many seconds."""
        finding = find(question, kinds, seconds, RECIPES, self._resolver)
        return self._loop.run_until_complete(finding)

    def close(self) -> None:
        """End what is under way."""
        self._loop.run_until_complete(self._resolver.close())
        self._loop.close()
