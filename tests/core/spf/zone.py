"""A zone as a table, and a check of SPF that is answered from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from greylag.core.client import parse_address
from greylag.core.spf import Answer, Outcome, Query, check

# What a server answers, by name (in lower case) and type.
Zone = Mapping[tuple[str, str], Answer]


def packed(text: str) -> bytes:
    """Pack a client address as the front ends do."""
    address = parse_address(text.encode())
    assert address is not None
    return address


def zone_of(records: Mapping[str, list[str]]) -> Zone:
    """Read a zone that is written as a table: `TXT v=spf1 -all`, `A 192.0.2.1`, `MX host`."""
    zone: dict[tuple[str, str], Answer] = {}
    for name, lines in records.items():
        for line in lines:
            kind, _space, text = line.partition(" ")
            if kind == "TIMEOUT":
                zone[name, text] = None
                continue
            record = packed(text) if kind in ("A", "AAAA") else text.encode("latin-1")
            zone[name, kind] = (*(zone.get((name, kind)) or ()), record)
    return zone


def outcome_of(
    answer: Callable[[Query], Answer], client: bytes, sender: bytes, helo: bytes
) -> tuple[Outcome, list[Query]]:
    """Run a check against a function that answers; return what it asked, too."""
    asked: list[Query] = []
    steps = check(client, sender, helo)
    try:
        query = next(steps)
        while True:
            asked.append(query)
            query = steps.send(answer(query))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome, asked


def check_in(
    zone: Zone, client: str, sender: str, helo: str = "helo.example"
) -> tuple[Outcome, list[Query]]:
    """Check against a zone: what is not in it does not exist."""
    return outcome_of(
        lambda query: zone.get((query.name, query.kind), ()),
        packed(client),
        sender.encode("utf-8", "surrogateescape"),
        helo.encode("utf-8", "surrogateescape"),
    )
