"""`greylag off`, `greylag observe` and `greylag on`, and where the switch is shown."""

from __future__ import annotations

import os
import pwd

import pytest

from greylag.core.accesslist import NEVER
from greylag.core.history import Action
from greylag.core.policy import Greylist
from greylag.core.switch import MOST_WHO, Switch
from greylag.store.base import StoreError
from tests.cli.conftest import CLIENT, EVIL, NOW, RECIPIENT, SENDER, Greylag

ME = pwd.getpwuid(os.getuid()).pw_name
UNTIL = "2027-01-15 10:00:00 UTC (in 2h)"


@pytest.fixture(autouse=True)
def _nobody_by_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)


def kept(greylag: Greylag) -> Switch | None:
    with greylag.store() as store:
        return store.switch()


def test_off_for_a_time_and_on_again(greylag: Greylag) -> None:
    off = greylag.run("off", "--for", "2h")
    assert (off.exit_code, off.stdout) == (0, "")
    assert f"greylag: greylisting is off until {UNTIL}: no mail is deferred" in off.stderr
    assert "the denylist still refuses" in off.stderr
    assert kept(greylag) == Switch(Greylist.OFF, NOW + 7200, NOW, ME)
    on = greylag.run("on")
    assert (on.exit_code, on.stdout) == (0, "")
    assert "daemons follow within about two seconds" in off.stderr
    assert on.stderr == (
        "greylag: greylisting goes by the settings again; daemons follow within about two seconds\n"
    )
    assert kept(greylag) is None


def test_without_an_end_it_says_what_ends_it(greylag: Greylag) -> None:
    said = greylag.run("off").stderr
    assert "greylisting is off until `greylag on`: " in said
    assert kept(greylag) == Switch(Greylist.OFF, NEVER, NOW, ME)


def test_observe_takes_the_place_of_off(greylag: Greylag) -> None:
    greylag.run("off")
    said = greylag.run("observe", "--for", "7d").stderr
    assert "greylisting only observes until 2027-01-22 08:00:00 UTC (in 7d): " in said
    assert "daemons follow within about two seconds" in said
    assert kept(greylag) == Switch(Greylist.OBSERVE, NOW + 7 * 86400, NOW, ME)


def test_on_where_nothing_is_switched_is_no_error(greylag: Greylag) -> None:
    on = greylag.run("on")
    assert on.exit_code == 0
    assert "was not switched off: it goes by the settings" in on.stderr
    assert not greylag.database.exists()
    greylag.run("off", "--for", "1m")
    greylag.at(NOW + 61)
    assert "was not switched off" in greylag.run("on").stderr


@pytest.mark.parametrize("greylist", ["off", "observe"])
def test_on_says_where_the_settings_themselves_have_it_off(greylag: Greylag, greylist: str) -> None:
    greylag.configure(f'policy.greylist = "{greylist}"\n')
    said = greylag.run("on").stderr
    assert f'the settings have policy.greylist = "{greylist}" (' in said
    assert "greylag.toml" in said


@pytest.mark.parametrize("command", ["off", "observe"])
@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "2", "2x", "-2h", "+2h", "0s", "0h0m", "1.5h", "h", "2h3d", "2h2h", "36601d"),
        *("9" * 5000 + "d", "\u0662h", "forever", EVIL, "2027-01-16"),
    ],
)
def test_nonsense_is_refused_with_one_clear_error(
    greylag: Greylag, command: str, text: str
) -> None:
    result = greylag.run(command, "--for", text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "'--for': expected a" in result.stderr or "'--for': expected at most" in result.stderr
    assert not greylag.database.exists()


def test_an_argument_is_none(greylag: Greylag) -> None:
    for command in ("off", "observe", "on"):
        assert greylag.run(command, "2h").exit_code == 2
    assert greylag.run("on", "--for", "2h").exit_code == 2


def test_as_json(greylag: Greylag) -> None:
    off = {"mode": "off", "since": NOW, "until": None, "who": ME}
    assert greylag.json("off") == {"switch": off, "before": None}
    observe = {"mode": "observe", "since": NOW, "until": NOW + 60, "who": ME}
    assert greylag.json("observe", "--for", "60s") == {"switch": observe, "before": off}
    assert greylag.json("on") == {"switch": None, "before": observe}
    assert greylag.json("on") == {"switch": None, "before": None}


def test_who_called_sudo_is_named(greylag: Greylag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greylag.cli.who.os.getuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "alice")
    assert greylag.json("off")["switch"]["who"] == "alice"
    monkeypatch.setenv("SUDO_USER", EVIL * 9)
    greylag.run("off")
    switch = kept(greylag)
    assert switch is not None
    assert switch.who == (EVIL * 9)[:MOST_WHO]
    for command in (["stats"], ["config"], ["check", CLIENT, SENDER, RECIPIENT]):
        greylag.run(*command)  # shows no control character (T12)
    monkeypatch.setattr("greylag.cli.who.os.getuid", lambda: 4711)
    assert greylag.json("off")["switch"]["who"] == "4711"


def test_the_history_notes_who_did_what(greylag: Greylag) -> None:
    for n, command in enumerate((["off", "--for", "2h"], ["observe"], ["on"], ["on"])):
        greylag.at(NOW + n)
        greylag.run(*command)
    with greylag.store() as store:
        actions = store.actions(10)
    assert actions == [  # that nothing was switched is nothing to note
        Action(NOW + 2, ME, "on", ""),
        Action(NOW + 1, ME, "observe", ""),
        Action(NOW, ME, "off", str(NOW + 7200)),
    ]


def test_it_is_done_where_the_history_cannot_note_it(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who needs it needs it now."""
    greylag.run("stats")

    def fails(_store: object, _action: Action) -> None:
        raise StoreError("no room")

    monkeypatch.setattr("greylag.store.sqlite.store.SqliteStore.note_action", fails)
    off = greylag.run("off")
    assert off.exit_code == 0
    assert "greylisting is off until" in off.stderr
    assert "it is done, but not noted in the history: no room" in off.stderr
    assert kept(greylag) is not None


def test_check_goes_by_it_and_shows_it(greylag: Greylag) -> None:
    asked = ("check", CLIENT, SENDER, RECIPIENT)
    greylag.run("off", "--for", "2h")
    off = greylag.run(*asked)
    assert off.exit_code == 0
    assert "off: greylisting is off: by a setting, or by `greylag off`" in off.stdout
    assert f"switch          greylisting is off until {UNTIL}, switched by {ME} at" in off.stdout
    assert greylag.json(*asked)["switch"]["mode"] == "off"
    greylag.run("observe")
    observed = greylag.json(*asked)
    assert (observed["reason"], observed["instead"]) == ("observed", "new")
    assert greylag.run("check", CLIENT).exit_code == 0  # a connection
    greylag.run("on")
    assert greylag.json(*asked, code=10)["switch"] is None
    assert "switch  " not in greylag.run(*asked).stdout


def test_one_that_has_ended_is_not_shown_and_does_nothing(greylag: Greylag) -> None:
    greylag.run("off", "--for", "2h")
    greylag.at(NOW + 7200)
    assert greylag.json("check", CLIENT, SENDER, RECIPIENT, code=10)["switch"] is None
    assert greylag.json("stats")["switch"] is None
    assert greylag.json("config")["switch"] is None


def test_the_denylist_refuses_all_the_same(greylag: Greylag) -> None:
    greylag.run("deny", "add", "192.0.2.0/24")
    for command in ("off", "observe"):
        greylag.run(command)
        assert greylag.run("check", CLIENT, SENDER, RECIPIENT).exit_code == 11


def test_stats_and_config_show_it(greylag: Greylag) -> None:
    for command in ("stats", "config"):
        assert greylag.json(command)["switch"] is None
    greylag.run("observe", "--for", "2h")
    text = f"greylisting only observes until {UNTIL}, switched by {ME} at 2027-01-15 08:00:00 UTC"
    assert f"switch  {text}" in greylag.run("stats").stdout
    assert f"greylag: {text}" in greylag.run("config").stderr
    for command in ("stats", "config"):
        assert greylag.json(command)["switch"]["until"] == NOW + 7200


def test_config_is_shown_where_the_store_cannot_tell(greylag: Greylag) -> None:
    greylag.database.write_bytes(b"no database" * 100)
    result = greylag.run("config")
    assert result.exit_code == 0
    assert "policy.delay" in result.stdout
    assert "whether greylisting is switched off is not known: " in result.stderr


def test_a_store_that_has_no_place_for_it_says_so(greylag: Greylag) -> None:
    (greylag.home / "tree").mkdir()
    greylag.configure(f'store.url = "tree://{greylag.home}/tree"\n')
    for command in ("off", "observe"):
        result = greylag.run(command)
        assert result.exit_code == 74
        assert "has no place for the switch" in result.stderr
    assert greylag.run("on").exit_code == 0
    greylag.configure('store.url = "memory:"\n')
    result = greylag.run("off")
    assert result.exit_code == 74
    assert "memory, which no other process sees: nothing was switched" in result.stderr


def test_a_store_that_fails_is_no_success(greylag: Greylag) -> None:
    greylag.database.write_bytes(b"no database" * 100)
    for command in ("off", "observe", "on"):
        assert greylag.run(command).exit_code == 74


def test_the_shell_completes_it(greylag: Greylag, monkeypatch: pytest.MonkeyPatch) -> None:
    script = greylag.run("completion", "bash").stdout
    assert "_GREYLAG_COMPLETE" in script
    helped = greylag.run("--help").stdout
    for line in ("off ", "on ", "observe "):
        assert f"  {line}" in helped
