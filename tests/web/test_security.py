"""What a dashboard refuses: T15, T16 and T17, and what its responses carry."""

from __future__ import annotations

import contextlib
import http.client
import re
import resource
import socket
import stat
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from greylag.web.crowd import MOST
from greylag.web.pages import CHANGES
from greylag.web.throttle import MINUTE, PER_SOURCE
from tests.web.dashboard import (
    PASSWORD,
    Client,
    Dashboard,
    greylag,
    serving,
    write_config,
)

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def test_every_response_carries_the_headers_that_keep_pages_apart(standing: Dashboard) -> None:
    """T15: also those of errors."""
    client = standing.client("admin")
    for path in ("/", "/lists", "/nowhere", "/static/style.css", "/static/nothing"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"] == CSP, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        if not path.startswith("/static/style"):
            assert answer.headers["cache-control"] == "no-store", path
        assert "server" not in answer.headers
    refused = client.get("/", host="elsewhere.example.org")
    assert refused.headers["content-security-policy"] == CSP


def test_the_cookie_is_for_this_host_alone(standing: Dashboard) -> None:
    """T15: no script may read it, and no other site may have it sent."""
    client = standing.client()
    token = client.get("/sign-in").token
    form = {"user": "admin", "password": PASSWORD, "token": token}
    answer = client.post("/sign-in", form)
    attributes = answer.headers["set-cookie"].lower().split("; ")[1:]
    assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
    assert "secure" not in attributes


def test_every_post_without_its_token_is_refused_t15(standing: Dashboard) -> None:
    """T15: a crawl over all forms of the application."""
    client = standing.client("admin")
    others = ("/sign-in", "/sign-out", "/password", "/set-up/word", "/box/word/expect")
    for path in (*CHANGES, *others):
        for token in ("", "0" * 64, standing.client().get("/sign-in").token):
            assert client.post(path, {"token": token}).status == 403, path
    assert client.get("/").status == 200  # nobody was signed out


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": "https://elsewhere.example.org"},
    ],
    ids=["cross", "same", "none", "origin"],
)
def test_a_form_of_another_site_is_refused_also_with_the_token(
    standing: Dashboard, headers: dict[str, str]
) -> None:
    """T15."""
    client = standing.client("admin")
    form = {"token": client.get("/lists").token, "list": "allow", "subjects": "198.51.100.1"}
    assert client.post("/lists/put", form, **headers).status == 403
    assert "198.51.100.1" not in client.get("/lists").text
    assert client.post("/lists/put", form, sec_fetch_site="same-origin").status == 303
    assert "198.51.100.1" in client.get("/lists").text
    gone = {"list": "allow", "kind": "network", "subject": "198.51.100.1"}
    assert client.send("/lists/remove", gone, "/lists").status == 303


@pytest.mark.parametrize("headers", [{}, {"origin": "null"}], ids=["nothing", "null"])
def test_of_a_browser_that_does_not_say_where_a_form_is_from_the_token_decides(
    standing: Dashboard, headers: dict[str, str]
) -> None:
    """T15: an old browser says nothing, or null, as our pages let no referrer go out."""
    client = standing.client("admin")
    form = {"list": "allow", "subjects": "198.51.100.2"}
    assert client.post("/lists/put", {**form, "token": "0" * 64}, **headers).status == 403
    assert "198.51.100.2" not in client.get("/lists").text
    form["token"] = client.get("/lists").token
    assert client.post("/lists/put", form, **headers).status == 303
    gone = {"list": "allow", "kind": "network", "subject": "198.51.100.2"}
    assert client.send("/lists/remove", gone, "/lists").status == 303


def test_a_name_that_is_not_ours_is_refused(folder: Path) -> None:
    """A page elsewhere whose name leads to our address (DNS rebinding)."""
    port = write_config(folder, 'hosts = ["mail.example.org"]')
    with serving(folder, port) as made:
        client = made.client()
        strange = ("127.0.0.1:80@example.org", "[::1]example.org", "127.0.0.1:x", "[::1", "::1")
        others = ("elsewhere.example.org", "mail.example.org.example.net", "", "a@127.0.0.1")
        for host in (*others, *strange):
            assert client.get("/sign-in", host=host).status == 421, host
        for host in ("mail.example.org", "localhost:1", "127.0.0.1:8025", "[::1]:8025"):
            assert client.get("/sign-in", host=host).status == 200, host


def test_guessing_is_throttled_before_a_password_is_looked_at_t16(dashboard: Dashboard) -> None:
    """T16: 1,000 tries cost little, and are told to wait; others sign in meanwhile."""
    client = dashboard.client()
    token = client.get("/sign-in").token
    before, began = _processor(dashboard), time.monotonic()
    statuses = [
        client.post("/sign-in", {"user": "admin", "password": f"{n}" * 10, "token": token}).status
        for n in range(1000)
    ]
    # So many at once, and as many in each minute that all this takes.
    assert statuses.count(403) <= PER_SOURCE * (1 + (time.monotonic() - began) / MINUTE) + 1
    assert statuses.count(403) + statuses.count(429) == 1000
    assert _processor(dashboard) - before < 12  # seconds: 20 % of a minute
    other = Client(dashboard.port, headers={"x-forwarded-for": "192.0.2.7"})
    assert other.sign_in("admin").status == 429  # nobody believes that header


def _processor(dashboard: Dashboard) -> float:
    fields = Path(f"/proc/{dashboard.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_who_is_guessed_at_from_elsewhere_still_signs_in(folder: Path) -> None:
    """T16: sources are those that a named proxy tells, and no others."""
    with serving(folder, write_config(folder, 'proxies = ["127.0.0.1"]')) as made:
        home = Client(made.port, headers={"x-forwarded-for": "192.0.2.1"})
        assert home.sign_in("admin").status == 303
        home.cookies.clear()
        for n in range(30):
            guess = Client(made.port, headers={"x-forwarded-for": f"10.9.8.7, 198.51.100.{n}"})
            last = guess.sign_in("admin", "wrong password").status
        assert last == 429
        assert home.sign_in("admin").status == 303


def test_behind_a_proxy_with_tls_the_cookie_is_secure(folder: Path) -> None:
    with serving(folder, write_config(folder, 'proxies = ["127.0.0.1"]')) as made:
        client = Client(made.port, headers={"x-forwarded-proto": "https"})
        answer = client.get("/sign-in")
        assert "secure" in answer.headers["set-cookie"].lower()
        assert answer.headers["set-cookie"].startswith("__Host-greylag=")


def test_sessions_end_with_the_password(dashboard: Dashboard) -> None:
    """T15: whoever stole one has nothing then."""
    client = dashboard.client("operator")
    assert client.get("/").status == 200
    greylag(dashboard.folder, "web", "passwd", "operator", stdin="another password\n")
    assert client.get("/").status == 303
    greylag(dashboard.folder, "web", "passwd", "--remove", "viewer")
    assert dashboard.client().sign_in("viewer").status == 403


def test_signing_out_ends_the_session_for_whoever_kept_the_cookie(standing: Dashboard) -> None:
    client = standing.client("viewer")
    kept = dict(client.cookies)
    assert client.send("/sign-out", {}, "/").status == 303
    assert Client(standing.port, kept).get("/").status == 303


def test_a_sign_in_leads_to_no_other_site(standing: Dashboard) -> None:
    client = standing.client()
    for back in ("https://example.org/", "//example.org/", "/\\example.org", "javascript:alert(1)"):
        token = client.get("/sign-in").token
        form = {"user": "admin", "password": PASSWORD, "token": token, "back": back}
        assert client.post("/sign-in", form).headers["location"] == "/"
        client.cookies.clear()


def test_it_does_not_start_before_somebody_can_sign_in(tmp_path: Path) -> None:
    """No default password, and no open page, on whatever address."""
    write_config(tmp_path)
    for options in ([], ["--listen", "0.0.0.0:1"]):
        ended = greylag(tmp_path, "web", *options)
        assert ended.returncode == 78
        assert "greylag web passwd" in ended.stderr


def test_no_password_is_in_the_file_and_nobody_else_reads_it(folder: Path) -> None:
    path = folder / "users"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    path.chmod(0o644)
    ended = greylag(folder, "web")
    assert ended.returncode == 78
    assert "chmod 600" in ended.stderr


@pytest.mark.parametrize("password", ["short", "x" * 12, "operator", "y" * 300, "abcdefghij\x07k"])
def test_a_password_that_is_easily_guessed_is_refused(folder: Path, password: str) -> None:
    before = (folder / "users").read_bytes()
    ended = greylag(folder, "web", "passwd", "operator", stdin=f"{password}\n")
    assert ended.returncode == 2
    assert password not in ended.stderr
    assert (folder / "users").read_bytes() == before


def test_requests_are_bounded_in_size_and_time(dashboard: Dashboard) -> None:
    """Nobody holds a connection by sending little, and nobody fills the memory."""
    client = dashboard.client()
    token = client.get("/sign-in").token
    assert client.post("/sign-in", {"token": token, "user": "x" * 2_000_000}).status == 413
    assert client.get("/sign-in?" + "a=1&" * 500).status == 400
    before = _memory(dashboard)
    with socket.create_connection(("127.0.0.1", dashboard.port), 30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000)
        assert slow.recv(100).startswith(b"HTTP/1.1 400") or slow.recv(100) == b""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", dashboard.port), 60) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert slow.recv(100) == b""
    assert time.monotonic() - began < 30
    assert _memory(dashboard) - before < 64 << 20


def _memory(dashboard: Dashboard) -> int:
    pages = Path(f"/proc/{dashboard.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


@pytest.mark.parametrize("other", ["127.0.0.1", "127.0.0.2"])
def test_half_sent_requests_of_one_keep_nobody_out_t42(dashboard: Dashboard, other: str) -> None:
    """Two hundred of them closed the dashboard for ten seconds, for everybody."""
    with contextlib.ExitStack() as held:
        half = []
        for _ in range(MOST + 20):
            one = held.enter_context(socket.create_connection(("127.0.0.1", dashboard.port)))
            one.sendall(b"GET / HTTP/1.1\r\nhost: localh")
            half.append(one)
        connection = http.client.HTTPConnection(
            "127.0.0.1", dashboard.port, timeout=30, source_address=(other, 0)
        )
        held.callback(connection.close)
        for _ in range(3):  # the same connection stays
            connection.request("GET", "/sign-in")
            answer = connection.getresponse()
            assert (answer.status, b"Sign in" in answer.read()) == (200, True)


def test_read_only_opens_the_store_without_a_right_to_write(folder: Path) -> None:
    """P11: and refuses each change before that."""
    with serving(folder, write_config(folder), "--read-only") as made:
        client = made.client("admin")
        page = client.get("/lists")
        assert page.status == 200
        assert 'action="/lists/put"' not in page.text
        for path in CHANGES:
            answer = client.post(
                path, {"token": page.token, "list": "allow", "subjects": "192.0.2.1"}
            )
            assert answer.status == 403, path
            assert "only reads" in answer.text
        handles = Path(f"/proc/{made.process.pid}/fdinfo")
        names = {
            path.name
            for path in Path(f"/proc/{made.process.pid}/fd").iterdir()
            if str(path.readlink()).endswith("greylag.db")
        }
        assert names
        for name in names:
            flags = re.search(r"^flags:\s+(\d+)", (handles / name).read_text(), re.MULTILINE)
            assert flags is not None
            assert int(flags[1], 8) & 3 == 0  # O_RDONLY


def test_what_a_role_may_not_do_is_refused_and_not_offered(standing: Dashboard) -> None:
    for user, allowed in (("viewer", set[str]()), ("operator", {"operator"})):
        client = standing.client(user)
        page = client.get("/lists?list=expected")
        for path, (role, _work) in CHANGES.items():
            status = client.post(path, {"token": page.token}).status
            assert (status == 403) == (role.value not in allowed), (user, path)
        assert client.get("/users").status == 403
        assert 'action="/lists/put"' not in client.get("/lists").text


def test_a_viewer_sees_no_mailbox(standing: Dashboard) -> None:
    """T9: neither in the lists, nor in comments, settings or by searching for one."""
    admin = standing.client("admin")
    form = {"list": "allow", "subjects": "somebody@example.org", "kind": "sender"}
    form["comment"] = "asked by another.one@example.net about 7KQ3-M2F"
    assert admin.send("/lists/put", form, "/lists").status == 303
    assert "somebody@example.org" in admin.get("/lists").text
    viewer = standing.client("viewer")
    for path in ("/lists", "/lists?find=somebody", "/lists?find=another.one", "/settings"):
        text = viewer.get(path).text
        assert "somebody@" not in text
        assert "another.one@" not in text
        assert "7KQ3-M2F" not in text.partition("<table")[2]
    assert "example.org" in viewer.get("/lists").text
    assert "example.org" not in viewer.get("/lists?find=somebody").text.partition("<table")[2]


def test_settings_are_looked_at_and_never_changed_here_t17(standing: Dashboard) -> None:
    """T17: the pages write data alone, and files of settings are not their business."""
    client = standing.client("admin")
    before = (standing.folder / "greylag.toml").read_bytes()
    assert "web.listen" in client.get("/settings").text
    assert "<form" not in client.get("/settings").text.partition("<main")[2]
    assert client.post("/settings", {"token": client.get("/lists").token}).status == 404
    for text in ("(a+)+$", "x" * 500 + "@example.org", "../../etc/passwd", "'; --", "{{ 7*7 }}"):
        client.send("/lists/put", {"list": "allow", "subjects": text}, "/lists")
        began = time.monotonic()
        assert client.get("/lists").status == 200
        assert time.monotonic() - began < 5
    assert (standing.folder / "greylag.toml").read_bytes() == before


def test_each_change_is_a_line_of_the_log(dashboard: Dashboard) -> None:
    client = dashboard.client("admin")
    form = {"list": "allow", "subjects": "192.0.2.1"}
    assert client.send("/lists/put", form, "/lists").status == 303
    line = "event=web-changed user=admin source=127.0.0.1 action=allow subject=192.0.2.1"
    end = time.monotonic() + 10
    while line not in dashboard.log and time.monotonic() < end:
        time.sleep(0.05)
    assert line in dashboard.log
    assert PASSWORD not in dashboard.log


def test_a_store_that_is_away_gives_a_page_that_says_so(dashboard: Dashboard) -> None:
    client = dashboard.client("viewer")
    assert client.get("/").status == 200
    (dashboard.folder / "greylag.db").rename(dashboard.folder / "elsewhere")
    answer = client.get("/")
    assert answer.status == 503
    assert "The store is away" in answer.text
    (dashboard.folder / "elsewhere").rename(dashboard.folder / "greylag.db")
    assert client.get("/").status == 200


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "</textarea><script>alert(1)</script>",
    "javascript:alert(1)",
    "&lt;b&gt; &#60;i&#62;",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    "x" * 250,
)


def test_what_mail_and_lists_contain_is_text_p14(standing: Dashboard) -> None:
    """P14: every value is escaped, wherever it is shown, and hides nothing."""
    client = standing.client("admin")
    for number, text in enumerate(HOSTILE):
        form = {"list": "deny", "subjects": f"203.0.113.{number}", "comment": text[:250]}
        assert client.send("/lists/put", form, "/lists").status == 303
    pages = ["/lists?list=deny"]
    pages += [f"/lists?list=deny&{urlencode({'find': text})}" for text in HOSTILE]
    pages += [f"/sign-in?{urlencode({'back': text})}" for text in HOSTILE]
    for path in pages:
        text = client.get(path).text
        for part in ("<script>alert", "<img", "<svg/", ">49{", "\x1b", "\x07", "\u202e"):
            assert part not in text, (path, part)
    assert "&lt;script&gt;alert(1)" in client.get("/lists?list=deny").text
    assert "\\x1b[2J" in client.get("/lists?list=deny").text
