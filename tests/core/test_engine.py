"""Every rule of the engine as a named case, with what is wanted beside it.

Sources: the old plugin (its faults by the numbers of properties.md) and RFC 6647, as R1 to R23
(docs/inside/rfc6647.md).
"""

from __future__ import annotations

import pytest

from greylag.core.address import canonical
from greylag.core.policy import NullSender, Policy
from greylag.core.record import Blocked, Created, Record
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Verdict
from tests.core.asking import (
    BLOCKED,
    DELAY,
    FRESH,
    KEY,
    KNOWN,
    LIFETIME,
    REJECTED,
    WAITING,
    WINDOW,
    Given,
    T,
    allow,
    created,
    defers,
    deny,
    passed,
    passes,
)

case = pytest.param
SIX = bytes.fromhex("20010db8000100020000000000000000")
SIX_KEY = Triplet(SIX, "a@example.org", "b@example.net")
NULL_KEY = replace(KEY, sender="")
AT_RCPT, NEVER = Policy(null_sender=NullSender.RCPT), Policy(null_sender=NullSender.NEVER)
EXPLICIT = Policy(explicit=True)
RETRIED = passes("retried", passed(now=T + DELAY), waited=DELAY)
ALLOWED = passes("allowlisted")
DAY, YEAR = 86400, 366 * 86400


def again(key: Triplet = KEY, **attempt: bytes | Policy) -> Given:
    """Give an attempt just when the record of `key` lets it pass."""
    return Given(record=WAITING, of=key, now=T + DELAY, **attempt)  # type: ignore[arg-type]


def retried(key: Triplet) -> Decision:
    return passes("retried", passed(key, T + DELAY), waited=DELAY)


def fresh(key: Triplet, now: int = T + DELAY) -> Decision:
    return defers("new", DELAY, created(key, now))


def at(seconds: int, record: Record | None = WAITING, policy: Policy | None = None) -> Given:
    """Give an attempt so long after T."""
    return Given(record=record, now=T + seconds, policy=policy or Policy())


# fmt: off
WHEN_IT_ACTS = [
    case(Given(enabled=False), passes("disabled"), id="GREYLISTING is not set"),
    case(Given(relay=True), passes("relay"), id="RELAYCLIENT is set"),
    case(Given(authenticated=True), passes("authenticated"), id="logged in (R11)"),
    case(Given(enabled=False, relay=True), passes("disabled"), id="disabled before relay"),
    case(Given(relay=True, authenticated=True), passes("relay"), id="relay before authenticated"),
    case(Given(authenticated=True, client=None), passes("authenticated"), id="then the variables"),
    case(Given(client=None), passes("incomplete"), id="no client address"),
    case(Given(sender=None), passes("incomplete"), id="no sender"),
    case(Given(recipient=None), passes("incomplete"), id="no recipient"),
    case(Given(recipient=b""), fresh(replace(KEY, recipient=""), T), id="an empty recipient"),
    case(Given(client=b"x", sender=None), passes("incomplete"), id="incomplete before invalid"),
    case(Given(client=b"x", recipient_refused=True), passes("recipient-refused"),
         id="refused before invalid"),
    case(Given(recipient_refused=True), passes("recipient-refused"), id="rcpthosts (fault 9)"),
    case(Given(recipient_refused=True, entries=(deny("192.0.2.0/24"),)),
         passes("recipient-refused"), id="rcpthosts before the denylist"),
    case(Given(client=b""), passes("invalid-client"), id="client: empty"),
    case(Given(client=b"not-an-ip"), passes("invalid-client"), id="client: no address"),
    case(Given(client=b"999.1.1.1"), passes("invalid-client"), id="client: over 255"),
    case(Given(client=b"x", entries=(deny("example.net"),)), passes("invalid-client"),
         id="invalid client before the lists"),
    case(Given(), FRESH, id="else it is greylisted"),
    case(Given(enabled=False, entries=(deny("192.0.2.17"),)), passes("disabled"),
         id="disabled before the denylist"),
    case(Given(authenticated=True, entries=(deny("192.0.2.17"),)), passes("authenticated"),
         id="authenticated before the denylist"),
]
LISTS = [
    case(Given(entries=(deny("192.0.2.17"),)), REJECTED, id="a denied address"),
    case(Given(entries=(deny("192.0.2.16"),)), FRESH, id="a neighbour is not denied"),
    case(Given(entries=(deny("192.0.2.0/28"),)), FRESH, id="just outside a denied range"),
    case(Given(entries=(deny("192.0.2.16/31"),)), REJECTED, id="just inside a denied range"),
    case(Given(entries=(allow("192.0.2.0/24"),)), ALLOWED, id="an allowed range (R10, R15)"),
    case(Given(entries=(deny("example.net"),)), REJECTED, id="a denied recipient domain"),
    case(Given(entries=(allow("example.net"),)), ALLOWED, id="an allowed recipient domain"),
    case(Given(entries=(deny("example.org"),)), FRESH, id="a sender's domain is nothing (T3)"),
    case(Given(entries=(allow("net", domain=True),)), FRESH, id="no parent domains"),
    case(Given(recipient=b"b@mx.example.net", entries=(allow("example.net"),)),
         fresh(replace(KEY, recipient="b@mx.example.net"), T), id="no subdomains"),
    case(Given(entries=(deny("192.0.2.0/24"), allow("192.0.2.16/28"))), ALLOWED,
         id="the longest prefix allows"),
    case(Given(entries=(allow("192.0.2.16/28"), deny("192.0.2.17"))), REJECTED,
         id="the longest prefix denies"),
    case(Given(entries=(deny("192.0.2.17"), allow("192.0.2.0/24"))), REJECTED,
         id="the longest prefix, not the newest"),
    case(Given(entries=(deny("0.0.0.0/0"), allow("example.net"))), REJECTED,
         id="the widest address before any domain"),
    case(Given(entries=(allow("0.0.0.0/0"), deny("example.net"))), ALLOWED,
         id="an allowed address before a denied domain"),
    case(Given(entries=(deny("192.0.2.17"), allow("192.0.2.17"))), ALLOWED,
         id="of two for the same address the newest allows"),
    case(Given(entries=(allow("192.0.2.17"), deny("192.0.2.17"))), REJECTED,
         id="of two for the same address the newest denies"),
    case(Given(entries=(allow("example.net"), deny("example.net"))), REJECTED,
         id="of two for the same domain the newest"),
    case(Given(entries=(deny("192.0.2.17", T + 9, T + 1),)), REJECTED, id="expires next second"),
    case(Given(entries=(deny("192.0.2.17", T + 9, T),)), FRESH, id="expired this second"),
    case(Given(entries=(allow("192.0.2.0/24"), deny("192.0.2.17", T + 9, T))), ALLOWED,
         id="an expired longer prefix gives way"),
    case(Given(entries=(deny("192.0.2.17", T + 1),)), REJECTED, id="block_expires in the future"),
    case(Given(entries=(deny("192.0.2.17", T),)), ALLOWED, id="block_expires now: allows"),
    case(Given(entries=(deny("192.0.2.17", T - 1),)), ALLOWED, id="block_expires past: allows"),
    case(Given(recipient=b"b@EXAMPLE.Net", entries=(deny("example.net"),)), REJECTED,
         id="the recipient's case"),
    case(Given(entries=(deny("Example.NET"),)), REJECTED, id="the entry's case"),
    case(Given(recipient=b"Postmaster", entries=(deny("postmaster", domain=True),)), REJECTED,
         id="all of a recipient without @"),
    case(Given(recipient=b'"x@other.example"@example.net', entries=(deny("example.net"),)),
         REJECTED, id="the last @ counts"),
    case(Given(client=b"2a00:1450::1", entries=(deny("42.0.0.0/8"),)),
         fresh(replace(KEY, network=b"\x2a\x00\x14\x50" + bytes(12)), T),
         id="42.0.0.0/8 is not 2a00:: (fault 4)"),
    case(Given(client=b"2001:db8:1:2::5", entries=(deny("0.0.0.0/0"),)), fresh(SIX_KEY, T),
         id="all of IPv4 is none of IPv6 (fault 4)"),
    case(Given(entries=(deny("::/0"),)), FRESH, id="all of IPv6 is none of IPv4"),
    case(Given(entries=(deny("c000:200::/64"),)), FRESH, id="nor is a long IPv6 prefix"),
    case(Given(client=b"::FFFF:192.0.2.17", entries=(deny("::/0"),)), FRESH,
         id="nor of mapped IPv4"),
    case(Given(client=b"::ffff:c000:211", entries=(deny("192.0.2.17"),)), REJECTED,
         id="mapped IPv6 is denied as IPv4"),
    case(Given(entries=(deny("::ffff:192.0.2.0/120"),)), REJECTED, id="a mapped range is IPv4"),
    case(Given(client=b"2001:DB8:1:2::5%eth0", entries=(deny("2001:db8::/32"),)), REJECTED,
         id="an IPv6 range, with capitals and a zone"),
    case(Given(client=b"2001:db9::5", entries=(deny("2001:db8::/32"),)),
         fresh(replace(KEY, network=b"\x20\x01\x0d\xb9" + bytes(12)), T),
         id="just outside an IPv6 range"),
    case(Given(entries=(deny("192.0.2.17"),), record=KNOWN), REJECTED,
         id="denied although it passed before"),
    case(Given(entries=(allow("192.0.2.17"),), record=WAITING), ALLOWED,
         id="allowed although it waits; its record is left alone"),
]
EXPLICITLY = [
    case(Given(policy=EXPLICIT), passes("not-listed"), id="no row: accept"),
    case(Given(policy=EXPLICIT, entries=(deny("192.0.2.17"),)), REJECTED, id="denied address"),
    case(Given(policy=EXPLICIT, entries=(deny("example.net"),)), REJECTED, id="denied domain"),
    case(Given(policy=EXPLICIT, entries=(allow("192.0.2.17"),)), ALLOWED, id="allowed address"),
    case(Given(policy=EXPLICIT, entries=(allow("example.net"),)), FRESH, id="domain: greylist"),
    case(Given(policy=EXPLICIT, entries=(allow("example.net"), allow("192.0.2.0/24"))), ALLOWED,
         id="address before domain"),
    case(Given(policy=EXPLICIT, entries=(allow("example.net", T),)), passes("not-listed"),
         id="an expired domain is no row"),
    case(Given(policy=EXPLICIT, entries=(allow("example.net"),), record=WAITING, now=T + DELAY),
         passes("not-listed"), id="the same, when it has expired meanwhile"),
    case(Given(policy=EXPLICIT, entries=(allow("example.net"),), record=KNOWN),
         passes("known", passed()), id="domain: known"),
    case(Given(policy=replace(EXPLICIT, null_sender=NullSender.NEVER), sender=b""),
         passes("not-listed"), id="no row before the null sender"),
    case(Given(policy=replace(NEVER, explicit=True), sender=b"", entries=(allow("example.net"),)),
         passes("null-sender"), id="domain: null sender is never deferred"),
]
# T40: spellings of recipients that a host may take for one of another domain.
ODD = [b"b@[127.0.0.1]", b"b%example.net@example.com", b"x!b@example.com", b'"b@x"@example.com',
       b"b@x@example.com", b"b@example.com..", b"@x:b@example.com", b"b\\@example.com"]
BY_SPELLING = [
    *[case(Given(policy=EXPLICIT, recipient=odd), fresh(replace(KEY, recipient=canonical(odd)), T),
           id=f"explicit: {odd!r} stays greylisted") for odd in (*ODD, b"b", b"b@localhost")],
    *[case(Given(recipient=odd, entries=(allow("example.com"),)),
           fresh(replace(KEY, recipient=canonical(odd)), T),
           id=f"allowed domain: {odd!r} stays greylisted") for odd in ODD],
    case(Given(policy=EXPLICIT, recipient=b"b@example.net.", entries=(allow("example.net"),)),
         fresh(replace(KEY, recipient="b@example.net."), T), id="explicit: the final dot"),
    case(Given(recipient=b"b@example.net.", entries=(deny("example.net"),)), REJECTED,
         id="the final dot: denied"),
    case(Given(recipient=b"example.net", entries=(deny("example.net"),)),
         fresh(replace(KEY, recipient="example.net"), T),
         id="a mailbox is not refused as a domain"),
    case(Given(recipient=b"b%example.net@example.com", entries=(deny("example.net"),)),
         fresh(replace(KEY, recipient="b%example.net@example.com"), T),
         id="a route is not refused for where it leads"),
    case(Given(recipient=b"Postmaster", entries=(allow("postmaster", domain=True),)), ALLOWED,
         id="a mailbox that an entry names"),
    case(Given(recipient="b@b\u00fccher.example".encode(),
               entries=(allow("xn--bcher-kva.example"),)), ALLOWED,
         id="the domain in its own script"),
    case(Given(recipient=b"b@xn--bcher-kva.example", entries=(allow("b\u00fccher.example"),)),
         ALLOWED, id="the entry in its own script"),
]
TRIPLETS = [
    case(again(), RETRIED, id="the same"),
    case(again(client=b"192.0.2.0"), RETRIED, id="first of the /24 (R9)"),
    case(again(client=b"192.0.2.255"), RETRIED, id="last of the /24"),
    case(again(client=b"192.0.3.17"), fresh(replace(KEY, network=b"\xc0\x00\x03\x00")),
         id="the next /24"),
    case(again(client=b"::ffff:192.0.2.17"), RETRIED, id="mapped IPv6"),
    case(again(client=b"::FFFF:192.0.2.17"), RETRIED, id="mapped, in capitals (fault 5)"),
    case(again(client=b"0:0:0:0:0:fFfF:C000:0211%eth0"), RETRIED, id="mapped, long, with a zone"),
    case(again(client=b"::192.0.2.17"), fresh(replace(KEY, network=bytes(16))), id="not mapped"),
    case(again(SIX_KEY, client=b"2001:db8:1:2::"), retried(SIX_KEY), id="first of the /64"),
    case(again(SIX_KEY, client=b"2001:db8:1:2:ffff:ffff:ffff:ffff"), retried(SIX_KEY),
         id="last of the /64, with PROTO unheard (fault 5)"),
    case(again(SIX_KEY, client=b"2001:db8:1:3::"),
         fresh(replace(SIX_KEY, network=bytes.fromhex("20010db800010003") + bytes(8))),
         id="the next /64"),
    case(again(SIX_KEY, client=b"2001:db8:1:2::5%eth0"), retried(SIX_KEY), id="zone (fault 5)"),
    case(again(replace(KEY, network=bytes.fromhex("20010d00")), client=b"2001:d00::1"),
         fresh(replace(KEY, network=bytes.fromhex("20010d00") + bytes(12))),
         id="32.1.13.0/24 is not 2001:d00:: (fault 4)"),
    case(again(replace(KEY, network=b"\xc0\x00\x02\x11"), policy=Policy(ipv4_prefix=32)),
         retried(replace(KEY, network=b"\xc0\x00\x02\x11")), id="/32"),
    case(again(replace(KEY, network=b"\xc0\x00\x02\x10"), policy=Policy(ipv4_prefix=31)),
         retried(replace(KEY, network=b"\xc0\x00\x02\x10")), id="/31"),
    case(again(replace(KEY, network=b"\xc0\x00\x00\x00"), policy=Policy(ipv4_prefix=16)),
         retried(replace(KEY, network=b"\xc0\x00\x00\x00")), id="/16"),
    case(again(replace(SIX_KEY, network=SIX[:6] + bytes(10)), client=b"2001:db8:1:ffff::1",
               policy=Policy(ipv6_prefix=48)),
         retried(replace(SIX_KEY, network=SIX[:6] + bytes(10))), id="/48"),
    case(again(sender=b"A@EXAMPLE.ORG"), RETRIED, id="sender without case"),
    case(again(recipient=b"B@Example.Net"), RETRIED, id="recipient without case"),
    case(again(sender=b"c@example.org"), fresh(replace(KEY, sender="c@example.org")),
         id="another sender"),
    case(again(recipient=b"c@example.net"), fresh(replace(KEY, recipient="c@example.net")),
         id="another recipient"),
    case(again(sender=b""), defers("new", DELAY, created(NULL_KEY, T + DELAY), at_data=True),
         id="the null sender is another"),
    case(again(sender=b"prvs=1234567890=a@example.org"), RETRIED, id="BATV, tag first"),
    case(again(sender=b"PRVS=12ab=A@example.org"), RETRIED, id="BATV, in capitals"),
    case(again(sender=b"prvs=a/1234567890@example.org"), RETRIED, id="BATV, user first"),
    case(again(recipient=b"prvs=1234=b@example.net"),
         fresh(replace(KEY, recipient="prvs=1234=b@example.net")), id="no BATV in recipients"),
]
NULL_SENDER = [
    case(Given(sender=b""), defers("new", DELAY, created(NULL_KEY), at_data=True), id="at DATA"),
    case(Given(sender=b"", record=WAITING, of=NULL_KEY, now=T + 1),
         defers("early", DELAY - 1, Blocked(NULL_KEY), at_data=True), id="early, at DATA"),
    case(Given(sender=b"", further=True), defers("new", DELAY, created(NULL_KEY)),
         id="at RCPT where another recipient came before"),
    case(Given(sender=b"", record=WAITING, of=NULL_KEY, now=T + 1, further=True),
         defers("early", DELAY - 1, Blocked(NULL_KEY)), id="the same, early"),
    case(Given(further=True), FRESH, id="others at RCPT anyhow"),
    case(Given(sender=b"", policy=AT_RCPT), defers("new", DELAY, created(NULL_KEY)), id="at RCPT"),
    case(Given(sender=b"", record=WAITING, of=NULL_KEY, now=T + 1, policy=AT_RCPT),
         defers("early", DELAY - 1, Blocked(NULL_KEY)), id="early, at RCPT"),
    case(Given(sender=b"", policy=NEVER), passes("null-sender"), id="never"),
    case(Given(policy=NEVER), FRESH, id="never: others are"),
    case(Given(sender=b"", policy=NEVER, entries=(deny("192.0.2.17"),)), REJECTED,
         id="never: the denylist is asked first"),
    case(Given(sender=b"", record=KNOWN, of=NULL_KEY), passes("known", passed(NULL_KEY)),
         id="known"),
]
NOW_OR_NEVER = Policy(delay=0)
TIMES = [
    case(at(0, None), FRESH, id="first contact"),
    case(at(0), defers("early", DELAY, BLOCKED), id="early: the same second"),
    case(at(DELAY - 1), defers("early", 1, BLOCKED), id="early: delay - 1 (R3, R5)"),
    case(at(DELAY), RETRIED, id="retried: at the delay (R3)"),
    case(at(DELAY, replace(WAITING, blocked=9)), RETRIED, id="early retries moved nothing (R5)"),
    case(at(WINDOW - 1), passes("retried", passed(now=T + WINDOW - 1), waited=WINDOW - 1),
         id="retried: window - 1 (R3)"),
    case(at(WINDOW), fresh(KEY, T + WINDOW), id="anew: at the window (R4)"),
    case(at(WINDOW + 1), fresh(KEY, T + WINDOW + 1), id="anew: window + 1 (R4)"),
    case(at(LIFETIME - 1, KNOWN), passes("known", passed(now=T + LIFETIME - 1)),
         id="known: lifetime - 1 (R6: traffic refreshes)"),
    case(at(LIFETIME, KNOWN), fresh(KEY, T + LIFETIME), id="anew: at the lifetime (R6)"),
    case(at(0, replace(KNOWN, defer_until=T + 9)), passes("known", passed()),
         id="known: whatever defer_until says"),
    case(at(0, None, NOW_OR_NEVER), defers("new", 0, created(delay=0)), id="delay 0: new"),
    case(at(0, replace(WAITING, defer_until=T), NOW_OR_NEVER),
         passes("retried", passed(), waited=0), id="delay 0: the same second passes (fault 8)"),
    case(at(61, None, Policy(delay=60, retry_window=61)),
         defers("new", 60, created(now=T + 61, delay=60, window=61)), id="other settings: new"),
    case(at(DELAY, policy=Policy(lifetime=DAY)),
         passes("retried", passed(now=T + DELAY, lifetime=DAY), waited=DELAY),
         id="other settings: lifetime"),
    case(at(DELAY, policy=Policy(delay=DELAY + 99)), RETRIED, id="a new delay is for new mail"),
    case(at(-1), defers("early", DELAY + 1, BLOCKED), id="clock: a second back"),
    case(at(-5), defers("early", DELAY + 5, BLOCKED), id="clock: as far as tolerated (T8)"),
    case(at(-6), fresh(KEY, T - 6), id="clock: further back starts anew (T8)"),
    case(at(-DAY), fresh(KEY, T - DAY), id="clock: a day back (P18)"),
    case(at(YEAR), fresh(KEY, T + YEAR), id="clock: a year on (P18)"),
    case(at(-DAY, KNOWN), passes("known", passed(now=T - DAY)), id="clock: known stays (P18)"),
    case(at(0, replace(KNOWN, first_seen=T + DAY)), passes("known", passed()),
         id="clock: known from the future"),
]
# fmt: on
RULES = [*WHEN_IT_ACTS, *LISTS, *EXPLICITLY, *BY_SPELLING, *TRIPLETS, *NULL_SENDER, *TIMES]


@pytest.mark.parametrize(("given", "wanted"), RULES)
@pytest.mark.parametrize("newest_first", [False, True])
def test_rule(given: Given, wanted: Decision, newest_first: bool) -> None:
    decision = given.answer(newest_first=newest_first)
    # Who the client is, the next test looks at.
    changes = tuple(
        replace(c, client=b"") if isinstance(c, Created) else c for c in decision.changes
    )
    shown = replace(decision, entry=None, record=None, client=b"", changes=changes, id="")
    assert shown == wanted
    assert bool(decision.id) is (decision.verdict is Verdict.DEFER or decision.waited is not None)


def test_a_first_contact_tells_the_whole_address_of_the_client() -> None:
    (change,) = Given(client=b"::ffff:192.0.2.17").answer().changes
    assert isinstance(change, Created)
    assert (change.client, change.triplet.network) == (b"\xc0\0\2\x11", b"\xc0\0\2\0")
