"""Which policy holds for an attempt, and for a connection."""

from __future__ import annotations

import pytest

from greylag.core.attempt import Attempt
from greylag.core.connection import Connection
from greylag.core.policy import Policy
from greylag.core.value import replace
from greylag.service.policies import Policies, held, overridden
from greylag.wire.oldplugin import Given, read_file

ATTEMPT = Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net")
POLICY = Policy(delay=60, retry_window=600)


def given(**settings: object) -> list[Given]:
    return [Given(f"policy.{name}", found, name) for name, found in settings.items()]


def of(*variables: tuple[bytes, bytes]) -> Attempt:
    return replace(ATTEMPT, overrides=variables)


def test_an_attempt_without_variables_has_the_policy_of_all() -> None:
    assert Policies(POLICY).of(ATTEMPT) is POLICY


def test_variables_of_a_client_change_the_policy_and_are_read_once() -> None:
    told: list[str] = []
    policies = Policies(POLICY, told.append)
    asked = of((b"GLBLOCKEXPIRE", b"2 x"), (b"GLLOGLEVEL", b"5"), (b"GLRECORDEXPIRE", b"-1"))
    policy = policies.of(asked)
    assert policy == replace(POLICY, delay=120)
    assert len(told) == 1
    assert "GLRECORDEXPIRE" in told[0]
    assert policies.of(of(*asked.overrides)) is policy
    assert len(told) == 1
    assert policies.of(ATTEMPT) is POLICY


def test_variables_of_any_number_take_bounded_room() -> None:
    policies = Policies(POLICY)
    for minutes in range(1, 1000):
        policies.of(of((b"GLRECORDEXPIRE", b"%d" % (minutes + 1))))
    assert len(policies._known) <= 256


@pytest.mark.parametrize("hold", [0, 1, 120, 999_999_999])
def test_a_connection_has_times_of_its_own(hold: int) -> None:
    policy = Policies(replace(POLICY, explicit=True)).of_connection(
        Connection(b"192.0.2.17", hold=hold)
    )
    assert policy == held(replace(POLICY, explicit=True), hold)
    assert (policy.delay, policy.explicit, policy.fault()) == (hold, False, None)
    assert policy.retry_window == hold + 86400


def test_times_under_which_nothing_could_pass_are_passed_over_the_latest_first() -> None:
    settings = given(explicit=True, retry_window=30, delay=10, lifetime=5)
    policy, counting, warnings = overridden(POLICY, settings)
    assert policy == replace(POLICY, explicit=True, retry_window=30, delay=10, lifetime=5)
    assert (counting, warnings) == (settings, [])
    settings = given(explicit=True, retry_window=30, delay=40)
    policy, counting, warnings = overridden(POLICY, settings)
    assert policy == replace(POLICY, explicit=True)
    assert [item.key for item in counting] == ["policy.explicit"]
    assert [line.partition(":")[0] for line in warnings] == ["delay", "retry_window"]
    assert all(line.endswith(": it is passed over") for line in warnings)


def test_of_one_setting_that_is_given_twice_the_latest_counts_and_is_passed_over_first() -> None:
    found = read_file(b"explicit=1\nblock_expire=5\nblock_expire=500\n", "x").given
    policy, counting, warnings = overridden(POLICY, found)
    assert (policy.delay, len(counting), len(warnings)) == (300, 2, 1)


def test_a_fault_in_the_policy_of_all_is_not_mended() -> None:
    wrong = replace(POLICY, delay=600)
    policy, counting, warnings = overridden(wrong, given(explicit=True))
    assert policy == replace(wrong, explicit=True)
    assert (len(counting), warnings) == (1, [])
