"""What one RCPT costs in a session of qmail-smtpd with the compiled plugin and the daemon.

usage: python -m bench.session [--rounds N]

A small C host (host.c) starts the plugins as qmail-smtpd does: a process as big as Python is slower
to fork, which would hide what the plugin itself costs. Each round starts every case once, in turn.

The targets are shares of the old plugin's time. It is not here to be measured; in sessions of
qmail-smtpd on a local MariaDB it took 8.1 to 8.7 times as long as an empty static plugin of glibc
in its place. So what the empty one takes in this run, times 8.1, stands for it: the lower end, as
that is the harder target. 8.1 came from such a host with this empty plugin, so no ratio that was
measured from Python may be held against it.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from bench.common import HERE, build, compile_c, heading, load, serving, target, write_config
from bench.mysql import admin, make_database, mariadb
from bench.mysql import committing as committing_mysql
from bench.plugin import committing, install
from greylag.store import open_store
from greylag.store.mysql.schema import DATA, LISTS

OLD_PLUGIN = 8.1  # empty static plugins
KNOWN_SHARE = 0.10
FIRST_SHARE = {"SQLite": 0.25, "MariaDB": 0.40}
RATE_SHARE = 0.8
DELAY = 1  # second: so triplets can be made known here
READ_AGAIN = 3.5  # seconds: the daemon has written what it counts
AGO = 10  # seconds, for the rate
ROUNDS = 3  # for the rate
EMPTY, SYNCED = "an empty static plugin", "(one synced transaction alone, from Python)"
FIRST = "a first contact"
OLDER = "a known triplet, seen seconds before"
LOST = "a known triplet that memory does not hold"
WAITING = "a triplet that waits, seen seconds before"
MEMORY = "a known triplet, seen just before"
PASSED, DEFERRED = "-", "E4"


@dataclass
class Host:
    """A session of qmail-smtpd, as far as its plugins see it."""

    process: subprocess.Popen[str]

    def run(self, program: str, recipient: str, wanted: str) -> float:
        """Return the milliseconds of one plugin. Its answer has to begin with what is wanted."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(program, "a@example.org", recipient, file=self.process.stdin, flush=True)
        took, _blank, said = self.process.stdout.readline().partition(" ")
        if not said.startswith(wanted):
            raise SystemExit(f"{recipient}: {said!r} in the place of {wanted!r}")
        return float(took) / 1000


@contextlib.contextmanager
def session(folder: Path, **variables: str) -> Iterator[Host]:
    """Hold a session with these variables, as tcprules set them."""
    environ = {
        "GREYLISTING": "", "PROTO": "TCP", "SMTPHELOHOST": "mx.example.org", "SMTPRCPTCOUNT": "0",
        "SMTPRCPTCOUNTALL": "1", "SMTPRCPTHOSTSOK": "1", "TCPLOCALHOST": "mail.example.net",
        "TCPLOCALIP": "192.0.2.1", "TCPLOCALPORT": "25", "TCPREMOTEHOST": "mx.example.org",
        "TCPREMOTEIP": "192.0.2.17", "TCPREMOTEPORT": "51000", "PATH": "/usr/bin:/bin",
    } | variables  # fmt: skip
    pipe = subprocess.PIPE
    command = [folder / "host"]
    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        yield Host(process)


@dataclass
class Store:
    """A daemon under measurement, with its plugin and a transaction to compare with."""

    name: str
    place: Path
    plugin: str
    commit: Callable[[], float]
    url: str
    times: dict[str, list[float]] = field(default_factory=dict)

    def note(self, case: str, took: float) -> None:
        """Keep a time."""
        self.times.setdefault(case, []).append(took)

    def empty_memory(self) -> None:
        """Have the daemon drop what it holds, as after a restart."""
        with contextlib.closing(open_store(self.url, timeout=10)) as store:
            store.forget((), int(time.time()))
        time.sleep(READ_AGAIN)


def prepare(folder: Path, store: Store, rounds: int) -> None:
    """Make triplets that are known and others that wait, and let the daemon forget both."""
    with session(folder) as host:
        for number in range(-1, rounds):
            host.run(store.plugin, f"known{number}@example.net", DEFERRED)
            host.run(store.plugin, f"lost{number}@example.net", DEFERRED)
        time.sleep(DELAY + 1)
        for number in range(-1, rounds):
            host.run(store.plugin, f"known{number}@example.net", PASSED)
            host.run(store.plugin, f"lost{number}@example.net", PASSED)
        store.empty_memory()
        for number in range(-1, rounds):
            host.run(store.plugin, f"known{number}@example.net", PASSED)
    with session(folder, GLBLOCKEXPIRE="60") as host:
        for number in range(rounds):
            host.run(store.plugin, f"waits{number}@example.net", DEFERRED)
    time.sleep(READ_AGAIN)


def measure(folder: Path, stores: list[Store], rounds: int) -> None:
    """Go through all cases of all stores, so many times, in either order."""
    empty = str(folder / "empty")
    with session(folder) as host, session(folder, GLBLOCKEXPIRE="60") as slow:
        for number in range(rounds):
            for store in stores[:: -1 if number % 2 else 1]:
                run = host.run
                memory = "known-1@example.net"
                run(store.plugin, memory, PASSED)
                store.note(MEMORY, run(store.plugin, memory, PASSED))
                store.note(EMPTY, run(empty, memory, PASSED))
                store.note(OLDER, run(store.plugin, f"known{number}@example.net", PASSED))
                store.note(LOST, run(store.plugin, f"lost{number}@example.net", PASSED))
                store.note(FIRST, run(store.plugin, f"first{number}@example.net", DEFERRED))
                waits = f"waits{number}@example.net"
                store.note(WAITING, slow.run(store.plugin, waits, DEFERRED))
                store.note(SYNCED, store.commit() * 1000)


def report(store: Store) -> None:
    """Print what one store's RCPTs cost."""
    found = {case: median(times) for case, times in store.times.items()}
    empty = found[EMPTY]
    heading(
        f"{store.name}: each RCPT in a session, in ms, in empty static plugins, and as a share of"
        f"\nthe old plugin's time ({OLD_PLUGIN:g} empty ones: {OLD_PLUGIN * empty:.2f} ms)"
    )
    wanted = {MEMORY: KNOWN_SHARE, OLDER: KNOWN_SHARE, WAITING: KNOWN_SHARE}
    wanted[FIRST] = FIRST_SHARE[store.name]
    for case in (EMPTY, SYNCED):
        print(f"  {case:44} {found[case]:6.3f} {found[case] / empty:6.3f}")
    print(f"  {LOST:44} {found[LOST]:6.3f} {found[LOST] / empty:6.3f}")
    for case, share in wanted.items():
        in_empty = found[case] / empty
        target(f"{case:42} {found[case]:5.3f}{in_empty:5.2f}", in_empty / OLD_PLUGIN, share)


def make_known(ask: Callable[[], object]) -> None:
    """Ask twice about the same triplets: the second time they pass."""
    ask()
    time.sleep(DELAY + 1)
    ask()


def rates(folder: Path, store: Store, requests: int) -> None:
    """Print how fast triplets are answered that were seen some seconds before, and from memory."""
    place, few = f"{store.place}/s", requests // 20
    make_known(lambda: load(folder, place, requests, requests, "again"))
    store.empty_memory()
    lost = load(folder, place, requests, requests, "again").rate
    make_known(lambda: load(folder, place, few, few, "hot"))
    old, hot = [], []
    for _ in range(ROUNDS):
        time.sleep(AGO)
        old.append(load(folder, place, requests, requests, "again").rate)
        time.sleep(READ_AGAIN)  # what was counted is written
        hot.append(load(folder, place, requests, few, "hot").rate)
    older, memory = median(old), median(hot)
    print(
        f"  requests a second, 50 connections: seen {AGO} s before {older:.0f}, "
        f"just before {memory:.0f}, read from the store {lost:.0f}"
    )
    target(f"seen {AGO} s before, share of that", older / memory, RATE_SHARE, more=True)


def mixed(folder: Path, store: Store, requests: int) -> None:
    """Print the waits of repeats that are asked about beside as many first contacts.

    The one thread that owns the store reads no repeat while it commits others' first contacts.
    """
    place = f"{store.place}/s"
    half = partial(load, folder, place, requests, requests, connections=25)
    make_known(lambda: half("mixed"))
    time.sleep(AGO)
    alone = half("mixed")
    time.sleep(AGO)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(half, "beside")
        again = half("mixed")
        new = first.result()
    print(f"  {'25 and 25 connections at once: waits in ms':42} {'median':>8} {'p99':>8}")
    for what, found in (
        (f"repeats seen {AGO} s before, alone", alone),
        ("the same beside first contacts", again),
        ("first contacts beside them", new),
    ):
        print(f"    {what:40} {found.median:8.2f} {found.high:8.2f}")


@contextlib.contextmanager
def stores(folder: Path) -> Iterator[list[Store]]:
    """Run a daemon on SQLite and one on MariaDB."""
    text = f'[policy]\ndelay = "{DELAY}s"\n'
    urls: dict[str, str] = {"SQLite": ""}
    found = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(mariadb(folder))
        option_file = make_database(folder, "sessions", DATA, LISTS)
        urls["MariaDB"] = f"mysql:?default_file={option_file}"
        cursor = stack.enter_context(admin(folder, "sessions"))
        commits = {"SQLite": committing(folder), "MariaDB": committing_mysql(cursor)}
        for name, url in urls.items():
            place = folder / name
            place.mkdir()
            config = write_config(place, text, url)
            plugin = install(place, config)
            stack.enter_context(serving(config))
            given = url or f"sqlite://{place}/greylag.db"
            found.append(Store(name, place, plugin, commits[name], given))
        yield found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        compile_c(folder / "host", HERE / "host.c")
        with stores(folder) as found:
            for store in found:
                prepare(folder, store, options.rounds)
            measure(folder, found, options.rounds)
            for store in found:
                report(store)
                rates(folder, store, options.requests)
                mixed(folder, store, options.requests)


if __name__ == "__main__":
    main()
