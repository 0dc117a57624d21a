"""Rules that hold for all records, clocks and histories: R5, T8, P18, and families."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from greylag.core.accesslist import Entry, Seen, networks_around, speaks_for
from greylag.core.client import host_of, last_address, network, parse_address
from greylag.core.policy import Policy
from greylag.core.record import CLOCK_TOLERANCE, Record
from greylag.core.subject import Network
from greylag.core.triplet import Triplet, triplet_of
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from tests.core.asking import KEY, Given, T, ask, deny, write
from tests.strategies import (
    MAPPED,
    PROPERTY,
    ipv4,
    ipv6,
    ipv6_spellings,
    mapped_pairs,
    raw_addresses,
)

ATTEMPT = Given().attempt()
DAY, YEAR = 86400, 366 * 86400


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    delay = draw(st.sampled_from([0, 1, 60, 300]) | st.integers(0, 7200))
    window = delay + draw(st.integers(60, 3 * DAY))
    return Policy(delay=delay, retry_window=window, lifetime=draw(st.integers(DAY, 40 * DAY)))


class World:
    """One triplet, its records, and a clock that need not be right."""

    def __init__(self, policy: Policy, record: Record | None = None) -> None:
        self.policy = policy
        self.records: dict[Triplet, Record] = {} if record is None else {KEY: record}

    def attempt(self, clock: int) -> Decision:
        decision = ask(ATTEMPT, self.records, self.policy, clock)
        write(decision, self.records, clock)
        return decision


@PROPERTY
@given(policies(), st.data())
def test_early_retries_move_nothing_r5(policy: Policy, data: st.DataObject) -> None:
    """R5: neither first_seen nor defer_until nor expires, however many and whenever."""
    policy = replace(policy, delay=policy.delay + 1, retry_window=policy.retry_window + 1)
    world = World(policy)
    world.attempt(T)
    born = world.records[KEY]
    retries = data.draw(st.lists(st.integers(-CLOCK_TOLERANCE, policy.delay - 1), max_size=9))
    for number, seconds in enumerate(retries, 1):
        decision = world.attempt(T + seconds)
        assert decision.reason is Reason.EARLY
        assert decision.retry_after == policy.delay - seconds
        assert world.records[KEY] == replace(born, blocked=1 + number)
    assert world.attempt(T + policy.delay).verdict is Verdict.PASS


def skews() -> st.SearchStrategy[int]:
    steps = st.sampled_from([0, -1, 5, 6, -DAY, YEAR, -YEAR])
    return steps | st.integers(-10, 10) | st.integers(-2 * YEAR, 2 * YEAR)


@st.composite
def planted(draw: st.DrawFn, policy: Policy) -> Record | None:
    """Draw a record as a server with any clock would have written it, or none."""
    if draw(st.booleans()):
        return None
    first = T + draw(skews())
    passed = draw(st.integers(0, 1))
    expires = first + policy.retry_window + passed * policy.lifetime
    return Record(first, first + policy.delay, expires, draw(st.integers(1, 9)), passed)


@PROPERTY
@given(policies(), st.data())
def test_nobody_is_deferred_for_ever_t8(policy: Policy, data: st.DataObject) -> None:
    """T8: whatever happened before, once the clock is right delay + tolerance is the longest."""
    world = World(policy, data.draw(planted(policy)))
    time = T
    for seconds, skew in data.draw(st.lists(st.tuples(st.integers(0, 2 * DAY), skews()))):
        time += seconds
        world.attempt(time + skew)
    step = data.draw(st.integers(1, 60))
    for right in range(time, time + policy.delay + CLOCK_TOLERANCE, step):
        if world.attempt(right).verdict is Verdict.PASS:
            return
    assert world.attempt(time + policy.delay + CLOCK_TOLERANCE).verdict is Verdict.PASS


@PROPERTY
@given(policies(), st.lists(skews(), min_size=1, max_size=20))
def test_no_clock_lets_anybody_in_early_p18(policy: Policy, readings: list[int]) -> None:
    """P18: a first pass comes `delay` seconds of that clock after its first contact, or later."""
    world, first_contact = World(policy), None
    for reading in readings:
        now = T + reading
        decision = world.attempt(now)
        if decision.reason is Reason.NEW:
            first_contact = now
        if decision.reason is Reason.RETRIED:
            assert first_contact is not None
            assert decision.waited == now - first_contact
            assert now - first_contact >= policy.delay
        if decision.reason is Reason.KNOWN:
            assert decision.record is not None
            assert decision.record.passed


@PROPERTY
@given(policies(), st.integers(1, 50))
def test_a_frozen_clock_lets_nobody_in_p18(policy: Policy, retries: int) -> None:
    world = World(replace(policy, delay=policy.delay + 1, retry_window=policy.retry_window + 1))
    assert {world.attempt(T).verdict for _ in range(retries)} == {Verdict.DEFER}


@PROPERTY
@given(mapped_pairs(), raw_addresses, st.integers(0, 32), st.integers(0, 32))
def test_ipv4_and_its_mapped_ipv6_agree(
    pair: tuple[bytes, bytes], sender: bytes, bits: int, listed: int
) -> None:
    """Fault 5: in any spelling the same triplet and the same decision."""
    plain, mapped = pair
    packed = parse_address(plain)
    assert packed is not None
    assert parse_address(mapped) == packed
    entry = Entry(Network(network(packed, listed), listed), T + 1)
    policy = Policy(ipv4_prefix=bits, ipv6_prefix=bits)
    for entries in ((), (entry,)):
        asked = [
            Given(client=c, sender=sender, policy=policy, entries=entries).answer()
            for c in (plain, mapped)
        ]
        assert asked[0] == asked[1]
        assert asked[0].reason is (Reason.DENYLISTED if entries else Reason.NEW)


@PROPERTY
@given(ipv4, ipv6, st.integers(0, 32), st.integers(0, 128), st.data())
def test_families_never_match_each_other(
    four: bytes, six: bytes, short: int, long: int, data: st.DataObject
) -> None:
    """Fault 4: neither in lists nor in triplets, also where their bytes begin alike."""
    if data.draw(st.booleans()):
        six = four + six[4:]
        assume(not six.startswith(MAPPED) and not host_of(six)[1])  # it is of no IPv4 host
    assert not speaks_for(Network(network(four, short), short), Seen(six))
    assert not speaks_for(Network(network(six, long), long), Seen(four))
    assert not {n.packed for n in networks_around(four)} & {n.packed for n in networks_around(six)}
    policy = Policy(ipv4_prefix=short, ipv6_prefix=long)
    one, other = (triplet_of(packed, b"a", b"b", policy) for packed in (four, six))
    assert one != other
    text = data.draw(ipv6_spellings(six))
    entries = (Entry(Network(bytes(4), 0), T + 1),)
    assert Given(client=text, entries=entries).answer().reason is Reason.NEW
    assert Given(entries=(deny("::/0"),)).answer().reason is Reason.NEW


@PROPERTY
@given(ipv4 | ipv6, st.data())
def test_an_entry_speaks_for_exactly_its_range(packed: bytes, data: st.DataObject) -> None:
    """What a store looks up, what speaks and the range from first to last are the same thing."""
    size = 8 * len(packed)
    prefix = data.draw(st.integers(0, size))
    subject = Network(network(packed, prefix), prefix)
    other = data.draw(st.binary(min_size=len(packed), max_size=len(packed)))
    near = int.from_bytes(packed, "big") ^ (1 << data.draw(st.integers(0, size - 1)))
    for client in (packed, other, near.to_bytes(len(packed), "big")):
        inside = subject.packed <= client <= last_address(subject.packed, prefix)
        assert speaks_for(subject, Seen(client, "example.net")) is inside
        assert (subject in networks_around(client)) is inside
