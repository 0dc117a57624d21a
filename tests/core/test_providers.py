"""T28: how much of a provider's addresses may change at once, and how entries name providers."""

from __future__ import annotations

import pytest

from greylag.core.providers import names_in, origin_of, too_much
from greylag.core.subject import Network, parse_subject


def ranges(text: str) -> list[Network]:
    found = [parse_subject(word) for word in text.split()]
    return [network for network in found if isinstance(network, Network)]


TEN = "192.0.2.0/28 192.0.2.16/28 192.0.2.32/28 192.0.2.48/28 192.0.2.64/28"  # 80 addresses
CHANGES = {
    "nothing": (TEN, TEN, ""),
    "written in another way": ("192.0.2.0/25 192.0.2.128/25", "192.0.2.0/24", ""),
    "a range inside of another": ("192.0.2.0/24", "192.0.2.0/24 192.0.2.7", ""),
    "a fifth comes": (TEN, f"{TEN} 198.51.100.0/28", ""),
    "a fifth goes": (TEN, TEN[: -len(" 192.0.2.64/28")], ""),
    "a tenth goes, and a tenth comes": (
        TEN,
        TEN.replace("192.0.2.64/28", "192.0.2.64/29 198.51.100.0/29"),
        "",
    ),
    "a little more than a fifth": (TEN, f"{TEN} 198.51.100.0/28 203.0.113.1", "22 % of its IPv4"),
    "30 %": (TEN, f"{TEN} 198.51.100.0/28 203.0.113.0/29", "30 % of its IPv4"),
    "many small ranges, few addresses": (
        "198.51.0.0/16",
        "198.51.0.0/16 " + " ".join(f"192.0.2.{n}" for n in range(100)),
        "",
    ),
    "one range, many addresses": (TEN, f"{TEN} 198.51.100.0/24", "320 % of its IPv4"),
    "all others": ("192.0.2.0/24", "198.51.100.0/24", "200 % of its IPv4"),
    "IPv6 for the first time": ("192.0.2.0/24", "192.0.2.0/24 2001:db8::1", "had none"),
    "IPv6 is gone": ("192.0.2.0/24 2001:db8::/32", "192.0.2.0/24", "100 % of its IPv6"),
    "IPv4 alone, however many IPv6": (
        "192.0.2.0/24 2001:db8::/32",
        "2001:db8::/32 192.0.2.0/25",
        "50 % of its IPv4",
    ),
    "IPv6 alone": ("192.0.2.0/24 2001:db8::/48", "192.0.2.0/24 2001:db8::/47", "100 % of its IPv6"),
}


@pytest.mark.parametrize(("old", "new", "why"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_more_than_20_percent_of_the_addresses_is_too_much(
    old: str, new: str, why: str
) -> None:
    """T28."""
    found = too_much(ranges(old), ranges(new))
    assert why in found
    assert bool(found) is bool(why)


@pytest.mark.parametrize("names", [["one"], ["one", "two"], []])
def test_an_origin_names_all_providers_of_a_range(names: list[str]) -> None:
    assert names_in(origin_of(names)) == set(names)


@pytest.mark.parametrize("origin", ["", "one", "networks.txt", "provider", "provider:"])
def test_other_origins_name_no_provider(origin: str) -> None:
    assert names_in(origin) == set()


def test_an_origin_is_the_same_in_any_order() -> None:
    assert origin_of(["two", "one"]) == "provider:one,two" == origin_of(frozenset(("one", "two")))
