"""Joins stdin and stdout to a port on this machine: a server on a port under tcpserver.

Postfix's own `sendmail -bs` would need settings in /etc, which tests leave alone.
"""

from __future__ import annotations

import os
import select
import socket
import sys


def main() -> None:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30) as server:
        handles = [0, server.fileno()]
        while True:
            for handle in select.select(handles, [], [])[0]:
                data = os.read(handle, 65536)
                if handle:
                    os.write(1, data)
                elif data:
                    server.sendall(data)
                if not data:
                    return


main()
