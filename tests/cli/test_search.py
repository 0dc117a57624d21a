"""`greylag search`, and the options that it shares with `forget`."""

from __future__ import annotations

import csv
import re
from io import StringIO

import pytest

from greylag.core.client import parse_address
from greylag.core.history import Begun, Deferral, Ended, Event, Outcome
from greylag.core.policy import Policy
from greylag.core.shortid import short_id, shown_id
from greylag.core.triplet import Triplet, connection_of, several_of
from tests.cli.conftest import KEY, NOW, Greylag, shape


def key(
    network: str, sender: str = "user@example.org", recipient: str = "info@example.net"
) -> Triplet:
    packed = parse_address(network.encode())
    assert packed is not None
    return Triplet(packed, sender, recipient)


ALL = {
    "a": key("192.0.2.0"),
    "b": key("198.51.100.0", ""),
    "c": key("203.0.113.0", "odd\\x0a@example.org", "other@example.com"),
    "d": key("2001:db8::", "bulk@example.com"),
    "e": key("192.0.3.0", "Passed@example.org".lower()),
}


ID = shown_id(short_id(ALL["a"]))


@pytest.fixture
def filled(greylag: Greylag) -> Greylag:
    for age, name in enumerate("abcd"):
        greylag.remember(ALL[name], first_seen=NOW - age)
    greylag.remember(ALL["e"], first_seen=NOW - 4, passed=True)
    return greylag


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], "abcde"),
        (["--waiting"], "abcd"),
        (["--passed"], "e"),
        (["--client", "192.0.2.0"], "a"),
        (["--client", "192.0.2.200"], "a"),
        (["--client", "::ffff:192.0.2.200"], "a"),
        (["--client", "192.0.2.200/32"], "a"),
        (["--client", "64:ff9b::192.0.2.200"], "a"),
        (["--client", "2002:c000:2c8::1"], "a"),
        (["--client", "2002:c000:200::/40"], ""),
        (["--client", "192.0.2.128/25"], "a"),
        (["--client", "192.0.2.0/24"], "a"),
        (["--client", "192.0.2.0/23"], "ae"),
        (["--client", "0.0.0.0/0"], "abce"),
        (["--client", "::/0"], "d"),
        (["--client", "2001:db8::99"], "d"),
        (["--client", "2001:db8::/32"], "d"),
        (["--client", "10.0.0.0/8"], ""),
        (["--sender", "<>"], "b"),
        (["--sender", "EXAMPLE.org"], "ace"),
        (["--sender", "<user@example.org>"], "a"),
        (["--sender", "prvs=1234567890=user@example.org"], "a"),
        (["--sender", "odd\\x0a@"], "c"),
        (["--sender", "odd\n@"], "c"),
        (["--sender", "%"], ""),
        (["--recipient", "other@"], "c"),
        (["--sender", "example.org", "--recipient", "info", "--passed"], "e"),
        (["--sender", "' OR '1'='1"], ""),
    ],
)
def test_filters(filled: Greylag, options: list[str], names: str) -> None:
    """T10 among them: texts are data, and match as they stand."""
    found = filled.json("search", *options, code=0 if names else 1)
    assert [record["sender"] for record in found["records"]] == [ALL[n].sender for n in names]
    assert found["total"] == len(names)


@pytest.mark.parametrize("command", ["search", "forget"])
@pytest.mark.parametrize(
    "options",
    [
        ["--client", "192.0.2.1/24"],
        ["--client", "192.0.2.300"],
        ["--client", ""],
        ["--client", "example.org"],
        ["--sender", ""],
        ["--recipient", " "],
        ["--waiting", "--passed"],
    ],
)
def test_bad_filters_are_wrong_usage(filled: Greylag, command: str, options: list[str]) -> None:
    assert filled.run(command, *options).exit_code == 2
    assert len(filled.keys()) == len(ALL)


def test_the_table(filled: Greylag) -> None:
    lines = filled.run("search", "--limit", "1").stdout.splitlines()
    assert lines[0].startswith(
        "id        client network  sender            recipient         first s"
    )
    assert lines[1].split()[:4] == [ID, "192.0.2.0/24", "user@example.org", "info@example.net"]
    assert "2027-01-15 08:00:00 UTC (now)  may pass 2027-01-15 08:05:00 UTC (in 5m)" in lines[1]
    passed = filled.run("search", "--passed").stdout
    assert "passed, expires 2027-02-20 07:59:56 UTC (in 36d)" in passed


def test_a_cut_is_told(filled: Greylag) -> None:
    result = filled.run("search", "--limit", "2")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "greylag: 2 of 5 records are shown: --limit shows more\n"
    assert filled.run("search", "--limit", "5").stderr == ""


def test_states(filled: Greylag) -> None:
    filled.at(NOW + 296)
    states = [record["state"] for record in filled.json("search")["records"]]
    assert states == ["waiting", "waiting", "waiting", "waiting", "passed"]
    filled.at(NOW + 299)
    assert [record["state"] for record in filled.json("search")["records"]][:2] == [
        "waiting",
        "due",
    ]
    filled.at(NOW + 40 * 86400)
    assert {record["state"] for record in filled.json("search")["records"]} == {"forgotten"}
    assert "no longer counts" in filled.run("search").stdout


def test_json_schema(filled: Greylag) -> None:
    record = {
        **dict.fromkeys(("id", "kind", "client_network", "sender", "recipient", "state"), "str"),
        **dict.fromkeys(
            ("first_seen", "may_pass_at", "forgotten_at", "deferred_count", "passed_count"), "int"
        ),
    }
    assert shape(filled.json("search")) == {"total": "int", "limit": "int", "records": [record]}
    assert (
        filled.json("search", "--client", "2001:db8::1")["records"][0]["client_network"]
        == "2001:db8::/64"
    )


def test_nothing_found(greylag: Greylag) -> None:
    result = greylag.run("search")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("greylag: no record fits\n")
    assert not greylag.database.exists()


def test_records_of_a_wider_policy_are_shown_as_they_are(greylag: Greylag) -> None:
    greylag.remember(KEY, key("192.0.2.7"))
    found = greylag.json("search")["records"]
    assert [record["client_network"] for record in found] == ["192.0.2.0/24", "192.0.2.7"]


@pytest.mark.parametrize("text", ["eve", "several", "conn", "nect"])
def test_what_stands_for_no_recipient_is_no_text_to_look_for(filled: Greylag, text: str) -> None:
    packed = parse_address(b"192.0.2.7") or b""
    filled.remember(connection_of(packed, 24), first_seen=NOW + 1)
    filled.remember(several_of(packed, "", Policy()), first_seen=NOW + 2)
    assert filled.json("search", "--recipient", text, code=1)["records"] == []
    nobody = filled.json("search", "--sender", "<>")["records"]
    assert "connection" not in {record["kind"] for record in nobody}
    assert "several" in {record["kind"] for record in nobody}


def test_connections_are_told_from_triplets(filled: Greylag) -> None:
    packed = parse_address(b"192.0.2.7") or b""
    filled.remember(connection_of(packed, 24), first_seen=NOW + 1, passed=True)
    filled.remember(several_of(packed, "", Policy()), first_seen=NOW + 2)
    shown = filled.run("search", "--limit", "2").stdout
    several, connection = (re.split("  +", line) for line in shown.splitlines()[1:])
    assert several[1:4] == ["192.0.2.0/24", "<>", "(several recipients)"]
    assert connection[:3] == ["-", "192.0.2.0/24", "(connections, for jgreylist)"]
    assert "\\" not in shown
    kinds = [record["kind"] for record in filled.json("search")["records"]]
    assert kinds == ["several", "connection", *["triplet"] * 5]
    only = filled.json("search", "--connections", "--client", "192.0.2.0/24")
    assert [record["kind"] for record in only["records"]] == ["connection"]
    assert only["total"] == 1
    assert "(connections" in filled.run("forget", "--connections", "--dry-run").stderr
    assert filled.json("forget", "--connections", "--yes")["forgotten"] == 1
    assert len(filled.keys()) == 6
    assert filled.run("search", "--connections").exit_code == 1


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--not", "example.com"], "abe"),
        (["--not", "bulk", "--not", "OTHER@"], "abe"),
        (["--not", "user@", "--sender", "example.org"], "ce"),
        (["--since", "2s"], "abc"),
        (["--since", "2027-01-15"], "abcde"),
        (["--since", "2027-01-16"], ""),
    ],
)
def test_what_is_not_wanted_and_since_when(filled: Greylag, options: list[str], names: str) -> None:
    code = 0 if names else 1
    found = filled.json("search", *options, code=code)["records"]
    wanted = [ALL[name] for name in names]
    assert [(one["sender"], one["recipient"]) for one in found] == [
        (one.sender, one.recipient) for one in wanted
    ]


def test_csv_has_the_columns_of_json_and_no_formula_t12(greylag: Greylag) -> None:
    greylag.remember(key("192.0.2.0", "=cmd@example.org"), first_seen=NOW)
    greylag.remember(key("192.0.3.0", "+1@example.org", '"a,b"@example.net'), first_seen=NOW - 1)
    header, *rows = csv.reader(StringIO(greylag.run("search", "--csv").stdout))
    assert header == list(greylag.json("search")["records"][0])
    assert [row[3] for row in rows] == ["'=cmd@example.org", "'+1@example.org"]
    assert rows[1][4] == '"a,b"@example.net'
    assert rows[0][header.index("first_seen")] == "2027-01-15T08:00:00Z"


MAILS = {
    "passed": (Outcome.PASSED, ()),
    "spam": (Outcome.LIKELY_SPAM, ("helo", "no-name")),
    "lost": (Outcome.UNKNOWN, ("no-name",)),
    "waits": (Outcome.WAITING, ()),
}


@pytest.fixture
def with_history(greylag: Greylag) -> Greylag:
    events: list[Event] = []
    for age, (name, (outcome, signs)) in reversed(list(enumerate(MAILS.items(), 1))):
        one, at = key("192.0.2.0", f"a@{name}.example.org"), NOW - 100 * age
        events.append(Begun(Deferral(one, at, at + 300, signs=signs)))
        if outcome is not Outcome.WAITING:
            events.append(Ended(one, at + 90, outcome))
    with greylag.store() as store:
        store.remember(events, NOW)
    greylag.remember(key("192.0.2.0", "a@waits.example.org"), first_seen=NOW - 400)
    return greylag


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--history"], ["passed", "spam", "lost", "waits"]),
        (["--outcome", "never"], ["spam", "lost"]),
        (["--outcome", "passed", "--outcome", "unknown"], ["passed", "lost"]),
        (["--sign", "helo"], ["spam"]),
        (["--sign", "no-name", "--not", "@spam"], ["lost"]),
        (["--history", "--since", "250s"], ["passed", "spam"]),
        (["--history", "--passed", "--client", "192.0.2.9"], ["passed"]),
        (["--history", "--sender", "<>"], []),
    ],
)
def test_the_history_is_searched_as_on_the_dashboard(
    with_history: Greylag, options: list[str], names: list[str]
) -> None:
    found = with_history.json("search", *options, code=0 if names else 1)
    assert [one["sender"] for one in found["deferrals"]] == [f"a@{n}.example.org" for n in names]
    assert found["complete"]


def test_the_history_as_a_table_and_as_csv(with_history: Greylag) -> None:
    shown = with_history.run("search", "--history", "--outcome", "never", "--limit", "1")
    assert "never came back: likely spam" in shown.stdout
    assert "helo no-name" in shown.stdout
    assert "--limit shows more" in shown.stderr
    header, row = csv.reader(StringIO(with_history.run("search", "--sign", "helo", "--csv").stdout))
    assert row[header.index("signs")] == "helo no-name"
    assert row[header.index("state")] == "likely-spam"
    assert with_history.run("search", "--history", "--not", "example").exit_code == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--csv", "--json"],
        ["--history", "--trusted"],
        ["--sign", "helo", "--connections"],
        ["--history", "--waiting", "--passed"],
        ["--history", "--sender", " "],
        ["--since", "yesterday"],
        ["--outcome", "gone"],
        ["--not", ""],
    ],
)
def test_wrong_uses_of_search(greylag: Greylag, options: list[str]) -> None:
    assert greylag.run("search", *options).exit_code == 2
