"""Big senders in the store: ranges come and go all at once, and never too many unseen (T28)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from greylag.core.accesslist import Entry, Purpose, Seen, provider
from greylag.core.names import host_name
from greylag.core.providers import names_in
from greylag.core.spf.ranges import Ranges
from greylag.core.subject import Domain, Network, parse_subject
from greylag.core.value import replace
from greylag.service import providers
from greylag.service.providers import (
    OFF,
    OWN,
    Known,
    Provider,
    drop,
    in_groups,
    judge,
    known,
    put,
    shipped,
    take,
    write,
)
from greylag.store import open_store
from greylag.store.base import Store, StoreError
from greylag.store.mysql.schema import TABLES
from tests.core.spf.zone import packed

NOW = 1_800_000_000
OURS = Provider("ours", "_spf.example.org", status=OWN)
OTHERS = Provider("others", "_spf.example.net", status=OWN)


@pytest.fixture(params=["memory", "sqlite", "mysql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    urls = {"memory": "memory:", "sqlite": f"sqlite://{tmp_path}/greylag.db"}
    with ExitStack() as stack:
        if request.param == "mysql":
            database = request.getfixturevalue("mariadb").database(*TABLES.values())
            stack.callback(database.drop)
            urls["mysql"] = database.url
        yield stack.enter_context(closing(open_store(urls[request.param], timeout=4)))


def ranges(text: str) -> Ranges:
    found = [parse_subject(word) for word in text.split()]
    return Ranges(tuple(network for network in found if isinstance(network, Network)))


def with_ours(store: Store) -> Known:
    for one in (OURS, OTHERS):
        assert put(store, known(store), one, NOW)
    return known(store)


def let_in(store: Store, client: str, recipient_domain: str = "example.com") -> set[str]:
    asked = Seen(packed(client), domain=recipient_domain, names=())
    entry = provider(store.matching(asked), asked, NOW)
    return set() if entry is None else set(names_in(entry.origin))


def test_the_package_names_at_least_40_big_senders() -> None:
    found = shipped()
    assert len(found) >= 40
    assert len({one.name for one in found}) == len(found) == len({one.domain for one in found})
    assert [one.name for one in found] == sorted(one.name for one in found)
    for one in found:
        assert host_name(one.domain.encode()) == one.domain, one
        assert one.name == one.name.lower()
        assert 10 < len(one.why) < 80, one
        assert one.why.endswith("."), one
        assert not one.used


def test_nothing_is_used_before_it_was_resolved_once(store: Store) -> None:
    found = with_ours(store)
    assert not [one for one in found.providers.values() if one.used]
    assert let_in(store, "192.0.2.7") == set()


def test_ranges_are_let_in_once_they_are_stored(store: Store) -> None:
    found = with_ours(store)
    assert take(store, found, "ours", ranges("192.0.2.0/24 2001:db8::/32"), NOW, force=False) == ""
    assert let_in(store, "192.0.2.7") == let_in(store, "2001:db8::7") == {"ours"}
    assert let_in(store, "198.51.100.7") == set()
    after = known(store).providers["ours"]
    assert (after.used, after.refreshed, after.tried, after.outcome) == (True, NOW, NOW, "ok")


def test_mail_to_the_domain_of_a_record_is_not_let_in(store: Store) -> None:
    """What is kept of a provider beside its ranges is an entry for a domain, and never speaks."""
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    assert let_in(store, "198.51.100.7", "_spf.example.org") == set()


REFUSED = {
    "30 % more": ("192.0.2.0/24 198.51.100.0/26 203.0.113.0/28", "refused: 32 % of its IPv4"),
    "all others": ("198.51.100.0/24", "refused: 200 % of its IPv4"),
    "IPv6 for the first time": ("192.0.2.0/24 2001:db8::/32", "refused: it would have IPv6"),
}


@pytest.mark.parametrize(("new", "why"), REFUSED.values(), ids=REFUSED)
def test_a_change_of_30_percent_is_refused_and_the_old_ranges_stay(
    store: Store, new: str, why: str
) -> None:
    """T28."""
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    generation = store.generation()
    assert why in take(store, found, "ours", ranges(new), NOW + 60, force=False)
    after = known(store)
    assert [str(network) for network in after.ranges] == ["192.0.2.0/24"]
    assert after.providers["ours"].refreshed == NOW
    assert after.providers["ours"].tried == NOW + 60
    assert why in after.providers["ours"].outcome
    assert store.generation() != generation  # other hosts read the outcome
    assert take(store, after, "ours", ranges(new), NOW + 90, force=True) == ""
    assert {str(network) for network in known(store).ranges} == set(new.split())


def test_an_empty_answer_is_refused_whoever_forces_it(store: Store) -> None:
    """T28."""
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    empty = Ranges(error="the record of _spf.example.org has no ranges")
    assert take(store, found, "ours", empty, NOW, force=True) == empty.error
    assert let_in(store, "192.0.2.7") == {"ours"}


def test_a_provider_that_never_worked_remembers_why(store: Store) -> None:
    found = with_ours(store)
    take(store, found, "ours", Ranges(error="x" * 500), NOW, force=False)
    after = known(store).providers["ours"]
    assert (after.used, after.tried, after.outcome) == (False, NOW, "x" * 200)


def test_a_range_that_two_publish_stays_until_both_gave_it_up(store: Store) -> None:
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24 198.51.100.0/30"), NOW, force=False)
    take(store, found, "others", ranges("192.0.2.0/24"), NOW, force=False)
    assert let_in(store, "192.0.2.7") == {"ours", "others"}
    assert len(known(store).ranges_of("ours")) == 2  # so nothing seems to have changed
    assert drop(store, known(store), "ours", NOW)
    assert let_in(store, "192.0.2.7") == {"others"}
    assert let_in(store, "198.51.100.1") == set()
    assert drop(store, known(store), "others", NOW)
    assert not [entry for entry in store.entries() if entry.purpose is Purpose.PROVIDER]


def test_lists_of_an_admin_are_left_alone(store: Store) -> None:
    mine = parse_subject("192.0.2.0/24")
    store.put_entries([Entry(mine, NOW + 60, comment="mine"), Entry(Domain(OURS.domain), 0)])
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    drop(store, known(store), "ours", NOW)
    left = [entry for entry in store.entries() if entry.purpose is Purpose.ACCESS]
    assert [entry.subject for entry in left] == [mine, Domain(OURS.domain)]


def test_what_somebody_else_changed_meanwhile_is_left_as_it_is(store: Store) -> None:
    """An admin removes a provider while the daemon resolves its record: it does not come back."""
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    slow = known(store)
    assert drop(store, found, "ours", NOW)
    assert "meanwhile" in take(store, slow, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    assert let_in(store, "192.0.2.7") == set()
    assert not put(store, slow, slow.providers["ours"], NOW)
    assert not drop(store, slow, "ours", NOW)


def test_a_provider_is_replaced_all_or_not_at_all(store: Store) -> None:
    """T28."""
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    before = [replace(entry, number=0) for entry in store.entries()]
    original = store.remove_entries

    def fails(*args: object) -> int:
        raise StoreError("the disk is full")

    store.remove_entries = fails  # type: ignore[assignment, method-assign]
    with pytest.raises(StoreError, match="full"):
        take(store, known(store), "ours", ranges("198.51.100.0/24"), NOW, force=True)
    store.remove_entries = original  # type: ignore[method-assign]
    if not isinstance(store, providers_without_rollback()):
        assert [replace(entry, number=0) for entry in store.entries()] == before


def providers_without_rollback() -> type[Store]:
    """Return the store whose transactions are no more than a lock."""
    from greylag.store.memory import MemoryStore

    return MemoryStore


def test_a_provider_of_the_package_that_is_off_has_no_ranges(store: Store) -> None:
    name = shipped()[0].name
    found = known(store)
    take(store, found, name, ranges("192.0.2.0/24"), NOW, force=False)
    off = replace(found.providers[name], status=OFF, refreshed=0)
    assert put(store, found, off, NOW)
    after = known(store)
    assert (after.providers[name].status, after.ranges, let_in(store, "192.0.2.7")) == (
        *(OFF, {}),
        set(),
    )


def test_a_new_domain_in_the_package_takes_the_place_of_the_old(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = shipped()[0]
    take(store, known(store), one.name, ranges("192.0.2.0/24"), NOW, force=False)
    moved = replace(one, domain="_new.example.org")
    monkeypatch.setattr(providers, "shipped", lambda: (moved,))
    found = known(store)
    assert found.providers[one.name].domain == "_new.example.org"
    assert found.providers[one.name].used
    wide = ranges("192.0.2.0/24 198.51.100.0/24")
    assert "refused" in take(store, found, one.name, wide, NOW, force=False)
    assert take(store, known(store), one.name, wide, NOW, force=True) == ""
    kept = [entry for entry in store.entries() if isinstance(entry.subject, Domain)]
    assert [str(entry.subject) for entry in kept] == ["_new.example.org"]


def test_a_name_that_the_package_dropped_is_an_admins_to_remove(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = shipped()[0].name
    take(store, known(store), name, ranges("192.0.2.0/24"), NOW, force=False)
    monkeypatch.setattr(providers, "shipped", lambda: ())
    found = known(store)
    assert found.providers[name].used
    assert drop(store, found, name, NOW)
    assert not store.entries()


HOSTILE = ["", "own", "own x y", "what 1 ok", "own 99999999999999 ok", "off \u0661 ok", "own -1"]


@pytest.mark.parametrize("comment", HOSTILE)
def test_any_row_can_be_read_and_replaced(store: Store, comment: str) -> None:
    """Rows may be anybody's."""
    row = replace(OURS.entry, comment=comment, created=-5)
    strange = replace(row, subject=parse_subject("192.0.2.9"), origin="provider:,,")
    store.put_entries([row, strange, replace(strange, origin="networks.txt")])
    found = known(store)
    assert take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=True) == ""
    assert known(store).providers["ours"].outcome == "ok"


def test_many_entries_are_read_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "PAGE", 10)
    store.put_entries(Entry(parse_subject(f"192.0.2.{n}"), 0) for n in range(95))
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24"), NOW, force=False)
    steps = list(providers.read_known(store))
    assert len(steps) >= 10
    assert known(store).ranges_of("ours") == list(ranges("192.0.2.0/24").networks)


def test_ranges_of_nobody_are_let_go_of(store: Store) -> None:
    """Somebody removed what was kept of their provider, by hand or at the same moment."""
    found = with_ours(store)
    take(store, found, "ours", ranges("192.0.2.0/24 198.51.100.0/24"), NOW, force=False)
    take(store, found, "others", ranges("192.0.2.0/24 203.0.113.0/24"), NOW, force=False)
    store.remove_entries([Domain(OURS.domain)], Purpose.PROVIDER)
    new = ranges("192.0.2.0/24 203.0.113.0/24 2001:db8::/32")
    take(store, known(store), "others", new, NOW, force=True)
    assert let_in(store, "198.51.100.7") == set()
    assert let_in(store, "203.0.113.7") == {"others"}
    assert drop(store, known(store), "others", NOW)
    assert not store.entries()


def test_many_providers_are_written_together_and_each_all_or_not_at_all(store: Store) -> None:
    found = with_ours(store)
    take(store, known(store), "others", ranges("203.0.113.0/24"), NOW, force=False)
    slow = found  # "others" was refreshed by another host since this was read
    steps = [
        judge(slow, "ours", ranges("192.0.2.0/24 198.51.100.7"), NOW, force=False),
        judge(slow, "others", ranges("203.0.113.0/25 198.51.100.7"), NOW, force=False),
    ]
    assert [len(group) for group in in_groups(steps, 6)] == [2]
    assert [len(group) for group in in_groups(steps, 5)] == [1, 1]
    assert [len(group) for group in in_groups(steps, 1)] == [1, 1]
    assert list(in_groups([], 1)) == []
    assert write(store, steps, NOW) == {"others"}
    after = known(store)
    assert [str(network) for network in after.ranges_of("others")] == ["203.0.113.0/24"]
    assert {str(n) for n in after.ranges_of("ours")} == {"192.0.2.0/24", "198.51.100.7"}
