"""The daemon's codec and the client understand each other: same answer as the one-shot's."""

from __future__ import annotations

import pytest

from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.policy import (
    PLUGIN,
    Request,
    RequestReader,
    read_plugin_attempt,
    write_plugin_action,
)
from greylag.wire.qmailspp import read_environment, write_command
from greylag.wire.reply import OLD_REPLIES, Replies
from tests.attempts import bare, facts_of
from tests.e2e.plugin import Value
from tests.evil import EVIL
from tests.native.conftest import Client
from tests.native.daemon import answering, running

WAITED = Decision(Verdict.PASS, Reason.RETRIED, waited=412, id="9SWE-4EK")
DECISIONS = [
    WAITED,
    Decision(Verdict.PASS, Reason.KNOWN),
    Decision(Verdict.DEFER, Reason.NEW, retry_after=300, id="9SWE-4EK"),
    Decision(Verdict.DEFER, Reason.NEW, retry_after=300, at_data=True),
    Decision(Verdict.REJECT, Reason.DENYLISTED, client=bytes((192, 0, 2, 17))),
]
LONGEST = Replies("451 " + "x" * 496, "553 " + "~" * 496)


@pytest.mark.parametrize(
    "replies", [Replies(), OLD_REPLIES, LONGEST], ids=["own", "old", "longest"]
)
@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: str(decision.verdict))
def test_the_client_prints_what_the_oneshot_would(
    client: Client, decision: Decision, replies: Replies
) -> None:
    response = write_plugin_action(decision, replies)
    with running(client.socket, answering(response)):
        answer = client.run()
    assert answer.output == write_command(decision, replies)
    assert answer.log == ""


def test_the_client_prints_the_header_that_the_oneshot_would(client: Client) -> None:
    response = write_plugin_action(WAITED, Replies(), header=True)
    with running(client.socket, answering(response)):
        answer = client.run()
    assert answer.output == b"HX-Greylist: delayed 412 seconds by greylag (id 9SWE-4EK)\n"
    assert answer.output == write_command(WAITED, Replies(), header=True)
    assert answer.log == ""


@pytest.mark.parametrize(
    "header",
    [
        b"X-Greylist: a\rX-Other: b",
        b"X-Greylist: \x80",
        b"X-Other: a",
        b"",
        b"X-Greylist: " + b"x" * 600,
    ],
)
def test_no_other_header_is_taken_from_a_daemon(client: Client, header: bytes) -> None:
    with running(client.socket, answering(b"action=PREPEND " + header + b"\n\n")):
        answer = client.run()
    assert not answer.output.startswith(b"H")
    assert "the daemon's answer makes no sense" in answer.log


VARIABLES: list[dict[str, Value | None]] = [
    {},
    {"SMTPMAILFROM": "", "SMTPRCPTCOUNT": "0", "SMTPRCPTCOUNTALL": "1"},
    {"SMTPRCPTCOUNT": "2", "SMTPRCPTCOUNTALL": "3"},
    {"TCPREMOTEIP": "::FFFF:192.0.2.17", "SMTPHELOHOST": "x", "TCPREMOTEHOST": ""},
]
VARIABLES += [{"SMTPMAILFROM": evil, "SMTPRCPTTO": evil} for evil in EVIL if b"\n" not in evil]


def test_the_daemon_reads_the_attempt_that_the_oneshot_would(client: Client) -> None:
    for changes in VARIABLES:
        with running(client.socket, answering(b"action=DUNNO\n\n")) as daemon:
            client.run(**changes)
        (request,) = RequestReader().feed(daemon.questions[0])
        assert isinstance(request, Request)
        assert request.get(b"greylag_client") == PLUGIN
        asked, told = read_plugin_attempt(request), read_environment(client.variables(changes))
        assert replace(bare(asked), overrides=()) == bare(told)
        assert facts_of(asked) == facts_of(told)


def test_the_daemon_reads_the_settings_of_tcprules(client: Client) -> None:
    settings: dict[str, Value | None] = {
        "GLBLOCKEXPIRE": "2",
        "GLRECORDEXPIRE": "2000",
        "GLRECORDEXPIREGOOD": "36",
        "GLLOGLEVEL": "",
        "GLEXPLICIT": "1",
    }
    with running(client.socket, answering(b"action=DUNNO\n\n")) as daemon:
        client.run(**settings)
    (request,) = RequestReader().feed(daemon.questions[0])
    assert isinstance(request, Request)
    assert dict(read_plugin_attempt(request).overrides) == {
        name.encode(): str(text).encode() for name, text in settings.items()
    }
