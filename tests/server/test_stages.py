"""Questions at stages where nothing is decided, and mail servers that never ask at DATA."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from greylag.server.fronts.policy import ENOUGH
from tests.server.daemon import Connection, serving

NULL = {"sender": ""}


def ask_many(client: Connection, number: int) -> None:
    for count in range(number):
        answer = client.ask(sender="", recipient=f"b{count}@example.net")
        assert answer == b"action=DUNNO"


def test_an_accepted_mail_has_one_line_and_check_agrees_with_it(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.ask()
        client.ask(protocol_state="DATA")
        client.ask(sender="", recipient="b@example.org")
        assert client.ask(**NULL, protocol_state="DATA").startswith(b"action=DEFER_IF_PERMIT")
        assert daemon.logged('reason=new client_address=192.0.2.17 sender=""')
        assert "disabled" not in daemon.log.read_text()
        assert "other-stage" not in daemon.log.read_text()
        assert daemon.log.read_text().count("client_address=192.0.2.17") == 2


def test_the_null_sender_with_several_recipients_waits_at_data_t32(tmp_path: Path) -> None:
    with serving(tmp_path, '[policy]\ndelay = "1s"\n') as daemon, daemon.connect() as client:
        several = {"sender": "", "recipient": "", "protocol_state": "DATA"}
        for recipient in ("b@example.net", "c@example.net"):
            assert client.ask(sender="", recipient=recipient) == b"action=DUNNO"
        assert client.ask(**several).startswith(b"action=DEFER_IF_PERMIT")
        time.sleep(2)
        assert client.ask(**several) == b"action=DUNNO"
        assert "level=fatal" not in daemon.log.read_text()


def test_a_server_that_never_asks_at_data_is_told_of_once(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        ask_many(client, ENOUGH - 1)
        client.ask(sender="last@example.org")
        assert daemon.logged("sender=last@example.org")
        assert "no-data-question" not in daemon.log.read_text()
        ask_many(client, 3 * ENOUGH)
        assert daemon.logged("level=warn event=no-data-question attempts=100")
        client.ask(sender="later@example.org")
        assert daemon.logged("sender=later@example.org")
        assert daemon.log.read_text().count("no-data-question") == 1


@pytest.mark.parametrize("sender", ["", "a@example.org"])
def test_a_server_that_asks_at_data_is_not_told_of(tmp_path: Path, sender: str) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.ask(sender=sender, protocol_state="DATA")
        ask_many(client, 2 * ENOUGH)
        client.ask(sender="last@example.org")
        assert daemon.logged("sender=last@example.org")
        assert "no-data-question" not in daemon.log.read_text()


@pytest.mark.parametrize("stage", ["CONNECT", "XCLIENT", "EHLO", "MAIL", "DATA", "END-OF-MESSAGE"])
def test_a_server_that_never_asks_about_a_recipient_is_told_of_once(
    tmp_path: Path, stage: str
) -> None:
    """As Postfix in most restrictions with smtpd_delay_reject = no: nobody would be greylisted."""
    named = {} if stage in ("DATA", "END-OF-MESSAGE") else {"recipient": ""}
    with serving(tmp_path) as daemon, daemon.connect() as client:
        for _ in range(3 * ENOUGH):
            assert client.ask(**named, protocol_state=stage) == b"action=DUNNO"
        assert daemon.logged("level=warn event=no-recipient-question attempts=100")
        client.ask(sender="later@example.org")
        assert daemon.logged("sender=later@example.org")
        assert daemon.log.read_text().count("no-recipient-question") == 1
        assert "level=fatal" not in daemon.log.read_text()


@pytest.mark.parametrize("stage", ["RCPT", ""])
def test_a_server_that_asks_about_recipients_is_not_told_of(tmp_path: Path, stage: str) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.ask(protocol_state=stage)
        for _ in range(2 * ENOUGH):
            client.ask(protocol_state="DATA")
        client.ask(sender="last@example.org")
        assert daemon.logged("sender=last@example.org")
        assert "no-recipient-question" not in daemon.log.read_text()
