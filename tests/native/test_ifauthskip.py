from __future__ import annotations

import subprocess

import pytest

from tests.e2e.plugin import Value
from tests.evil import EVIL
from tests.native.building import Builder
from tests.native.conftest import Client


@pytest.fixture
def ifauthskip(client: Client, build: Builder) -> Client:
    return client.of(build(), "ifauthskip")


@pytest.mark.parametrize(
    ("user", "output"),
    [(None, b""), ("", b""), ("a", b"N\n"), ("a@example.org", b"N\n"), (b"\xff" * 100_000, b"N\n")],
)
def test_a_client_that_has_logged_in_is_skipped(
    ifauthskip: Client, user: Value | None, output: bytes
) -> None:
    answer = ifauthskip.run(SMTPAUTHUSER=user)
    assert (answer.output, answer.log) == (output, "")


def test_hostile_users_change_nothing(ifauthskip: Client) -> None:
    for user in EVIL:
        assert ifauthskip.run(SMTPAUTHUSER=user).output == b"N\n"


@pytest.mark.parametrize("closed", ["0<&-", "0<&- 1>&-", "0<&- 1>&- 2>&-", "1>/dev/full"])
def test_descriptors_that_are_closed_or_full(ifauthskip: Client, closed: str) -> None:
    assert ifauthskip.run(closed, SMTPAUTHUSER="a").log == ""


def test_a_host_that_is_gone_does_not_kill_it(ifauthskip: Client) -> None:
    with subprocess.Popen(
        [ifauthskip.program],
        env=ifauthskip.variables({"SMTPAUTHUSER": "a"}),
        stdout=subprocess.PIPE,
        restore_signals=True,
        stdin=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
