"""Links for owners of mailboxes: what they show, what they change, and when they end."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Browser

from greylag.core.accesslist import Purpose
from greylag.core.history import Outcome
from tests.web.browsing import visiting
from tests.web.dashboard import Client, greylag, serving, write_config
from tests.web.seeded import deferral_at, opened, remember

BOX = "owner@example.net"


def seeded(folder: Path) -> None:
    now = int(time.time())
    with closing(opened(folder)) as store:
        for n, recipient in enumerate((BOX, f"x{BOX}", "another@example.net", BOX)):
            one = deferral_at(n, now - 60 - n, f"sender{n}@partner.example.org", recipient)
            remember(store, one, Outcome.PASSED if n == 3 else Outcome.WAITING, now)


def link_of(client: Client) -> str:
    page = client.send("/mail/link", {"mailbox": BOX, "for": "7d"}, "/mail")
    assert page.status == 200
    return page.text.partition('href="/box/')[2].partition('"')[0]


def test_the_owner_sees_his_own_waiting_mail_and_lets_it_in(browser: Browser, folder: Path) -> None:
    seeded(folder)
    with serving(folder, write_config(folder, "owners = true")) as made:
        path = f"/box/{link_of(made.client('operator'))}"
        with visiting(browser, made, "") as page:
            page.goto(path)
            rows = page.locator("tbody tr").all_inner_texts()
            assert len(rows) == 1
            assert "sender0@partner.example.org" in rows[0]
            page.get_by_role("button", name="Let it in").click()
            page.get_by_role("status").wait_for()
            page.get_by_role("button", name="Expect mail for 30 minutes").click()
            page.get_by_text("not delayed for 30 minutes").wait_for()
            page.goto("/mail")
            page.wait_for_url("**/sign-in**")  # a link is for its mailbox alone
        with closing(opened(folder)) as store:
            who = {one.action: one.who for one in store.actions(9)}
            assert who["release"] == f"owner of {BOX}, by a link of operator"
            (entry,) = [e for e in store.entries() if e.purpose is Purpose.EXPECTED]
            assert str(entry.subject) == BOX


def test_a_link_is_shown_whole_as_the_operator_reaches_the_dashboard(folder: Path) -> None:
    """It is sent to somebody, so it has scheme and host; also one of a long mailbox works."""
    web = 'owners = true\nhosts = ["mail.example.org"]\nproxies = ["127.0.0.1"]'
    with serving(folder, write_config(folder, web)) as made:
        for box in (BOX, f"{'x' * 64}@{'y' * 60}.{'z' * 60}.example.net"):
            for scheme, host in (("http", f"127.0.0.1:{made.port}"), ("https", "mail.example.org")):
                client = Client(made.port, headers={"x-forwarded-proto": scheme, "host": host})
                assert client.sign_in("operator").status == 303
                page = client.send("/mail/link", {"mailbox": box, "for": "7d"}, "/mail")
                path = page.text.partition('href="/box')[2].partition('"')[0]
                assert f">{scheme}://{host}/box{path}<" in page.text
                assert made.client().get(f"/box{path}").status == 200


def test_a_link_ends_with_its_operator_and_nobody_else_makes_one_t15(folder: Path) -> None:
    """T15: changed by one character it is none; others' mail is out of its reach."""
    seeded(folder)
    with serving(folder, write_config(folder, "owners = true")) as made:
        word = link_of(made.client("operator"))
        client = made.client()
        page = client.get(f"/box/{word}")
        assert page.status == 200
        wrong = [f"{word[:n]}{'A' if word[n] != 'A' else 'B'}{word[n + 1 :]}" for n in range(40)]
        assert {client.get(f"/box/{one}").status for one in (*wrong, "x", "A" * 2000)} == {404}
        longer = [f"{word}{sign}" for sign in ("=", "%0a", "%0d%0a", "%20", ".", "%c3%a9")]
        assert {client.get(f"/box/{one}").status for one in longer} == {404}
        assert client.post(f"/box/{word}/expect").status == 403  # without the token of its page
        for number in ("2", "3", "999"):
            form = {"token": page.token, "number": number}
            assert client.post(f"/box/{word}/release", form).status == 400
        assert made.client("viewer").send("/mail/link", {"mailbox": BOX}, "/mail").status == 403
        greylag(folder, "web", "passwd", "operator", stdin="another password\n")
        assert client.get(f"/box/{word}").status == 404


def test_links_are_off_by_default(folder: Path) -> None:
    seeded(folder)
    with serving(folder, write_config(folder, "owners = true")) as made:
        word = link_of(made.client("operator"))
    with serving(folder, write_config(folder)) as made:
        assert made.client().get(f"/box/{word}").status == 404
        client = made.client("operator")
        assert "A link for the owner" not in client.get("/mail").text
        assert client.send("/mail/link", {"mailbox": BOX, "for": "7d"}, "/mail").status == 400
