"""Every page and every form, with each field missing, empty, doubled, huge or of any text."""

from __future__ import annotations

import contextlib
import http.client
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from urllib.parse import urlencode

import pytest

from greylag.core.accesslist import NAMES_OF
from greylag.core.subject import DOMAINS, SENDER_DOMAINS
from greylag.web import signing
from greylag.web.pages import CHANGES, OWNERS_CHANGES, OWNERS_PAGE, PAGES
from tests.web.dashboard import Client, Dashboard

_ASKED = re.compile(r'\b(?:one|raw|many|_number|_text)\(\s*"([a-z-]+)"')
SOUND = {
    "list": "deny", "kind": "domain", "subject": "example.net", "subjects": "example.net",
    "comment": "a", "expires": "7d", "for": "2h", "mode": "off", "mailbox": "a@example.net",
    "who": "192.0.2.1", "domain": "any", "user": "nobody", "role": "viewer", "lines": "192.0.2.9",
    "sender": "a@example.org", "recipient": "b@example.net", "client": "192.0.2.1", "since": "7d",
    "outcome": "waiting", "by": "day", "number": "1", "until": "99", "after": "1", "before": "9",
}  # fmt: skip
STRANGE = [" ", "x" * 1001, "9" * 40, "\0\ud800\u2028<'\"", "a@", "\xb2"]
KINDS = [*NAMES_OF, "network", "", "nothing"]


def fields_of(module: ModuleType) -> list[str]:
    return sorted({*_ASKED.findall(inspect.getsource(module))} - {"token"})


def module_of(work: object) -> ModuleType:
    found = inspect.getmodule(work)
    assert found is not None
    return found


Form = list[tuple[str, str]]


def forms(names: list[str]) -> Iterator[Form]:
    """Yield forms in which one field is not as it should be."""
    sound = {name: SOUND.get(name, "") for name in names}
    yield []
    yield [*sound.items()]
    for name in names:
        yield [(one, text) for one, text in sound.items() if one != name]
        for text in STRANGE:
            yield [*{**sound, name: text}.items()]
        yield [*sound.items(), (name, "9"), (name, SOUND.get(name, "a"))]
    if "kind" in names:
        for kind in KINDS:
            for text in ("", "a b", "@", "::1", "x" * 999):
                for change in ("", "1"):
                    more = {"kind": kind, "subject": text, "subjects": text, "changing": change}
                    yield [*{**sound, **more, "confirmed": change}.items()]


class Steady:
    """A client that keeps its connection."""

    def __init__(self, dashboard: Dashboard) -> None:
        client = dashboard.client("admin")
        self.token = client.get("/lists").token
        self._cookie = "; ".join(f"{name}={text}" for name, text in client.cookies.items())
        self._connection = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=30)

    def close(self) -> None:
        self._connection.close()

    def status(self, method: str, path: str, form: Form) -> int:
        body = urlencode(form, errors="surrogatepass")
        sent = {"cookie": self._cookie, "content-type": "application/x-www-form-urlencoded"}
        if method == "GET":
            self._connection.request("GET", f"{path}?{body}", headers=sent)
        else:
            self._connection.request("POST", path, body, sent)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def failed(dashboard: Dashboard, method: str, path: str, names: list[str]) -> list[object]:
    """Return the forms that a path fails at, but for those that it says are wrong."""
    with contextlib.closing(Steady(dashboard)) as client:
        return _failed(client, method, path, names)


def _failed(client: Steady, method: str, path: str, names: list[str]) -> list[object]:
    token = [("token", client.token)] if method == "POST" else []
    wrong: list[object] = []
    for form in forms(names):
        status = client.status(method, path.replace("{key}", "7KQ3-M2F"), form + token)
        if status >= 500:
            wrong.append((status, form))
    return wrong


@pytest.mark.parametrize("path", CHANGES)
def test_no_form_of_the_dashboard_fails_whatever_its_fields_t14(
    standing: Dashboard, path: str
) -> None:
    names = fields_of(module_of(CHANGES[path][1]))
    assert failed(standing, "POST", path, names) == []


@pytest.mark.parametrize("path", PAGES)
def test_no_page_fails_whatever_its_fields_t14(standing: Dashboard, path: str) -> None:
    assert failed(standing, "GET", path, fields_of(module_of(PAGES[path]))) == []


def test_no_form_without_a_signed_in_user_fails_whatever_its_fields_t14(
    standing: Dashboard,
) -> None:
    fields = fields_of(signing)
    assert {"user", "password", "again"} <= {*fields}
    paths = ["/sign-in", *(path.replace("{word}", "x") for path in OWNERS_CHANGES)]
    for path in paths:
        client = Client(standing.port)
        token = client.get("/sign-in").token
        for form in ({}, {"user": ""}, {"user": "x" * 1001}, {"user": "\0", "password": "\xb2"}):
            assert client.post(path, {**form, "token": token}).status < 500, (path, form)
    assert Client(standing.port).get(OWNERS_PAGE[0].replace("{word}", "%00")).status == 404


@pytest.mark.parametrize("kind", [DOMAINS, SENDER_DOMAINS])
@pytest.mark.parametrize("text", ["", "a b", "@", "x" * 300])
def test_an_entry_for_domains_needs_a_domain(standing: Dashboard, kind: str, text: str) -> None:
    """It was stored, whatever it was."""
    form = {"list": "allow", "kind": kind, "subjects": text, "confirmed": "1"}
    answer = standing.client("admin").send("/lists/put", form, "/lists")
    assert answer.status == 400
    assert "expected" in answer.text
