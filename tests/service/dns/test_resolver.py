"""The resolver, against knot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from greylag.core.spf.questions import Answer, Query
from greylag.service.dns.exchange import Server
from greylag.service.dns.resolver import Resolver, system_servers
from tests.servers.hostile_dns import black_hole, hostile, reply, wire
from tests.servers.knot import running
from tests.service.dns.once import asked_once

LONG = b"v=spf1 " + b" ".join(b"ip4:192.0.2.%d" % number for number in range(200)) + b" -all"
TEXTS = " ".join(f'"{LONG[at : at + 200].decode()}"' for at in range(0, len(LONG), 200))
ZONE = f"""\
ns A 192.0.2.1
text TXT "v=spf1 ip4:192.0.2.1" "7 -all"
text TXT "other"
long TXT {TEXTS}
host A 192.0.2.17
host AAAA 2001:db8::1
mail MX 10 MX1
mail MX 20 mx2
null MX 0 .
alias CNAME chain
chain CNAME host
loop CNAME pool
pool CNAME loop
dot\\.dot A 192.0.2.3
odd PTR dot\\.dot
odd PTR host
*.any A 192.0.2.4
"""


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("knot"), {"example.org": ZONE}) as server:
        yield server


def ask(resolver: Resolver, *queries: Query) -> list[Answer]:
    """Ask all at once, and see that nothing is left under way."""

    async def all_of_them() -> list[Answer]:
        found = await asyncio.gather(*map(resolver.ask, queries))
        await asyncio.sleep(0)
        assert resolver.under_way == 0
        return found

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("text", "TXT", {b"v=spf1 ip4:192.0.2.17 -all", b"other"}),
        ("long", "TXT", {LONG}),  # too long for UDP
        ("host", "A", {b"\xc0\x00\x02\x11"}),
        ("host", "AAAA", {bytes.fromhex("20010db8") + bytes(11) + b"\x01"}),
        ("HOST", "A", {b"\xc0\x00\x02\x11"}),
        ("alias", "A", {b"\xc0\x00\x02\x11"}),
        ("mail", "MX", {b"mx1.example.org", b"mx2.example.org"}),
        ("null", "MX", {b""}),
        ("odd", "PTR", {b"", b"host.example.org"}),
        ("host", "MX", set()),
        ("nobody", "A", set()),
        ("loop", "A", None),
        ("a b", "A", set()),
        ("a..b", "A", None),
        ("x" * 64, "A", None),
        (".".join(["x" * 60] * 5), "A", None),
        ("gr\xfcn", "A", None),
    ],
)
def test_what_knot_answers(knot: Server, name: str, kind: str, wanted: set[bytes] | None) -> None:
    resolver = Resolver([knot])
    query = Query(f"{name}.example.org", kind)
    (answer,) = ask(resolver, query)
    assert (None if answer is None else set(answer)) == wanted
    assert ask(resolver, query) == [answer]
    assert asked_once(query, [knot], 5) == answer
    assert (resolver.asked, resolver.errors) == (1, 1 if wanted is None else 0)


def test_a_zone_that_is_not_the_servers_is_not_known(knot: Server) -> None:
    assert ask(Resolver([knot]), Query("host.example.net", "A")) == [None]


def test_one_name_is_asked_for_once_at_a_time(knot: Server) -> None:
    resolver = Resolver([knot])
    assert ask(resolver, *[Query("host.example.org", "A")] * 100) == [(b"\xc0\x00\x02\x11",)] * 100
    assert resolver.asked == 1


def test_a_thousand_names_at_once_are_all_answered_on_few_sockets(knot: Server) -> None:
    resolver = Resolver([knot], patience=5)
    most = 0

    async def watch() -> list[Answer]:
        nonlocal most
        names = [Query(f"{number}.any.example.org", "A") for number in range(1000)]
        tasks = asyncio.gather(*map(resolver.ask, names))
        while not tasks.done():
            await asyncio.sleep(0)
            most = max(most, sum(1 for _one in Path("/proc/self/fd").iterdir()))
        return await tasks

    before = sum(1 for _one in Path("/proc/self/fd").iterdir())
    assert asyncio.run(watch()) == [(b"\xc0\x00\x02\x04",)] * 1000
    assert 0 < most - before <= 50 + 10  # and those of the event loop


def test_an_answer_is_asked_for_again_when_its_time_is_over(knot: Server) -> None:
    now = [0.0]
    resolver = Resolver([knot], clock=lambda: now[0])
    for now[0], asked in ((0, 1), (599, 1), (600, 2)):
        ask(resolver, Query("host.example.org", "A"))
        assert resolver.asked == asked
    for now[0], asked in ((1000, 3), (1059, 3), (1060, 4)):  # the zone says 60 s
        ask(resolver, Query("nobody.example.org", "A"))
        assert resolver.asked == asked


def test_the_next_server_is_asked_where_the_first_is_silent_or_refuses(knot: Server) -> None:
    query = Query("host.example.org", "A")
    with black_hole() as hole:
        for silent in (1, 2):
            resolver = Resolver([*[hole] * silent, knot], patience=0.6)
            assert ask(resolver, query) == [(b"\xc0\x00\x02\x11",)]
    # Nobody listens there any more.
    assert ask(Resolver([hole, knot]), query) == [(b"\xc0\x00\x02\x11",)]
    assert ask(Resolver([hole]), query) == [None]


def test_a_lost_datagram_is_sent_again_from_another_port() -> None:
    async def lossy() -> None:
        def second(query: dns.message.Message) -> list[bytes]:
            true = wire(reply(query, "a.example.org. 60 IN A 192.0.2.9"))
            return [true] if len(server.asked) == 2 else []

        async with hostile(second) as (server, place):
            resolver = Resolver([place], patience=0.2)
            assert await resolver.ask(Query("a.example.org", "A")) == (b"\xc0\x00\x02\x09",)
            assert len({port for _udp, _name, port in server.asked}) == 2

    asyncio.run(lossy())


def test_a_slow_server_is_still_heard_when_the_next_is_asked() -> None:
    """Its reply comes after the second query was sent, which nobody replies to."""

    async def ask_slowly() -> Answer:
        first: list[dns.message.Message] = []

        def slow(query: dns.message.Message) -> list[bytes]:
            first.append(query)
            if len(first) == 2:
                late = wire(reply(first[0], "a.example.org. 60 IN A 192.0.2.9"))
                server.transport.sendto(late, ("127.0.0.1", server.asked[0][2]))
            return []

        async with hostile(slow) as (server, place):
            resolver = Resolver([place], patience=0.5)
            found = await resolver.ask(Query("a.example.org", "A"))
            await asyncio.sleep(0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return found

    assert asyncio.run(ask_slowly()) == (b"\xc0\x00\x02\x09",)


def test_it_works_on_the_daemons_event_loop(knot: Server) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def ask_all() -> None:
        resolver = Resolver([knot])
        assert await resolver.ask(Query("long.example.org", "TXT")) == (LONG,)
        with black_hole() as hole:
            resolver = Resolver([hole], patience=0.1)
            assert await resolver.ask(Query("host.example.org", "A")) is None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask_all())


NO_ADDRESSES = ("a.example", "192.0.2.256", "192.0.2.1%eth0", "fe80::1%", "::1%a%b", "192.0.2.1\0")


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 192.0.2.1\n", ["192.0.2.1"]),
        (
            "# x\ndomain example.org\nnameserver 192.0.2.1 # y\nnameserver\tfe80::1%eth0\n",
            ["192.0.2.1", "fe80::1%eth0"],
        ),
        ("nameserver 192.0.2.1\n" * 9, ["192.0.2.1"] * 3),
        ("nameserver\noptions edns0\n\xff\n", ["127.0.0.1"]),
        ("".join(f"nameserver {name}\n" for name in (*NO_ADDRESSES, "::1")), ["::1"]),
        (None, ["127.0.0.1"]),
    ],
    ids=["one", "two", "many", "none", "names and what is no address", "no file"],
)
def test_the_servers_of_this_machine(tmp_path: Path, text: str | None, servers: list[str]) -> None:
    """A name is none of them: to look it up would block the event loop."""
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    assert system_servers(str(path)) == tuple((server, 53) for server in servers)
