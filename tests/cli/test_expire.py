"""`greylag expire`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from greylag.core.history import Begun, Deferral, Sought
from greylag.core.triplet import Triplet
from tests.cli.conftest import KEY, NETWORK, NOW, Greylag

DAY = 86400


def keys(count: int, name: str = "s") -> list[Triplet]:
    return [Triplet(NETWORK, f"{name}{n}@example.org", "info@example.net") for n in range(count)]


@pytest.fixture
def filled(greylag: Greylag) -> Greylag:
    greylag.remember(*keys(30, "stopped"), first_seen=NOW - 3 * DAY)
    greylag.remember(*keys(20, "done"), first_seen=NOW - 40 * DAY, passed=True)
    greylag.remember(*keys(10, "waiting"))
    greylag.remember(*keys(5, "known"), passed=True)
    return greylag


def test_forgets_by_fate_and_counts(filled: Greylag) -> None:
    result = filled.run("expire")
    assert result.exit_code == 0
    assert result.stdout == (
        "deleted            50\n  never came back  30\n  had passed       20\n"
        "kept               15 (10 waiting, 5 passed)\n"
    )
    assert len(filled.keys()) == 15
    found = filled.json("stats")
    assert (found["never_came_back"]["count"], found["forgotten_after_passing"]) == (30, 20)


def test_json(filled: Greylag) -> None:
    kept = {"waiting": 10, "passed": 5}
    wanted = {"never_came_back": 30, "delayed": 20, "kept": kept, "history": 0}
    assert filled.json("expire", "--dry-run") == {"dry_run": True, **wanted}
    assert filled.json("expire") == {"dry_run": False, **wanted}


def test_dry_run_changes_nothing(filled: Greylag) -> None:
    before = filled.database.read_bytes()
    assert "would be deleted   50\n" in filled.run("expire", "--dry-run").stdout
    assert filled.database.read_bytes() == before


def test_several_pages(greylag: Greylag) -> None:
    greylag.remember(*keys(2500), first_seen=NOW - 3 * DAY)
    greylag.remember(*keys(1001, "waiting"))
    assert greylag.json("expire")["never_came_back"] == 2500
    assert len(greylag.keys()) == 1001


def test_a_clock_that_jumped_ahead_forgets_nothing_without_yes(greylag: Greylag) -> None:
    """P18, T30: time may jump: no mass expiry without --yes."""
    greylag.remember(*keys(101), passed=True)
    greylag.remember(*keys(100, "young"), first_seen=NOW + 60 * DAY, passed=True)
    greylag.at(NOW + 60 * DAY)
    result = greylag.run("expire")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "greylag: refused: 101 of 201 records that had passed would go; "
        "has the clock jumped? --yes goes on\n"
    )
    assert len(greylag.keys()) == 201
    dry = greylag.run("expire", "--dry-run")
    assert dry.exit_code == 0
    assert "without --yes this would be refused" in dry.stderr
    assert greylag.json("expire", "--yes")["delayed"] == 101
    assert len(greylag.keys()) == 100


def test_a_clock_that_was_steady_for_a_day_needs_no_yes_t30(greylag: Greylag) -> None:
    """What a wrong clock has left is forgotten like all the rest, also what is from the future."""
    greylag.remember(*keys(300, "old"), first_seen=NOW - 900 * DAY, passed=True)
    greylag.remember(*keys(150, "future"), first_seen=NOW + 900 * DAY)
    greylag.remember(*keys(3, "today"), passed=True)
    assert greylag.run("expire").exit_code == 1
    greylag.remember(*keys(1, "yesterday"), first_seen=NOW - DAY - 3600)
    found = greylag.json("expire")
    assert (found["never_came_back"], found["delayed"]) == (150, 300)


@pytest.mark.parametrize(("old", "young"), [(99, 0), (100, 100), (500, 500), (1, 0)])
def test_half_of_them_or_a_few_are_ordinary(greylag: Greylag, old: int, young: int) -> None:
    """P18, the bounds: more than half, and at least 100."""
    greylag.remember(*keys(old, "old"), passed=True)
    greylag.remember(*keys(young, "young"), first_seen=NOW + 60 * DAY, passed=True)
    greylag.at(NOW + 60 * DAY)
    assert greylag.json("expire")["delayed"] == old


def test_waiting_records_may_all_be_old(greylag: Greylag) -> None:
    greylag.remember(*keys(500), first_seen=NOW - 3 * DAY)
    greylag.remember(*keys(1, "young"))
    assert greylag.json("expire")["never_came_back"] == 500


@pytest.mark.parametrize(
    ("waiting", "silent", "code"),
    [
        (100, DAY + 1, 1),
        (99, DAY + 1, 0),
        (100, DAY, 0),
    ],
)
def test_a_silence_before_now_may_be_a_clock_that_jumped(
    greylag: Greylag, waiting: int, silent: int, code: int
) -> None:
    """P18: also where nothing has passed, and all of it would be counted as stopped."""
    greylag.remember(*keys(waiting), first_seen=NOW - 9 * DAY)
    greylag.remember(*keys(1, "newest"), first_seen=NOW - silent)
    result = greylag.run("expire")
    assert result.exit_code == code
    assert ("nothing was seen since" in result.stderr) is (code == 1)


def test_a_clock_that_jumped_back_forgets_nothing_without_yes(greylag: Greylag) -> None:
    """P18: what waits would look as if it came from the future, and be counted as stopped."""
    greylag.remember(*keys(150))
    greylag.at(NOW - DAY)
    result = greylag.run("expire")
    assert result.exit_code == 1
    assert "150 of 150 waiting records are from the future" in result.stderr
    assert len(greylag.keys()) == 150
    assert greylag.json("expire", "--yes")["never_came_back"] == 150


def test_a_missing_database(greylag: Greylag) -> None:
    assert greylag.json("expire")["kept"] == {"waiting": 0, "passed": 0}
    assert not greylag.database.exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--yes",)])
def test_a_tree_is_left_to_jgreylist_clean(
    greylag: Greylag, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """It has ages of its own, and a guard against a clock that has jumped (P18)."""
    record = tmp_path / "tree/192/000/002"
    record.parent.mkdir(parents=True)
    record.touch()
    os.utime(record, (NOW - 400 * 86400, NOW - 400 * 86400))
    (tmp_path / "greylag.toml").write_text(f'store.url = "tree://{tmp_path}/tree"\n')
    result = greylag.run("--config", str(tmp_path / "greylag.toml"), "expire", *options)
    assert result.exit_code == 1
    assert "jgreylist-clean" in result.stderr
    assert record.exists()


def deferred(greylag: Greylag, *ages: int) -> None:
    with greylag.store() as store:
        begun = [Begun(Deferral(KEY, NOW - age * DAY, NOW - age * DAY + 300)) for age in ages]
        store.remember(begun, NOW)


def ages(greylag: Greylag) -> list[int]:
    with greylag.store() as store:
        found = store.deferrals(Sought(), 9999).deferrals
    return [(NOW - one.first_seen) // DAY for one in found]


def test_what_is_too_old_in_the_history_goes_too(greylag: Greylag) -> None:
    deferred(greylag, 40, 31, 29, 1)
    assert greylag.json("expire", "--dry-run")["history"] == 0
    assert ages(greylag) == [1, 29, 31, 40]
    assert "2 rows deleted\n" in greylag.run("expire").stdout
    assert ages(greylag) == [1, 29]
    greylag.configure('history.keep = "2d"')
    assert greylag.json("expire")["history"] == 1
    assert ages(greylag) == [1]


def test_a_history_that_is_off_is_deleted_t9(greylag: Greylag) -> None:
    deferred(greylag, 40, 31, 1, 0)
    greylag.configure('history.keep = "off"')
    assert greylag.json("expire")["history"] > 4  # and what the days tell of them
    assert ages(greylag) == []


def test_a_history_that_is_all_of_a_later_day_stays_without_yes_t30(greylag: Greylag) -> None:
    """The clock may have jumped back."""
    deferred(greylag, -9, -10)
    assert greylag.json("expire")["history"] == 0
    assert ages(greylag) == [-10, -9]
    assert greylag.json("expire", "--yes")["history"] == 2
    assert ages(greylag) == []


def test_of_a_history_that_is_too_large_the_oldest_go(greylag: Greylag) -> None:
    deferred(greylag, *[2] * 500, *[1] * 800)
    greylag.configure("history.most = 1000")
    assert greylag.json("expire")["history"] == 300
    assert ages(greylag).count(1) == 800


def test_a_history_that_is_all_too_old_stays_without_yes_t30(greylag: Greylag) -> None:
    """The clock may have jumped."""
    deferred(greylag, 400, 399)
    assert greylag.json("expire")["history"] == 0
    assert ages(greylag) == [399, 400]
    assert greylag.json("expire", "--yes")["history"] == 2
    assert ages(greylag) == []
