"""Client addresses: tables, and Python's `ipaddress` as the oracle (P3: no input is fatal)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greylag.core.client import (
    format_address,
    last_address,
    network,
    on_the_internet,
    parse_address,
)
from tests.evil import EVIL
from tests.strategies import MAPPED, PROPERTY, dotted, ipv4, ipv6, ipv6_spellings, packed_addresses

LOCAL = bytes.fromhex("fe80") + bytes(13) + b"\x01"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"192.0.2.1", b"\xc0\x00\x02\x01"),
        (b"0.0.0.0", bytes(4)),
        (b"255.255.255.255", b"\xff" * 4),
        (b"256.0.0.0", None),
        (b"0.0.0.256", None),
        (b"1000.0.0.0", None),
        (b"10000.0.0.0", None),
        (b"192.0.2", None),
        (b"192.0.2.1.1", None),
        (b"192.0.2.", None),
        (b".192.0.2", None),
        (b"192.0..1", None),
        (b"192.0.2.01", None),
        (b"192.0.2.001", None),
        (b"192.0.2.00", None),
        (b"192.0.2.0x1", None),
        (b"192.0.2.1 ", None),
        (b" 192.0.2.1", None),
        (b"192.0.2.1\n", None),
        (b"192.0.2.1%eth0", None),
        (b"192.0.2.-1", None),
        (b"192.0.2.+1", None),
        (b"192.0.2.\xb2", None),
        ("192.0.2.\u00b2".encode(), None),
        ("192.0.2.\u0661".encode(), None),
        (b"3221225985", None),
        (b"", None),
        (b".", None),
        (b"...", None),
        (b"unknown", None),
        (b"::", bytes(16)),
        (b"::1", bytes(15) + b"\x01"),
        (b"fe80::1", LOCAL),
        (b"FE80::1", LOCAL),
        (b"fe80::1%eth0", LOCAL),
        (b"fe80::1%", LOCAL),
        (b"fe80:0:0:0:0:0:0:1", LOCAL),
        (b"::ffff:192.0.2.1", b"\xc0\x00\x02\x01"),
        (b"::FFFF:192.0.2.1", b"\xc0\x00\x02\x01"),
        (b"::ffff:c000:201", b"\xc0\x00\x02\x01"),
        (b"::ffff:192.0.2.1%eth0", b"\xc0\x00\x02\x01"),
        (b"::ffff:0.0.0.0", bytes(4)),
        (b"::fffe:c000:201", bytes(10) + b"\xff\xfe\xc0\x00\x02\x01"),
        (b"::192.0.2.1", bytes(12) + b"\xc0\x00\x02\x01"),
        (b"::ffff:192.0.2.01", None),
        (b"::ffff:192.0.2.256", None),
        (b":", None),
        (b":::", None),
        (b"::1::", None),
        (b"12345::", None),
        (b"::g", None),
        (b"%::1", None),
        (b"[::1]", None),
        (b"::1/64", None),
        (b"::1 ", None),
        (b"1:2:3:4:5:6:7:8:9", None),
        (b"fe80::1%" + b"z" * 120, LOCAL),
        (b"fe80::1%" + b"z" * 121, None),
        (b"0" * 200 + b".0.0.0", None),
    ],
)
def test_parse_address(text: bytes, wanted: bytes | None) -> None:
    assert parse_address(text) == wanted


def oracle(raw: bytes) -> bytes | None:
    """Say what `ipaddress` makes of a text, with our rules on top: no zone, mapped is IPv4."""
    try:
        address = ipaddress.ip_address(raw.decode("ascii"))
    except ValueError:
        return None
    return address.packed.removeprefix(MAPPED)


addressish = st.text(alphabet="0123456789abcdefABCDEF:.%/ x", max_size=48).map(str.encode)


@PROPERTY
@given(addressish | st.binary(max_size=64) | ipv4.map(dotted).map(str.encode))
@example(b"1.2.3.4%::")
@example(b"::1%eth0")
def test_parse_address_agrees_with_ipaddress_p3(raw: bytes) -> None:
    """The one difference: `ipaddress` refuses an empty zone, and one with `%` in it."""
    expected = oracle(raw)
    address, percent, _zone = raw.partition(b"%")
    if expected is None and percent and b":" in address:
        expected = oracle(address)
    assert parse_address(raw) == expected


@pytest.mark.parametrize("raw", EVIL)
def test_evil_values_are_no_address_p3(raw: bytes) -> None:
    assert parse_address(raw) is None
    assert parse_address(raw + b":192.0.2.1") is None


@PROPERTY
@given(ipv6, st.data())
def test_all_spellings_are_one_address(packed: bytes, data: st.DataObject) -> None:
    assert parse_address(data.draw(ipv6_spellings(packed))) == packed


@PROPERTY
@given(packed_addresses)
def test_format_and_parse_are_inverse(packed: bytes) -> None:
    text = format_address(packed)
    assert text == str(ipaddress.ip_address(packed))
    assert parse_address(text.encode("ascii")) == packed


@PROPERTY
@given(packed_addresses)
def test_every_prefix_agrees_with_ipaddress(packed: bytes) -> None:
    for prefix in range(8 * len(packed) + 1):
        wanted = ipaddress.ip_network((packed, prefix), strict=False)
        assert network(packed, prefix) == wanted.network_address.packed
        assert last_address(packed, prefix) == wanted.broadcast_address.packed
        assert last_address(network(packed, prefix), prefix) == wanted.broadcast_address.packed


@pytest.mark.parametrize(
    ("prefix", "first", "last"),
    [
        (0, "0.0.0.0", "255.255.255.255"),
        (1, "128.0.0.0", "255.255.255.255"),
        (7, "192.0.0.0", "193.255.255.255"),
        (8, "192.0.0.0", "192.255.255.255"),
        (9, "192.0.0.0", "192.127.255.255"),
        (24, "192.0.2.0", "192.0.2.255"),
        (31, "192.0.2.76", "192.0.2.77"),
        (32, "192.0.2.77", "192.0.2.77"),
    ],
)
def test_the_range_of_192_0_2_77(prefix: int, first: str, last: str) -> None:
    """Fault 6: 192.168.1.77/24 covered .77 to .255."""
    packed = parse_address(b"192.0.2.77")
    assert packed is not None
    assert format_address(network(packed, prefix)) == first
    assert format_address(last_address(packed, prefix)) == last


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ("192.0.2.0/24", True),
        ("8.0.0.0/8", True),
        ("0.0.0.0/0", False),
        ("10.1.0.0/16", False),
        ("8.0.0.0/6", False),  # it holds 10.0.0.0/8
        ("172.32.0.0/12", True),
        ("224.0.0.1/32", False),
        ("2001:db8::/32", True),
        ("2000::/3", False),  # it holds 2002::/16
        ("2000::/2", False),
        ("2002:808::/32", False),
        ("2001::/16", False),
        ("2001:0:1::/48", False),
        ("fe80::/64", False),
        ("::/0", False),
        ("64:ff9b::/96", False),
    ],
)
def test_ranges_on_the_internet(text: str, outside: bool) -> None:
    network = ipaddress.ip_network(text, strict=False)
    assert on_the_internet(network.network_address.packed, network.prefixlen) is outside
