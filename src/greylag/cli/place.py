"""What `greylag doctor` hands its checks: settings, a runner of programs, limits in time."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from shlex import quote
from time import monotonic
from types import FrameType

from greylag.admin.doctor.finding import TooSlow
from greylag.admin.doctor.place import Known, Place, Ran
from greylag.app.config import CONFIG_VARIABLE, DEFAULT_PATH, ConfigError, Settings, load
from greylag.app.dns import servers_of
from greylag.cli.common import Run
from greylag.cli.home import DEFAULT_HOME, another_configuration
from greylag.core.policy import Greylist, NullSender
from greylag.store import Backend, backend_of
from greylag.store.base import Store

_LONGEST = 5.0  # seconds for a program
_MOST = 1 << 20  # bytes of its output


def place_of(run: Run, root: str, before: Mapping[str, object]) -> Place:
    """Return what the checks of this run look at."""
    cached = cache(ran)  # several checks ask Postfix the same
    home = run.home_option or (root + DEFAULT_HOME if root else run.home)
    config = run.config_option or root + DEFAULT_PATH
    settings, errors = _settings(run, home, config)
    known = None if settings is None else _known(settings, root)
    elsewhere = [] if root else another_configuration(home, run.environ)
    return Place(
        root=root,
        home=os.path.abspath(home),
        config=config,
        command=_command(run, root, home),
        now=run.now,
        known=known,
        errors=tuple(errors),
        warnings=settings.warnings if settings is not None else (),
        elsewhere=tuple(elsewhere),
        run=lambda arguments: cached(tuple(arguments)),
        within=within,
        open_store=lambda: _opened(known),
        before=before,
        noted={},
    )


def _settings(run: Run, home: str, usual: str) -> tuple[Settings | None, list[str]]:
    environ = dict(os.environb)
    if run.config_option is not None:
        environ[CONFIG_VARIABLE] = os.fsencode(run.config_option)
    try:
        return load(environ, home, usual), []
    except ConfigError as error:
        return None, error.errors


def _known(settings: Settings, root: str) -> Known:
    server, policy = settings.server, settings.policy
    url = settings.store_url
    backend: Backend = backend_of(backend_of(url).rooted(root) if root else url)
    try:
        servers = servers_of(settings.dns) if settings.dns.asks else ()
    except (OSError, ValueError):
        servers = ()
    return Known(
        backend=backend,
        timeout=settings.store_timeout,
        socket=server.socket,
        socket_mode=server.socket_mode,
        socket_group=server.socket_group,
        ports=server.policy,
        delay=policy.delay,
        retry_window=policy.retry_window,
        greylists=policy.greylist is not Greylist.OFF,
        null_sender_at_rcpt=policy.null_sender is not NullSender.DATA,
        trees=settings.values["jgreylist.trees"],
        log_file=server.log_file,
        web_users=settings.values["web.users"],
        servers=tuple(servers),
        keep_most=settings.room.total,
        origins=settings.origins,
    )


def _opened(known: Known | None) -> Store:
    assert known is not None  # checks that read the store look at the settings first
    return known.backend.open_reading(timeout=known.timeout)


def _command(run: Run, root: str, home: str) -> str:
    """Return how a shell calls this greylag, with the options that choose what it looks at."""
    words = [_program()]
    if run.config_option is not None or root:
        words += ["--config", run.config_option or root + DEFAULT_PATH]
    if run.home_option is not None or root:
        words += ["--qmail-home", home]
    return " ".join(map(quote, words))


def _program() -> str:
    beside = str(Path(sys.executable).parent / "greylag")
    found = shutil.which("greylag")
    if found is not None and os.path.realpath(found) == os.path.realpath(beside):
        return found
    return beside if os.path.exists(beside) else found or "greylag"


def ran(arguments: Sequence[str]) -> Ran:
    """Run a program that only tells something, for seconds; return what it printed."""
    environ = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell; our own words and checked paths
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
    except OSError:
        return Ran(None, "")
    try:
        output = _read(process)
        status: int | None = process.wait(0.5) if output is not None else None
    except subprocess.TimeoutExpired:
        status = None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    return Ran(status, (output or b"").decode("utf-8", "replace"))


def _read(process: subprocess.Popen[bytes]) -> bytes | None:
    """Return what a program prints until it closes its output; None: too slow, or too much."""
    assert process.stdout is not None
    handle, output, end = process.stdout.fileno(), b"", monotonic() + _LONGEST
    while len(output) <= _MOST:
        ready, _, _ = select.select([handle], [], [], max(0.0, end - monotonic()))
        if not ready:
            return None
        part = os.read(handle, 65536)
        if not part:
            return output
        output += part
    return None


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TooSlow in what runs inside, should it take longer: as a file system that hangs."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
