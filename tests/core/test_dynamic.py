"""Names that an access provider made, and names of mail servers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.client import parse_address
from greylag.core.dynamic import looks_dynamic
from tests.strategies import PROPERTY, packed_addresses

IPV4, IPV6 = "198.51.100.7", "2001:db8:0:12::a7"


def looks(name: str, client: str = IPV4, organisation: str = "") -> bool:
    packed = parse_address(client.encode())
    assert packed is not None
    return looks_dynamic(name, packed, organisation)


@pytest.mark.parametrize(
    "name",
    [
        # a word of the trade
        "dyn.isp.example", "p3EE2F4A1.dip0.isp.example", "dynamic-7.isp.example",
        "dynip7.isp.example", "host.dynamic.isp.example", "dsl-7.isp.example",
        "adsl123.isp.example", "vdsl.isp.example", "x3dsl.isp.example", "h7.dialup.isp.example",
        "dialin42.isp.example", "ppp85.isp.example", "pppoe-7.isp.example",
        "c7.cable.isp.example", "dhcp7.isp.example", "ftth-7.isp.example",
        "broadband.isp.example", "lte-7.isp.example", "7.wifi.isp.example",
        "a.res.dsl.isp.example", "dsl-mail.isp.example", "smtp-dyn-7.isp.example",
        # the address
        "198-51-100-7.isp.example", "198.51.100.7.isp.example", "7.100.51.198.isp.example",
        "7-100-51-198.isp.example", "198_51_100_7.isp.example", "ip198-51-100-7.isp.example",
        "pool-198-51-100-7.isp.example", "static-198-51-100-7.isp.example",
        "static.7.100.51.198.clients.isp.example", "ec2-198-51-100-7.compute-1.hoster.example",
        "198.051.100.007.isp.example", "h198051100007.isp.example", "007100051198.isp.example",
        "c6336407.isp.example", "076433c6.isp.example", "p-c6-33-64-07.isp.example",
        "3325256711.isp.example", "host-51-100-7.isp.example", "x7.100-51.isp.example",
        "198-51-100.isp.example", "198-51-100-8.isp.example", "100.51.198.rev.isp.example",
        # a part of it beside a word
        "host-100-7.isp.example", "pool7-100.isp.example", "vm.100.7.hoster.example",
        "ip-7.100.isp.example",
        # a customer with a number
        "customer-12.isp.example", "12.cust.isp.example", "client7.isp.example",
        "user1.isp.example",
    ],
)  # fmt: skip
def test_names_of_an_access_provider(name: str) -> None:
    assert looks(name)


@pytest.mark.parametrize(
    "name",
    [
        "example.org", "mail.example.org", "mail-out.example.org", "mx1.example.org",
        "a.example.org", "smtp-out-3.example.org", "web2.example.org", "host7.example.org",
        "server.example.org", "mail-lf1-f41.example.org", "o1678912x7.outbound-mail.example.org",
        "a8-31.smtp-out.example.org", "mail-am6eur05on2071.outbound.example.org",
        "mout-xforward.example.org", "mta-198-51-100-7.pool.bigsender.example",
        "mta-198-51-100-7.example.org", "mail198-51-100-7.example.org",
        "outmta7.100.51.198.example.org", "198-51-100-7.smtp.example.org",
        "mta-7.dyn.example.org", "m198-51.example.org", "h100-7.example.org",
        "pool-3.example.org", "pool.example.org", "customers.example.org", "client.example.org",
        "static.example.org", "dynamics.example.org", "dsl.example", "cable.example",
        "dyn.example", "www.dyn.example", "lists.dsl.example", "198-51-99-7.example.org",
        "51-7.node.example.org", "c6336408.example.org", "home.example.org",
        "v12345.host.example.org", "1001.51.198.example.org", "example", "org",
    ],
)  # fmt: skip
def test_names_of_others(name: str) -> None:
    assert not looks(name)


@pytest.mark.parametrize(
    "name",
    [
        "20010db80000001200000000000000a7.isp.example",
        "2001-db8-0-12--a7.isp.example",
        "2001-db8-0-12-0-0-0-a7.isp.example",
        "h-00000000000000a7.isp.example",
        "7.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.1.0.0.0.0.0.0.8.b.d.0.1.0.0.2.isp.example",
        "dyn-a7.isp.example",
    ],
)
def test_ipv6_names_of_an_access_provider(name: str) -> None:
    assert looks(name, IPV6)


@pytest.mark.parametrize(
    "name", ["mail.example.org", "a7.example.org", "2001-db8-0-12--a7.smtp.example.org"]
)
def test_ipv6_names_of_others(name: str) -> None:
    assert not looks(name, IPV6)


def test_the_labels_of_the_organisation_say_nothing() -> None:
    assert looks("dsl.example.co.uk")
    assert not looks("mail.dsl.co.uk", organisation="dsl.co.uk")
    assert looks("a.dsl.co.uk")
    assert not looks("a.dsl.co.uk", organisation="dsl.co.uk")
    assert not looks("dsl.co.uk", organisation="dsl.co.uk")
    assert looks("a.dsl.example.org", organisation="example.net")  # not its organisation


labels = st.text("abcdsl0123456789-", min_size=1, max_size=12)


@PROPERTY
@given(st.lists(labels, max_size=6).map(".".join) | st.text(max_size=40), packed_addresses)
def test_any_name_is_judged(name: str, client: bytes) -> None:
    looks_dynamic(name, client)


@PROPERTY
@given(st.binary(min_size=4, max_size=4), st.sampled_from("-._"))
def test_every_address_is_found_in_its_name(client: bytes, separator: str) -> None:
    for octets in (client, client[::-1]):
        assert looks_dynamic(f"h{separator.join(map(str, octets))}.isp.example", client)
        assert looks_dynamic(f"{octets.hex()}.isp.example", client)
        assert not looks_dynamic(f"mail{separator.join(map(str, octets))}.isp.example", client)
