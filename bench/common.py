"""What the benchmarks share: servers under load, programs started and timed, rows with targets.

Everything runs privately in a temporary folder and on loopback. Ratios from one run are what
counts: absolute figures are this machine's, at this moment.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
START = 60.0  # seconds for a server to come up


def target(what: str, found: float, wanted: float, *, more: bool = False) -> None:
    """Print a row with its target: `more` where the figure is to be at least that."""
    met = found >= wanted if more else found <= wanted
    bound = "at least" if more else "at most"
    print(f"  {what:52} {found:9.3f}   target {bound} {wanted:g}: {'met' if met else 'NOT MET'}")


def heading(text: str) -> None:
    """Print what the next rows are about, at once: some take minutes."""
    print(f"\n{text}", flush=True)


def compile_c(target: Path, source: Path | str, *options: str, compiler: str = "cc") -> None:
    """Compile a C file, or a text, to a program."""
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", *options, "-o", str(target)]
    if isinstance(source, Path):
        subprocess.run([compiler, *flags, str(source)], check=True)
    else:
        subprocess.run(
            [compiler, *flags, "-x", "c", "-"], input=source.encode(), check=True, timeout=60
        )


def build(folder: Path) -> None:
    """Compile the load generator and an empty static program of glibc, the floor of all costs."""
    compile_c(folder / "load", HERE / "load.c")
    compile_c(folder / "empty", "int main(void) { return 0; }\n", "-static")


@contextlib.contextmanager
def process(
    command: list[str],
    ready: Callable[[], bool],
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[int]:
    """Run a server until the end of the block; its process id is given."""
    with log.open("ab") as out:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd
        )
    try:
        end = time.monotonic() + START
        while not ready():
            if running.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} does not start: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield running.pid
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:  # postgrey sometimes does not hear it
            running.kill()
            running.wait()


def answers(place: str) -> Callable[[], bool]:
    """Return a test whether somebody accepts connections at a place: a path, or host:port."""

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


def write_config(folder: Path, text: str = "", url: str = "") -> Path:
    """Write the settings of a daemon in a folder: its socket `s`, its database there."""
    config = folder / "greylag.toml"
    store = url or f"sqlite://{folder}/greylag.db"
    config.write_text(f'{text}\n[store]\nurl = "{store}"\n[server]\nsocket = "{folder}/s"\n')
    return config


@contextlib.contextmanager
def serving(config: Path, cwd: Path | None = None) -> Iterator[int]:
    """Run the daemon of these settings, with its log in a file beside them."""
    folder = config.parent
    command = [f"{BIN}/greylag", "--config", str(config), "serve"]
    with process(command, answers(f"{folder}/s"), folder / "daemon.log", cwd=cwd) as pid:
        yield pid


def processor(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> float:
    """Return the megabytes that a process holds."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Load:
    """What one load on a server came to."""

    rate: float  # requests a second
    median: float  # milliseconds of waiting
    high: float  # the 99th percentile
    longest: float


def load(
    folder: Path, place: str, requests: int, distinct: int, prefix: str, connections: int = 50
) -> Load:
    """Put a load on a server: requests about so many distinct triplets, in turn."""
    words = [folder / "load", place, connections, requests, distinct, prefix]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True)
    rate, *waits = map(float, done.stdout.split())
    median, high, longest = (microseconds / 1000 for microseconds in waits)
    return Load(rate, median, high, longest)


def timed(command: list[str], environ: Mapping[str, str]) -> float:
    """Run a program to its end; return the seconds it took."""
    quiet = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environ, file_actions=[quiet])
    os.waitpid(pid, 0)
    return time.perf_counter() - began
