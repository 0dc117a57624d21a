"""What stands in the network's place of a triplet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.client import network, parse_address
from greylag.core.identity import (
    USERS,
    Pool,
    PoolKind,
    address_of,
    is_network,
    of_address,
    pool_of,
    prefix_of_address,
)
from tests.strategies import PROPERTY

NAMES = st.text(st.characters(min_codepoint=1, max_codepoint=126), min_size=1, max_size=254)


@PROPERTY
@given(NAMES, st.sampled_from(PoolKind))
def test_a_pool_is_read_back_and_is_no_network(name: str, kind: PoolKind) -> None:
    pool = Pool(kind, name)
    assert pool_of(pool.packed) == pool
    assert not is_network(pool.packed)
    assert 16 < len(pool.packed) <= 255


@PROPERTY
@given(st.binary(max_size=300))
def test_any_bytes_are_a_network_or_a_pool_or_neither(identity: bytes) -> None:
    """A database may hold anything."""
    pool = pool_of(identity)
    assert not (pool and is_network(identity))
    assert pool is None or pool.packed == identity


@pytest.mark.parametrize("address", [b"192.0.2.17", b"2001:db8::1"])
def test_a_client_network_is_no_pool(address: bytes) -> None:
    packed = parse_address(address)
    assert packed is not None
    for prefix in range(8 * len(packed) + 1):
        assert is_network(network(packed, prefix))
        assert pool_of(network(packed, prefix)) is None


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("a.b", b"\1a.b" + bytes(13)),
        ("mail.example.org", b"\1mail.example.org"),
        ("a" * 253, b"\1" + b"a" * 253),
    ],
    ids=["short", "16 bytes", "the longest domain"],
)
def test_how_a_pool_is_written(name: str, packed: bytes) -> None:
    pool = Pool(PoolKind.SPF, name)
    assert pool.packed == packed
    assert str(pool) == f"spf:{name}"


@pytest.mark.parametrize("name", ["", "a\0b", "a" * 255, "b\u00fccher.example"])
def test_what_is_no_domain_names_no_pool(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a domain|ascii"):
        assert Pool(PoolKind.SPF, name).packed


@pytest.mark.parametrize(
    "identity",
    [b"", b"\1", bytes(17), b"\1" + bytes(16), b"\xff" + b"a" * 16, b"\1a" + bytes(16)],
)
def test_what_is_broken_is_no_pool(identity: bytes) -> None:
    assert pool_of(identity) is None


@pytest.mark.parametrize(
    ("client", "bits", "alone"),
    [
        (b"192.0.2.17", 32, b"192.0.2.17"),
        (b"2001:db8::17", 64, b"2001:db8::"),
        (b"2001:db8:1:2:3:4:5:6", 64, b"2001:db8:1:2::"),
    ],
)
def test_one_client_is_an_address_or_a_64_of_ipv6(client: bytes, bits: int, alone: bytes) -> None:
    packed = parse_address(client)
    assert packed is not None
    assert prefix_of_address(packed) == bits
    assert address_of(of_address(packed)) == parse_address(alone)
    assert not is_network(of_address(packed))


@pytest.mark.parametrize(
    "identity",
    [
        b"\xc0\0\2\x11",
        bytes(16),
        Pool(PoolKind.SPF, "192.0.2.17").packed,
        Pool(PoolKind.NAME, "example.org").packed,
        Pool(PoolKind.ADDRESS, "example.org").packed,
        USERS,
        b"\xff" * 20,
    ],
)
def test_what_stands_for_no_single_client_has_no_address(identity: bytes) -> None:
    assert address_of(identity) is None
