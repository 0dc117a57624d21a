"""The daemon and the C plugin against their peers and floors, in one run on one machine.

usage: python -m bench.daemon [--rounds N] [--requests N]

Rounds go through all servers in turn; medians are printed, and ratios with the target beside
them. Absolute figures are this machine's, at this moment.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
CONNECTIONS = 50
BLOCKED = 1000  # triplets that are repeated
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A server under load: where it is, its process, and what was measured."""

    name: str
    place: str
    pid: int
    new: list[float] = field(default_factory=list)  # requests a second
    repeats: list[float] = field(default_factory=list)
    cpu_new: list[float] = field(default_factory=list)  # seconds for 1,000 requests
    cpu_repeats: list[float] = field(default_factory=list)

    def cpu(self) -> float:
        """Return the seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def build(folder: Path) -> None:
    """Compile the load generator and an empty program."""
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", folder / "load", HERE / "load.c"], check=True)
    empty = ["-x", "c", "-", "-static", "-o", str(folder / "empty")]
    subprocess.run(["cc", *flags, *empty], input=b"int main(void) { return 0; }\n", check=True)


@contextlib.contextmanager
def process(command: list[str], ready: Callable[[], bool], log: Path) -> Iterator[int]:
    """Run a server until the end of the block."""
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 20
        while not ready():
            if running.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} does not start: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield running.pid
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:  # postgrey sometimes does not hear it
            running.kill()
            running.wait()


def answers(place: str) -> Callable[[], bool]:
    """Return a test whether somebody accepts connections at a place."""

    def ready() -> bool:
        unix = place.startswith("/")
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as probe:
            host, _colon, port = place.rpartition(":")
            return probe.connect_ex(place if unix else (host, int(port))) == 0

    return ready


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    """Run all servers there are on this machine."""
    with contextlib.ExitStack() as stack:
        found = []

        def add(name: str, place: str, command: list[str]) -> None:
            log = folder / f"{name}.log"
            pid = stack.enter_context(process(command, answers(place), log))
            found.append(Server(name, place, pid))

        constant = f"{folder}/constant"
        add("a constant answer", constant, [f"{BIN}/python", "-m", "bench.constant", constant])
        (folder / "greylag.toml").write_text(
            f'[store]\nurl = "sqlite://{folder}/greylag.db"\n[server]\nsocket = "{folder}/s"\n'
        )
        config = f"{folder}/greylag.toml"
        add("greylag", f"{folder}/s", [f"{BIN}/greylag", "--config", config, "serve"])
        if shutil.which("postgrey"):
            (folder / "postgrey").mkdir()
            shutil.chown(folder / "postgrey", "postgrey")
            place = f"127.0.0.1:{free_port()}"
            options = [f"--inet={place}", f"--dbdir={folder}/postgrey"]
            who = ["--user=postgrey", "--group=postgrey"]
            add("postgrey", place, ["postgrey", *options, *who])
        else:
            print("no postgrey here (apt-get install postgrey): its rows are left out")
        yield found


def load(
    folder: Path, server: Server, requests: int, distinct: int, prefix: str
) -> tuple[float, float]:
    """Put a load on a server; return requests a second, and its seconds for 1,000 of them."""
    before = server.cpu()
    command = [folder / "load", server.place, CONNECTIONS, requests, distinct, prefix]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[0]), (server.cpu() - before) * 1000 / requests


def measure(folder: Path, found: list[Server], rounds: int, requests: int) -> None:
    """Go through all servers, so many times."""
    for number in range(rounds):
        for server in found:
            size = requests // 5 if server.name == "postgrey" else requests
            rate, cpu = load(folder, server, size, 10**9, f"n{number}")
            server.new.append(rate)
            server.cpu_new.append(cpu)
            load(folder, server, BLOCKED, BLOCKED, "r")
            rate, cpu = load(folder, server, size, BLOCKED, "r")
            server.repeats.append(rate)
            server.cpu_repeats.append(cpu)


def report(found: list[Server]) -> None:
    """Print what was measured."""
    print(f"\n{CONNECTIONS} connections; requests a second; processor seconds for 1,000 requests")
    print(f"  {'':20} {'all new':>9} {'repeats':>9} {'cpu new':>9} {'cpu rep.':>9}")
    middle = statistics.median
    for s in found:
        rates = f"{middle(s.new):9.0f} {middle(s.repeats):9.0f}"
        print(f"  {s.name:20} {rates} {middle(s.cpu_new):9.3f} {middle(s.cpu_repeats):9.3f}")
    by_name = {server.name: server for server in found}
    ours, peer = by_name["greylag"], by_name.get("postgrey")
    if peer is not None:
        target("all new, against postgrey", middle(ours.new) / middle(peer.new), 8, more=True)
        target(
            "repeats, against postgrey", middle(ours.repeats) / middle(peer.repeats), 14, more=True
        )
    target("processor for 1,000 new", middle(ours.cpu_new), 0.065, more=False)
    target("processor for 1,000 repeats", middle(ours.cpu_repeats), 0.035, more=False)


def target(what: str, found: float, wanted: float, *, more: bool) -> None:
    """Print a row with its target."""
    met = found >= wanted if more else found <= wanted
    bound = "at least" if more else "at most"
    print(f"  {what:40} {found:7.3f}   target {bound} {wanted:g}: {'met' if met else 'NOT MET'}")


def plugin_cost(folder: Path, rounds: int) -> None:
    """Print what the compiled plugin costs with the daemon, in empty static programs."""
    home = folder / "home"
    home.mkdir()
    config = f"{folder}/greylag.toml"
    install = ["--config", config, "qmail", "install", "--native", "--force"]
    command = [f"{BIN}/greylag", *install, "--qmail-home", str(home)]
    subprocess.run(command, check=True, capture_output=True)
    environ = {"GREYLISTING": "", "TCPREMOTEIP": "192.0.2.17", "SMTPMAILFROM": "a@example.org"}
    environ["SMTPRCPTTO"] = "known@example.net"
    plugin, numbers = str(home / "plugins" / "greylisting"), count()
    times: dict[str, list[float]] = {"empty static program": [], "repeat": [], "first contact": []}
    with process(
        [f"{BIN}/greylag", "--config", config, "serve"], answers(f"{folder}/s"), folder / "l"
    ):
        for _ in range(rounds):
            times["empty static program"].append(timed([str(folder / "empty")], environ))
            times["repeat"].append(timed([plugin], environ))
            fresh = environ | {"SMTPRCPTTO": f"r{next(numbers)}@example.net"}
            times["first contact"].append(timed([plugin], fresh))
    floor = statistics.median(times["empty static program"])
    wanted = 1.0 if shutil.which("musl-gcc") else 1.5
    print(f"\nplugin with the daemon, for each RCPT (empty static program: {floor * 1000:.2f} ms)")
    for name in ("repeat", "first contact"):
        target(name, statistics.median(times[name]) / floor, wanted, more=False)


def timed(command: list[str], environ: dict[str, str]) -> float:
    """Run a program to its end; return the seconds it took."""
    began = time.perf_counter()
    quiet = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    pid = os.posix_spawn(command[0], command, environ, file_actions=[quiet])
    os.waitpid(pid, 0)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=30_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        with servers(folder) as found:
            measure(folder, found, options.rounds, options.requests)
        report(found)
        plugin_cost(folder, 100 * options.rounds)


if __name__ == "__main__":
    main()
