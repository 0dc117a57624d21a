"""Gathers evidence as the process for one recipient does, but with one resolver for all."""

from __future__ import annotations

import asyncio

from greylag.app.dns import DnsSettings
from greylag.core.evidence import Evidence, Kind
from greylag.core.question import Question
from greylag.service.dns.gatherer import find
from greylag.service.dns.recipes import recipes_of
from greylag.service.dns.resolver import Resolver


class Gathering:
    """Asks name servers. It keeps their answers, and its event loop, from attempt to attempt."""

    def __init__(self, dns: DnsSettings) -> None:
        self._loop = asyncio.new_event_loop()
        self._recipes = recipes_of(dns.dnsbl, dns.dnswl)
        self._resolver = Resolver(dns.servers)

    def __call__(self, question: Question, kinds: frozenset[Kind], seconds: float) -> Evidence:
        """Return what is found within so many seconds."""
        finding = find(question, kinds, seconds, self._recipes, self._resolver)
        return self._loop.run_until_complete(finding)

    def close(self) -> None:
        """End what is under way."""
        self._loop.run_until_complete(self._resolver.close())
        self._loop.close()
