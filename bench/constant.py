"""A policy server that decides nothing: what the load generator and the event loop cost alone.

usage: python -m bench.constant SOCKET
"""

from __future__ import annotations

import asyncio
import sys

import uvloop


class Constant(asyncio.Protocol):
    """Answers every request alike."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that ends in these bytes."""
        self._transport.write(b"action=DUNNO\n\n" * data.count(b"\n\n"))  # type: ignore[attr-defined]


async def serve(path: str) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(Constant, path)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
