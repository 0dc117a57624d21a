"""A name server with faults, and a forger beside it. It runs in the event loop of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import cast

import dns.message
import dns.rrset

from tests.servers.knot import free_port

# What is replied to a query, one datagram after the other.
Behaviour = Callable[[dns.message.Message], Sequence[bytes]]


def reply(query: dns.message.Message, *records: str) -> dns.message.Message:
    """Return a true reply with these answers: name, TTL, class, type, data."""
    made = dns.message.make_response(query)
    for record in records:
        name, ttl, _class, kind, data = record.split(" ", 4)
        made.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    return made


def wire(message: dns.message.Message) -> bytes:
    """Return the bytes of a message, however many."""
    return message.to_wire(max_size=65535)


class HostileServer(asyncio.DatagramProtocol):
    """Replies as the test wants, over UDP and TCP."""

    def __init__(self, udp: Behaviour, tcp: Behaviour) -> None:
        self._udp, self._tcp = udp, tcp
        self.asked: list[tuple[str, str, int]] = []  # protocol, name, client's port
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(("udp", query.question[0].name.to_text(), addr[1]))
        for one in self._udp(query):
            self.transport.sendto(one, addr)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reply to one query over TCP. The behaviour says the length, too."""
        size = int.from_bytes(await reader.readexactly(2), "big")
        query = dns.message.from_wire(await reader.readexactly(size))
        self.asked.append(("tcp", query.question[0].name.to_text(), 0))
        for one in self._tcp(query):
            writer.write(one)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def hostile(
    udp: Behaviour, tcp: Behaviour = lambda _query: (), host: str = "127.0.0.1"
) -> AsyncIterator[tuple[HostileServer, tuple[str, int]]]:
    """Run a server; give it and where it listens."""
    server, place = HostileServer(udp, tcp), (host, free_port())
    loop = asyncio.get_running_loop()
    transport, _protocol = await loop.create_datagram_endpoint(lambda: server, local_addr=place)
    listener = await asyncio.start_server(server.serve, *place)
    try:
        yield server, place
    finally:
        transport.close()
        listener.close()
        await listener.wait_closed()


@contextlib.contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """Take queries, and never reply."""
    with socket.socket(type=socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        yield hole.getsockname()
