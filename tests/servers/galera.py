"""A private Galera cluster of three nodes for tests, on free ports of the loopback interface."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from tests.e2e.plugin import needed
from tests.servers.mariadb import PASSWORD, START, USER, MariaDb, open_to_all

PROVIDER = "/usr/lib/galera/libgalera_smm.so"
NODES = 3
DATABASE = "greylisting"
# A node that says nothing is given up after a second or three, not after the usual five or fifteen.
_TIMERS = (
    "evs.suspect_timeout=PT1S;evs.inactive_timeout=PT3S;evs.install_timeout=PT3S;"
    "evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.2S"
)


class Node(MariaDb):
    """One server of a cluster."""

    def __init__(self, folder: Path, port: int, options: list[str]) -> None:
        network = ["--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}"]
        super().__init__(folder, [*network, *options])
        self.port = port

    def start(self) -> None:
        """Start; another run of pytest may have closed the folders above meanwhile."""
        open_to_all(self.folder.parent)
        super().start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def status(self, name: str) -> str:
        with self.connect() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE %s", (name,))
            row = cursor.fetchone()
        return row[1] if row else ""

    def isolate(self, alone: bool) -> None:
        """Cut the node off from the others, or let it back."""
        with self.connect() as cursor:
            cursor.execute(f"SET GLOBAL wsrep_provider_options='gmcast.isolate={int(alone)}'")

    def wait(self, name: str, value: str) -> None:
        end = time.monotonic() + START
        while self.status(name) != value:
            assert time.monotonic() < end, f"{name} is {self.status(name)}, not {value}"
            time.sleep(0.05)


def url(*nodes: Node) -> str:
    """Return the store's URL on these nodes, in this order."""
    hosts = ",".join(node.host for node in nodes)
    return f"mysql://{USER}:{quote(PASSWORD, safe='')}@{hosts}/{DATABASE}"


def _ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _nodes(folder: Path) -> list[Node]:
    group = _ports(NODES)
    address = "gcomm://" + ",".join(f"127.0.0.1:{port}" for port in group)
    nodes = []
    for number, mine in enumerate(group):
        port, transfer, increment = _ports(3)
        provider = f"gmcast.listen_addr=tcp://127.0.0.1:{mine};ist.recv_addr=127.0.0.1:{increment}"
        options = [
            *("--wsrep-on=ON", f"--wsrep-provider={PROVIDER}", "--wsrep-cluster-name=t"),
            *(f"--wsrep-node-name=n{number}", f"--wsrep-cluster-address={address}"),
            *(f"--wsrep-node-address=127.0.0.1:{mine}", "--wsrep-sst-method=rsync"),
            *(f"--wsrep-sst-receive-address=127.0.0.1:{transfer}", "--binlog-format=ROW"),
            "--innodb-autoinc-lock-mode=2",
            # Newer servers have a plugin for these options, under which none can be changed.
            "--loose-plugin-wsrep-provider=OFF",
            f"--wsrep-provider-options={provider};gcache.size=8M;{_TIMERS}",
        ]
        nodes.append(Node(folder / f"n{number}", port, options))
    return nodes


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[list[Node]]:
    """Run three nodes with an empty database until the end of the block."""
    needed("mariadbd", "mariadb-server")
    if not Path(PROVIDER).exists():
        needed(PROVIDER, "galera-4")
    needed("rsync", "rsync")
    needed("ip", "iproute2")
    open_to_all(folder)
    nodes = _nodes(folder)
    first, *others = nodes
    first.folder.mkdir()
    first.install()
    for node in others:
        node.folder.mkdir()
        shutil.copytree(first.folder / "data", node.folder / "data")
        for path in (node.folder, *node.folder.rglob("*")):
            shutil.chown(path, "mysql")
    try:
        options = first.options
        first.options = (*options, "--wsrep-new-cluster")
        first.start()
        first.options = options
        with ThreadPoolExecutor() as pool:
            list(pool.map(Node.start, others))
        for node in nodes:
            node.wait("wsrep_local_state_comment", "Synced")
            node.wait("wsrep_cluster_size", str(NODES))
        _make_database(first)
        yield nodes
    finally:
        for node in reversed(nodes):
            node.stop()


def _make_database(node: Node) -> None:
    with node.connect() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
        cursor.execute(f"CREATE USER {USER}@127.0.0.1 IDENTIFIED BY %s", (PASSWORD,))
        cursor.execute(f"GRANT ALL PRIVILEGES ON {DATABASE}.* TO {USER}@127.0.0.1")
