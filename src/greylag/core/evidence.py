"""What is asked of others (DNS) about a client or a sender, where the engine needs it to decide.

Evidence costs time, so the engine asks for it last: where neither the lists nor the record decide
(`core.engine`). `service.evidence` gathers it, and the engine is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from greylag.core.value import value


class Kind(Enum):
    """The kinds of evidence, and what is found of each."""

    NAMES = "names"  # the client's confirmed names: tuple[str, ...]
    SPF = "spf"  # core.spf.Outcome
    DNSBL = "dnsbl"  # the zones of DNSBL that list the client: tuple[str, ...]
    DNSWL = "dnswl"  # the same of DNSWL

    __hash__ = object.__hash__


# What was found, by kind. A kind with None was asked for, and nothing is known.
Evidence = Mapping[Kind, object]
NO_EVIDENCE: Evidence = {}


@value
class Needs:
    """The engine needs evidence of these kinds before it can decide."""

    kinds: frozenset[Kind]
