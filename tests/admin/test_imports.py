"""The readers of other programs' files, on what these write and on what nobody should believe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC

import pytest

from greylag.admin.bounded import TooLong, numbered_lines
from greylag.admin.imports import (
    LONGEST,
    Connected,
    Item,
    Left,
    Lines,
    Listed,
    Mail,
    Trapped,
    Trusted,
    iredapd,
    milter_greylist,
    postgrey,
    spamdb,
    sqlgrey,
)
from greylag.admin.imports.rows import NoTable, rows_of
from greylag.admin.taking import Taking
from greylag.core.accesslist import Entry, Purpose
from greylag.core.identity import of_address
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.subject import RecipientMailbox, SenderDomain, parse_subject
from greylag.core.triplet import trapped_of, triplet_of, trust_of
from greylag.core.value import replace
from greylag.store.memory import MemoryStore

NOW = 1_795_814_925  # when the dump below was written
V4, V6 = bytes((192, 0, 2, 7)), bytes.fromhex("20010db8000100020000000000000007")
POLICY = Policy(trust_after=5, trust_all_after=20)


def lines(text: str | bytes) -> Lines:
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return enumerate(raw.splitlines(keepends=True), 1)


def table(text: str) -> list[Item]:
    return list(sqlgrey.read(rows_of(lines(text), sqlgrey.COLUMNS), UTC))


def whys(items: Iterable[Item]) -> list[tuple[int, str]]:
    return [(item.number, item.why) for item in items if isinstance(item, Left)]


DUMP = f"""\
#
# milter-greylist databases, dumped by milter-greylist-4.6.4 on 2026-11-27 21:28:38.
# DO NOT EDIT while milter-greylist is running, changes will be overwritten.
#


#
# stored tuples
#
# Sender IP\tSender e-mail\tRecipient e-mail\tTime accepted\tUnsuccessful shortest tarpit
192.0.2.7\t<known@example.org>\t<info@example.net>\t1796074118 AUTO # 2026-11-30 21:28:38
2001:db8:1:2::7\t<six@example.org>\t<info@example.net>\t1796074118 AUTO # 2026-11-30 21:28:38
198.51.100.9\t<>\t<info@example.net>\t1795814917 # 2026-11-27 21:28:37
203.0.113.5\t<waits+tag@example.org>\t<Other.One@example.net>\t1795814920 # 2026-11-27 21:28:40
#
# Summary: 4 records, 2 greylisted, 2 whitelisted, 0 tarpitted
#
198.51.100.9\t<a@example.org>\t<info@example.net>\t{NOW - 1} AUTO # expired
"""


def test_what_milter_greylist_wrote() -> None:
    """Version 4.6.4, as it was asked by the milter protocol."""
    found = list(milter_greylist.read(lines(DUMP), NOW))
    until = 1_796_074_118
    assert found == [
        Mail(V4, b"known@example.org", b"info@example.net", NOW, NOW, True, until),
        Mail(V6, b"six@example.org", b"info@example.net", NOW, NOW, True, until),
        Mail(bytes((198, 51, 100, 9)), b"", b"info@example.net", NOW - 8, NOW - 8, False),
        Mail(
            *(bytes((203, 0, 113, 5)), b"waits+tag@example.org", b"Other.One@example.net"),
            *(NOW - 5, NOW - 5, False),
        ),
        Left(18, "it has expired"),
    ]


def test_what_spamdb_prints() -> None:
    text = (
        f"GREY|192.0.2.7|mail.example.org|<a|b@example.org>|<info@example.net>|{NOW - 9}|"
        f"{NOW + 1491}|{NOW + 14000}|1|0\n"
        f"WHITE|192.0.2.8|||{NOW - 9000}|{NOW - 7000}|{NOW + 9000}|2|7\n"
        f"TRAPPED|192.0.2.9|{NOW + 86400}\n"
        "SPAMTRAP|Trap@example.net\n"
    )
    client = bytes((192, 0, 2, 8))
    assert list(spamdb.read(lines(text))) == [
        Mail(V4, b"a|b@example.org", b"info@example.net", NOW - 9, NOW - 9, False),
        Connected(client, NOW - 9000, NOW - 7000),
        Trusted((client,), b"", NOW - 9000, NOW - 7000),
        Trapped(bytes((192, 0, 2, 9)), NOW + 86400),
        Listed(RecipientMailbox("trap@example.net"), Purpose.TRAP, ""),
    ]


IREDAPD = f"""\
id,sender,recipient,client_address,sender_domain,rcpt_domain,init_time,block_expired,\
record_expired,blocked_count,passed
1,a@example.org,info@example.net,192.0.2.7,example.org,example.net,{NOW - 900},{NOW},{NOW + 900},1,1
2,"a,b@example.org",info@example.net,192.0.2.7,example.org,example.net,{NOW - 9},{NOW},{NOW},1,0
id,account,sender,comment
1,@.,192.0.2.0/24,"an office"
2,@.,@example.org,
3,@.,@.example.com,
4,user@example.net,192.0.2.1,
5,@.,what is this,
6,@.,@.,
id,domain
1,example.com
id,account,priority,sender,sender_priority,comment,active
1,@.,0,@.,0,,1
"""


def test_what_iredapd_keeps() -> None:
    found = list(iredapd.read(rows_of(lines(IREDAPD), iredapd.COLUMNS)))
    access = Purpose.ACCESS
    assert [item for item in found if not isinstance(item, Left)] == [
        Mail(V4, b"a@example.org", b"info@example.net", NOW - 900, NOW - 900, True, NOW + 900),
        Mail(V4, b"a,b@example.org", b"info@example.net", NOW - 9, NOW - 9, False),
        Listed(parse_subject("192.0.2.0/24"), access, "an office"),
        Listed(SenderDomain("example.org"), access, ""),
        Listed(SenderDomain("example.com", below=True), access, ""),
        Listed(SenderDomain("example.com"), access, ""),
    ]
    assert [number for number, _why in whys(found)] == [8, 9, 10, 14]
    assert any("[[recipient]] in greylag.toml" in why for _number, why in whys(found))


def test_what_sqlgrey_keeps_as_psql_and_mysql_print_it() -> None:
    text = (
        "sender_name,sender_domain,src,rcpt,first_seen\n"
        '"a b",example.org,192.0.2,info@example.net,2026-11-27 21:00:00.123456\n'
        "-undef-,-undef-,192.0.2.7,info@example.net,2026-11-27 21:00:00+00\n"
        "sender_name\tsender_domain\tsrc\tfirst_seen\tlast_seen\n"
        "a\\tb\texample.org\t2001:0db8:0001:0002\t2026-11-27 21:00:00\t2026-11-27 21:10:00\n"
        "-undef-\t-undef-\t192.0.2.7\t2026-11-27 21:00:00\t2026-11-27 21:10:00\n"
        '"sender_domain","src","first_seen","last_seen"\n'
        "example.org,192.0.2,1795813200,1795813800\n"
    )
    at = 1_795_813_200
    network = bytes((192, 0, 2, 0))
    first, null, six, left, domain = table(text)
    assert first == Mail(network, b"a b@example.org", b"info@example.net", at, at, False)
    assert null == Mail(V4, b"", b"info@example.net", at, at, False)
    prefix = V6[:8] + bytes(8)
    assert six == Trusted((prefix,), b"example.org", at, at + 600)
    assert isinstance(left, Left)
    assert isinstance(domain, Trusted)
    assert (len(domain.clients), domain.clients[7]) == (256, V4)


HOSTILE = [
    b"\xff\xfe\0|\t,/\n",
    b"GREY|" * 500 + b"\n",
    b"WHITE|192.0.2.7|||-1|0|99999999999999999999|1|1\n",
    b"WHITE|192.0.2.7|||1e9|0x1|1|1|1\n",
    b"WHITE|192.0.2.7|||\xd9\xa1|1|1|1|1\n",  # a digit to Python's int
    b"TRAPPED|not-an-address|1\n",
    b"SPAMTRAP|@@@\xff\n",
    b"192.0.2.7\t<a>\t<b>\t-5 AUTO\n",
    b"192.0.2.7\t<a>\t<b>\t99999999999999999999999\n",
    b"192.0.2.999\t<a>\t<b>\t5\n",
    b"x" * (LONGEST + 5) + b"\n",
    b'"unclosed,192.0.2.7,1,2,3\n',
    b"[" * 4000 + b"\n",
]
HEADS = {
    "rows": b"sender_name,sender_domain,src,first_seen,last_seen\n",
    "tracking": b"sender,recipient,client_address,init_time,passed\n",
    "dump": b"HEADER=END\n",
    "printed": b"format=print\nHEADER=END\n",
}


@pytest.mark.parametrize("seed", range(20))
def test_no_line_breaks_a_reader_and_none_is_believed(seed: int) -> None:
    from random import Random

    random = Random(seed)
    raw = [random.choice(HOSTILE) for _ in range(200)]
    raw += [random.randbytes(random.randrange(80)).replace(b"\n", b"") + b"\n" for _ in range(200)]
    random.shuffle(raw)

    def given(head: str = "") -> Lines:
        read = iter([*HEADS.get(head, b"").splitlines(keepends=True), *raw])
        return numbered_lines("x", lambda most: next(read, b"")[:most], LONGEST)

    items: list[Item] = [
        *spamdb.read(given()),
        *milter_greylist.read(given(), NOW),
        *postgrey.read(given("dump")),
        *postgrey.read(given("printed")),
        *sqlgrey.read(rows_of(given("rows"), sqlgrey.COLUMNS), None),
        *iredapd.read(rows_of(given("tracking"), iredapd.COLUMNS)),
    ]
    assert all(isinstance(item, Left | Trapped) for item in items), Counter(map(type, items))
    taking = Taking(MemoryStore, POLICY, NOW, "x")
    taking.take(items)
    assert sum(taken[0] for taken in taking.taken.left.values()) == len(items)


@pytest.mark.parametrize("text", ["", "hello\n", "a,b,c\n1,2,3\n", ",\n" * 50])
def test_a_file_that_is_no_table_or_no_dump_is_told(text: str) -> None:
    for columns in (sqlgrey.COLUMNS, iredapd.COLUMNS):
        if text:
            with pytest.raises(NoTable, match="expected a line of column names"):
                list(rows_of(lines(text), columns))
    with pytest.raises(postgrey.NoDump):
        list(postgrey.read(lines(text)))


def test_a_line_that_is_too_long_is_passed_over_and_an_endless_one_ends_all() -> None:
    parts = [b"a\n", b"b" * 20, b"b\n", b"c\n"]
    read = iter(parts)
    found = list(numbered_lines("x", lambda _most: next(read, b""), 10))
    assert found == [(1, b"a\n"), (2, None), (3, b"c\n")]
    with pytest.raises(TooLong, match="x:1: expected a line of at most"):
        list(numbered_lines("x", bytes, 10))


def store_with(*known: tuple[bytes, Record]) -> MemoryStore:
    store = MemoryStore()
    store.merge({triplet_of(V4, sender, b"i@example.net", POLICY): r for sender, r in known})
    return store


def test_what_is_known_is_never_made_worse() -> None:
    passed = Record(NOW - 900, NOW - 600, NOW + 9_000_000, blocked=1, passed=9)
    waiting = Record(NOW - 900, NOW - 600, NOW + 9000, blocked=3)
    gone = Record(NOW - 90_000, NOW - 89_000, NOW - 5, blocked=1)
    store = store_with((b"p@example.org", passed), (b"w@example.org", waiting), (b"g@e.org", gone))
    taking = Taking(lambda: store, POLICY, NOW, "x")

    def mail(sender: bytes, *, has_passed: bool) -> Mail:
        return Mail(V4, sender, b"i@example.net", NOW - 100, NOW - 50, has_passed)

    taking.take([mail(b"p@example.org", has_passed=False)])
    taking.take([mail(b"p@example.org", has_passed=True)])
    assert store.load([triplet_of(V4, b"p@example.org", b"i@example.net", POLICY)]) == {
        triplet_of(V4, b"p@example.org", b"i@example.net", POLICY): passed
    }
    taking.take([mail(b"w@example.org", has_passed=True), mail(b"g@e.org", has_passed=False)])
    (now_passed,) = store.load(
        [triplet_of(V4, b"w@example.org", b"i@example.net", POLICY)]
    ).values()
    assert (now_passed.passed, now_passed.first_seen) == (1, NOW - 900)
    assert taking.taken.new == {"passed": 1, "waiting": 1}
    assert taking.taken.read == {"passed": 2, "waiting": 2}


BACKWARDS = "its last contact is before its first"


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (Mail(V4, b"a@e.org", b"b@e.net", NOW + 60, NOW + 60, False), "it is from the future"),
        (Mail(V4, b"a@e.org", b"b@e.net", NOW, NOW - 60, True), BACKWARDS),
        (Mail(V4, b"a@e.org", b"b@e.net", 1, 2, True), "it has expired"),
        (Mail(V4, b"a@e.org", b"b@e.net", 1, 2, False), "it has expired"),
        (Mail(V4, b"a@e.org", b"b@e.net", 1, 2, True, NOW - 1), "it has expired"),
        (Trusted((V4,), b"", NOW + 60, NOW + 60), "it is from the future"),
        (Trusted((V4,), b"no domain", NOW, NOW), "the sender's domain is no name"),
        (Trapped(V4, NOW - 1), "it has expired"),
    ],
)
def test_times_that_cannot_be_are_left_out(item: Item, why: str) -> None:
    store = MemoryStore()
    taking = Taking(lambda: store, POLICY, NOW, "x")
    taking.take([item])
    assert (taking.taken.left, store.count(NOW)) == ({why: [1]}, (0, 0))


def test_nothing_is_kept_longer_than_our_own_would_be() -> None:
    store = MemoryStore()
    far = 253_402_300_799
    mail = Mail(V4, b"a@e.org", b"b@e.net", NOW, NOW, True, far)
    Taking(lambda: store, POLICY, NOW, "x").take([mail, Trapped(V4, far)])
    keys = [triplet_of(V4, b"a@e.org", b"b@e.net", POLICY), trapped_of(V4)]
    assert {r.expires for r in store.load(keys).values()} == {NOW + POLICY.lifetime}


def test_trust_is_as_much_as_it_takes_here_and_needs_trust_to_be_on() -> None:
    store = MemoryStore()
    item = Trusted((V4,), b"example.org", NOW - 5, NOW)
    off = Taking(lambda: store, Policy(), NOW, "x")
    off.take([item])
    assert "trust is off here" in str(off.taken.left)
    Taking(lambda: store, POLICY, NOW, "x").take([item, replace(item, domain=b"", passes=3)])
    of_domain, of_any = trust_of(of_address(V4), "example.org"), trust_of(of_address(V4), "")
    found = store.load([of_domain, of_any])
    assert (found[of_domain].passed, found[of_any].passed) == (5, 3)
    assert found[of_domain].first_seen <= NOW - 86400


def test_an_entry_that_an_admin_made_stays() -> None:
    store = MemoryStore()
    subject = parse_subject("192.0.2.0/24")
    store.put_entries([Entry(subject, NOW + 900, comment="denied by hand")])
    taking = Taking(lambda: store, POLICY, NOW, "iredapd")
    taking.take([Listed(subject, Purpose.ACCESS, "theirs")])
    assert [entry.comment for entry in store.entries()] == ["denied by hand"]
    assert "there is an entry of yours" in str(taking.taken.left)


def test_a_dry_run_writes_nothing_and_says_the_same() -> None:
    found = list(milter_greylist.read(lines(DUMP), NOW))
    wet, dry = MemoryStore(), MemoryStore()
    one = Taking(lambda: wet, POLICY, NOW, "x")
    other = Taking(lambda: dry, POLICY, NOW, "x", dry_run=True)
    one.take(found)
    other.take(found)
    assert (one.taken.new, one.taken.left) == (other.taken.new, other.taken.left)
    assert (wet.count(NOW), dry.count(NOW)) == ((2, 2), (0, 0))


@pytest.mark.parametrize(
    ("delay", "waited", "kind"),
    [(300, 300, "passed"), (300, 299, "waiting"), (3300, 300, "passed"), (60, 60, "passed")],
)
def test_a_longer_delay_of_ours_makes_nobody_wait_who_passed_there(
    delay: int, waited: int, kind: str
) -> None:
    taking = Taking(MemoryStore, replace(POLICY, delay=delay), NOW, "postgrey")
    taking.take([Mail(V4, b"a@e.org", b"b@e.net", NOW - waited, NOW, None)])
    assert taking.taken.new == {kind: 1}
