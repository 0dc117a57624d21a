"""The ranges that a domain publishes, from a real name server, and from hostile ones (T28)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from greylag.core.spf.questions import Answer, Query
from greylag.core.spf.ranges import Ranges
from greylag.service.dns import published as module
from greylag.service.dns.published import published
from greylag.service.dns.resolver import Resolver
from tests.servers.hostile_dns import black_hole
from tests.servers.knot import running

LONG = " ".join(f"ip4:192.0.{n}.0/24" for n in range(90))
TEXTS = " ".join(f'"{LONG[at : at + 200]}"' for at in range(0, len(LONG), 200))
ZONE = f"""\
_spf TXT "v=spf1 include:_a.example.org redirect=_b.example.org"
_a TXT "v=spf1 mx:mail.example.org a:host.example.org -ip4:192.0.2.9 ip4:192.0.2.9 -all"
_b TXT "v=spf1 " {TEXTS} " ~all"
mail MX 10 mx1
mail MX 20 mx2
mx1 A 198.51.100.1
mx2 A 198.51.100.2
host AAAA 2001:db8::1
loop TXT "v=spf1 include:pool.example.org -all"
pool TXT "v=spf1 include:loop.example.org -all"
"""


def test_a_record_with_all_that_big_senders_use(tmp_path: Path) -> None:
    with running(tmp_path, {"example.org": ZONE}) as server:

        async def found() -> list[Ranges]:
            resolver = Resolver([server])
            names = ("_spf.example.org", "loop.example.org", "none.example.org")
            return [await published(name, resolver) for name in names]

        good, loop, none = asyncio.run(found())
    shown = {str(network) for network in good.networks}
    assert {"198.51.100.1", "198.51.100.2", "2001:db8::1", "192.0.89.0/24"} <= shown
    assert len(shown) == 93
    assert good.left_out == ("ip4:192.0.2.9 (some of it was refused before)",)
    assert loop.error == "the record needs too many look-ups"
    assert none.error == "none.example.org has no SPF record"


def test_a_server_that_answers_nothing_is_tried_again_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T25, T28."""
    monkeypatch.setattr(module, "ERROR", 0.01)

    async def found() -> tuple[Ranges, int]:
        with black_hole() as server:
            resolver = Resolver([server], patience=0.1)
            answer = await published("example.org", resolver)
            return answer, resolver.errors

    answer, errors = asyncio.run(found())
    assert answer.error == "DNS gives no answer about example.org"
    assert (answer.networks, answer.is_unanswered) == ((), True)
    assert errors >= 1


def test_what_was_answered_is_kept_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that is slow today answers a part of the questions each time."""
    monkeypatch.setattr(module, "ERROR", 0.0)
    records: dict[str, bytes] = {
        "a.example.org": b"v=spf1 include:b.example.org ip4:192.0.2.1 -all",
        "b.example.org": b"v=spf1 ip4:192.0.2.2 -all",
    }
    asked: list[str] = []

    class Slow(Resolver):
        async def ask(self, query: Query) -> Answer:
            asked.append(query.name)
            return None if asked == ["a.example.org", "b.example.org"] else (records[query.name],)

    answer = asyncio.run(published("a.example.org", Slow([("127.0.0.1", 1)])))
    assert [str(network) for network in answer.networks] == ["192.0.2.1", "192.0.2.2"]
    assert len(asked) == 4
