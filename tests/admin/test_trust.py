"""Trust, correspondents and who mailed a trap, as an admin finds them and ends them."""

from __future__ import annotations

import pytest

from greylag.admin import explain, records
from greylag.admin.expiry import ClockDoubted, expire
from greylag.admin.records import wanted
from greylag.admin.trust import (
    Trust,
    distrust,
    identity_text,
    trust_in,
    typed_domain,
    typed_identity,
)
from greylag.admin.typed import WrongValue
from greylag.core.evidence import Evidence, Kind
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.policy import SPARING, Policy, with_evidence
from greylag.core.question import Question
from greylag.core.record import Noted, Record
from greylag.core.spf import Outcome, Result
from greylag.core.triplet import (
    OF_SENT,
    OF_TRAPPED,
    OF_TRUST,
    Triplet,
    connection_of,
    sent_of,
    trapped_of,
    trust_of,
)
from greylag.core.value import replace
from greylag.core.verdict import Reason, Verdict
from greylag.store.base import Store, StoreUnavailable
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000
DAY = 86400
POLICY = with_evidence(replace(SPARING, dns=True))
CLIENT, NEIGHBOUR = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
HERE, NEXT = of_address(CLIENT), of_address(NEIGHBOUR)
SIXTH = bytes.fromhex("20010db8") + bytes(12)
POOL = Pool(PoolKind.SPF, "example.org").packed
KEY = Triplet(bytes((192, 0, 2, 0)), "a@example.org", "b@example.net")
POOLED = replace(KEY, network=POOL)
SENT = sent_of("a@example.org", "b@example.net")
CONNECTION = connection_of(CLIENT, 24)


def passes(number: int, since: int = NOW - 2 * DAY, until: int = NOW + DAY) -> Record:
    return Record(since, since, until, passed=number)


def kept() -> MemoryStore:
    store = MemoryStore()
    keys = [
        *(KEY, POOLED, SENT, CONNECTION),
        *(trust_of(HERE, ""), trust_of(HERE, "example.org"), trust_of(HERE, "example.com")),
        *(trust_of(NEXT, "example.org"), trust_of(of_address(SIXTH), "")),
        *(trust_of(POOL, "example.org"), trapped_of(CLIENT), trapped_of(SIXTH)),
    ]
    store.merge({key: passes(3 + number) for number, key in enumerate(keys)})
    return store


def found(store: Store, **asked: str | bool) -> list[Triplet]:
    return [key for key, _ in records.fitting(store, wanted(POLICY, **asked))]  # type: ignore[arg-type]


def test_what_is_kept_under_a_name_is_no_mail() -> None:
    assert found(kept()) == [CONNECTION, KEY]
    assert found(kept(), sender="example.org") == [KEY]
    assert found(kept(), client="192.0.2.1") == [CONNECTION, KEY]
    assert found(kept(), pools=True) == [POOLED]


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        (
            {},
            [
                *(trust_of(POOL, "example.org"), trust_of(HERE, ""), trust_of(HERE, "example.com")),
                *(trust_of(HERE, "example.org"), trust_of(NEXT, "example.org")),
                trust_of(of_address(SIXTH), ""),
            ],
        ),
        ({"sender": "example.com"}, [trust_of(HERE, "example.com")]),
        ({"client": "192.0.2.2"}, [trust_of(NEXT, "example.org")]),
        (
            {"client": "192.0.2.0/24", "sender": "example.org"},
            [trust_of(HERE, "example.org"), trust_of(NEXT, "example.org")],
        ),
        ({"client": "2001:db8::99"}, [trust_of(of_address(SIXTH), "")]),
        ({"client": "198.51.100.1"}, []),
    ],
)
def test_trust_is_found_by_its_own_address_and_domain(
    asked: dict[str, str], keys: list[Triplet]
) -> None:
    assert found(kept(), kind=OF_TRUST, **asked) == keys


def test_correspondents_and_who_mailed_a_trap_are_found() -> None:
    assert found(kept(), kind=OF_SENT) == [SENT]
    assert found(kept(), kind=OF_SENT, sender="a@", recipient="example.net") == [SENT]
    assert found(kept(), kind=OF_SENT, sender="b@") == []
    assert found(kept(), kind=OF_TRAPPED) == [trapped_of(CLIENT), trapped_of(SIXTH)]
    assert found(kept(), kind=OF_TRAPPED, client="2001:db8::/32") == [trapped_of(SIXTH)]


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": OF_TRUST, "recipient": "b"},
        {"kind": OF_TRUST, "passed": True},
        {"kind": OF_TRAPPED, "sender": "a"},
        {"kind": OF_SENT, "client": "192.0.2.1"},
        {"pools": True, "client": "192.0.2.1"},
        {"kind": OF_SENT, "pools": True},
    ],
)
def test_what_a_kind_does_not_have_is_not_looked_for(asked: dict[str, str | bool]) -> None:
    with pytest.raises(WrongValue):
        wanted(POLICY, **asked)  # type: ignore[arg-type]


def test_only_what_counts_now_is_listed() -> None:
    what = wanted(POLICY, kind=OF_SENT)
    assert records.newest(kept(), what, 9, live_at=NOW)[0] == 1
    assert records.newest(kept(), what, 9, live_at=NOW + DAY) == (0, [])


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("192.0.2.1", HERE),
        ("::ffff:192.0.2.1", HERE),
        ("2001:db8::99", of_address(SIXTH)),
        ("2001:db8::/64", of_address(SIXTH)),
        ("spf:Example.ORG", POOL),
        ("name:example.org", Pool(PoolKind.NAME, "example.org").packed),
    ],
)
def test_an_identity_is_read_as_it_is_shown(text: str, identity: bytes) -> None:
    assert typed_identity(text) == identity
    assert typed_identity(identity_text(identity)) == identity


@pytest.mark.parametrize(
    "text", ["", "example.org", "spf:", "spf:a b", "spf:localhost", "192.0.2.0/24", "users:users"]
)
def test_what_is_no_identity_is_a_wrong_value(text: str) -> None:
    with pytest.raises(WrongValue, match="expected"):
        typed_identity(text)


def test_a_sender_domain_is_read_or_any() -> None:
    assert [typed_domain(text) for text in ("any", "Example.ORG", "@example.org")] == [
        *("", "example.org", "example.org")
    ]
    with pytest.raises(WrongValue, match="expected a sender domain"):
        typed_domain("a b")


def test_trust_ends_with_one_domain_or_whole_and_nothing_else_does() -> None:
    store = kept()
    assert distrust(store, HERE, "example.com", NOW) == [trust_of(HERE, "example.com")]
    before, removals = set(found(store, kind=OF_TRUST)), store.removals()
    ended = distrust(store, HERE, None, NOW)
    assert ended == [trust_of(HERE, ""), trust_of(HERE, "example.org")]
    assert before - set(found(store, kind=OF_TRUST)) == set(ended)
    assert store.removals() != removals, "or daemons would go on by what they remember"
    assert distrust(store, HERE, None, NOW) == distrust(store, HERE, "", NOW) == []
    assert found(store) == [CONNECTION, KEY]
    assert found(store, kind=OF_TRAPPED) == [trapped_of(CLIENT), trapped_of(SIXTH)]


@pytest.mark.parametrize(
    ("record", "holds"),
    [
        (passes(5), True),
        (passes(4), False),
        (passes(5, since=NOW - DAY + 1), False),
        (passes(5, since=NOW - DAY), True),
        (passes(5, until=NOW), False),
    ],
)
def test_trust_holds_as_the_rules_have_it(record: Record, holds: bool) -> None:
    assert trust_in(trust_of(HERE, "example.org"), record, POLICY).holds(NOW) is holds
    store = MemoryStore()
    store.merge({trust_of(HERE, "example.org"): record})
    decision = answered(store).decision
    assert (decision.reason is Reason.TRUSTED) is holds


def pass_of_spf(_question: Question, kinds: frozenset[Kind], _seconds: float) -> Evidence:
    outcome = Outcome(Result.PASS, ("ip4:192.0.2.0/24",), narrow=True)
    found = {Kind.SPF: outcome, Kind.NAMES: ("mail.example.org",)}
    return {kind: found.get(kind) for kind in kinds}


def answered(
    store: Store, policy: Policy = POLICY, *, client: str = "192.0.2.1"
) -> explain.Explained:
    asked = explain.attempt(client, "a@example.org", "b@example.net", policy)
    return explain.explain(asked, lambda: store, Verdict.PASS, NOW, pass_of_spf)


def test_the_standing_of_a_client_has_its_address_and_its_pool() -> None:
    store = MemoryStore()
    store.apply([Noted(trust_of(HERE, "example.org"), NOW - 9, NOW + 9, 3)], {}, NOW - 9)
    store.apply([Noted(trust_of(POOL, ""), NOW - 8, NOW + 8, 4)], {}, NOW - 8)
    store.apply([Noted(trapped_of(CLIENT), NOW - 3 * DAY, NOW)], {}, NOW - 3 * DAY)
    store.apply([Noted(sent_of("a@example.org", "b@example.net"), NOW, NOW + 5)], {}, NOW)
    standing = answered(store, replace(POLICY, correspondents=1)).standing
    assert standing is not None
    # Without evidence: a correspondent is let in before it is gathered.
    assert [(one.identity, one.domain, one.passes, one.needed) for one in standing.trust] == [
        *((HERE, "", 0, 20), (HERE, "example.org", 3, 5))
    ]
    assert standing.correspondent == Record(NOW, NOW, NOW + 5, passed=1)
    assert standing.trapped is None, "that is over"
    standing = answered(store, replace(POLICY, correspondents=0)).standing
    assert standing is not None
    assert standing.trust[2:] == [
        Trust(POOL, "", 4, 20, NOW - 8, NOW + 8),
        Trust(POOL, "example.org", 0, 5, 0, 0),
    ]
    assert standing.correspondent is None


def test_plain_greylisting_has_no_standing() -> None:
    assert answered(kept(), Policy()).standing is None


def test_a_store_that_fails_between_answer_and_standing_is_told() -> None:
    class Failing(MemoryStore):
        def load(self, triplets):  # type: ignore[no-untyped-def]
            self.load = self._away  # type: ignore[method-assign]
            return super().load(triplets)

        @staticmethod
        def _away(_triplets):  # type: ignore[no-untyped-def]
            raise StoreUnavailable("away")

    found = answered(Failing(), replace(POLICY, evidence=frozenset()))
    assert (found.decision.reason, str(found.failure), found.standing) == (Reason.NEW, "away", None)


def test_correspondents_do_not_make_a_stopped_clock_look_right() -> None:
    """Their records end later than those of mail, so they would count as contacts to come."""
    store = MemoryStore()
    old = [Triplet(KEY.network, f"s{n}@example.org", "b@example.net") for n in range(200)]
    store.merge({key: passes(1, NOW - 40 * DAY, NOW - 4 * DAY) for key in old})
    store.merge({SENT: passes(1, NOW - 41 * DAY, NOW + 49 * DAY)})
    with pytest.raises(ClockDoubted, match="nothing was seen since"):
        expire(store, NOW, POLICY.lifetime)
    store.merge({POOLED: passes(1, NOW - 40 * DAY, NOW - 4 * DAY)})
    assert expire(store, NOW, POLICY.lifetime, dry_run=True).delayed == 200, "as it is counted"
