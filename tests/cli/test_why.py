"""`greylag why` and `greylag release`: from two addresses to mail that is let in."""

from __future__ import annotations

import os
import shlex
from itertools import count

import pytest

from greylag.admin.deferrals import Found, keys_of
from greylag.core.history import Begun, Deferral, Ended, Outcome, Tried
from greylag.core.record import Blocked, Created
from greylag.core.shortid import shown_id
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from tests.cli.conftest import EVIL, KEY, NOW, RECIPIENT, SENDER, Greylag, shape

FIRST = Deferral(KEY, NOW - 200, NOW + 100, b"\xc0\0\2\x11", "mx.example.org", ("helo",), pool=b"")
ID = shown_id(FIRST.id)
NEXT = replace(FIRST, triplet=replace(KEY, network=b"\xc6\x33\x64\0"), first_seen=NOW - 100)


def keep(greylag: Greylag, *found: Deferral) -> None:
    """Do as the daemon does with first contacts."""
    with greylag.store() as store:
        for one in found:
            born = [Created(k, one.first_seen, one.defer_until, NOW + 9000) for k in keys_of(one)]
            store.apply(born, {}, one.first_seen)
        store.remember([Begun(one) for one in found], NOW)


def waits_until(greylag: Greylag, key: Triplet = KEY) -> int:
    with greylag.store() as store:
        return store.load([key])[key].defer_until


def test_from_two_addresses_to_mail_that_is_let_in(greylag: Greylag) -> None:
    """One command tells why and until when, and the command that lets it in."""
    keep(greylag, FIRST)
    told = greylag.run("why", SENDER, RECIPIENT)
    assert told.exit_code == 0
    for line in (
        f"id              {ID}",
        "client          192.0.2.17 (mx.example.org)",
        "client network  192.0.2.0/24",
        "state           waits: a retry passes from 2027-01-15 08:01:40 UTC (in 100s) on",
        "history         2027-01-15 07:56:40 UTC: first attempt: deferred",
        "setting         policy.delay = 5m (default)",
        "signs           helo",
        f"to let it in    greylag release {ID}    # this mail: its next retry",
    ):
        assert f"{line}\n" in told.stdout
    assert told.stderr == f"greylag: to let its next retry in: greylag release {ID}\n"
    done = greylag.run("release", ID)
    said = f"greylag: released {ID}: {SENDER} to {RECIPIENT}; its next retry passes\n"
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", said)
    assert waits_until(greylag) == NOW
    after = greylag.run("why", ID)
    assert "state           its next retry passes\n" in after.stdout
    assert "a retry now     let in: retried" in after.stdout
    assert "released by an admin" in after.stdout
    assert after.stderr == ""


def test_a_setting_is_told_with_its_file_and_line(greylag: Greylag) -> None:
    greylag.configure('\n[policy]\ndelay = "7m"\n')
    keep(greylag, FIRST)
    line = f"setting         policy.delay = 7m ({greylag.config}:"
    assert line in greylag.run("why", ID).stdout


def test_the_list_entry_that_decides_now_is_told(greylag: Greylag) -> None:
    keep(greylag, FIRST)
    greylag.run("allow", "add", "192.0.2.0/24", "--comment", "a partner")
    told = greylag.run("why", ID).stdout
    assert "a retry now     let in: allowlisted: an entry of the allowlist lets it in\n" in told
    assert "list entry      client range 192.0.2.0/24" in told
    entry = greylag.json("why", ID)["stories"][0]["now"]["entry"]
    assert (entry["subject"], entry["comment"]) == ("192.0.2.0/24", "a partner")


def test_json_schema(greylag: Greylag) -> None:
    keep(greylag, FIRST)
    with greylag.store() as store:
        store.remember([Tried(KEY, NOW - 100)], NOW)
    found = greylag.json("why", SENDER, RECIPIENT)
    texts = dict.fromkeys(
        ("id", "sender", "recipient", "client_network", "client_address", "client_name"), "str"
    )
    event = {"at": "int", "what": "str"}
    assert shape(found) == {
        "stories": [
            {
                **texts,
                "pool": "NoneType",
                "signs": ["str"],
                "first_seen": "int",
                "may_pass_at": "int",
                "state": "str",
                "ended": "NoneType",
                "released": "NoneType",
                "events": [{**event, "until": "NoneType"}],
                "reason": "str",
                "settings": [dict.fromkeys(("key", "value", "origin"), "str")],
                "usually": {"text": "str", "expected_at": "int"},
                "passed_elsewhere": [],
                "now": {"verdict": "str", "reason": "str", "entry": "NoneType"},
                "to_let_it_in": [{"command": "str", "what": "str"}],
            }
        ],
        "instead": "NoneType",
        "more": "bool",
        "looked_back_to": "int",
    }
    released = greylag.json("release", ID)
    assert shape(released) == {
        "released": [{"id": "str", "sender": "str", "recipient": "str"}],
        "not_waiting": [],
        "unknown": [],
    }


def test_all_that_waits_between_the_two_is_released_by_the_command_that_is_offered(
    greylag: Greylag,
) -> None:
    """A pool of servers retries from other networks: each has an id."""
    keep(greylag, FIRST, NEXT)
    told = greylag.run("why", SENDER, RECIPIENT)
    offered = told.stderr.splitlines()[-1].removeprefix("greylag: to let its next retry in: ")
    assert sorted(offered.split()[2:]) == sorted([ID, shown_id(NEXT.id)])
    assert f"{ID}  " in told.stdout.splitlines()[-1]  # the older one, in the table
    assert greylag.run(*offered.split()[1:]).exit_code == 0
    assert waits_until(greylag) == waits_until(greylag, NEXT.triplet) == NOW


@pytest.mark.parametrize("words", [["x@example.com", RECIPIENT], ["198.51.100.7"], ["0000-000"]])
def test_nothing_found_says_how_far_back_it_looked(greylag: Greylag, words: list[str]) -> None:
    keep(greylag, FIRST)
    result = greylag.run("why", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "greylag: no such mail was deferred" in result.stderr
    assert "`greylag check`" in result.stderr
    assert greylag.json("why", *words, code=1)["stories"] == []


def test_the_sender_that_people_see_may_be_another_than_that_of_the_envelope(
    greylag: Greylag,
) -> None:
    keep(greylag, FIRST)
    found = greylag.run("why", "x@example.org", RECIPIENT)
    assert found.exit_code == 0
    assert found.stderr.startswith("greylag: no mail of this sender is known: this is of another")
    assert f"sender          {SENDER}\n" in found.stdout
    assert "same domain" in greylag.json("why", "x@example.org", RECIPIENT)["instead"]


@pytest.mark.parametrize(
    "words", [[], ["a", "b", "c"], [SENDER, ""], ["192.0.2.1/8"], [ID, "--limit", "0"]]
)
def test_wrong_questions(greylag: Greylag, words: list[str]) -> None:
    assert greylag.run("why", *words).exit_code == 2


@pytest.mark.parametrize("words", [[], ["7KQ3"], [SENDER], [ID, "7KQ3-M2U"]])
def test_what_is_no_id_releases_nothing(greylag: Greylag, words: list[str]) -> None:
    keep(greylag, FIRST)
    assert greylag.run("release", *words).exit_code == 2
    assert waits_until(greylag) == FIRST.defer_until


def test_an_id_that_is_not_known_is_told_and_the_others_are_released(greylag: Greylag) -> None:
    keep(greylag, FIRST)
    result = greylag.run("release", "0000-000", ID, ID.lower())
    assert result.exit_code == 1
    assert "greylag: 0000-000: no deferred mail with this id is known\n" in result.stderr
    assert result.stderr.count("released") == 1
    assert waits_until(greylag) == NOW


def test_what_does_not_wait_is_told_and_is_no_error_where_it_passes_anyway(
    greylag: Greylag,
) -> None:
    keep(greylag, FIRST)
    greylag.run("release", ID)
    again = greylag.run("release", ID)
    assert (again.exit_code, "does not wait" in again.stderr) == (0, True)
    greylag.run("forget", "192.0.2.1", SENDER, RECIPIENT)
    gone = greylag.run("release", ID)
    assert (gone.exit_code, "a retry counts as a first contact" in gone.stderr) == (1, True)
    assert len(greylag.json("release", ID, code=1)["not_waiting"]) == 1


def twin(one: Deferral) -> Deferral:
    """Return another mail with the same id."""
    domain = one.triplet.sender.rpartition("@")[2]
    made = (replace(one, triplet=replace(KEY, sender=f"u{n}@{domain}")) for n in count())
    return next(other for other in made if other.id == one.id)


def test_of_two_mails_with_one_id_both_are_shown_and_none_is_released_unasked(
    greylag: Greylag,
) -> None:
    other = twin(FIRST)
    keep(greylag, FIRST, other)
    refused = greylag.run("release", ID)
    assert refused.exit_code == 1
    for sender in (SENDER, other.triplet.sender):
        assert f"  192.0.2.0/24 {sender} to {RECIPIENT}\n" in refused.stderr
    assert "nothing was released" in refused.stderr
    assert waits_until(greylag) == waits_until(greylag, other.triplet) == FIRST.defer_until
    assert greylag.run("release", ID, "--yes").exit_code == 0
    assert waits_until(greylag) == waits_until(greylag, other.triplet) == NOW


def test_what_does_not_wait_any_more_has_the_same_id_still_t12(greylag: Greylag) -> None:
    """Ids can be made alike: the mail that is due may be the one that is meant."""
    due = replace(FIRST, first_seen=NOW - 900, defer_until=NOW - 1)
    other = twin(FIRST)
    keep(greylag, due, other)
    refused = greylag.run("release", ID)
    assert refused.exit_code == 1
    for sender in (SENDER, other.triplet.sender):
        assert f"  192.0.2.0/24 {sender} to {RECIPIENT}\n" in refused.stderr
    assert "its next retry passes\n" in refused.stderr
    assert "nothing was released" in refused.stderr
    assert waits_until(greylag, other.triplet) == other.defer_until


def test_more_mails_with_one_id_than_are_shown_are_not_released_t12(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is meant may be among those that are left out."""
    monkeypatch.setattr("greylag.admin.deferrals.MOST_OF_ID", 1)
    monkeypatch.setattr("greylag.cli.release.MOST_OF_ID", 1)
    other = twin(FIRST)
    keep(greylag, FIRST, other)
    for words in ([ID], [ID, "--yes"]):
        refused = greylag.run("release", *words)
        assert refused.exit_code == 1
        assert f"more than 1 mails are meant by {ID}, and not all are shown" in refused.stderr
        assert "greylag release SENDER RECIPIENT --client ADDRESS" in refused.stderr
    assert waits_until(greylag) == waits_until(greylag, other.triplet) == FIRST.defer_until
    told = greylag.run("why", ID)
    assert "several mails have this id" in told.stderr


def test_sender_and_recipient_name_a_mail_exactly(greylag: Greylag) -> None:
    other, longer = twin(FIRST), replace(FIRST, triplet=replace(KEY, sender=f"x{SENDER}"))
    keep(greylag, FIRST, other, longer)
    done = greylag.run("release", SENDER, RECIPIENT)
    said = f"greylag: released {ID}: {SENDER} to {RECIPIENT}; its next retry passes\n"
    assert (done.exit_code, done.stderr) == (0, said)
    assert waits_until(greylag) == NOW
    for one in (other, longer):
        assert waits_until(greylag, one.triplet) == FIRST.defer_until
    nobody = greylag.run("release", "nobody@example.org", RECIPIENT)
    assert (nobody.exit_code, "no deferred mail between these two" in nobody.stderr) == (1, True)


def test_a_flood_that_is_not_looked_through_does_not_prevent_it(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(greylag, FIRST)
    page = Found([FIRST], 1, NOW - 200)  # there is older mail that was not looked at
    monkeypatch.setattr("greylag.admin.deferrals.search", lambda *_given: page)
    assert greylag.run("release", SENDER, RECIPIENT).exit_code == 0
    assert waits_until(greylag) == NOW


def test_of_one_sender_in_two_networks_the_client_names_it(greylag: Greylag) -> None:
    """A sender's name is easily forged, so both are shown, and one can be chosen."""
    keep(greylag, FIRST, NEXT)
    refused = greylag.run("release", SENDER, RECIPIENT)
    assert (refused.exit_code, "nothing was released" in refused.stderr) == (1, True)
    assert greylag.run("release", SENDER, RECIPIENT, "--client", "198.51.100.7").exit_code == 0
    assert waits_until(greylag) == FIRST.defer_until
    assert waits_until(greylag, NEXT.triplet) == NOW
    assert greylag.run("release", SENDER, RECIPIENT, "--client", "nowhere").exit_code == 2


def test_what_only_a_record_knows_is_not_hidden_by_others_of_its_id_t12(greylag: Greylag) -> None:
    """Of a flood the history has a part only."""
    other = twin(FIRST)
    keep(greylag, other)
    with greylag.store() as store:
        store.apply([Created(KEY, NOW - 200, NOW + 100, NOW + 9000)], {}, NOW - 200)
    refused = greylag.run("release", ID)
    assert (refused.exit_code, SENDER in refused.stderr) == (1, True)
    assert waits_until(greylag, other.triplet) == other.defer_until


def test_what_was_deferred_a_moment_ago_is_not_in_the_history_yet(greylag: Greylag) -> None:
    """The daemon writes the history after the answers, and `why` may be asked before it did."""
    behind = "the daemon writes the history about once a second: ask again in a few seconds"
    with greylag.store() as store:
        store.apply([Created(KEY, NOW - 1, NOW + 299, NOW + 9000), Blocked(KEY, 2)], {}, NOW)
    told = greylag.run("why", SENDER, RECIPIENT)
    assert f"greylag: {behind}\n" in told.stderr
    assert "client          not known\n" in told.stdout
    assert "signs           not known\n" in told.stdout
    assert "2 retries, too early: deferred (it is not known when)\n" in told.stdout
    with greylag.store() as store:
        at = replace(FIRST, first_seen=NOW - 1, defer_until=NOW + 299, signs=())
        store.remember([Begun(at)], NOW)
    told = greylag.run("why", SENDER, RECIPIENT)
    assert behind in told.stderr  # of the retries it has nothing yet
    assert "signs           none: it showed no sign of spam\n" in told.stdout
    with greylag.store() as store:
        store.remember([Tried(KEY, NOW, 2)], NOW)
    assert behind not in greylag.run("why", SENDER, RECIPIENT).stderr


def test_what_the_history_missed_long_ago_does_not_come_any_more(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply([Created(KEY, NOW - 200, NOW + 100, NOW + 9000)], {}, NOW - 200)
    told = greylag.run("why", SENDER, RECIPIENT)
    assert "client          not known\n" in told.stdout
    assert "ask again" not in told.stderr


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 1)])
def test_who_is_asked_decides(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int
) -> None:
    keep(greylag, FIRST, twin(FIRST))
    monkeypatch.setattr("greylag.cli.release.interactive", lambda: True)
    monkeypatch.setattr("greylag.cli.release.ask", lambda _question: answer)
    assert greylag.run("release", ID).exit_code == code
    assert waits_until(greylag) == (NOW if answer else FIRST.defer_until)


def test_who_released_it_is_written_down(greylag: Greylag, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(greylag, FIRST)
    monkeypatch.setenv("SUDO_USER", "alice")
    greylag.run("release", ID)
    with greylag.store() as store:
        (action,) = store.actions(9)
        figures = store.figures(0, 1 << 62)
    assert action.who == ("alice" if os.getuid() == 0 else action.who)
    assert (action.action, action.at) == ("release", NOW)
    assert action.subject.startswith(ID)
    assert [hour.get("released") for hour in figures.values()] == [1]


def test_what_strangers_wrote_acts_on_no_terminal_t12(greylag: Greylag) -> None:
    """The fixture looks at all that is written."""
    evil = replace(FIRST, triplet=replace(KEY, sender=f"{EVIL}@x", recipient=EVIL), name=EVIL)
    keep(greylag, evil)
    for words in (["192.0.2.1"], [shown_id(evil.id)], ["192.0.2.1", "--json"]):
        assert greylag.run("why", *words).exit_code == 0
    assert greylag.run("release", shown_id(evil.id)).exit_code == 0


def test_what_became_of_it_is_told(greylag: Greylag) -> None:
    keep(greylag, FIRST)
    with greylag.store() as store:
        store.remember([Ended(KEY, NOW - 10, Outcome.OTHER_WAY)], NOW)
    told = greylag.run("why", ID)
    assert "state           the same mail came another way (2027-" in told.stdout
    assert "greylag release" not in told.stdout + told.stderr
    assert "usually" not in told.stdout


def test_without_a_database_nothing_is_known(greylag: Greylag) -> None:
    assert greylag.run("why", ID).exit_code == 1
    assert greylag.run("release", ID).exit_code == 1
    assert not greylag.database.exists()


def test_each_way_to_allow_it_ends_by_itself_and_can_be_typed(greylag: Greylag) -> None:
    keep(greylag, FIRST)
    ways = [way["command"] for way in greylag.json("why", ID)["stories"][0]["to_let_it_in"]]
    allowing = [way for way in ways if " allow add " in way]
    assert allowing
    for way in allowing:
        assert way.endswith(" --expires 90d")
        assert greylag.run(*shlex.split(way)[1:]).exit_code == 0
    until = {entry["expires"] for entry in greylag.json("allow", "list")["entries"]}
    assert until == {NOW + 90 * 86400}
