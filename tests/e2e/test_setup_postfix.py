"""P20: `greylag setup postfix` on Postfix as Debian installs it, with its chroot, while mail comes.

The machine is one of the test's own: nothing of this one's is touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.plugin import needed
from tests.e2e.setting_up import end_loop, looked, problems, start_loop
from tests.e2e.test_postfix_page import OUTSIDE, SITE, mail
from tests.servers.machine import Machine, machine


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("postfix", "postfix")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE)
        yield made


def test_from_nothing_to_greylisting_and_back_while_mail_comes(debian: Machine) -> None:
    """P1, P19: no session is refused, a second run changes no byte, undo leaves what was there."""
    before = looked(debian)
    start_loop(debian, 25, OUTSIDE)
    dry = debian.run("greylag setup postfix --dry-run")
    assert "check_policy_service { unix:greylag/greylag.sock" in dry
    assert looked(debian) == before

    told = debian.run("greylag setup postfix --yes")
    assert "greylisting works" in told
    assert problems(debian) == []
    assert "451 4.7.1 <" in told
    assert "check_policy_service" in debian.run("postconf -n")
    answer = mail(debian, OUTSIDE, "first@example.org", "alice@example.net")
    assert answer.startswith("451 4.7.1 <alice@example.net>: Recipient address rejected: Greylis")

    after = looked(debian)
    assert "nothing to do" in debian.run("greylag setup postfix --yes")
    assert looked(debian) == after

    told = debian.run("greylag setup postfix --undo --yes --purge")
    assert "as it was before" in told
    sessions = end_loop(debian)
    assert sorted(set(looked(debian)) ^ set(before)) == []
    assert len(sessions) > 20
    bad = [line for line in sessions if not line.startswith("250 ") and "Greylisted" not in line]
    assert bad == []
    accepted = sum(line.startswith("250 ") for line in sessions)
    found = f"{accepted}\n"
    assert debian.eventually("grep -c '^Subject: loop' /var/mail/alice", found) == found
    assert any("Greylisted" in line for line in sessions)


def test_json(debian: Machine) -> None:
    document = json.loads(debian.run("greylag setup postfix --dry-run --json"))
    assert document["changed"] is False
    assert "/etc/postfix/main.cf" in [one["path"] for one in document["changes"]]
