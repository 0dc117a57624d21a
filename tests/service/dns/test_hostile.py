"""Name servers that are slow, broken or hostile, and forgers beside them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence

import dns.flags
import dns.message
import dns.rcode
import pytest

from greylag.core.spf.questions import Answer, Query
from greylag.service.dns.resolver import AT_ONCE, MOST_WAITING, Resolver
from greylag.wire.dns import MOST_RECORDS, TCP_SIZE
from tests.servers.hostile_dns import Behaviour, black_hole, hostile, reply, wire
from tests.service.dns.once import asked_once
from tests.work import BEFORE_RESOLVERS

QUERY = Query("a.example.org", "A")
TRUE, FALSE = (b"\xc0\x00\x02\x09",), (b"\xc0\x00\x02\x42",)
A_TRUE = "a.example.org. 60 IN A 192.0.2.9"
A_FALSE = "a.example.org. 60 IN A 192.0.2.66"
Message = dns.message.Message


def asked_of(udp: Behaviour, tcp: Behaviour = lambda _query: (), patience: float = 0.1) -> Answer:
    """Ask as the daemon does and as a process for one question does: both find the same."""

    async def ask() -> Answer:
        async with hostile(udp, tcp) as (_server, place):
            resolver = Resolver([place], patience=patience)
            answer = await resolver.ask(QUERY)
            await asyncio.sleep(0)
            assert resolver.under_way == 0
            assert await asyncio.to_thread(asked_once, QUERY, [place], patience) == answer
            return answer

    return asyncio.run(ask())


def edited(message: Message, at: int, value: bytes) -> bytes:
    raw = wire(message)
    return raw[:at] + value + raw[at + len(value) :]


def about(name: str, kind: str, query: Message) -> bytes:
    """Return a reply to another question, with the id of ours."""
    other = dns.message.make_query(name, kind, id=query.id)
    return wire(reply(other, A_FALSE))


FORGED: dict[str, Callable[[Message], bytes]] = {
    "empty": lambda _query: b"",
    "half a header": lambda query: wire(query)[:7],
    "garbage": lambda _query: b"\xff" * 100,
    "wrong id": lambda query: edited(reply(query, A_FALSE), 0, bytes((query.id >> 8 ^ 1,))),
    "no response": wire,
    "notify": lambda query: edited(reply(query, A_FALSE), 2, b"\xa0"),
    "wrong name": lambda query: about("b.example.org", "A", query),
    "wrong type": lambda query: about("a.example.org", "AAAA", query),
    "no question": lambda query: edited(reply(query, A_FALSE), 4, b"\0\0"),
    "two questions": lambda query: edited(reply(query, A_FALSE), 4, b"\0\2"),
    "cut off": lambda query: wire(reply(query, A_FALSE))[:-2],
    "a pointer to itself": lambda query: (
        edited(reply(query), 7, b"\1") + b"\xc0\x2a" + b"\0\1\0\1\0\0\0\0\0\0"
    ),
    "trailing bytes": lambda query: wire(reply(query, A_FALSE)) + b"\0" * 8,
    "too long for what we said": lambda query: wire(
        reply(query, *(f"a.example.org. 60 IN A 192.0.{n // 250}.{n % 250}" for n in range(200)))
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_reply_does_not_keep_the_true_one_out(name: str) -> None:
    """CVE-2023-29483: a forged reply that could not be read ended the query."""
    both = asked_of(lambda query: [FORGED[name](query), wire(reply(query, A_TRUE))], patience=10)
    assert both == TRUE
    assert asked_of(lambda query: [FORGED[name](query)], patience=0.05) is None


def test_a_flood_of_forged_replies_ends_in_time_and_holds_up_nobody() -> None:
    """CVE-2023-29483, again and again: others have their turn after each."""

    async def flooded() -> tuple[Answer, int]:
        def flood(query: Message) -> list[bytes]:
            return [b"\xff" * 16] * 100 + [wire(reply(query, A_TRUE))]

        async with hostile(flood) as (_server, place):
            task = asyncio.create_task(Resolver([place]).ask(QUERY))
            turns = 0
            while not task.done():
                await asyncio.sleep(0)
                turns += 1
            return await task, turns

    answer, turns = asyncio.run(flooded())
    assert answer == TRUE
    assert turns > 100


def test_a_reply_from_elsewhere_is_not_taken() -> None:
    """Not even if the stranger knows the query's id and port."""

    async def beside() -> None:
        def forge(query: Message) -> Sequence[bytes]:
            stranger.sendto(wire(reply(query, A_FALSE)), ("127.0.0.1", server.asked[-1][2]))
            return ()

        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            async with hostile(forge) as (server, place):
                assert await Resolver([place], patience=0.1).ask(QUERY) is None
                assert len(server.asked) == 2

    asyncio.run(beside())


def with_rcode(rcode: dns.rcode.Rcode) -> Behaviour:
    def behave(query: Message) -> list[bytes]:
        message = reply(query, A_FALSE)
        message.set_rcode(rcode)
        return [wire(message)]

    return behave


@pytest.mark.parametrize("name", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "BADVERS"])
def test_an_error_is_no_answer(name: str) -> None:
    assert asked_of(with_rcode(dns.rcode.from_text(name))) is None


def test_no_such_name_with_an_answer_is_no_answer() -> None:
    assert asked_of(with_rcode(dns.rcode.NXDOMAIN)) is None


def test_an_error_without_the_question_is_an_error_at_once() -> None:
    start = time.monotonic()
    assert asked_of(lambda query: [wire(query)[:2] + b"\x81\x82" + bytes(8)], patience=5) is None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "records",
    [
        ["a.example.org. 60 IN CNAME a.example.org."],
        [f"{n}.example.org. 60 IN CNAME {n + 1}.example.org." for n in range(400)],
    ],
    ids=["itself", "long"],
)
def test_an_endless_chain_of_aliases_is_no_answer(records: list[str]) -> None:
    first = "a.example.org. 60 IN CNAME 0.example.org."
    chain = records if len(records) == 1 else [first, *records]
    assert asked_of(lambda query: [truncated(query)], over_tcp(chain)) is None


@pytest.mark.parametrize(
    "extra", ["b.example.org. 60 IN A 192.0.2.66", "a.example.org. 60 IN AAAA 2001:db8::1"]
)
def test_a_record_that_was_not_asked_for_is_not_taken(extra: str) -> None:
    assert asked_of(lambda query: [wire(reply(query, extra))]) == ()


def truncated(query: Message) -> bytes:
    message = reply(query)
    message.flags |= dns.flags.TC
    return wire(message)


def framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(2, "big") + raw


def over_tcp(records: Sequence[str]) -> Behaviour:
    return lambda query: [framed(wire(reply(query, *records)))]


def numbered(count: int) -> list[str]:
    return [f"a.example.org. 60 IN A 10.0.{n >> 8}.{n & 255}" for n in range(count)]


TCP: dict[str, tuple[Behaviour, int | None]] = {
    "true": (over_tcp([A_TRUE]), 1),
    "as many records as may be": (over_tcp(numbered(MOST_RECORDS - 1)), MOST_RECORDS - 1),  # OPT
    "hundreds of records": (over_tcp(numbered(600)), None),
    "64 kB": (lambda query: [framed(wire(reply(query, A_TRUE)).ljust(65535, b"\0"))], None),
    "longer than may be": (lambda _query: [(TCP_SIZE + 1).to_bytes(2, "big")], None),
    "nothing": (lambda _query: [], None),
    "half of it": (lambda query: [framed(wire(reply(query, A_TRUE)))[:-3]], None),
    "truncated again": (lambda query: [framed(truncated(query))], None),
    "no length": (lambda _query: [b"\0"], None),
    "empty": (lambda _query: [b"\0\0"], None),
    "wrong id": (lambda query: [framed(FORGED["wrong id"](query))], None),
}


@pytest.mark.parametrize("name", TCP)
def test_what_is_cut_short_is_asked_for_over_tcp(name: str) -> None:
    behaviour, wanted = TCP[name]
    answer = asked_of(lambda query: [truncated(query)], behaviour, patience=10)
    assert (None if answer is None else len(answer)) == wanted


@pytest.mark.parametrize("zone", ["", "%1"])
def test_a_server_may_have_an_ipv6_address(zone: str) -> None:
    """With a zone, too, as of a router that is asked at its link-local address."""

    async def ask() -> None:
        async with hostile(lambda query: [truncated(query)], over_tcp([A_TRUE]), "::1") as (_, at):
            server = (f"{at[0]}{zone}", at[1])
            assert await Resolver([server], patience=5).ask(QUERY) == TRUE
            assert await asyncio.to_thread(asked_once, QUERY, [server], 5) == TRUE

    asyncio.run(ask())


def test_a_black_hole_holds_up_nobody_for_longer_than_the_budget() -> None:
    """T25: all that is under way ends, whoever waits for it, and no more is sent than may be."""

    async def ask_all() -> None:
        with black_hole() as hole:
            servers = [hole]
            resolver = Resolver(servers, patience=0.3)
            start = time.monotonic()
            names = [Query(f"{n}.example.org", "A") for n in range(AT_ONCE + MOST_WAITING + 500)]
            tasks = [asyncio.create_task(resolver.ask(name)) for name in names]
            await asyncio.sleep(0)
            assert resolver.under_way == AT_ONCE + MOST_WAITING
            assert set(await asyncio.gather(*tasks)) == {None}
            assert time.monotonic() - start < BEFORE_RESOLVERS
            await asyncio.sleep(0)
            assert resolver.under_way == 0
            assert AT_ONCE <= len(resolver.cache) < 4 * AT_ONCE  # others are asked for next time
            async with hostile(lambda query: [wire(reply(query))]) as (_server, servers[0]):
                again = [*names[-3 * AT_ONCE :], QUERY]
                patient = Resolver(servers, cache=resolver.cache, patience=5)
                assert await asyncio.gather(*map(patient.ask, again)) == [()] * len(again)

    asyncio.run(ask_all())


def test_who_gives_up_waiting_does_not_end_it_for_others() -> None:
    async def two() -> None:
        waiting: list[Message] = []

        def silent(query: Message) -> Sequence[bytes]:
            waiting.append(query)
            return ()

        async with hostile(silent) as (server, place):
            resolver = Resolver([place])
            first, second = (asyncio.create_task(resolver.ask(QUERY)) for _ in range(2))
            await asyncio.sleep(0.01)
            first.cancel()
            client = ("127.0.0.1", server.asked[0][2])
            server.transport.sendto(wire(reply(waiting[0], A_TRUE)), client)
            assert await second == TRUE
            assert first.cancelled()
            assert len(server.asked) == 1

    asyncio.run(two())


def test_closing_ends_all_that_is_under_way() -> None:
    async def closed() -> None:
        with black_hole() as hole:
            resolver = Resolver([hole], patience=60)
            tasks = [
                asyncio.create_task(resolver.ask(Query(f"{n}.x.example.org", "A")))
                for n in range(99)
            ]
            await asyncio.sleep(0.01)
            await resolver.close()
            assert await asyncio.gather(*tasks) == [None] * 99
            assert resolver.under_way == 0
            assert len(resolver.cache) == 0

    asyncio.run(closed())
