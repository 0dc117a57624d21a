"""Cases of our own: record, client, result, and whether the pass may be an identity."""

from __future__ import annotations

import pytest

from greylag.core.spf import Outcome, Result
from greylag.core.spf.record import is_record
from tests.core.spf.zone import check_in, zone_of

IPV4, IPV6 = "192.0.2.7", "2001:db8::7"
HOST = {
    "host.example.org": ["A 192.0.2.7", "AAAA 2001:db8::7"],
    "other.example.org": ["A 198.51.100.1", "AAAA 2001:db8:1::1"],
    "example.org": ["A 192.0.2.7", "MX host.example.org", "MX other.example.org"],
    "mail.example.org": ["MX other.example.org."],
    "7.2.0.192.in-addr.arpa": ["PTR Host.Example.org.", "PTR host.example.net"],
    "host.example.net": ["A 203.0.113.1"],
    "pass.example.org": ["TXT v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"],
    "fail.example.org": ["TXT v=spf1 -all"],
    "all.example.org": ["TXT v=spf1 +all"],
    "wide.example.org": ["TXT v=spf1 ip4:192.0.0.0/8 -all"],
    "none.example.org": ["TXT something else"],
    "late.example.org": ["TIMEOUT TXT", "TIMEOUT A", "TIMEOUT AAAA", "TIMEOUT MX"],
    "null.example.org": ["MX "],
    "7.2.0.192.list.example.org": ["A 127.0.0.2"],
    "user.list.example.org": ["A 127.0.0.2", "A 192.0.2.7"],
    "192.0.2.7.example.org": ["A 192.0.2.7", "TXT v=spf1 ip4:192.0.2.7 -all"],
    "domain.example.org.example.org": ["A 192.0.2.7"],
    "host.example.org.example.org": ["A 192.0.2.7"],
    "unknown.example.org": ["A 192.0.2.7"],
    "a%20b c%.example.org": ["A 192.0.2.7"],
    "b.a.example.org": ["A 192.0.2.7"],
    "x%2dy.example.org": ["A 192.0.2.7"],
    "u%25ser.example.org": ["A 192.0.2.7"],
    "in-addr.example.org": ["A 192.0.2.7"],
    "ip6.example.org": ["AAAA 2001:db8::7"],
    "helo.example.example.org": ["A 192.0.2.7"],
}
NARROW = "narrow"  # a pass that may be an identity


@pytest.mark.parametrize(
    ("client", "record", "wanted"),
    [
        # all and its qualifiers; all is no identity
        (IPV4, "v=spf1 all", "pass"),
        (IPV4, "v=spf1 -all", "fail"),
        (IPV4, "v=spf1 ~all", "softfail"),
        (IPV4, "v=spf1 ?all", "neutral"),
        (IPV4, "v=spf1", "neutral"),
        (IPV4, "V=SPF1  -ALL ", "fail"),
        (IPV4, "v=spf1 +all -ip4:192.0.2.7", "pass"),
        (IPV4, "v=spf1 ip4:192.0.2.7 +all", NARROW),
        (IPV4, "v=spf1 -ip4:192.0.2.8 +all", "pass"),
        # ranges, and how wide they may be
        (IPV4, "v=spf1 ip4:192.0.2.7 -all", NARROW),
        (IPV4, "v=spf1 ip4:192.0.2.7/32 -all", NARROW),
        (IPV4, "v=spf1 ip4:192.0.2.99/24 -all", NARROW),
        (IPV4, "v=spf1 ip4:192.0.2.8 -all", "fail"),
        (IPV4, "v=spf1 ip4:192.0.0.0/12 -all", NARROW),
        (IPV4, "v=spf1 ip4:192.0.0.0/11 -all", "pass"),
        (IPV4, "v=spf1 ip4:0.0.0.0/0 -all", "pass"),
        (IPV6, "v=spf1 ip6:2001:db8::7 -all", NARROW),
        (IPV6, "v=spf1 ip6:2001:d00::/24 -all", NARROW),
        (IPV6, "v=spf1 ip6:2001:d00::/23 -all", "pass"),
        (IPV6, "v=spf1 ip6:2001:db8:1::/48 -all", "fail"),
        (IPV6, "v=spf1 ip4:192.0.2.7 -all", "fail"),
        (IPV4, "v=spf1 ip6:::ffff:192.0.2.7 -all", "fail"),
        (IPV6, "v=spf1 ip6:::ffff:192.0.2.7/0 -all", "pass"),
        # many ranges that together are as good as all
        (IPV4, "v=spf1 ip4:10.0.0.0/12 ip4:20.0.0.0/12 ip4:30.0.0.0/12 ip4:192.0.0.0/12", NARROW),
        (IPV4, "v=spf1 " + "".join(f"ip4:{n}.0.0.0/12 " for n in (1, 2, 3, 4, 192)), "pass"),
        (IPV4, "v=spf1 ip4:10.0.0.0/8 ip4:192.0.2.0/24 -all", NARROW),
        (IPV4, "v=spf1 " + "".join(f"-ip4:{n}.0.0.0/12 " for n in range(9)) + "mx:mail.example.org "
         "a:host.example.org", NARROW),
        (IPV6, "v=spf1 " + "".join(f"ip4:{n}.0.0.0/12 " for n in range(9)) + "a:host.example.org",
         NARROW),
        # a
        (IPV4, "v=spf1 a:host.example.org -all", NARROW),
        (IPV6, "v=spf1 a:host.example.org -all", NARROW),
        (IPV4, "v=spf1 a:other.example.org -all", "fail"),
        (IPV4, "v=spf1 a:nothing.example.org -all", "fail"),
        (IPV4, "v=spf1 a:host.example.org/8 -all", "pass"),
        (IPV4, "v=spf1 a:other.example.org/0 -all", "pass"),
        (IPV4, "v=spf1 a:host.example.org//64 -all", NARROW),
        (IPV4, "v=spf1 a:late.example.org -all", "temperror"),
        (IPV4, "v=spf1 -a:host.example.org +all", "fail"),
        (IPV4, "v=spf1 a:x..example.org -all", "fail"),
        (IPV4, "v=spf1 a:" + "x" * 64 + ".example.org -all", "fail"),
        (IPV4, "v=spf1 a:host.example.org. -all", NARROW),
        # mx
        (IPV4, "v=spf1 mx:example.org -all", NARROW),
        (IPV6, "v=spf1 mx:example.org//48 -all", NARROW),
        (IPV4, "v=spf1 mx:mail.example.org -all", "fail"),
        (IPV4, "v=spf1 mx:null.example.org -all", "fail"),
        (IPV4, "v=spf1 mx:late.example.org -all", "temperror"),
        # ptr is no identity
        (IPV4, "v=spf1 ptr:example.org -all", "pass"),
        (IPV4, "v=spf1 ptr:host.example.org -all", "pass"),
        (IPV4, "v=spf1 ptr:example.net -all", "fail"),
        (IPV4, "v=spf1 ptr:st.example.org -all", "fail"),
        (IPV4, "v=spf1 ptr -all", "fail"),
        (IPV6, "v=spf1 ptr:example.org -all", "fail"),
        # exists is no identity
        (IPV4, "v=spf1 exists:host.example.org -all", "pass"),
        (IPV4, "v=spf1 exists:%{ir}.list.example.org -all", "pass"),
        (IPV4, "v=spf1 exists:%{i}.list.example.org -all", "fail"),
        (IPV4, "v=spf1 exists:%{l}.list.example.org -all", "pass"),
        (IPV4, "v=spf1 exists:late.example.org -all", "temperror"),
        # include and redirect
        (IPV4, "v=spf1 include:pass.example.org -all", NARROW),
        (IPV4, "v=spf1 include:fail.example.org ?all", "neutral"),
        (IPV4, "v=spf1 include:all.example.org -all", "pass"),
        (IPV4, "v=spf1 include:wide.example.org -all", "pass"),
        (IPV4, "v=spf1 -include:pass.example.org +all", "fail"),
        (IPV4, "v=spf1 include:none.example.org +all", "permerror"),
        (IPV4, "v=spf1 include:late.example.org +all", "temperror"),
        (IPV4, "v=spf1 include:x..example.org +all", "permerror"),
        (IPV4, "v=spf1 redirect=pass.example.org", NARROW),
        (IPV4, "v=spf1 redirect=all.example.org", "pass"),
        (IPV4, "v=spf1 redirect=none.example.org", "permerror"),
        (IPV4, "v=spf1 redirect=x..example.org", "permerror"),
        (IPV4, "v=spf1 redirect=late.example.org", "temperror"),
        (IPV4, "v=spf1 redirect=pass.example.org -all", "fail"),
        # what depends on the client is no identity, in the whole chain
        (IPV4, "v=spf1 a:%{i}.example.org -all", "pass"),
        (IPV4, "v=spf1 a:%{p} -all", "pass"),
        (IPV4, "v=spf1 a:%{l}.list.example.org -all", "pass"),
        (IPV4, "v=spf1 a:%{h}.example.org -all", "pass"),
        (IPV4, "v=spf1 include:%{i}.example.org -all", "pass"),
        (IPV4, "v=spf1 redirect=%{i}.example.org", "pass"),
        (IPV4, "v=spf1 a:%{d}.example.org -all", NARROW),
        (IPV4, "v=spf1 a:%{o}.example.org -all", NARROW),
        (IPV4, "v=spf1 a:%{v}.example.org -all", NARROW),
        (IPV6, "v=spf1 a:%{v}.example.org -all", NARROW),
        # macros
        (IPV4, "v=spf1 a:%{P}.example.org -all", "pass"),
        (IPV6, "v=spf1 a:%{p}.example.org -all", "fail"),
        (IPV4, "v=spf1 exists:a%-b%_c%%.example.org -all", "pass"),
        (IPV4, "v=spf1 a:%{d1}.%{d2} -all", "fail"),
        (IPV4, "v=spf1 a:%{d1}.%{d2}. -all", "permerror"),
        (IPV4, "v=spf1 a:host.%{d2} -all", NARROW),
        (IPV4, "v=spf1 a:host.%{d002} -all", NARROW),
        (IPV4, "v=spf1 a:host.%{d2r-}.org -all", "fail"),
        (IPV4, "v=spf1 a:%{d" + "9" * 5000 + "}.example.org -all", NARROW),
        (IPV4, "v=spf1 a:host.%{d0} -all", "permerror"),
        (IPV4, "v=spf1 a:host.%{d -all", "permerror"),
        (IPV4, "v=spf1 a:host.%{} -all", "permerror"),
        (IPV4, "v=spf1 a:host.%{c} -all", "permerror"),
        (IPV4, "v=spf1 a:host.%{d2x} -all", "permerror"),
        (IPV4, "v=spf1 a:host%.example.org -all", "permerror"),
        (IPV4, "v=spf1 a:host% -all", "permerror"),
        (IPV4, "v=spf1 a:%% -all", "fail"),
        (IPV4, "v=spf1 a:" + "%{d}." * 60 + "host.example.org -all", "fail"),
        (IPV4, "v=spf1 a:" + "x" * 300 + " -all", "permerror"),
        (IPV4, "v=spf1 a:" + "x" * 300 + ".host.example.org -all", NARROW),
        # the grammar
        (IPV4, "v=spf1 a:host.example.org/33 -all", "permerror"),
        (IPV4, "v=spf1 a:host.example.org/024 -all", "permerror"),
        (IPV4, "v=spf1 a:host.example.org/1234 -all", "permerror"),
        (IPV4, "v=spf1 a:host.example.org//129 -all", "permerror"),
        (IPV4, "v=spf1 a/ -all", "permerror"),
        (IPV4, "v=spf1 a/24/24 -all", "permerror"),
        (IPV4, "v=spf1 ip4 -all", "permerror"),
        (IPV4, "v=spf1 ip4:192.0.2 -all", "permerror"),
        (IPV4, "v=spf1 ip4:192.0.2.7/ -all", "permerror"),
        (IPV4, "v=spf1 ip4:2001:db8::7 -all", "permerror"),
        (IPV4, "v=spf1 ip6:192.0.2.7 -all", "permerror"),
        (IPV4, "v=spf1 ip6:fe80::1%eth0 -all", "permerror"),
        (IPV4, "v=spf1 ip6:2001:db8::7/64/64 -all", "permerror"),
        (IPV4, "v=spf1 include -all", "permerror"),
        (IPV4, "v=spf1 include:museum -all", "permerror"),
        (IPV4, "v=spf1 include:example.123 -all", "permerror"),
        (IPV4, "v=spf1 include:example.-org -all", "permerror"),
        (IPV4, "v=spf1 include: -all", "permerror"),
        (IPV4, "v=spf1 exists -all", "permerror"),
        (IPV4, "v=spf1 ptr: -all", "permerror"),
        (IPV4, "v=spf1 ptr/24 -all", "permerror"),
        (IPV4, "v=spf1 all:x.example.org", "permerror"),
        (IPV4, "v=spf1 everybody", "permerror"),
        (IPV4, "v=spf1 + -all", "permerror"),
        (IPV4, "v=spf1 -ip4:192.0.2.7 everybody", "permerror"),
        (IPV4, "v=spf1 redirect=pass.example.org redirect=pass.example.org", "permerror"),
        (IPV4, "v=spf1 exp=a.example.org exp=a.example.org -all", "permerror"),
        (IPV4, "v=spf1 exp=a.example.org -all", "fail"),
        (IPV4, "v=spf1 exp= -all", "permerror"),
        (IPV4, "v=spf1 x-1_y.z=anything%{d}:/ -all", "fail"),
        (IPV4, "v=spf1 x=%x -all", "permerror"),
        (IPV4, "v=spf1 1x=y -all", "permerror"),
        (IPV4, "v=spf1 x+y=z -all", "permerror"),
        (IPV4, "v=spf1 =z -all", "permerror"),
        (IPV4, "v=spf1 exists:a=b.example.org -all", "fail"),
        (IPV4, "v=spf1\t-all", "none"),
        (IPV4, "v=spf1 a\t-all", "permerror"),
        (IPV4, "v=spf1 a:\xe9.example.org -all", "permerror"),
        (IPV4, "v=spf10 -all", "none"),
        (IPV4, "v=spf", "none"),
    ],
    ids=lambda text: str(text)[:60],
)  # fmt: skip
def test_record(client: str, record: str, wanted: str) -> None:
    zone = zone_of(HOST | {"domain.example.org": [f"TXT {record}"]})
    outcome, _asked = check_in(zone, client, "user@domain.example.org")
    assert outcome.result.value == ("pass" if wanted == NARROW else wanted)
    assert outcome.narrow is (wanted == NARROW)


@pytest.mark.parametrize(
    ("sender", "helo", "wanted"),
    [
        ("user@pass.example.org", "fail.example.org", "pass"),
        ("user@PASS.Example.Org", "", "pass"),
        ("user@pass.example.org.", "", "pass"),
        ("@pass.example.org", "", "pass"),
        ("pass.example.org", "", "pass"),
        ("a@b@pass.example.org", "", "pass"),
        ("", "pass.example.org", "pass"),
        ("", "pass.example.org.", "pass"),
        ("", "", "none"),
        ("@", "pass.example.org", "none"),
        ("user@", "pass.example.org", "none"),
        ("user@org", "", "none"),
        ("user@pass..example.org", "", "none"),
        ("user@" + "x" * 64 + ".example.org", "", "none"),
        ("user@" + "x." * 130 + "example.org", "", "none"),
        ("user@[192.0.2.7]", "", "none"),
        ("user@192.0.2.7", "", "none"),
        ("", "[192.0.2.7]", "none"),
        ("", "192.0.2.7", "none"),
        ("user@pass example.org", "", "none"),
        ("user@pass.example.org\0", "", "none"),
        ("user@none.example.org", "", "none"),
        ("user@nothing.example.org", "", "none"),
        ("user@late.example.org", "", "temperror"),
        ("user@b\xfccher.example", "", "pass"),
        ("user@xn--bcher-kva.example", "", "pass"),
        ("user@\udcff.example", "", "none"),
    ],
)
def test_whose_record_is_asked_for(sender: str, helo: str, wanted: str) -> None:
    zone = zone_of(HOST | {"xn--bcher-kva.example": ["TXT v=spf1 ip4:192.0.2.7 -all"]})
    outcome, _asked = check_in(zone, IPV4, sender, helo)
    assert outcome.result.value == wanted


@pytest.mark.parametrize(
    ("sender", "helo", "spec", "name"),
    [
        ("User.Name@d.example", "", "%{l}.x.org", "user.name.x.org"),
        ("user.name@d.example", "", "%{lr}.x.org", "name.user.x.org"),
        ("user-name@d.example", "", "%{l1-}.x.org", "name.x.org"),
        ("user+a-b@d.example", "", "%{lr-+}.x.org", "b.a.user.x.org"),
        ("user@d.example", "", "%{s}.x.org", "user@d.example.x.org"),
        ("user@d.example", "", "%{S}.x.org", "user%40d.example.x.org"),
        ("", "d.example", "%{l}.%{o}.x.org", "postmaster.d.example.x.org"),
        ("user@d.example", "h.example", "%{h}.x.org", "h.example.x.org"),
        ("user@d.example", "", "%{i}.%{v}.x.org", "192.0.2.7.in-addr.x.org"),
        ("user@d.example", "", "%{d}%{d}.x.org", "d.exampled.example.x.org"),
        ("user@d.example", "", "%{d9}.x.org.", "d.example.x.org"),
        # what no name can hold matches nothing, and is not asked for
        ("\xfcser@d.example", "", "%{l}.x.org", None),
        ("\xfcser@d.example", "", "%{s}.x.org", None),
        ("us\ner@d.example", "", "%{l}.x.org", None),
        ("u" * 300 + "@d.example", "", "%{l}.x.org", None),
        ("u" * 64 + "@d.example", "", "%{l}.x.org", None),
        ("user@d.example", "", "%{h}.x.org", None),
        ("user@d.example", "h\xfc.example", "%{h}.x.org", None),
        ("user@d.example", "x." * 100 + "h.example", "%{h}." + "y." * 100 + "x.org",
         ("x." * 26 + "h.example." + "y." * 100 + "x.org")[-253:].removeprefix(".")),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_macro_asks_for(sender: str, helo: str, spec: str, name: str | None) -> None:
    """RFC 7208, 7; RFC 8616, 4 for mailboxes outside ASCII."""
    zone = zone_of({"d.example": [f"TXT v=spf1 exists:{spec} -all"]})
    outcome, asked = check_in(zone, IPV4, sender, helo)
    assert outcome.result is Result.FAIL
    assert [query.name for query in asked[1:]] == ([name] if name else [])


def test_the_client_name_that_belongs_to_the_domain_is_preferred() -> None:
    names = ["PTR a.example.net", "PTR c.d.example", "PTR d.example", "PTR b.example.net"]
    base = {
        "d.example": ["TXT v=spf1 exists:%{p}.x.org -all"],
        "7.2.0.192.in-addr.arpa": names,
        "a.example.net": ["A 192.0.2.7"],
    }
    own = {"d.example": [*base["d.example"], "A 192.0.2.7"]}
    below = {"c.d.example": ["A 192.0.2.7"]}
    for more, wanted in [({}, "a.example.net"), (below, "c.d.example"), (own | below, "d.example")]:
        _outcome, asked = check_in(zone_of(base | more), IPV4, "user@d.example")
        assert asked[-1].name == f"{wanted}.x.org"


def test_the_terms_that_led_to_the_result_are_told() -> None:
    zone = zone_of(
        HOST
        | {
            "d.example": ["TXT v=spf1 mx redirect=r.example"],
            "r.example": ["TXT v=spf1 include:pass.example.org ~all"],
        }
    )
    outcome, _asked = check_in(zone, IPV4, "user@d.example")
    terms = ("redirect=r.example", "include:pass.example.org", "ip4:192.0.2.0/24")
    assert outcome == Outcome(Result.PASS, terms, narrow=True)
    outcome, _asked = check_in(zone, "198.51.100.9", "user@d.example")
    assert outcome == Outcome(Result.SOFTFAIL, ("redirect=r.example", "~all"))


def test_two_records_are_an_error_and_other_texts_are_not_ours() -> None:
    several = ["TXT v=spf1 -all", "TXT v=spf1 +all"]
    for texts, wanted in [(several, Result.PERMERROR), (["TXT a", several[0]], Result.FAIL)]:
        outcome, _asked = check_in(zone_of({"d.example": texts}), IPV4, "user@d.example")
        assert outcome.result is wanted


@pytest.mark.parametrize("text", [b"v=spf1", b"V=SPF1 -all", b"v=spf1  "])
def test_what_is_a_record(text: bytes) -> None:
    assert is_record(text)


def test_addresses_of_the_other_family_are_ignored() -> None:
    """A server may answer anything."""
    zone = dict(zone_of({"d.example": ["TXT v=spf1 a/0 ~all"]}))
    zone["d.example", "A"] = (b"", bytes(16), b"\xc0")
    outcome, _asked = check_in(zone, IPV4, "user@d.example")
    assert outcome.result is Result.SOFTFAIL
