"""What an admin should look at: each rule, and that there are never more than three."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greylag.admin.digest import digest
from greylag.admin.findings import RULES, Facts, Finding, findings
from greylag.admin.overview import Overview, Step
from greylag.admin.switch import turn
from greylag.admin.top import Hurt, Top
from greylag.core.client import parse_address
from greylag.core.history import Begun, By, Deferral, Ended, Outcome, Tally
from greylag.core.policy import Greylist, Policy
from greylag.core.shortid import shown_id
from greylag.core.summary import summarised
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000
WELL = {"pass:known": 90, "pass:retried": 10, "defer:new": 60, "waited:600": 10,
        "waited:seconds": 4000}  # fmt: skip
MAIL = Deferral(Triplet(parse_address(b"192.0.2.0") or b"", "a@example.org", "b@example.net"), 1, 2)


def facts(
    figures: dict[str, int],
    *hurt: Hurt,
    networks: dict[str, int] | None = None,
    no_figures: str | None = None,
) -> Facts:
    total = summarised(figures)
    names = {by: dict[str, Tally]() for by in By}
    names[By.NETWORK] = {name: Tally(deferred=n) for name, n in (networks or {}).items()}
    top = Top(NOW - 9, NOW, names, list(hurt), len(hurt), [], [], complete=True, reached=0)
    return Facts(Overview(Step.HOUR, [], total, NOW - 9, NOW, no_figures), top)


def words(of: Facts) -> list[str]:
    return [one.word for one in findings(of)]


def hurt(mails: int, never: int = 0, domain: str = "example.org", *, passed: bool = True) -> Hurt:
    return Hurt(domain, mails, never, 7200, MAIL, passed)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        pytest.param(facts(WELL), [], id="all is well"),
        pytest.param(facts({}), ["nothing-counted"], id="nobody asks"),
        pytest.param(facts({}, no_figures="none are kept"), [], id="no figures are kept"),
        pytest.param(facts({"reject:denylisted": 1}), [], id="a refusal is an answer"),
        pytest.param(facts({**WELL, "fate:evicted": 1}), ["evicted"], id="room had to be made"),
        pytest.param(facts(WELL, hurt(3)), ["hurt"], id="three mails of one domain were late"),
        pytest.param(facts(WELL, hurt(2), hurt(2)), [], id="two may be chance"),
        pytest.param(facts(WELL, networks={"192.0.2.0": 11, "": 10}), ["flood"], id="one network"),
        pytest.param(facts(WELL, networks={"192.0.2.0": 10, "": 10}), [], id="half is no flood"),
        pytest.param(facts(WELL, networks={"": 99}), [], id="of many nobody stands out"),
        pytest.param(facts(WELL, networks={"192.0.2.0": 11}), [], id="11 are few"),
        pytest.param(
            facts({"pass:known": 90, "pass:retried": 20, "waited:3600": 20, "waited:seconds": 9}),
            ["slow"],
            id="half waits for an hour",
        ),
        pytest.param(
            facts({"pass:known": 90, "pass:retried": 20, "waited:more": 20, "waited:seconds": 9}),
            ["slow"],
            id="half waits for more than a day",
        ),
        pytest.param(
            facts({"pass:known": 90, "pass:retried": 20, "waited:1800": 20, "waited:seconds": 9}),
            ["slow"],
            id="half waits for up to half an hour",
        ),
        pytest.param(
            facts({"pass:known": 90, "pass:retried": 20, "waited:900": 20, "waited:seconds": 9}),
            [],
            id="a quarter of an hour is usual",
        ),
        pytest.param(
            facts({**WELL, "fate:stopped": 20, "never:likely-spam": 9}),
            ["little-known"],
            id="of most that never came back nothing is known",
        ),
        pytest.param(
            facts({**WELL, "fate:stopped": 20, "never:likely-spam": 10}), [], id="half is known"
        ),
        pytest.param(
            facts({"pass:known": 20, "pass:retried": 21, "waited:600": 21}),
            ["often-delayed"],
            id="most mail is delayed",
        ),
        pytest.param(facts({"pass:known": 1, "pass:retried": 2}), [], id="of few mails"),
    ],
)
def test_what_is_found(found: Facts, wanted: list[str]) -> None:
    assert words(found) == wanted
    assert all(one.text and one.advice for one in findings(found))


@pytest.mark.parametrize(("bucket", "time"), [("1800", "15m"), ("3600", "30m"), ("more", "24h")])
def test_how_slow_it_is_is_not_overstated(bucket: str, time: str) -> None:
    """The median lies somewhere in its step of the histogram: only the step's start is sure."""
    [found] = findings(facts({"pass:known": 90, "pass:retried": 20, f"waited:{bucket}": 20}))
    assert found.text.endswith(f"waited for more than {time}.")


def test_there_are_never_more_than_three_and_the_worst_are_first() -> None:
    all_of_it = facts(
        {"pass:retried": 40, "waited:3600": 40, "fate:stopped": 90, "fate:evicted": 1},
        hurt(5, never=2),
        networks={"192.0.2.0": 90},
    )
    assert words(all_of_it) == ["evicted", "hurt", "flood"]


def test_a_switch_that_holds_is_told_first() -> None:
    store = MemoryStore()
    store.apply((), WELL, NOW)
    turn(store, Greylist.OFF, NOW - 60, until=NOW + 3600, who="alice")
    found = digest(store, Policy(), NOW, 86400).findings
    assert [one.word for one in found] == ["switched"]
    assert found[0].text.startswith("Greylisting is off")
    assert not digest(store, Policy(), NOW + 3600, 86400).findings, "it ends by itself"


def test_the_docs_name_each_rule() -> None:
    """And in their order."""
    page = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text()
    section = page.partition("## greylag report")[2].partition("## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)
    assert rows == [rule.__name__.replace("_", "-") for rule in RULES]


def only(of: Facts) -> Finding:
    [found] = findings(of)
    return found


def test_a_name_that_others_chose_is_quoted_in_a_command() -> None:
    """It will be pasted into a shell."""
    found = only(facts(WELL, hurt(3, domain="x;reboot")))
    assert found.advice.endswith("--sender-domain 'x;reboot' --expires 90d")
    assert only(facts(WELL, hurt(3, domain="<>"))).advice == "See greylag top"


def test_without_dns_nobody_is_told_to_allow_a_sender() -> None:
    """SPF never passes then, so that such an entry would do nothing."""
    found = only(replace(facts(WELL, hurt(3)), dns=False))
    assert found.advice.endswith(f"DNS is off: greylag why {shown_id(MAIL.id)}")
    assert "allow add" not in found.advice


def test_nobody_is_told_to_allow_a_domain_of_which_nothing_ever_passed_t12() -> None:
    """A spammer who sends to many once must not be let in by our advice."""
    spam = hurt(40, never=40, domain="spam.example", passed=False)
    found = only(facts(WELL, spam))
    assert found.advice.endswith(f"look first: greylag why {shown_id(MAIL.id)}")
    assert "likely good" not in found.text
    assert "allow add" not in found.advice
    assert "example.org" in only(facts(WELL, spam, hurt(3))).advice, "others are not hidden"


def test_what_a_spammer_sent_once_to_many_is_advised_to_be_looked_at_t12() -> None:
    """From what the store has, to the advice."""
    store = MemoryStore()
    for n in range(40):
        key = replace(MAIL.triplet, sender="news@spam.example", recipient=f"u{n}@example.net")
        one = Deferral(key, NOW - 9000, NOW - 8700, b"", "mail.spam.example")
        store.remember([Begun(one), Ended(key, NOW - 60, Outcome.UNKNOWN)], NOW)
    store.apply((), WELL, NOW)
    found = digest(store, Policy(), NOW, 86400).findings[0]
    assert found.word == "hurt"
    assert "look first: greylag why" in found.advice


def test_lost_mail_is_told_as_such() -> None:
    assert "never came back (2 of them)" in only(facts(WELL, hurt(3, never=2))).text
    assert "one waited for 2h" in only(facts(WELL, hurt(3))).text


@pytest.mark.parametrize(
    ("days", "step"),
    [(1, Step.HOUR), (2, Step.HOUR), (3, Step.DAY), (60, Step.DAY), (61, Step.WEEK),
     (400, Step.WEEK), (401, Step.MONTH), (36_500, Step.MONTH)],
)  # fmt: skip
def test_a_report_has_so_many_steps_that_they_can_be_seen(days: int, step: Step) -> None:
    found = digest(MemoryStore(), Policy(), NOW, days * 86400)
    assert found.overview.step is step
    assert found.overview.since <= NOW - min(days, 30_000) * 86400 + 31 * 86400
    assert [one.word for one in found.findings] == ["nothing-counted"]
