"""Files that an admin names and that have no end, or no line: the installed `greylag` as it runs.

Each process may have half a GiB of memory; what holds more of an endless file fails for that.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic, sleep, time

import pytest

from greylag.admin.bounded import MOST
from tests.admin.loglines import NOW, accepted
from tests.cli.conftest import Greylag
from tests.cli.test_process import PROGRAM

SMTP_LOG, ALLOW, DENY = ("import", "smtp-log"), ("allow", "import"), ("deny", "import")
READERS = [SMTP_LOG, ALLOW, DENY]
MEMORY = 512 << 20
LONGEST = 30  # seconds: a command that reads on and on never ends
GOOD: dict[tuple[str, ...], str] = {SMTP_LOG: "x\n", ALLOW: "192.0.2.1\n", DENY: "192.0.2.1\n"}


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=LONGEST,
        preexec_fn=little_memory, **options,
    )  # fmt: skip


@contextmanager
def endless_pipe(path: Path, begin: bytes, more: bytes) -> Iterator[Path]:
    """Yield a FIFO that is written to until its reader goes away."""

    def write() -> None:
        with open(path, "wb", buffering=0) as file:
            try:
                file.write(begin)
                while True:
                    file.write(more)
            except BrokenPipeError:
                pass

    os.mkfifo(path)
    writer = Thread(target=write, daemon=True)
    writer.start()
    yield path
    writer.join(LONGEST)


@pytest.mark.parametrize("reader", READERS, ids=" ".join)
def test_a_device_a_sparse_file_and_a_pipe_without_lines_are_told(
    greylag: Greylag, tmp_path: Path, reader: tuple[str, ...]
) -> None:
    wanted = "expected a line of at most 1 MiB\n"
    good = GOOD[reader]
    sparse = tmp_path / "sparse"
    sparse.write_text(good * 3)
    os.truncate(sparse, 30 << 30)
    with endless_pipe(tmp_path / "pipe", good.encode(), b"x" * 65536) as pipe:
        for path, line in (("/dev/zero", 1), (sparse, 4), (pipe, 2)):
            done = run(*reader, str(path))
            assert done.stderr.startswith(f"greylag: {path}:{line}: {wanted}"), done.stderr
            assert done.returncode in (2, 66)
    with open("/dev/zero", "rb") as zero:
        done = run(*reader, "-", stdin=zero)
    assert f":1: {wanted}" in done.stderr
    assert greylag.entries() == []


@pytest.mark.parametrize("pack", [gzip.open, bz2.open, lzma.open], ids=["gzip", "bzip2", "xz"])
def test_a_line_without_an_end_that_is_packed(
    greylag: Greylag, tmp_path: Path, pack: Callable[..., gzip.GzipFile]
) -> None:
    path = tmp_path / "log"
    with pack(path, "wb") as file:
        file.write(b"x\n")
        for _ in range(64):
            file.write(bytes(MOST))
    done = run(*SMTP_LOG, str(path))
    assert (done.returncode, done.stderr) == (
        66,
        f"greylag: {path}:2: expected a line of at most 1 MiB\n",
    )


def test_a_packed_log_is_never_held_whole(greylag: Greylag, tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(640):
            file.write(b"x" * (MOST - 1) + b"\n")
    done = run(*SMTP_LOG, str(path))
    assert (done.returncode, "no accepted mail in 640 lines" in done.stderr) == (1, True)


def test_the_errors_of_another_kind_of_file_do_not_fill_the_memory(
    greylag: Greylag, tmp_path: Path
) -> None:
    with endless_pipe(tmp_path / "pipe", b"", b"x\n" * 4096) as pipe:
        done = run(*ALLOW, str(pipe))
    told = done.stderr.splitlines()
    assert (done.returncode, len(told)) == (2, 1002)
    assert told[-2:] == [
        f"greylag: {pipe}: line 1001 and all that follow were not read",
        "greylag: nothing was stored",
    ]


@pytest.mark.parametrize(
    "way", ["<(sleep 0.2; cat {})", "/dev/stdin <{}", "/dev/fd/7 7<{}", "- <{}"]
)
@pytest.mark.parametrize("reader", READERS, ids=" ".join)
def test_what_a_shell_hands_over_is_read(
    greylag: Greylag, tmp_path: Path, reader: tuple[str, ...], way: str
) -> None:
    age = NOW - int(time())
    path = tmp_path / "file"
    path.write_text(accepted("192.0.2.1", age + 60) if reader == SMTP_LOG else "192.0.2.1\n")
    command = " ".join((str(PROGRAM), *reader, way.format(path)))
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=LONGEST
    )
    assert done.returncode == 0, done.stderr
    assert len(greylag.keys() or greylag.entries()) == 1


@pytest.mark.parametrize("reader", [SMTP_LOG, ALLOW], ids=" ".join)
@pytest.mark.parametrize("more", [b"# as many as you like\n" * 99, b""], ids=["endless", "silent"])
def test_an_interrupt_ends_it_at_once(
    greylag: Greylag, tmp_path: Path, reader: tuple[str, ...], more: bytes
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # a silent pipe has a writer as well
    with subprocess.Popen(
        [PROGRAM, *reader, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            until = monotonic() + LONGEST
            while not reads(process.pid, path):
                assert monotonic() < until
                sleep(0.01)
            if more:
                feed(pipe, more)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=LONGEST)
        finally:
            process.kill()
            os.close(pipe)
    assert (process.returncode, told.strip()) == (130, b"greylag: interrupted")


def reads(pid: int, path: Path) -> bool:
    """Tell whether a process has opened a file."""
    try:
        return str(path) in (str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def feed(pipe: int, more: bytes) -> None:
    """Write for a while, as much as is taken."""
    until = monotonic() + 0.5
    while monotonic() < until:
        try:
            os.write(pipe, more)
        except BlockingIOError:
            sleep(0.001)


@pytest.mark.parametrize("text", ["a", "a:", "mysql", "a "])
def test_a_word_without_an_end_is_refused_at_once(greylag: Greylag, text: str) -> None:
    """What is said about it is looked through for passwords, and for click's own phrases."""
    done = run("release", "--", text * (100_000 // len(text)))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
