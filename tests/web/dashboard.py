"""A real `greylag web` for a test, and a client of it that is no browser."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from tests.server.daemon import BIN

PASSWORD = "a long password"
ROLES = ("viewer", "operator", "admin")
START = 20.0
_TOKEN = re.compile(r'name="token" value="([0-9a-f]{64})"')


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def token(self) -> str:
        found = _TOKEN.search(self.text)
        assert found is not None, self.text[:2000]
        return found[1]


@dataclass
class Client:
    """Keeps the cookie, and follows nothing."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Response:
        return self.request("GET", path, None, headers)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Response:
        body = urlencode(form or {}).encode()
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, body, {**kind, **headers})

    def send(self, path: str, form: Mapping[str, str], page: str) -> Response:
        """Send a form that a page has."""
        return self.post(path, {**form, "token": self.get(page).token})

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        cookie = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        sent = {"cookie": cookie} if cookie else {}
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, path, body, {**sent, **self.headers, **named})
        answer = connection.getresponse()
        text = answer.read().decode()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _equals, word = value.partition(";")[0].partition("=")
                self.cookies[key] = word
        connection.close()
        return Response(answer.status, {n.lower(): v for n, v in answer.getheaders()}, text)

    def sign_in(self, user: str, password: str = PASSWORD) -> Response:
        token = self.get("/sign-in").token
        return self.post("/sign-in", {"user": user, "password": password, "token": token})


@dataclass
class Dashboard:
    """A running dashboard."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "web.log").read_text()

    def client(self, user: str = "") -> Client:
        client = Client(self.port)
        if user:
            assert client.sign_in(user).status == 303
        return client


def greylag(folder: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "greylag", "--config", folder / "greylag.toml", *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath},
    )


def write_config(folder: Path, web: str = "", rest: str = "", url: str = "") -> int:
    """Write the settings of a dashboard and a daemon on one store; return the port."""
    port = free_port()
    dns = "" if "[dns]" in rest else '[dns]\nservers = "off"\n'
    (folder / "greylag.toml").write_text(
        f'[store]\nurl = "{url or f"sqlite://{folder}/greylag.db"}"\n'
        f'[server]\nsocket = "{folder}/s"\n{dns}'
        f'[web]\nlisten = "127.0.0.1:{port}"\nusers = "{folder}/users"\n{web}\n{rest}\n'
    )
    return port


def add_users(folder: Path) -> None:
    """Make a user of each role, named as the role."""
    for role in ROLES:
        made = greylag(folder, "web", "passwd", role, "--role", role, stdin=f"{PASSWORD}\n")
        assert made.returncode == 0, made.stderr


@contextlib.contextmanager
def serving(folder: Path, port: int, *options: str) -> Iterator[Dashboard]:
    """Run the dashboard until the end of the block."""
    with (folder / "web.log").open("ab") as log:
        process = subprocess.Popen(
            [BIN / "greylag", "--config", folder / "greylag.toml", "web", *options],
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    made = Dashboard(process, folder, port)
    try:
        end = time.monotonic() + START
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError):
                if made.client().get("/sign-in").status == 200:
                    break
            time.sleep(0.05)
        else:
            raise RuntimeError(made.log)
        yield made
    finally:
        process.terminate()
        try:
            process.wait(START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
