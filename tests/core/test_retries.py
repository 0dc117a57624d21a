"""When senders try again: the table of what is known."""

from __future__ import annotations

import pytest

from greylag.core.retries import PROGRAMS, SERVICES, Schedule, programs_like, service_of

T = 1_700_000_000


@pytest.mark.parametrize("schedule", [*SERVICES, *PROGRAMS], ids=lambda one: one.name)
def test_a_schedule_goes_on_for_ever(schedule: Schedule) -> None:
    assert list(schedule.retries) == sorted(set(schedule.retries))
    last = T
    for after in (T, T + 300, T + 3600, T + 86_400, T + 10**7):
        found = schedule.next_after(T, after)
        assert after <= found <= after + 24 * 3600
        assert found >= last
        last = found


def test_the_next_retry_is_the_first_that_is_not_too_early() -> None:
    postfix = PROGRAMS[0]
    assert [postfix.next_after(T, T + s) - T for s in (0, 300, 301, 8801)] == [
        300,
        300,
        600,
        12_800,
    ]


def test_a_service_is_known_by_the_name_of_its_servers() -> None:
    found = service_of("mail-ej1-f41.google.com")
    assert found is not None
    assert found.name == "Gmail"
    assert service_of("google.com.example.org") is service_of("notgoogle.com") is None
    assert service_of("") is None


def test_a_program_is_known_by_when_it_came() -> None:
    assert [one.name for one in programs_like(T, [T + 298])] == ["Postfix"]
    assert [one.name for one in programs_like(T, [T + 60, T + 185])] == ["Exchange"]
    assert programs_like(T, []) == PROGRAMS
    assert programs_like(T, [T + 7]) == ()
