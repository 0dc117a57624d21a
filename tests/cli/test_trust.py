"""`greylag distrust`, and trust, correspondents and the trapped in `search`, `check`, `stats`."""

from __future__ import annotations

import pytest

from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.record import Noted
from greylag.core.triplet import Triplet, sent_of, trapped_of, trust_of
from greylag.core.value import replace
from tests.cli.conftest import CLIENT, KEY, NOW, RECIPIENT, SENDER, Greylag

DAY = 86400
PACKED = bytes((192, 0, 2, 1))
HERE, POOL = of_address(PACKED), Pool(PoolKind.SPF, "example.org").packed
SETTINGS = """policy.trust_after = 5
policy.trust_all_after = 20
policy.correspondents = "90d"
policy.trapped_for = "24h"
"""
CHECK = ("check", CLIENT, SENDER, RECIPIENT)


def note(greylag: Greylag, key: Triplet, number: int, *, age: int = 2 * DAY) -> None:
    with greylag.store() as store:
        store.apply([Noted(key, NOW - age, NOW + DAY, number)], {}, NOW - age)


@pytest.fixture
def known(greylag: Greylag) -> Greylag:
    greylag.configure(SETTINGS)
    note(greylag, trust_of(HERE, "example.org"), 3)
    note(greylag, trust_of(HERE, ""), 4, age=2 * DAY + 1)
    note(greylag, trust_of(POOL, "example.org"), 9, age=3 * DAY)
    note(greylag, trust_of(POOL, "example.com"), 6, age=3600)
    note(greylag, trapped_of(PACKED), 2)
    note(greylag, sent_of(SENDER, RECIPIENT), 1)
    note(greylag, replace(KEY, network=POOL), 1)
    return greylag


def test_plain_search_forget_and_stats_speak_of_mail_alone(known: Greylag) -> None:
    result = known.run("search")
    assert (result.exit_code, result.stderr) == (1, "greylag: no record fits\n")
    assert known.json("search", "--passed", code=1)["total"] == 0
    for options in (["--passed"], ["--sender", "example"], ["--client", "0.0.0.0/0"]):
        assert known.json("forget", *options, "--yes", code=1)["found"] == 0
    assert known.json("stats")["records"] == {"waiting": 0, "passed": 0, "counted_at": NOW}
    assert known.json("expire")["kept"] == {"waiting": 0, "passed": 0}


def test_pools_are_searched_and_forgotten_by_an_option(known: Greylag) -> None:
    found = known.json("search", "--pools")["records"]
    assert [(one["client_network"], one["sender"]) for one in found] == [
        ("spf:example.org", SENDER)
    ]
    assert known.json("forget", "--pools", "--yes")["forgotten"] == 1
    assert known.json("search", "--pools", code=1)["total"] == 0
    assert known.json("search", "--trusted")["total"] == 4


def test_search_trusted(known: Greylag) -> None:
    table = known.run("search", "--trusted").stdout.splitlines()
    assert [line.split("  ")[0] for line in table] == [
        *("identity", "spf:example.org", "192.0.2.1", "192.0.2.1", "spf:example.org")
    ]
    soon, domain, every, held = table[1:]
    assert "  example.com    5 of 5   " in soon
    assert soon.endswith("  trusted from 2027-01-16 07:00:00 UTC (in 23h) on")
    assert "  example.org    3 of 5   " in domain
    assert domain.endswith("  2027-01-16 08:00:00 UTC (in 24h)  on the way")
    assert "  any            4 of 20  " in every
    assert "  example.org    5 of 5   " in held
    assert held.endswith("  trusted")


def test_search_trusted_as_json(known: Greylag) -> None:
    document = known.json("search", "--trusted", "--sender", "example.org", "--limit", "1")
    assert document == {
        "total": 2,
        "limit": 1,
        "trusted": [
            {
                "identity": "192.0.2.1",
                "sender_domain": "example.org",
                "passes": 3,
                "needed": 5,
                "since": NOW - 2 * DAY,
                "until": NOW + DAY,
                "trusted": False,
                "trusted_from": None,
            }
        ],
    }
    known.at(NOW + DAY)
    assert known.json("search", "--trusted", code=1)["trusted"] == []


def test_search_correspondents_and_trapped(known: Greylag) -> None:
    assert known.json("search", "--correspondents")["correspondents"] == [
        {"sender": SENDER, "recipient": RECIPIENT, "since": NOW - 2 * DAY, "until": NOW + DAY}
    ]
    assert known.json("search", "--trapped", "--client", "192.0.2.0/24")["trapped"] == [
        {"client": CLIENT, "mails": 2, "since": NOW - 2 * DAY, "until": NOW + DAY}
    ]
    lines = known.run("search", "--correspondents").stdout.splitlines()
    assert lines[1].split()[:2] == [SENDER, RECIPIENT]
    assert "2 times" in known.run("search", "--trapped").stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--trusted", "--trapped"],
        ["--trusted", "--connections"],
        ["--trusted", "--waiting"],
        ["--trusted", "--recipient", "a"],
        ["--correspondents", "--client", "192.0.2.1"],
        ["--pools", "--client", "192.0.2.1"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    known: Greylag, options: list[str]
) -> None:
    assert known.run("search", *options).exit_code == 2


def test_distrust_ends_what_search_shows(known: Greylag) -> None:
    result = known.run("distrust", "spf:example.org", "example.com")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "greylag: ended the trust in spf:example.org with example.com\n"
    result = known.run("distrust", CLIENT)
    assert result.stderr == "greylag: ended the trust in 192.0.2.1 with any, example.org\n"
    with known.store() as store:
        noted = {(one.action, one.subject) for one in store.actions(9)}
    assert ("distrust", "spf:example.org example.com") in noted
    assert known.json("distrust", CLIENT, code=1) == {
        "identity": CLIENT,
        "ended": 0,
        "sender_domains": [],
    }
    assert known.json("distrust", "spf:example.org") == {
        "identity": "spf:example.org",
        "ended": 1,
        "sender_domains": ["example.org"],
    }
    assert known.json("search", "--trusted", code=1)["total"] == 0
    assert known.json("search", "--pools")["total"] == 1, "what is known stays known"


@pytest.mark.parametrize("given", [["x"], ["192.0.2.0/24"], ["spf:"], [CLIENT, "a b"]])
def test_what_is_no_identity_or_domain_is_wrong_usage(known: Greylag, given: list[str]) -> None:
    result = known.run("distrust", *given)
    assert result.exit_code == 2
    assert result.stderr.startswith("greylag: expected ")


def test_check_says_how_far_a_client_is(known: Greylag) -> None:
    note(known, trust_of(of_address(bytes((192, 0, 2, 9))), "example.org"), 7)
    said = known.run(*CHECK).stdout
    assert (
        "trusted         no: 192.0.2.1 has 3 of the 5 first passes it needs with senders of"
        " example.org, since 2027-01-13 08:00:00 UTC (2d ago)\n" in said
    )
    needs = "of the 20 first passes it needs with senders of any domain"
    assert f"trusted         no: 192.0.2.1 has 4 {needs}, since " in said
    assert "correspondent   until 2027-01-16 08:00:00 UTC (in 24h)\n" in said
    assert "trapped         until 2027-01-16 08:00:00 UTC (in 24h)\n" in said
    said = known.run("check", "192.0.2.9", SENDER, "other@example.net").stdout
    assert "reason          trusted: " in said
    assert (
        "trusted         192.0.2.9 with senders of example.org, until 2027-01-16 08:00:00 UTC"
        in said
    )
    assert f"trusted         no: 192.0.2.9 has none {needs}\n" in said
    assert "correspondent   no\n" in said
    assert "trapped         no\n" in said


def test_check_has_the_same_as_json(known: Greylag) -> None:
    document = known.json(*CHECK)
    assert document["reason"] == "correspondent"
    assert document["correspondent_until"] == document["trapped_until"] == NOW + DAY
    assert [(one["sender_domain"], one["passes"], one["trusted"]) for one in document["trust"]] == [
        *((None, 4, False), ("example.org", 3, False))
    ]


def test_plain_greylisting_shows_none_of_it(known: Greylag) -> None:
    known.configure(
        "policy.trust_after = 0\npolicy.trust_all_after = 0\n"
        'policy.correspondents = "off"\npolicy.trapped_for = "off"\npolicy.identity = "none"\n'
    )
    said = known.run(*CHECK).stdout
    assert "trusted" not in said
    assert "correspondent" not in said
    assert known.json(*CHECK, code=10)["trust"] == []


def test_all_of_it_is_copied(known: Greylag) -> None:
    target = f"sqlite://{known.home}/new.db"
    known.run("db", "copy", f"sqlite://{known.database}", target)
    known.configure(f'store.url = "{target}"\n{SETTINGS}')
    assert known.json("search", "--trusted")["total"] == 4
    assert known.json("search", "--correspondents")["total"] == 1
    assert known.json("search", "--trapped")["total"] == 1
    assert known.json("search", "--pools")["total"] == 1


def test_a_client_that_mailed_a_trap_can_be_released(known: Greylag) -> None:
    result = known.run("trap", "release", CLIENT)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "greylag: 192.0.2.1: is not refused for a trap any more\n"
    assert known.json("search", "--trapped", code=1)["total"] == 0
    assert "trapped         no\n" in known.run(*CHECK).stdout
    result = known.run("trap", "release", CLIENT)
    assert result.exit_code == 1
    assert result.stderr == "greylag: 192.0.2.1: has mailed no trap\n"
    assert known.json("trap", "release", CLIENT, code=1) == {"client": CLIENT, "released": False}
    assert known.json("search", "--trusted")["total"] == 4, "and nothing else ends"


def test_an_address_is_released_as_search_shows_it(known: Greylag) -> None:
    note(known, trapped_of(bytes.fromhex("20010db8") + bytes(11) + b"\1"), 1)
    shown = known.json("search", "--trapped", "--client", "2001:db8::/32")["trapped"][0]["client"]
    assert shown == "2001:db8::/64"
    assert known.json("trap", "release", shown) == {"client": shown, "released": True}
    for wrong in ("spf:example.org", "192.0.2.0/24", "mail.example.org"):
        result = known.run("trap", "release", wrong)
        assert result.exit_code == 2
        assert result.stderr.startswith("greylag: expected an IPv4 or IPv6 address")


def test_a_correspondent_can_be_ended(known: Greylag) -> None:
    words = ("distrust", "--correspondent", SENDER, RECIPIENT)
    result = known.run(*words)
    assert (result.exit_code, result.stdout) == (0, "")
    told = f"greylag: {SENDER} is no correspondent of {RECIPIENT}"
    assert result.stderr == f"{told} any more\n"
    assert known.json("search", "--correspondents", code=1)["total"] == 0
    result = known.run(*words)
    assert (result.exit_code, result.stderr) == (1, f"{told}: nothing to end\n")
    assert known.json(*words, code=1) == {"sender": SENDER, "recipient": RECIPIENT, "ended": 0}
    assert known.json("search", "--trusted")["total"] == 4, "and nothing else ends"


@pytest.mark.parametrize("given", [[SENDER], ["<>", RECIPIENT], [SENDER, ""]])
def test_what_is_no_correspondent_is_wrong_usage(known: Greylag, given: list[str]) -> None:
    result = known.run("distrust", "--correspondent", *given)
    assert result.exit_code == 2
    assert result.stderr.startswith("greylag: expected ")
