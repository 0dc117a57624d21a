"""Which policy holds: of an attempt, and of a connection.

    1  defaults, greylag.toml, control/greylisting     made by `app.config`: the policy of all
    2  GL* variables                                   of the client's network, by tcprules
    3  [[recipient]] of greylag.toml                   of the recipient, where it is named
    4  JGREYLIST_HOLDTIME                              of a connection
    5  greylag off, greylag observe                    of all, for a time: put over what is found
                                                       here by `service.desk` and `Service`

The daemon is told the variables with each attempt. In a process that a mail server starts they
are in the environment: `app.config` reads them there, and `overridden` says what they change.
"""

from __future__ import annotations

from collections.abc import Callable

from greylag.core.attempt import Attempt
from greylag.core.connection import Connection, held
from greylag.core.policy import Policy, with_evidence
from greylag.core.recipients import NO_TABLES, Recipients, Table
from greylag.core.value import replace
from greylag.wire.oldplugin import Given, read_variables

_MOST = 256  # kinds of variables that are remembered; admins write a few
_TIMES = ("policy.delay", "policy.retry_window")
_OF_TABLES = ("delay", "retry_window")  # the same, as fields


class Policies:
    """The policies of all attempts and connections under one policy of all."""

    def __init__(
        self,
        policy: Policy,
        warn: Callable[[str], None] = lambda _line: None,
        recipients: Recipients = NO_TABLES,
    ) -> None:
        self.policy = policy
        self._warn = warn  # is told once of each setting that does not count
        self._recipients = recipients
        self._find = recipients.find if recipients.tables else None
        self._most = _MOST + len(recipients.tables)
        self._held: dict[int, Policy] = {}  # by the hold time of connections
        self._known: dict[tuple[tuple[tuple[bytes, bytes], ...], int | None], Policy] = {}

    def of(self, attempt: Attempt) -> Policy:
        """Return the policy that holds for an attempt. Recipients that are not told have none."""
        variables, number = attempt.overrides, None
        if self._find is not None and attempt.recipient is not None:
            number = self._find(attempt.recipient)
        if not variables and number is None:
            return self.policy
        policy = self._known.get((variables, number))
        if policy is None:
            policy = self._made(variables, number)
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[variables, number] = policy
        return policy

    def _made(self, variables: tuple[tuple[bytes, bytes], ...], number: int | None) -> Policy:
        policy = self.policy
        if variables:
            found = read_variables(dict(variables))
            policy, _given, warnings = overridden(policy, found.given)
            for line in found.warnings + warnings:
                self._warn(line)
        if number is None:
            return policy
        policy, warning = tabled(policy, self._recipients.tables[number])
        if warning:
            self._warn(warning)
        return policy

    def of_connection(self, connection: Connection) -> Policy:
        """Return the policy that holds for a connection."""
        hold = connection.hold
        policy = self._held.get(hold)
        if policy is None:
            policy = held(self.policy, hold)
            if len(self._held) < _MOST:
                self._held[hold] = policy
        return policy


def tabled(policy: Policy, table: Table) -> tuple[Policy, str]:
    """Return the policy under the settings of a table, and a warning.

    Its times do not count where no mail could ever pass with those of GL* variables.
    """
    changes = dict(table.changes)
    changed = replace(policy, **changes)
    why = changed.fault()
    if why is None:
        return with_evidence(changed), ""
    left = {name: found for name, found in changes.items() if name not in _OF_TABLES}
    warning = f"{table.origin}: {why}: its times are passed over"
    return with_evidence(replace(policy, **left)), warning


def overridden(policy: Policy, given: list[Given]) -> tuple[Policy, list[Given], list[str]]:
    """Return the policy under settings of the old plugin, those that count, and warnings.

    Times under which no mail could ever pass do not count, the latest first.
    """
    warnings: list[str] = []
    while (why := (changed := _changed(policy, given)).fault()) is not None:
        times = [n for n, item in enumerate(given) if item.key in _TIMES]
        if not times:
            break  # the fault is in the policy itself
        last = times[-1]
        warnings.append(f"{given[last].origin}: {why}: it is passed over")
        given = given[:last] + given[last + 1 :]
    return changed, given, warnings


def _changed(policy: Policy, given: list[Given]) -> Policy:
    prefix = "policy."
    changes = {
        item.key.removeprefix(prefix): item.value for item in given if item.key.startswith(prefix)
    }
    return replace(policy, **changes)
