"""Evidence in a process that lives for one question: sockets, time, bugs, and what is imported."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import cast

import dns.message
import pytest

from greylag.core.evidence import Evidence, Kind
from greylag.core.question import Question
from greylag.core.spf.questions import Answer, Query
from greylag.service.dns.oneshot import OneShot
from greylag.service.dns.servers import Server
from tests.servers.hostile_dns import Behaviour, HostileServer, black_hole, hostile, reply, wire
from tests.servers.knot import free_port, running
from tests.service.dns.once import QUESTION, asked_once
from tests.work import BEFORE_RESOLVERS

A = Query("a.example.org", "A")
A_TRUE = "a.example.org. 60 IN A 192.0.2.9"
TRUE = (b"\xc0\0\2\x09",)
KINDS = frozenset[Kind](Kind)


def wants(*queries: Query) -> Callable[[Question], Generator[Query, Answer, object]]:
    """Return a recipe that asks one query after the other, and finds the answers."""

    def steps(_question: Question) -> Generator[Query, Answer, object]:
        answers: list[Answer] = []
        for query in queries:
            answers += [(yield query)]
        return answers

    return steps


def buggy(_question: Question) -> Generator[Query, Answer, object]:
    yield A
    raise ZeroDivisionError("oh")


def true(query: dns.message.Message) -> list[bytes]:
    return [wire(reply(query, A_TRUE))]


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def gathered(
    recipes: dict[Kind, Callable[[Question], Generator[Query, Answer, object]]],
    udp: Behaviour = true,
    tcp: Behaviour = lambda _query: (),
    seconds: float = 5,
) -> tuple[Evidence, HostileServer, list[str]]:
    """Return what is found at a server with these habits, the server, and what is told of bugs."""

    async def gather() -> tuple[Evidence, HostileServer, list[str]]:
        told: list[str] = []
        async with hostile(udp, tcp) as (server, place):
            one = OneShot(recipes, [place], told.append)
            return await asyncio.to_thread(one, QUESTION, KINDS, seconds), server, told

    return asyncio.run(gather())


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("knot"), {"example.org": "a A 192.0.2.9\n"}) as server:
        yield server


def test_what_several_kinds_ask_is_asked_once() -> None:
    other = Query("b.example.org", "A")
    recipes = {Kind.SPF: wants(A, other, A), Kind.NAMES: wants(A), Kind.DNSBL: wants(other)}
    found, server, told = gathered(recipes)
    assert found == {Kind.SPF: [TRUE, (), TRUE], Kind.NAMES: [TRUE], Kind.DNSBL: [()]}
    assert sorted(name for _udp, name, _port in server.asked) == [
        "a.example.org.",
        "b.example.org.",
    ]
    assert not told


def test_kinds_go_on_side_by_side() -> None:
    """None of them is replied to before all three are asked."""
    waiting: list[dns.message.Message] = []

    def late(query: dns.message.Message) -> list[bytes]:
        waiting.append(query)
        if len(waiting) == 3:
            for one in waiting:
                peer = ("127.0.0.1", server.asked[waiting.index(one)][2])
                server.transport.sendto(wire(reply(one)), peer)
        return []

    server: HostileServer

    async def gather() -> Evidence:
        nonlocal server
        async with hostile(late) as (server, place):
            names = dict(zip(Kind, "abc", strict=False))
            recipes = {kind: wants(Query(f"{name}.x.example", "A")) for kind, name in names.items()}
            return await asyncio.to_thread(OneShot(recipes, [place]), QUESTION, KINDS, 2.0)

    assert list(asyncio.run(gather()).values()) == [[()]] * 3


def test_a_bug_costs_its_kind_alone_and_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    found, _server, told = gathered({Kind.SPF: buggy, Kind.NAMES: wants(A)})
    assert found == {Kind.NAMES: [TRUE]}
    assert told == ["evidence: cannot be gathered: ZeroDivisionError: oh"]

    def no_generator(_question: Question) -> Generator[Query, Answer, object]:
        raise KeyError("x")

    assert OneShot({Kind.SPF: no_generator}, [])(QUESTION, KINDS, 1) == {}
    assert capfd.readouterr() == ("", "")


def test_the_next_server_is_asked_where_one_is_silent_or_away(knot: Server) -> None:
    nobody = ("127.0.0.1", free_port())
    with black_hole() as hole:
        for servers in ([hole, knot], [nobody, knot], [nobody, hole, knot], [hole, hole, knot]):
            assert asked_once(A, servers, 0.6) == TRUE
    assert asked_once(A, [nobody], 5) is None
    assert asked_once(A, [], 5) is None


def test_a_datagram_that_is_lost_is_sent_again_from_another_port() -> None:
    asked = []

    def second(query: dns.message.Message) -> list[bytes]:
        asked.append(query.id)
        return true(query) if len(asked) == 2 else []

    found, server, _told = gathered({Kind.SPF: wants(A)}, second, seconds=0.4)
    assert found == {Kind.SPF: [TRUE]}
    assert len({port for _udp, _name, port in server.asked}) == 2


def test_a_slow_server_is_still_heard_when_the_next_is_asked() -> None:
    """Its reply comes after the second query was sent, which nobody replies to."""

    async def ask() -> Answer:
        first: list[dns.message.Message] = []

        def slow(query: dns.message.Message) -> list[bytes]:
            first.append(query)
            if len(first) == 2:
                peer = ("127.0.0.1", server.asked[0][2])
                server.transport.sendto(true(first[0])[0], peer)
            return []

        async with hostile(slow) as (server, place):
            return await asyncio.to_thread(asked_once, A, [place], 0.5)

    assert asyncio.run(ask()) == TRUE


def test_a_black_hole_takes_no_more_than_the_budget_and_leaves_nothing_open() -> None:
    """T25."""
    before = descriptors()
    with black_hole() as hole:
        recipes = {kind: wants(Query(f"{kind.value}.example.org", "A")) for kind in Kind}
        for seconds in (0.3, 0.0, -1.0):
            start = time.monotonic()
            assert OneShot(recipes, [hole] * 3)(QUESTION, KINDS, seconds) == {}
            assert time.monotonic() - start < max(seconds, 0) + BEFORE_RESOLVERS
    assert descriptors() == before


def test_a_flood_of_forged_replies_takes_no_more_than_the_budget() -> None:
    """CVE-2023-29483: none of them ends the query, and all of them together not the budget."""

    def flood(query: dns.message.Message) -> list[bytes]:
        return [b"\xff" * 16] * 3000

    start = time.monotonic()
    found, _server, told = gathered({Kind.SPF: wants(A)}, flood, seconds=0.3)
    assert (found, told) == ({}, [])
    assert time.monotonic() - start < 5


def test_a_server_that_replies_by_drops_over_tcp_takes_no_more_than_the_budget() -> None:
    def short(query: dns.message.Message) -> list[bytes]:
        raw = wire(reply(query))
        return [raw[:2] + b"\x83" + raw[3:]]

    def drops(query: dns.message.Message, pause: float) -> Iterator[bytes]:
        raw = wire(reply(query, A_TRUE))
        for one in len(raw).to_bytes(2, "big") + raw:
            time.sleep(pause)
            yield bytes((one,))

    def dropping(pause: float) -> Behaviour:
        return lambda query: cast("Sequence[bytes]", drops(query, pause))

    assert gathered({Kind.SPF: wants(A)}, short, dropping(0.001))[0] == {Kind.SPF: [TRUE]}
    assert gathered({Kind.SPF: wants(A)}, short, dropping(0.05), 0.3)[0] == {}


def test_no_program_inherits_a_socket() -> None:
    """qmail-smtpd is executed in the place of a plugin that let its client in."""
    inheritable: list[str] = []

    def look(query: dns.message.Message) -> list[bytes]:
        for one in descriptors():
            try:
                if os.get_inheritable(int(one)):
                    inheritable.append(os.readlink(f"/proc/self/fd/{one}"))
            except OSError:  # the descriptor that listed them
                continue
        return true(query)

    found, _server, _told = gathered({Kind.SPF: wants(A)}, look)
    assert found == {Kind.SPF: [TRUE]}
    assert not [one for one in inheritable if one.startswith("socket:")]


CODE = """\
import resource, sys
from greylag.core.spf.questions import Query
from greylag.core.evidence import Kind
from greylag.service.dns.oneshot import OneShot
from greylag.service.dns.servers import system_servers
def steps(question):
    return (yield Query("a.example.org", "A"))
if sys.argv[2]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
found = OneShot({Kind.SPF: steps}, [("127.0.0.1", int(sys.argv[1]))])(None, {Kind.SPF}, 5)
print(found.get(Kind.SPF), sorted({"asyncio", "socket", "dns", "logging"} & set(sys.modules)))
"""


@pytest.mark.parametrize(("limit", "answer"), [("", TRUE), ("yes", None)])
def test_it_imports_little_and_needs_no_descriptor(
    knot: Server, limit: str, answer: Answer
) -> None:
    """T29, T25: dnspython and asyncio would take longer than all else in such a process."""
    command = [sys.executable, "-c", CODE, str(knot[1]), limit]
    ran = subprocess.run(command, capture_output=True, check=True, text=True)
    assert (ran.stdout, ran.stderr) == (f"{answer} []\n", "")
