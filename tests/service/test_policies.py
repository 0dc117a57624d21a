"""Which policy holds for an attempt, and for a connection."""

from __future__ import annotations

import pytest

from greylag.core.attempt import Attempt
from greylag.core.connection import Connection, held
from greylag.core.evidence import Kind
from greylag.core.policy import Greylist, IdentityBy, Policy
from greylag.core.recipients import Recipients, Table
from greylag.core.value import replace
from greylag.service.policies import Policies, overridden
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


OFF = Table(("postmaster@",), (("greylist", Greylist.OFF),), "greylag.toml:3")
SLOW = Table(("example.net",), (("delay", 500), ("identity", IdentityBy.SPF)), "greylag.toml:6")
TABLES = Recipients([OFF, SLOW])


def to(recipient: bytes | None, *variables: tuple[bytes, bytes]) -> Attempt:
    return replace(ATTEMPT, recipient=recipient, overrides=variables)


def test_a_table_changes_the_policy_for_its_recipients() -> None:
    policies = Policies(POLICY, recipients=TABLES)
    assert policies.of(to(b"b@example.com")) is POLICY
    assert policies.of(to(b"postmaster@example.net")) == replace(POLICY, greylist=Greylist.OFF)
    assert policies.of(to(b"b@example.net")).delay == 500
    assert policies.of(to(b"b@example.net")) is policies.of(to(b"c@example.net"))


def test_a_table_says_which_evidence_is_needed() -> None:
    policies = Policies(replace(POLICY, dns=True), recipients=TABLES)
    assert policies.of(to(b"b@example.net")).evidence == {Kind.SPF, Kind.NAMES}
    assert not policies.of(to(b"postmaster@example.net")).evidence


def test_recipients_that_are_not_told_have_the_policy_of_all() -> None:
    """At DATA there may be several."""
    assert Policies(POLICY, recipients=TABLES).of(to(None)) is POLICY


def test_a_table_goes_before_variables_of_the_client() -> None:
    policies = Policies(POLICY, recipients=TABLES)
    variables = (b"GLBLOCKEXPIRE", b"3"), (b"GLRECORDEXPIRE", b"20")
    assert policies.of(to(b"b@example.com", *variables)).delay == 180
    changed = policies.of(to(b"b@example.net", *variables))
    assert (changed.delay, changed.retry_window) == (500, 1200)


def test_times_of_a_table_that_let_nothing_pass_with_variables_do_not_count() -> None:
    told: list[str] = []
    policies = Policies(POLICY, told.append, TABLES)
    for _ in range(2):
        changed = policies.of(to(b"b@example.net", (b"GLRECORDEXPIRE", b"5")))
        assert (changed.delay, changed.retry_window) == (60, 300)
        assert changed.identity is IdentityBy.SPF
    (line,) = told
    assert line.startswith("greylag.toml:6: the retry window (5m) must be longer than the delay")


def test_policies_of_many_tables_take_bounded_room() -> None:
    tables = [Table((f"d{n}.example",), (("delay", n),), "x") for n in range(1, 50)]
    policies = Policies(POLICY, recipients=Recipients(tables))
    for minutes in range(20, 40):
        for n in range(1, 50):
            asked = to(b"a@d%d.example" % n, (b"GLRECORDEXPIRE", b"%d" % minutes))
            assert policies.of(asked).delay == n
    assert len(policies._known) <= 256 + 49
