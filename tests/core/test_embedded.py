"""IPv6 addresses that hold an IPv4 address: of NAT64, 6to4 and Teredo. It is that host who asks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given

from greylag.core.accesslist import Entry
from greylag.core.client import format_address, host_of, parse_address
from greylag.core.connection import Connection, precheck_connection
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.triplet import connection_of, triplet_of
from greylag.core.verdict import Reason
from tests.core.asking import KEY, KNOWN, Given, T, allow, deny
from tests.strategies import PROPERTY, packed_addresses

# 192.0.2.17, as seen through each of them.
NAT64 = b"64:ff9b::192.0.2.17"
SIXTOFOUR = b"2002:c000:211:7::1"
TEREDO = b"2001:0:cb00:7101:8000:f227:3fff:fdee"
WAYS = [NAT64, SIXTOFOUR, TEREDO]


def packed(text: bytes) -> bytes:
    found = parse_address(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("address", "host"),
    [
        *((way, "192.0.2.17") for way in WAYS),
        (b"64:ff9b::c633:6401", "198.51.100.1"),
        (b"64:ff9b::8.8.8.8", "8.8.8.8"),
        (b"2002:808:808::", "8.8.8.8"),
        (b"192.0.2.17", "192.0.2.17"),
        (b"32.2.192.0", "32.2.192.0"),  # the bytes of 2002:c000::
        (b"32.1.0.0", "32.1.0.0"),
        (b"0.100.255.155", "0.100.255.155"),
        (b"2001:db8::c000:211", "2001:db8::c000:211"),
        (b"2001:1::3fff:fdee", "2001:1::3fff:fdee"),  # not Teredo: 2001:1::/32
        (b"2003:c000:211::1", "2003:c000:211::1"),
        (b"64:ff9b:1::192.0.2.17", "64:ff9b:1::c000:211"),  # where it is, the network chooses
        (b"64:ff9b::1:192.0.2.17", "64:ff9b::1:c000:211"),  # not within the /96
        # Of no host out there: these stay what they are.
        *(
            (b"64:ff9b::" + inside, str(ipaddress.ip_address(f"64:ff9b::{inside.decode()}")))
            for inside in (
                *(b"0.0.0.0", b"0.255.255.255", b"10.0.0.1", b"100.64.0.1", b"100.127.255.255"),
                *(b"127.0.0.1", b"169.254.1.1", b"172.16.0.1", b"172.31.255.255"),
                *(b"192.168.0.1", b"224.0.0.1", b"240.0.0.1", b"255.255.255.255"),
            )
        ),
        *(
            (b"64:ff9b::" + inside, inside.decode())
            for inside in (
                *(b"1.0.0.0", b"9.255.255.255", b"11.0.0.0", b"100.63.255.255", b"100.128.0.0"),
                *(b"126.0.0.1", b"128.0.0.1", b"169.253.0.1", b"172.15.0.1", b"172.32.0.1"),
                *(b"192.167.0.1", b"192.169.0.1", b"223.255.255.255"),
            )
        ),
        (b"2002:a00:1::1", "2002:a00:1::1"),
        (b"2001:0:cb00:7101:8000:f227:f5ff:fffe", "2001:0:cb00:7101:8000:f227:f5ff:fffe"),
    ],
)
def test_whose_address_it_is(address: bytes, host: str) -> None:
    found, carrier = host_of(packed(address))
    assert format_address(found) == host
    assert carrier == (b"" if found == packed(address) else packed(address))


@PROPERTY
@given(packed_addresses)
@example(b"\x20\x01\0\0")
def test_python_reads_6to4_and_teredo_alike(address: bytes) -> None:
    for start in (b"", b"\x20\x02", b"\x20\x01\0\0"):
        tried = (start + address)[:16] if len(address) == 16 else address
        host, carrier = host_of(tried)
        if not carrier:
            assert host == tried
        else:
            six = ipaddress.IPv6Address(tried)
            inside = six.teredo[1] if six.teredo else six.sixtofour
            assert inside is not None
            assert host == inside.packed


@pytest.mark.parametrize("way", WAYS)
def test_its_records_are_those_of_the_host(way: bytes) -> None:
    """Else a 6to4 host had 2**16 networks, and all of NAT64 one."""
    assert Given(client=way, record=KNOWN).answer().reason is Reason.KNOWN
    assert triplet_of(packed(way), b"a@example.org", b"b@example.net", Policy()) == KEY
    question = precheck(Given(client=way).attempt(), Policy())
    assert isinstance(question, Question)
    assert (question.client, question.carrier) == (packed(b"192.0.2.17"), packed(way))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by_address", [False, True])
def test_its_connections_are_those_of_the_host(way: bytes, by_address: bool) -> None:
    for address in (way, b"192.0.2.17"):
        question = precheck_connection(Connection(address, by_address=by_address), Policy())
        assert isinstance(question, Question)
        net = b"\xc0\0\2\x11" if by_address else b"\xc0\0\2\0"
        assert question.triplet == connection_of(net, 32 if by_address else 24)
        assert question.carrier == (b"" if address == b"192.0.2.17" else packed(way))


DENIED, ALLOWED, NEW = Reason.DENYLISTED, Reason.ALLOWLISTED, Reason.NEW
SIX = {NAT64: "64:ff9b::/96", SIXTOFOUR: "2002::/16", TEREDO: "2001::/32"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("lists", "wanted"),
    [
        (["deny 192.0.2.0/24"], DENIED),
        (["deny SIX"], DENIED),
        (["deny EXACT"], DENIED),
        (["allow SIX"], ALLOWED),
        (["allow SIX", "deny 192.0.2.0/24"], DENIED),
        (["allow EXACT", "deny 192.0.2.17"], DENIED),
        (["deny SIX", "allow EXACT"], ALLOWED),  # the longest prefix, as ever
        (["deny 192.0.2.0/24", "allow 192.0.2.17", "allow SIX"], ALLOWED),
        (["deny EXACT", "deny 192.0.2.17"], DENIED),
        (["deny SIX", "allow 192.0.2.17"], DENIED),
        (["deny 198.51.100.0/24"], NEW),
        (["deny example.net"], DENIED),
        (["allow example.net"], ALLOWED),
        (["allow SIX", "deny example.net"], ALLOWED),
        (["deny 192.0.2.0/24", "allow example.net"], DENIED),
    ],
)
def test_a_denial_of_either_address_speaks(way: bytes, lists: list[str], wanted: Reason) -> None:
    entries: list[Entry] = []
    for line in lists:
        verb, subject = line.split()
        subject = {"SIX": SIX[way], "EXACT": way.decode()}.get(subject, subject)
        entries.append(deny(subject) if verb == "deny" else allow(subject))
    assert Given(client=way, entries=tuple(entries)).answer(newest_first=True).reason is wanted


@pytest.mark.parametrize("way", WAYS)
def test_an_allowed_ipv4_address_speaks_through_a_translator_of_our_own_alone(way: bytes) -> None:
    entries = (allow("192.0.2.0/24"),)
    wanted = ALLOWED if way is NAT64 else NEW
    assert Given(client=way, entries=entries).answer().reason is wanted
    ended = deny("192.0.2.0/24", T, T + 9)  # from now on it allows
    assert Given(client=way, entries=(ended,)).answer().reason is wanted


def test_what_is_meant_for_our_own_networks_is_opened_by_no_spelling() -> None:
    entries = (allow("10.0.0.0/8"), allow("127.0.0.0/8"))
    for address in (b"64:ff9b::10.0.0.1", b"2002:a00:1::1", b"64:ff9b::127.0.0.1"):
        assert Given(client=address, entries=entries).answer().reason is NEW
