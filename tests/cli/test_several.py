"""Mail for several recipients, which has one record: `check` and `forget` name it as well."""

from __future__ import annotations

import pytest

from greylag.core.attempt import Attempt, Stage
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.triplet import Triplet
from tests.cli.conftest import CLIENT, NOW, RECIPIENT, Greylag

SEVERAL = ("--several", CLIENT, "<>")


def key_of(client: str) -> Triplet:
    """Return what a mail server's question at DATA is about."""
    asked = precheck(Attempt(client.encode(), b"", None, stage=Stage.DATA), Policy())
    assert isinstance(asked, Question)
    return asked.triplet


# The second is an IPv4 address behind a tunnel, the third an IPv6 address.
@pytest.mark.parametrize("client", [CLIENT, "2002:c000:201::1", "2001:db8::1"])
def test_check_tells_what_the_question_at_data_would_be_answered(
    greylag: Greylag, client: str
) -> None:
    words = ("check", "--several", client, "<>")
    found = greylag.json(*words, code=10)
    assert (found["kind"], found["reason"], found["sender"]) == ("several", "new", "")
    assert 'recipient=""' in found["log_line"]
    greylag.remember(key_of(client), first_seen=NOW - 60)
    found = greylag.json(*words, code=10)
    assert (found["reason"], found["may_pass_at"]) == ("early", NOW + 240)
    assert found["record"]["kind"] == "several"
    shown = greylag.run(*words).stdout
    assert "sender          <> (the null sender)\n" in shown
    assert "recipient       (several recipients)\n" in shown
    assert "\\several" not in shown
    assert greylag.json("check", client, "<>", RECIPIENT, code=10)["reason"] == "new"


def test_of_another_sender_nothing_is_decided_at_data(greylag: Greylag) -> None:
    found = greylag.json("check", "--several", CLIENT, "user@example.org")
    assert (found["verdict"], found["reason"]) == ("pass", "other-stage")


def test_forget_forgets_that_record_alone(greylag: Greylag) -> None:
    other = Triplet(key_of(CLIENT).network, "", RECIPIENT)
    greylag.remember(key_of(CLIENT), key_of("198.51.100.1"), other)
    assert greylag.json("forget", *SEVERAL, "--dry-run")["found"] == 1
    assert (
        "192.0.2.0/24 <> (several recipients)"
        in greylag.run("forget", *SEVERAL, "--dry-run").stderr
    )
    assert greylag.json("forget", *SEVERAL) == {"found": 1, "forgotten": 1, "dry_run": False}
    assert sorted(greylag.keys(), key=lambda key: key.key) == [other, key_of("198.51.100.1")]
    assert greylag.run("forget", *SEVERAL).exit_code == 1


@pytest.mark.parametrize("command", ["check", "forget"])
@pytest.mark.parametrize(
    "words",
    [
        ("--several",),
        ("--several", CLIENT),
        ("--several", CLIENT, "<>", RECIPIENT),
        ("--several", "x", "<>"),
        ("--several", CLIENT, "<>", "--waiting"),
        ("--several", CLIENT, "<>", "--by-address"),
    ],
)
def test_wrong_usage(greylag: Greylag, command: str, words: tuple[str, ...]) -> None:
    greylag.remember(key_of(CLIENT))
    assert greylag.run(command, *words).exit_code == 2
    assert greylag.keys() == [key_of(CLIENT)]
