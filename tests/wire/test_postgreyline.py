"""Log lines in postgrey's form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greylag.core.accesslist import Entry
from greylag.core.attempt import Attempt
from greylag.core.subject import parse_subject
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire.policy import POSTFIX
from greylag.wire.postgreyline import postgrey_line
from tests.evil import EVIL

MAIL = Attempt(
    b"192.0.2.17",
    b"a@example.org",
    b"b@example.net",
    told={b"client_name": b"host17.example.org"},
    words=POSTFIX,
)
# What readers of postgrey's log look for: key=value between a comma and a space.
FIELD = re.compile(r"(\w+)=(\"[^\"]*\"|[^,\"]*)")
NEW = Decision(Verdict.DEFER, Reason.NEW, retry_after=300, id="9SWE-4EK")
EARLY = Decision(Verdict.DEFER, Reason.EARLY, retry_after=180, id="9SWE-4EK")
RETRIED = Decision(Verdict.PASS, Reason.RETRIED, waited=412, id="9SWE-4EK")


def test_the_lines_are_those_of_the_handbook() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "log.md").read_text()
    section = page.partition("\n## In postgrey's form\n")[2].partition("\n## ")[0]
    shown = re.findall(r"^    greylag: (.*)$", section, re.MULTILINE)
    assert shown == [postgrey_line(MAIL, decision) for decision in (NEW, EARLY, RETRIED)]


@pytest.mark.parametrize(
    ("decision", "begins"),
    [
        (Decision(Verdict.PASS, Reason.KNOWN), "action=pass, reason=triplet found, client_name="),
        (Decision(Verdict.PASS, Reason.TRUSTED), "action=pass, reason=client AWL, "),
        (
            Decision(
                Verdict.PASS, Reason.ALLOWLISTED, entry=Entry(parse_subject("192.0.2.0/24"), 0)
            ),
            "action=pass, reason=client whitelist, ",
        ),
        (
            Decision(
                Verdict.PASS, Reason.ALLOWLISTED, entry=Entry(parse_subject("example.net"), 0)
            ),
            "action=pass, reason=recipient whitelist, ",
        ),
        (Decision(Verdict.PASS, Reason.UNSUSPICIOUS), "action=pass, reason=unsuspicious, "),
        (Decision(Verdict.REJECT, Reason.DENYLISTED), "action=reject, reason=denylisted, "),
    ],
)
def test_reasons_have_postgreys_words_where_it_has_them(decision: Decision, begins: str) -> None:
    assert postgrey_line(MAIL, decision).startswith(begins)


def test_an_empty_sender_is_left_out_and_a_client_without_a_name_is_unknown() -> None:
    line = postgrey_line(Attempt(b"192.0.2.17", b"", b"b@example.net"), NEW)
    assert line == (
        "action=greylist, reason=new, client_name=unknown, client_address=192.0.2.17, "
        "recipient=b@example.net, id=9SWE-4EK"
    )


@pytest.mark.parametrize("evil", [*EVIL, b"a, recipient=x@example.org", b"a,id=1", b'"', b"a=b"])
def test_nobody_forges_a_line_or_a_field_t12(evil: bytes) -> None:
    told = replace(MAIL, sender=evil or b"x", recipient=evil or b"x", told={b"client_name": evil})
    line = postgrey_line(told, NEW)
    assert re.fullmatch(r"[\x20-\x7e]+", line)
    keys = [found[1] for found in FIELD.finditer(line)]
    wanted = ["action", "reason", "client_name", "client_address", "sender", "recipient", "id"]
    assert keys == wanted
    assert FIELD.sub("", line) == ", " * (len(wanted) - 1)
