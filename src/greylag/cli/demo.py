"""`greylag demo`: a month of mail that nobody sent, with the daemon and the dashboard on it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import click

from greylag.cli.common import CommandError, Run, examples
from greylag.cli.output import progress, say
from greylag.cli.web import need_web

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.app.config import Settings
    from greylag.simulate.month import Month

_FAILED = 75
_USER = "demo"
_GREYLAG = "from greylag.cli.main import main; main()"  # of this Python, wherever the script is
_FASTER = 20  # times as much mail as in the month: one every few seconds, to look at
_STARTS_WITHIN = 20.0  # seconds
_ENDS_WITHIN = 10.0  # seconds, for each of the programs
_CONFIG = """\
# A demonstration: the mail server tells the names of clients, and nothing is asked of DNS.
[store]
url = "sqlite://{folder}/greylag.db"

[server]
socket = "{folder}/greylag.sock"
policy = []
metrics = "127.0.0.1:{metrics}"

[dns]
servers = "off"

[web]
listen = "127.0.0.1:{web}"
users = "{folder}/web-users"
"""


@click.command(
    short_help="Show all of it on a month of mail that nobody sent.",
    epilog=examples("greylag demo", "greylag demo --folder ./month --no-serve"),
)
@click.option("--seed", default=1, show_default=True, help="Another number makes another month.")
@click.option(
    "--share",
    type=click.FloatRange(0.01, 1.0),
    default=1.0,
    show_default=True,
    help="How much of the month's mail: 1 is 14,000 mails.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder that is kept. (else a temporary one, deleted at the end)",
)
@click.option("--no-serve", is_flag=True, help="Only make the database; needs --folder.")
def demo(seed: int, share: float, folder: Path | None, no_serve: bool) -> None:
    """Make a month of mail that nobody sent, and show it: daemon, dashboard, commands.

    10,000 bots, and 4,000 good mails of new senders, lists and pools of servers, are sent through
    greylag's own rules, into a database of its own. Nothing on this server is touched.
    """
    if no_serve and folder is None:
        raise click.UsageError("--no-serve needs --folder: else nothing would be left")
    if not no_serve:
        need_web()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that all is ended and deleted
    with _folder(folder) as place:
        config = _configure(place)
        settings = Run(str(config), None).settings
        if not sys.stderr.isatty():  # else a bar tells how far it is
            say("making a month of mail: this takes about a minute")
        month = _play(settings, seed, share)
        greylag = "greylag" if shutil.which("greylag") else Path(sys.argv[0]).resolve()
        command = f"{greylag} --config {config}"
        if no_serve:
            click.echo(f"The month is in {place}/greylag.db. Look at it:\n")
            _look(command)
            return
        password = _user(settings)
        with ExitStack() as stack:
            for word in ("serve", "web"):
                stack.enter_context(_started(config, word))
            web = settings.values["web.listen"].rpartition(":")
            _wait_for("serve", socket.AF_UNIX, f"{place}/greylag.sock", place / "serve.log")
            _wait_for("web", socket.AF_INET, (web[0], int(web[2])), place / "web.log")
            click.echo(f"\nThe dashboard: http://{settings.values['web.listen']}/")
            click.echo(f"Sign in as {_USER} with the password {password}\n")
            click.echo("In another terminal:\n")
            _look(command)
            click.echo("Mail goes on coming in. Ctrl-C ends the demonstration.")
            with suppress(KeyboardInterrupt):
                _go_on(month, place / "greylag.sock")


def _look(command: str) -> None:
    for words in ("stats --since 30d", "top", "report --since 7d", "search"):
        click.echo(f"  {command} {words}")
    click.echo()


def _user(settings: Settings) -> str:
    """Make the one user of the dashboard; return his password, which is another each time."""
    from greylag.web.accounts import Accounts, Hasher, Role

    password = secrets.token_urlsafe(12)
    accounts = Accounts(settings.values["web.users"])
    accounts.put(_USER, Hasher().make(password), Role.ADMIN)
    return password


@contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        try:
            wanted.mkdir(mode=0o700)
        except OSError as error:
            raise CommandError([f"{wanted}: {error.strerror}"], _FAILED) from error
        yield wanted.resolve()
        return
    made = tempfile.mkdtemp(prefix="greylag-demo-")
    try:
        yield Path(made).resolve()
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _configure(folder: Path) -> Path:
    """Write the settings; return their file."""
    config = folder / "greylag.toml"
    ports = {"web": _free_port(), "metrics": _free_port()}
    config.write_text(_CONFIG.format(folder=folder, **ports))
    return config


def _play(settings: Settings, seed: int, share: float) -> Month:
    """Send the month's mail; it ends now."""
    from greylag.service.policies import Policies
    from greylag.simulate.month import Month, as_published
    from greylag.simulate.senders import DAY, DAYS, following, mails
    from greylag.store import open_store

    now = int(time.time())
    sent = mails(seed, share)
    month = Month([*sent, *following(seed, share, _FASTER)], now - DAYS * DAY)
    with closing(open_store(settings.store_url, timeout=settings.store_timeout)) as store:
        steps = month.play(store, Policies(as_published(settings.policy)), now)
        total = 2 * len(sent)  # attempts, about
        for _made in progress(steps, total, "a month of mail", total // 60, "mails"):
            pass
    return month


@contextmanager
def _started(config: Path, word: str) -> Iterator[None]:
    """Run a command of greylag as a process of its own, and end it. What it tells is in a file."""
    ran = [sys.executable, "-c", _GREYLAG, "--config", str(config), word]
    told = config.with_name(f"{word}.log")
    # A session of its own: Ctrl-C is for this process, which ends the others in order.
    with (
        told.open("wb") as log,
        subprocess.Popen(ran, stderr=log, start_new_session=True) as process,  # noqa: S603 - us
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(word: str, family: int, place: str | tuple[str, int], log: Path) -> None:
    """Wait until somebody can connect there."""
    until = time.monotonic() + _STARTS_WITHIN
    while True:
        with closing(socket.socket(family)) as one:
            try:
                one.connect(place)
            except OSError as error:
                if time.monotonic() > until:
                    last = log.read_text(errors="replace").splitlines()[-1:] or [str(error)]
                    raise CommandError(
                        [f"greylag {word} has not started: {last[0]}"], _FAILED
                    ) from None
            else:
                return
        time.sleep(0.05)


def _go_on(month: Month, place: Path) -> None:
    """Send what comes from now on to the daemon, each attempt at its own time."""
    from greylag.core.verdict import Verdict

    while True:
        at = month.next_at or time.time() + 1
        time.sleep(max(0.0, min(at - time.time(), 1.0)))
        if at > time.time():
            continue
        sending, attempt = month.take()
        fields = {
            b"request": b"smtpd_access_policy",
            b"protocol_state": b"RCPT",
            b"client_address": attempt.client_address or b"",
            b"client_name": attempt.client_name,
            b"helo_name": attempt.helo,
            b"sender": attempt.sender or b"",
            b"recipient": attempt.recipient or b"",
        }
        text = b"".join(name + b"=" + value + b"\n" for name, value in fields.items())
        try:
            with closing(socket.socket(socket.AF_UNIX)) as one:
                one.settimeout(_ENDS_WITHIN)
                one.connect(os.fsencode(place))
                one.sendall(text + b"\n")
                answer = one.recv(4096)
        except OSError as error:
            say(f"the daemon does not answer: {error.strerror or error}")
            return
        passed = answer.upper().startswith(b"ACTION=DUNNO")
        month.heard(sending, Verdict.PASS if passed else Verdict.DEFER)
