"""Hypothesis strategies and settings that several folders of tests share.

Runs are the same each time, so a red build is red for everybody; the soak draws anew and more.
"""

from __future__ import annotations

import os
from ipaddress import IPv6Address

from hypothesis import settings
from hypothesis import strategies as st

from greylag.core.client import host_of

SOAK = "GREYLAG_SOAK" in os.environ
PROPERTY = settings(
    max_examples=2_000 if SOAK else 200, derandomize=not SOAK, deadline=None, database=None
)

MAPPED = bytes(10) + b"\xff\xff"

ipv4 = st.binary(min_size=4, max_size=4)
ipv6 = st.binary(min_size=16, max_size=16).filter(
    lambda packed: not packed.startswith(MAPPED) and not host_of(packed)[1]
)
packed_addresses = ipv4 | ipv6
zones = st.sampled_from(["", "%eth0", "%1", "%", "%wlan0.7", "%::1"])


def dotted(packed: bytes) -> str:
    """Write four bytes the one way there is."""
    return ".".join(map(str, packed))


@st.composite
def ipv6_spellings(draw: st.DrawFn, packed: bytes) -> bytes:
    """Draw one of the ways to write 16 packed bytes: short or long, any case, with a zone."""
    groups = [f"{packed[at]:02x}{packed[at + 1]:02x}" for at in range(0, 16, 2)]
    if draw(st.booleans()):
        groups = [group.lstrip("0") or "0" for group in groups]
    if draw(st.booleans()):
        groups[6:] = [dotted(packed[12:])]
    text = draw(st.sampled_from([":".join(groups), str(IPv6Address(packed))]))
    text = draw(st.sampled_from([text, text.upper(), text.title()]))
    return (text + draw(zones)).encode("ascii")


@st.composite
def mapped_pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw an IPv4 address in its own spelling and in one as IPv4-mapped IPv6."""
    packed = draw(ipv4)
    short = [f"::ffff:{dotted(packed)}", f"::FFFF:{packed[:2].hex()}:{packed[2:].hex()}"]
    spelling = draw(st.sampled_from(short).map(str.encode) | ipv6_spellings(MAPPED + packed))
    return dotted(packed).encode(), spelling


plain_addresses = st.from_regex(rb"\A[A-Za-z0-9.+=/-]{1,12}@[a-z]{1,8}\.(org|NET)\Z")
batv_addresses = st.builds(
    lambda tag, address: b"prvs=" + tag + b"=" + address,
    st.from_regex(rb"\A[0-9a-f]{10}\Z"),
    plain_addresses,
)
# What the network may send: any bytes, long ones too, and no more NULs than elsewhere.
raw_addresses = plain_addresses | batv_addresses | st.binary(max_size=600)
