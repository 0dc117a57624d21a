"""What a viewer finds out about mailboxes: nothing (T9); and the bounds of who is not signed in."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.history import Action, Outcome
from greylag.core.policy import Policy
from greylag.core.shortid import short_id, shown_id
from greylag.web.accounts import Role
from greylag.web.sight import Sight
from tests.web.dashboard import PASSWORD, Dashboard, serving, write_config
from tests.web.seeded import deferral_at, opened, remember, seed

MAILBOXES = (
    ("ceo@example.org", "…@example.org"),
    ("o'brien@example.org", "…@example.org"),
    ('"john.doe"@example.org', "…@example.org"),
    ('"john doe <x@y>"@example.org', "…@example.org"),
    ("john\\ doe@example.org", "…@example.org"),
    ("john,doe;x:y@example.org", "…@example.org"),
    ('["john@example.org", "192.0.2.1"]', '["…@example.org", "192.0.2.1"]'),
    ('["\\"john doe\\"@example.org"]', '[…@example.org"]'),
    ("owner of ceo@example.org, by a link of op", "owner of …@example.org, by a link of op"),
    ("7KQ3-M2F ceo@example.org root", "… …@example.org …"),
    ("@example.org", "@example.org"),
    ('a comment with "quotes" alone', 'a comment with "quotes" alone'),
)


@pytest.mark.parametrize(("text", "shown"), MAILBOXES)
def test_every_kind_of_local_part_is_hidden_t9(text: str, shown: str) -> None:
    """T9: quoted ones, and those with marks in them, too."""
    assert Sight(Role.VIEWER, Policy()).text(text) == shown
    assert Sight(Role.OPERATOR, Policy()).text(text) == text


def test_hiding_takes_no_longer_for_texts_made_for_it() -> None:
    sight = Sight(Role.VIEWER, Policy())
    began = time.monotonic()
    for part in ('"', "\\", "@", "'", '\\"', "x", '"@"', "\\ "):
        sight.text(part * 200_000)
    assert time.monotonic() - began < 10


def test_health_names_no_mailbox_and_no_id_to_a_viewer_t9(standing: Dashboard) -> None:
    """T9: nor in who changed something, as owners of mailboxes do."""
    owner, subject = "owner of ceo@example.org, by a link of op", '7KQ3-M2F "a b"@example.net root'
    with closing(opened(standing.folder)) as store:
        store.note_action(Action(int(time.time()), owner, "release", subject))
    text = standing.client("viewer").get("/health").text
    assert "owner of …@example.org" in text
    for part in ("ceo@", "a b", "7KQ3-M2F", "root</td>"):
        assert part not in text
    assert "ceo@" in standing.client("operator").get("/health").text


def test_an_id_is_no_oracle_for_a_viewer_t9(folder: Path) -> None:
    """T9: an id is made of sender and recipient, so each can be guessed at by looking."""
    seed(folder, int(time.time()), 4)
    now = int(time.time())
    with closing(opened(folder)) as store:
        remember(store, deferral_at(50, now - 60, "a@partner.example.org"), Outcome.WAITING, now)
    right = shown_id(deferral_at(50, now - 60, "a@partner.example.org").id)
    with serving(folder, write_config(folder)) as made:
        operator, viewer = made.client("operator"), made.client("viewer")
        assert operator.get(f"/mail/{right}").status == 200
        for asked in (right, shown_id(short_id(deferral_at(51, now).triplet))):
            answers = [viewer.get(f"/mail/{asked}"), viewer.get(f"/mail?id={asked}")]
            assert [one.status for one in answers] == [400, 400]
            assert "an id would tell" in answers[0].text
        assert 'name="id"' not in viewer.get("/mail").text
        assert viewer.get("/mail/n1").status == 200


def test_a_large_form_is_not_read_of_who_is_not_signed_in(standing: Dashboard) -> None:
    """T16: parsing takes processor time, and anybody may send one."""
    for user in ("", "viewer"):
        client = standing.client(user)
        token = client.get("/sign-in" if not user else "/").token
        assert client.post("/sign-in", {"token": token, "x": "\u20ac" * 5000}).status == 413
    longest = "\U0001f512" * 255 + "x"
    form = {"user": "nobody", "password": longest, "again": longest}
    assert standing.client().send("/sign-in", form, "/sign-in").status == 403
    admin = standing.client("admin")
    assert admin.post("/sign-in", {"token": "", "x": "y" * 100_000}).status == 403


def test_a_large_head_is_refused_also_in_one_go(standing: Dashboard) -> None:
    head = b"GET /sign-in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for extra, status in (
        (b"X: " + b"y" * 70_000, b"431"),
        (b"\r\n".join(b"X-%d: y" % n for n in range(6000)), b"431"),
        (b"X: " + b"y" * 8000, b"200"),
    ):
        with socket.create_connection(("127.0.0.1", standing.port), 30) as sent:
            sent.sendall(head + extra + b"\r\n\r\n")
            assert sent.recv(12).split()[1] in (status, b"400" if status == b"431" else status)


def test_read_only_changes_no_password(folder: Path) -> None:
    """P11: also not one's own."""
    before = (folder / "users").read_bytes()
    with serving(folder, write_config(folder), "--read-only") as made:
        client = made.client("operator")
        page = client.get("/lists")
        assert 'href="/password"' not in page.text
        assert client.get("/password").status == 403
        new = "quite another password"
        form = {"old": PASSWORD, "password": new, "again": new, "token": page.token}
        assert client.post("/password", form).status == 403
    assert (folder / "users").read_bytes() == before
