"""`greylag top`."""

from __future__ import annotations

import pytest

from greylag.core.history import Begun, Deferral, Ended, Event, Outcome, Tried
from greylag.core.identity import of_address
from greylag.core.record import Noted
from greylag.core.shortid import shown_id
from greylag.core.triplet import Triplet, trust_of
from greylag.core.value import replace
from tests.cli.conftest import EVIL, NETWORK, NOW, RECIPIENT, Greylag, shape

CLIENT = bytes((192, 0, 2, 17))


def deferral(sender: str, recipient: str = RECIPIENT) -> Deferral:
    at = NOW - 9000
    key = Triplet(NETWORK, sender, recipient)
    name = f"mx.{sender.rpartition('@')[2]}"
    return Deferral(key, at, at + 300, client=CLIENT, name=name)


LATE, LOST = deferral("a@late.example"), deferral("a@lost.example")


@pytest.fixture
def filled(greylag: Greylag) -> Greylag:
    greylag.configure("[policy]\ntrust_after = 5\n")
    events: list[Event] = [
        Begun(LATE), Begun(LOST),
        Tried(LATE.triplet, NOW - 8900, 2),
        Ended(LATE.triplet, NOW - 1800, Outcome.PASSED),
        Ended(LOST.triplet, NOW, Outcome.UNKNOWN),
    ]  # fmt: skip
    with greylag.store() as store:
        store.remember(events, NOW)
        trust = trust_of(of_address(CLIENT), "late.example")
        store.apply([Noted(trust, NOW - 3600, NOW + 9000, 4)], {}, NOW)
    return greylag


def test_all_that_stands_out(filled: Greylag) -> None:
    shown = filled.run("top").stdout
    lines = [line.split() for line in shown.splitlines()]
    for title in (
        "Most deferred sender domains", "Most deferred recipients", "Most deferred client networks",
        "Most deferred recipient domains", "Retries that came too early", "Trusted soon",
    ):  # fmt: skip
        assert title in shown.splitlines()
    assert "2 mails were hurt in all. One of them: greylag why ID" in shown
    assert ["lost.example", "1", "1", shown_id(LOST.id)] in lines
    assert ["late.example", "1", "0", "2", "h", shown_id(LATE.id)] in lines
    assert ["late.example", "2", "1", "1"] in lines
    assert ["192.0.2.17", "late.example", "4", "of", "5"] in lines
    assert ["192.0.2.0/24", "2", "1", "2h", "1", "0"] in lines


def test_json_schema_and_values(filled: Greylag) -> None:
    found = filled.json("top")
    name = {
        "name": "str", "deferred": "int", "passed": "int", "never_came_back": "int",
        "likely_spam": "int",
    }  # fmt: skip
    kinds = ("network", "sender_domain", "recipient_domain", "recipient")
    for kind in kinds:
        for one in found["most_deferred"][kind]:
            assert one.pop("mean_delay_seconds") in (None, 7200)
    assert shape(found) == {
        "since": "int",
        "until": "int",
        "most_deferred": {kind: [name] for kind in kinds},
        "hurt": {
            "mails": "int",
            "by_sender_domain": [
                {
                    "sender_domain": "str", "mails": "int", "never_came_back": "int",
                    "longest_wait_seconds": "NoneType", "id": "str", "sender": "str",
                    "recipient": "str",
                }
            ],
        },
        "early": [{"sender_domain": "str", "retries": "int", "mails": "int", "passed": "int"}],
        "trusted_soon": [
            {
                "identity": "str", "sender_domain": "str", "first_passes": "int", "needed": "int",
                "earliest": "int",
            }
        ],
        "complete": "bool",
        "looked_at_since": "int",
        "no_history": "NoneType",
    }  # fmt: skip
    assert found["hurt"]["mails"] == 2


def test_of_an_empty_store_nothing_stands_out(greylag: Greylag) -> None:
    result = greylag.run("top")
    assert result.exit_code == 0
    assert result.stdout.count("\nnone\n") + result.stdout.endswith("\nnone\n") >= 3


def test_limit(filled: Greylag) -> None:
    found = filled.json("top", "--limit", "1")
    assert len(found["hurt"]["by_sender_domain"]) == 1
    assert [one["name"] for one in found["most_deferred"]["sender_domain"]] == [
        "late.example",
        None,
    ]


def test_it_says_where_it_did_not_look_at_all(
    filled: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greylag.admin.looking._AT_ONCE", 1)
    monkeypatch.setattr("greylag.cli.top.MOST_LOOKED", 1)
    said = " ".join(filled.run("top").stderr.split())
    assert "there is more history than is looked at" in said
    assert filled.json("top")["complete"] is False


def test_a_store_without_a_history_says_why(greylag: Greylag) -> None:
    (greylag.home / "tree").mkdir(mode=0o700)
    greylag.configure(f'store.url = "tree://{greylag.home}/tree"\n')
    assert "tree" in greylag.run("top").stderr
    assert "tree" in greylag.json("top")["no_history"]
    assert "tree" in greylag.run("stats", "--by", "network").stderr


def test_hostile_names(greylag: Greylag) -> None:
    """T12, T26: a foreign hand wrote them into the database."""
    bad = replace(LATE, triplet=Triplet(NETWORK, f"a@{EVIL}", EVIL))
    with greylag.store() as store:
        store.remember([Begun(bad), Ended(bad.triplet, NOW, Outcome.PASSED)], NOW)
    assert greylag.run("top").exit_code == 0
    assert greylag.json("top")["hurt"]["by_sender_domain"][0]["sender_domain"] == EVIL
