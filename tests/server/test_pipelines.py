"""Clients that ask without waiting for their answers: nobody else is let in for it (T5)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import cast
from urllib.request import urlopen

import pytest

from greylag.core.verdict import Decision, Reason, Verdict
from greylag.server.answering import Inquiry
from greylag.server.connections import Connections
from greylag.server.fronts.policy import PolicyCodec
from greylag.server.journal import Journal
from greylag.server.session import Limits, Session
from greylag.server.trees import Trees
from greylag.server.worker import CROWDED, MAX_BATCH, Worker
from greylag.wire.policy import Request
from tests.server.daemon import Connection, Daemon, request, serving
from tests.server.test_serve import free_port
from tests.server.test_worker import Events, asked, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.server.session import Owe

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
CLIENTS = 20
EACH = 200
LET_IN = b"action=DUNNO"


def pipeline(number: int, each: int) -> bytes:
    """Return questions of which each tenth needs no store, so that their order is seen."""
    return b"".join(
        request(
            client_address="junk" if n % 10 == 9 else f"10.{number}.{n % 256}.1", sender=f"{n}@x"
        )
        for n in range(each)
    )


def in_their_order(client: Connection, each: int) -> bool:
    answers = [client.response() for _ in range(each)]
    return all((answer == LET_IN) == (n % 10 == 9) for n, answer in enumerate(answers))


def waiting(port: int) -> int:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        (found,) = re.findall(r"^greylag_queue_length (\d+)", page.read().decode(), re.MULTILINE)
    return int(found)


@contextlib.contextmanager
def held_up(daemon: Daemon) -> Iterator[None]:
    """Another program writes, for less than the deadline."""
    with closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("ends", [False, True])
def test_who_pipelines_adds_one_question_at_a_time_where_many_wait_t5(
    tmp_path: Path, ends: bool
) -> None:
    """All are answered in their order, and nobody runs into the deadline: not at the end, too."""
    port = free_port()
    server = f'metrics = "127.0.0.1:{port}"'
    with serving(tmp_path, server=server) as daemon, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.connect()) for _ in range(CLIENTS)]
        beside = stack.enter_context(daemon.connect())
        beside.ask()
        with held_up(daemon):
            for number, client in enumerate(clients):
                client.socket.sendall(pipeline(number, EACH))
            end = time.monotonic() + 2
            while waiting(port) < CROWDED and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(0.3)  # what else would be taken
            beside.send(sender="beside@example.org")
            assert CROWDED <= waiting(port) <= CROWDED + MAX_BATCH + CLIENTS
            if ends:
                daemon.process.send_signal(signal.SIGTERM)
                time.sleep(0.1)
        assert beside.response().startswith(b"action=DEFER")
        assert all(in_their_order(client, EACH) for client in clients)
    assert "store-unavailable" not in daemon.log.read_text()


@pytest.mark.parametrize("last", [b"", b"no request\n\n"])
def test_all_that_was_asked_is_answered_before_the_end(tmp_path: Path, last: bytes) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.socket.sendall(pipeline(0, 1000) + last)
        if not last:
            client.socket.shutdown(socket.SHUT_WR)
        assert in_their_order(client, 1000)
        assert client.closed()


@pytest.mark.skipif(not SOAK, reason="the small one is above")
@pytest.mark.parametrize(("clients", "each"), [(50, 1500), (1000, 64)])
def test_nobody_is_let_in_for_a_flood_of_questions_t5(
    tmp_path: Path, clients: int, each: int
) -> None:
    with serving(tmp_path) as daemon, contextlib.ExitStack() as stack:
        flood = [stack.enter_context(daemon.connect(60)) for _ in range(clients)]

        def send(number: int) -> None:
            flood[number].socket.sendall(pipeline(number % 250, each))

        with ThreadPoolExecutor(clients) as pool, daemon.connect() as beside:
            sent = [pool.submit(send, number) for number in range(clients)]
            while not all(one.done() for one in sent):
                assert beside.ask(sender=f"{time.time_ns()}@x").startswith(b"action=DEFER")
            assert all(in_their_order(client, each) for client in flood)
    assert "store-unavailable" not in daemon.log.read_text()


def test_a_failure_with_a_question_that_was_held_ends_its_connection(tmp_path: Path) -> None:
    """Else nothing would ever take the rest of them."""
    owed: list[Callable[[bytes], None]] = []
    decision = Decision(Verdict.PASS, Reason.KNOWN)

    def inquire(request: Request) -> Inquiry:
        if request.get(b"sender") == b"8@x":
            raise MemoryError
        return Inquiry(decision, cast("Worker", None), lambda _decision: b"", b"")

    def answer(_inquiry: Inquiry, owe: Owe) -> None:
        owed.append(owe())

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        seen: list[object] = []
        loop.set_exception_handler(lambda _loop, context: seen.append(context["exception"]))
        connections = Connections("s", Journal(str(tmp_path / "log"), 5, "never"))
        connections.use(Limits(), 5)
        path = str(tmp_path / "s")
        server = await loop.create_unix_server(
            lambda: Session(PolicyCodec(inquire, {}), answer, connections, lambda: True), path
        )
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"".join(request(sender=f"{n}@x") for n in range(20)))
        for number in range(8):
            await until(lambda most=number: len(owed) > most)  # type: ignore[misc]
            assert len(owed) == number + 1, "one at a time"
            owed[-1](b"%d\n" % number)
        assert await asyncio.wait_for(reader.read(), 10) == b"".join(b"%d\n" % n for n in range(8))
        assert list(map(type, seen)) == [MemoryError]
        writer.close()
        server.close()

    asyncio.run(scenario())


class Lines:
    """A codec of lines: Q ends the connection, A is answered at once, B later."""

    inside = False

    def feed(self, data: bytes) -> list[bytes]:
        return data.splitlines()

    def inquire(self, line: bytes) -> Inquiry | bytes | None:
        if line == b"Q":
            return None
        decision = Decision(Verdict.PASS, Reason.KNOWN)
        later = Inquiry(decision, cast("Worker", None), lambda _decision: b"", b"")
        return later if line == b"B" else line


@pytest.mark.parametrize("crowded", [False, True])
def test_what_comes_after_the_end_is_not_taken(tmp_path: Path, crowded: bool) -> None:
    """Whether it came with the last request, or waited with it."""
    owed: list[Callable[[bytes], None]] = []

    def answer(_inquiry: Inquiry, owe: Owe) -> None:
        owed.append(owe())

    async def scenario() -> None:
        connections = Connections("s", Journal(str(tmp_path / "log"), 5, "never"))
        connections.use(Limits(), 5)
        path = str(tmp_path / "s")
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Session(Lines(), answer, connections, lambda: crowded), path
        )
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"A\nB\nA\nQ\nA\nB\nA\n")
        await until(lambda: bool(owed))
        owed.pop()(b"b")
        assert await asyncio.wait_for(reader.read(), 10) == b"AbA"
        assert not owed
        writer.close()
        server.close()

    asyncio.run(scenario())


def test_a_tree_for_which_many_wait_counts_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(str(tmp_path / "log"), 5, "never")
        trees = Trees((str(tmp_path),), Events(), journal, 10.0)
        worker = trees.find(bytes(tmp_path), 1)
        assert worker is not None
        for number in range(CROWDED):
            assert not trees.are_crowded
            worker.ask(asked(f"{number}@x"), lambda _answered: None)
        assert trees.are_crowded
        await until(lambda: not trees.are_crowded)
        await trees.stop(10.0)

    asyncio.run(scenario())
