"""One query to one name server, on sockets that are used once, so each has a port of its own."""

from __future__ import annotations

import asyncio
import socket
from asyncio import get_running_loop

from greylag.service.dns.servers import Server, asked_now, family_of
from greylag.wire.dns import TCP_SIZE, UDP_SIZE, USELESS, Asked, Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.spf.questions import Query

__all__ = ["Server", "exchange"]


async def exchange(query: Query, server: Server) -> Reply:
    """Return what a server replies. It may never: then who waits has to end this.

    Raises OSError if the server cannot be reached, ValueError for a name that cannot be.
    """
    asked = asked_now(query)
    reply = await _by_udp(asked, server)
    return await _by_tcp(asked, server) if reply.truncated else reply


async def _by_udp(asked: Asked, server: Server) -> Reply:
    loop = get_running_loop()
    with socket.socket(family_of(server[0]), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
        ours.connect(server)  # the kernel takes no reply from elsewhere, and chooses the port
        ours.send(asked.wire)
        while True:
            wire = await loop.sock_recv(ours, UDP_SIZE + 1)
            reply = asked.read(wire) if len(wire) <= UDP_SIZE else None
            if reply is not None:
                return reply
            await asyncio.sleep(0)  # a flood of false replies must not hold up the event loop


async def _by_tcp(asked: Asked, server: Server) -> Reply:
    reader, writer = await asyncio.open_connection(*server, limit=TCP_SIZE)
    try:
        writer.write(len(asked.wire).to_bytes(2, "big") + asked.wire)
        size = int.from_bytes(await reader.readexactly(2), "big")
        if size > TCP_SIZE:
            return USELESS
        reply = asked.read(await reader.readexactly(size))
    except EOFError:  # it hung up
        return USELESS
    finally:
        writer.transport.abort()  # nothing is left to be said
    return USELESS if reply is None or reply.truncated else reply
