"""The public test suite of RFC 7208: 203 cases, read from beside the checkout if they are there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from greylag.core.spf import Answer, Query
from tests.core.spf.zone import outcome_of, packed

# ../shared/data, as seen from the checkout or, in a worktree, from the checkout that it is of.
PLACES = [above / "shared" / "data" / "rfc7208-tests.yml" for above in Path(__file__).parents[4:6]]
SUITE = next((place for place in PLACES if place.exists()), PLACES[0])
CASES = 203
Records = list[Any]


def scenarios() -> list[dict[str, Any]]:
    # Loaded as latin-1 strings of bytes: the suite writes bytes as \x escapes.
    return list(yaml.safe_load_all(SUITE.read_text())) if SUITE.exists() else []


def cases() -> Iterator[Any]:
    for scenario in scenarios():
        zone = {name.lower(): records for name, records in scenario["zonedata"].items()}
        for name, case in scenario["tests"].items():
            yield pytest.param(zone, case, id=f"{scenario['description'][:16]}: {name}")


def strings(content: Any) -> bytes:
    parts = content if isinstance(content, list) else [content]
    return b"".join(part.encode("latin-1") for part in parts)


def rdata(kind: str, content: Any) -> bytes:
    if kind in ("TXT", "SPF"):
        return strings(content)
    if kind in ("A", "AAAA"):
        return ip_address(content).packed
    name: str = content[1] if kind == "MX" else content
    return name.encode("latin-1")


def answer_from(zone: dict[str, Records], query: Query) -> Answer:
    """Answer as the suite's rules say: an SPF record stands for TXT where there is no TXT."""
    records = zone.get(query.name, [])
    for _alias in range(8):
        alias = [r["CNAME"] for r in records if isinstance(r, dict) and "CNAME" in r]
        records = zone.get(alias[0].lower(), []) if alias else records
    pairs = [next(iter(record.items())) for record in records if isinstance(record, dict)]
    kinds = {kind for kind, _content in pairs}
    wanted = "SPF" if query.kind == "TXT" and "TXT" not in kinds else query.kind
    found: tuple[bytes, ...] = ()
    for kind, content in pairs:
        if kind == wanted and content == "TIMEOUT":
            return None
        if kind == wanted and content != "NONE":
            found += (rdata(kind, content),)
    return None if "TIMEOUT" in records and not found else found


@pytest.mark.skipif(not SUITE.exists(), reason=f"the suite of RFC 7208 is not at {SUITE}")
def test_the_suite_is_whole() -> None:
    assert sum(len(scenario["tests"]) for scenario in scenarios()) == CASES


@pytest.mark.parametrize(("zone", "case"), list(cases()))
def test_case(zone: dict[str, Records], case: dict[str, Any]) -> None:
    outcome, _asked = outcome_of(
        lambda query: answer_from(zone, query),
        packed(case["host"]),
        case["mailfrom"].encode("latin-1"),
        case["helo"].encode("latin-1"),
    )
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert outcome.result.value in wanted
