"""What an admin asks of a large database, timed: the commands, and the pages of the dashboard.

Commands are processes, pages are requests to a running `greylag web`: both as people wait for them.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import unquote_plus, urlencode

from bench.common import BIN, answers, free_port, heading, process, processor, target

COMMAND, PAGE = 1.0, 300.0  # the targets: seconds, and milliseconds
PASSWORD = "a long password"  # of a dashboard that lives for a minute
_TOKEN = re.compile(r'name="token" value="([0-9a-f]{64})"')
_LOOKS = 5


@dataclass(frozen=True)
class Example:
    """A deferral that commands and pages ask about."""

    shown_id: str
    sender: str
    recipient: str
    client: str


def commands(of: Example) -> list[list[str]]:
    """Return what admins type, by the options that make it read more or less."""
    names = ("network", "sender-domain", "recipient-domain", "recipient")
    return [
        ["stats"],
        ["stats", "--by", "reason"],
        ["stats", "--since", "30d", "--by", "day"],
        *(["stats", "--since", "30d", "--by", name] for name in names),
        ["top"],
        ["top", "--since", "30d"],
        ["why", of.shown_id],
        ["why", of.sender, of.recipient],
        ["why", of.client],
        ["why", of.recipient],
        ["why", "nobody@nowhere.example.org"],
        ["report"],
        ["report", "--since", "30d"],
    ]


def pages(of: Example) -> list[str]:
    """Return the pages, by the parameters that make them read more or less."""

    def mail(**query: str) -> str:
        return f"/mail?{urlencode(query)}"

    return [
        *("/", "/?by=day", "/?by=week", "/?by=month", "/mail"),
        mail(sender="@d7.example.org"),
        mail(sender="@nowhere.example.org"),  # all that a page looks at, in vain
        mail(outcome="passed", since="7d"),
        mail(outcome="unknown", **{"not": "example.net d1"}),
        mail(recipient=of.recipient, **{"not": "d77."}),
        f"/mail/{of.shown_id}",
        *("/lists", "/hurt", "/hurt?since=30d", "/trust", f"/trust?who={of.client}"),
        *("/health", "/settings"),
    ]


def time_commands(config: Path, of: Example, server: int | None = None) -> None:
    """Print how long each command takes: the median, and the processor time of it.

    `server`: the process of the database's server, whose processor time is added.
    """
    heading("commands, in seconds of waiting (and of processor time)")
    for words in commands(of):
        waits, used = [], []
        for _ in range(_LOOKS):
            before = os.times(), processor(server) if server else 0.0
            began = time.perf_counter()
            run = [f"{BIN}/greylag", "--config", str(config), *words]
            done = subprocess.run(run, capture_output=True, check=False)
            waits.append(time.perf_counter() - began)
            if done.returncode not in (0, 1):
                raise SystemExit(f"{' '.join(words)}: {done.stderr.decode()}")
            after = os.times()
            own = after[2] + after[3] - before[0][2] - before[0][3]
            used.append(own + (processor(server) - before[1] if server else 0.0))
        shown = " ".join("ID" if word == of.shown_id else word for word in words)
        target(f"{shown[:43]} ({median(used):.2f})", median(waits), COMMAND)


@dataclass
class Client:
    """A browser that keeps its cookies."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Make one request; return the status and the page."""
        head = {"cookie": "; ".join(f"{name}={text}" for name, text in self.cookies.items())}
        if form is not None:
            head["content-type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, urlencode(form or {}), head)
            answer = connection.getresponse()
            text = answer.read().decode()
            for cookie in answer.headers.get_all("set-cookie") or ():
                name, _equals, rest = cookie.partition("=")
                self.cookies[name] = rest.partition(";")[0]
        return answer.status, text

    def sign_in(self) -> None:
        """Sign in as the admin."""
        _status, text = self.ask("GET", "/sign-in")
        found = _TOKEN.search(text)
        form = {"user": "admin", "password": PASSWORD, "token": found[1] if found else ""}
        status, text = self.ask("POST", "/sign-in", form)
        if status != http.HTTPStatus.SEE_OTHER:
            raise SystemExit(f"cannot sign in: {status}")


@contextlib.contextmanager
def dashboard(config: Path) -> Iterator[tuple[Client, int]]:
    """Run a dashboard with these settings; give a client that is signed in, and its process id."""
    port, folder = free_port(), config.parent
    own = folder / "web.toml"
    own.write_text(
        f'{config.read_text()}\n[web]\nlisten = "127.0.0.1:{port}"\nusers = "{folder}/users"\n'
    )
    command = [f"{BIN}/greylag", "--config", str(own), "web"]
    passwd = [*command, "passwd", "admin", "--role", "admin"]
    subprocess.run(passwd, input=f"{PASSWORD}\n".encode(), check=True, capture_output=True)
    with process(command, answers(f"127.0.0.1:{port}"), folder / "web.log") as pid:
        client = Client(port)
        client.sign_in()
        yield client, pid


def time_pages(config: Path, of: Example, server: int | None = None) -> None:
    """Print how long each page takes: the first time, and the median of some more."""
    heading("pages, in ms at the server: the first time (the median of more; processor time)")
    with dashboard(config) as (client, pid):
        for path in pages(of):
            waits = []
            before = processor(pid) + (processor(server) if server else 0.0)
            for _ in range(_LOOKS):
                began = time.perf_counter()
                status, text = client.ask("GET", path)
                waits.append((time.perf_counter() - began) * 1000)
                if status != http.HTTPStatus.OK:
                    raise SystemExit(f"{path}: {status}")
            used = processor(pid) + (processor(server) if server else 0.0) - before
            counting = "counting: " if "It is being counted now" in text else ""
            shown = f"{counting}{unquote_plus(path).replace(of.shown_id, 'ID')}"[:40]
            target(f"{shown} ({median(waits[1:]):.0f}; {used * 1000 / _LOOKS:.0f})", waits[0], PAGE)
