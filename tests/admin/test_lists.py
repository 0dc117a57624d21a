"""Keeping the lists, as a command or another front end asks for it."""

from __future__ import annotations

from greylag.admin import lists
from greylag.admin.lists import ALLOW, DENY, How, Removed, Stored
from greylag.core.subject import Domain, Subject, parse_subject
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000
CLIENT, RANGE, DOMAIN = (
    parse_subject(text) for text in ("192.0.2.1", "198.51.100.0/24", "example.org")
)


def put(
    store: MemoryStore, *subjects: Subject, comment: str | None = None, origin: str = ""
) -> Stored:
    return lists.put(store, ALLOW, dict.fromkeys(subjects, comment), How(origin=origin), NOW)


def test_what_became_of_each_subject_and_its_comment() -> None:
    store = MemoryStore()
    put(store, CLIENT, comment="ticket 12")
    lists.put(store, DENY, {RANGE: "noise"}, How(), NOW)
    stored = put(store, CLIENT, RANGE, DOMAIN)
    assert stored == Stored([CLIENT, RANGE, DOMAIN], {CLIENT}, [RANGE])
    comments = {entry.subject: entry.comment for entry in store.entries()}
    assert comments == {CLIENT: "ticket 12", RANGE: "noise", DOMAIN: ""}
    assert lists.listed(store, DENY, NOW, ended=True) == []


def test_a_source_takes_back_what_it_brought_and_lacks_now() -> None:
    store = MemoryStore()
    put(store, CLIENT, comment="one", origin="names")
    put(store, RANGE, comment="two", origin="names")
    put(store, DOMAIN, origin="namesakes")
    again = How(origin="names", replace=True)
    stored = lists.put(store, ALLOW, {RANGE: None}, again, NOW)
    assert stored.removed == [CLIENT]
    assert lists.entries_for(store, [CLIENT, DOMAIN]).keys() == {DOMAIN}


def test_what_is_on_the_other_list_or_on_none_is_not_removed() -> None:
    store = MemoryStore()
    put(store, CLIENT)
    lists.put(store, DENY, {RANGE: ""}, How(), NOW)
    removed = lists.remove(store, ALLOW, [CLIENT, RANGE, DOMAIN, CLIENT], NOW)
    assert removed == Removed([CLIENT], [RANGE, DOMAIN], {RANGE})
    assert [entry.subject for entry in store.entries()] == [RANGE]


def test_old_entries_are_listed_where_they_are_asked_for() -> None:
    store = MemoryStore()
    lists.put(store, DENY, {CLIENT: ""}, How(NOW + 10), NOW)
    assert lists.listed(store, DENY, NOW + 10, ended=False) == []
    assert [e.subject for e in lists.listed(store, DENY, NOW + 10, ended=True)] == [CLIENT]


def test_what_refuses_mail_of_many_is_far_reaching() -> None:
    wide = [parse_subject(text) for text in ("192.0.0.0/7", "2000::/15")]
    narrow = [parse_subject(text) for text in ("10.0.0.0/8", "2001::/16", "192.0.2.1")]
    assert lists.far_reaching(DENY, [*narrow, *wide, DOMAIN]) == [*wide, Domain("example.org")]
    assert lists.far_reaching(ALLOW, wide) == []
