"""A private knot with the world's zones and a private unbound before it, both on loopback."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.common import answers, process

Server = tuple[str, int]

_KNOT = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}"
template:
  - id: default
    storage: "{folder}"
    journal-content: none
    zonefile-sync: -1
zone:
"""
_SOA = "@ 3600 SOA ns.example.org. hostmaster.example.org. 1 3600 600 86400 60\n@ 3600 NS @\n"

# Unbound has zones of its own for the addresses of documentation and of private networks, and for
# names that are reserved: `nodefault` takes them away. No validation: the zones are not signed.
_UNBOUND = """\
server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    do-ip6: no
    num-threads: 1
    module-config: "iterator"
    qname-minimisation: no
    unblock-lan-zones: yes
    insecure-lan-zones: yes
{refused}
remote-control:
    control-enable: no
"""
_STUB = 'stub-zone:\n    name: "{zone}"\n    stub-addr: 127.0.0.1@{port}\n'


def free_port() -> int:
    """Return a port that is free for UDP and TCP alike."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


@contextlib.contextmanager
def name_server(folder: Path, zones: Mapping[str, str]) -> Iterator[Server]:
    """Run knot with these zones, records by zone, until the end of the block."""
    port = free_port()
    conf = _KNOT.format(folder=folder, port=port)
    for zone, records in zones.items():
        (folder / f"{zone}.zone").write_text(f"$ORIGIN {zone}.\n$TTL 600\n{_SOA}{records}")
        conf += f'  - domain: {zone}\n    file: "{zone}.zone"\n'
    (folder / "knot.conf").write_text(conf)
    command = ["/usr/sbin/knotd", "-c", str(folder / "knot.conf")]
    with process(command, answers(f"127.0.0.1:{port}"), folder / "knot.log"):
        yield "127.0.0.1", port


@contextlib.contextmanager
def resolver(
    folder: Path, zones: Mapping[str, str], upstream: Server, refused: tuple[str, ...] = ()
) -> Iterator[Server]:
    """Run unbound, which finds these zones at a name server, until the end of the block.

    It refuses to answer about some zones, as where a sender's name servers have a fault.
    """
    port = free_port()
    lines = "".join(f'    local-zone: "{zone}." refuse\n' for zone in refused)
    conf = _UNBOUND.format(folder=folder, port=port, refused=lines)
    conf += "".join(_STUB.format(zone=zone, port=upstream[1]) for zone in zones)
    (folder / "unbound.conf").write_text(conf)
    command = ["/usr/sbin/unbound", "-d", "-c", str(folder / "unbound.conf")]
    with process(command, answers(f"127.0.0.1:{port}"), folder / "unbound.log"):
        yield "127.0.0.1", port


@contextlib.contextmanager
def dns(folder: Path, zones: Mapping[str, str], refused: tuple[str, ...] = ()) -> Iterator[Server]:
    """Run both; give the resolver's address and port."""
    with name_server(folder, zones) as upstream, resolver(folder, zones, upstream, refused) as one:
        yield one
