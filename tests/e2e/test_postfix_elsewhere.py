"""Postfix asks elsewhere than the documentation says, or refuses at once: what is greylisted there.

Postfix decides what it tells at each place; docs/start/postfix.md says what follows (T32).
"""

from __future__ import annotations

import os
import smtplib
import time
from pathlib import Path

import pytest

from tests.e2e import postfix as real
from tests.e2e.plugin import needed
from tests.e2e.postfix import Postfix
from tests.server.daemon import serving

MAIL, NULL, PROBE = "a@example.org", "", "double-bounce@example.org"
AT_ONCE = "smtpd_delay_reject = no\n"
BOTH = "smtpd_recipient_restrictions = reject_unauth_destination, {policy}\n"
# What main.cf says, and whether ordinary mail and bounces are greylisted then.
PLACES = {
    "documented-at-once": (AT_ONCE + BOTH + "smtpd_data_restrictions = {policy}\n", True, True),
    "end-of-data-for-bounces": (BOTH + "smtpd_end_of_data_restrictions = {policy}\n", True, True),
    "data": ("smtpd_data_restrictions = {policy}\n", False, True),
    "end-of-data": ("smtpd_end_of_data_restrictions = {policy}\n", False, True),
    "sender": ("smtpd_sender_restrictions = {policy}\n", True, False),
    "client": ("smtpd_client_restrictions = {policy}\n", True, False),
    "client-at-once": (AT_ONCE + "smtpd_client_restrictions = {policy}\n", False, False),
}
RELAY = "smtpd_relay_restrictions = reject_unauth_destination\n"


def accepted(postfix: Postfix, sender: str, recipients: list[str]) -> bool:
    """Send a message, whoever of the recipients is taken; tell whether it went through."""
    with postfix.session() as smtp:
        smtp.mail(sender)
        codes = [smtp.rcpt(name)[0] for name in recipients]
        assert set(codes) <= {250, 450}
        try:
            code = smtp.data(b"Subject: hello\r\n\r\nhello\r\n")[0]
        except smtplib.SMTPDataError as error:
            code = error.smtp_code
        assert code in (250, 450, 554)  # 554: none of the recipients was taken
        return code == 250


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Postfix")
@pytest.mark.parametrize("place", PLACES)
def test_what_is_greylisted_where_postfix_asks_t32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """And whoever is deferred passes at his second try, whatever the number of recipients."""
    needed("postfix", "postfix")
    text, of_mail, of_bounces = PLACES[place]
    plain = real.MAIN[: real.MAIN.index("smtpd_recipient_restrictions")]
    monkeypatch.setattr(real, "MAIN", plain + RELAY + text)
    folder = real.opened(tmp_path)
    (folder / "daemon").mkdir(mode=0o755)
    service = f"check_policy_service {{ unix:{folder}/daemon/s, timeout=5s, default_action=DUNNO }}"
    mails = [
        (sender, [f"r{n}{number}@example.net" for n in range(number)])
        for sender in (MAIL, NULL, PROBE)
        for number in (1, 3)
    ]
    policy, group = '[policy]\ndelay = "1s"\n', 'socket_group = "postfix"'
    with (
        serving(folder / "daemon", policy, group) as daemon,
        real.running(folder / "postfix", service) as postfix,
    ):
        first = [accepted(postfix, *mail) for mail in mails]
        assert first == [not of_mail] * 2 + [not of_bounces] * 4
        time.sleep(2.1)
        assert [accepted(postfix, *mail) for mail in mails] == [True] * 6
        assert "level=fatal" not in daemon.log.read_text()
        assert "incomplete" not in daemon.log.read_text()
