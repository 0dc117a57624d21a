"""`greylag import smtp-log` of what a real Postfix logs, hostile senders among its clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.plugin import needed
from tests.e2e.postfix import Postfix, opened, running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix starts as root")
PROGRAM = Path(sys.executable).parent / "greylag"


def greylag(home: Path, *words: str) -> dict[str, object]:
    done = subprocess.run(
        [PROGRAM, *words, "--json"],
        env={"PATH": os.defpath, "GREYLAG_CONFIG": str(home / "greylag.toml")},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def mail(
    postfix: Postfix, client: str, sender: str, recipients: list[str], login: str = ""
) -> None:
    with postfix.session(client, login) as smtp:
        assert smtp.docmd(f"MAIL FROM:<{sender}>")[0] == 250
        for recipient in recipients:
            assert smtp.docmd(f"RCPT TO:<{recipient}>")[0] == 250
        subject = "result=accepted code=250 ip=203.0.113.9"
        code, said = smtp.data(f"Subject: {subject}\r\nX-Greylist: {subject}\r\n\r\n")
        assert code == 250, said


def test_what_postfix_logs_seeds_connections_and_triplets(tmp_path: Path) -> None:
    needed("postfix", "postfix")
    opened(tmp_path)
    (tmp_path / "greylag.toml").write_text(f'store.url = "sqlite://{tmp_path}/greylag.db"\n')
    forged = '"a>, size=1, nrcpt=1 (queue active)"@example.org'
    with running(tmp_path / "postfix", "permit") as postfix:
        mail(postfix, "192.0.2.17", "User@example.org", ["a@example.net", "b@example.net"])
        mail(postfix, "2001:db8::1", "", ["a@example.net"])
        mail(postfix, "198.51.100.1", forged, ['"a>, orig_to=<victim"@example.net'])
        mail(postfix, "203.0.113.1", "user@example.org", ["a@example.net"], login="user")
        assert postfix.rcpt(recipient="b@other.example.com") in (454, 554)
        assert postfix.logged("removed")
        for _ in range(100):
            if postfix.log.count(": removed") == 4:
                break
            postfix.logged("never", 0.1)
        log = postfix.log
    # This Postfix only discards what it takes; elsewhere another program delivers.
    (tmp_path / "mail.log").write_text(log.replace("postfix/discard[", "postfix/lmtp["))
    found = greylag(tmp_path, "import", "smtp-log", str(tmp_path / "mail.log"))
    assert {name: found[name] for name in ("accepted", "networks", "triplets")} == {
        "accepted": 3,
        "networks": 3,
        "triplets": 3,
    }, log
    for client, sender, recipient, reason in (
        ("192.0.2.18", "user@example.org", "a@example.net", "known"),
        ("192.0.2.18", "user@example.org", "b@example.net", "known"),
        ("2001:db8::2", "", "a@example.net", "known"),
        ("203.0.113.1", "user@example.org", "a@example.net", "new"),
        ("198.51.100.1", forged, "victim@example.net", "new"),
    ):
        assert greylag(tmp_path, "check", client, sender, recipient)["reason"] == reason
