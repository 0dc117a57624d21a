"""Which policy holds: of an attempt, and of a connection.

    1  defaults, greylag.toml, control/greylisting     made by `app.config`: the policy of all
    2  GL* variables                                   of the client's network, by tcprules
    3  JGREYLIST_HOLDTIME                              of a connection

The daemon is told the variables with each attempt. In a process that a mail server starts they
are in the environment: `app.config` reads them there, and `overridden` says what they change.
"""

from __future__ import annotations

from collections.abc import Callable

from greylag.core.attempt import Attempt
from greylag.core.connection import Connection
from greylag.core.policy import Policy
from greylag.core.value import replace
from greylag.wire.oldplugin import Given, read_variables

# The old cleaner removes a client that never came back after a day (docs/jgreylist-clean.md).
AT_LEAST_AFTER_HOLD = 86400
_MOST = 256  # kinds of variables that are remembered; admins write a few
_TIMES = ("policy.delay", "policy.retry_window")


class Policies:
    """The policies of all attempts and connections under one policy of all."""

    def __init__(self, policy: Policy, warn: Callable[[str], None] = lambda _line: None) -> None:
        self.policy = policy
        self._warn = warn  # is told once of each variable that does not count
        self._known: dict[tuple[tuple[bytes, bytes], ...], Policy] = {}

    def of(self, attempt: Attempt) -> Policy:
        """Return the policy that holds for an attempt."""
        variables = attempt.overrides
        if not variables:
            return self.policy
        policy = self._known.get(variables)
        if policy is None:
            found = read_variables(dict(variables))
            policy, _given, warnings = overridden(self.policy, found.given)
            for line in found.warnings + warnings:
                self._warn(line)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[variables] = policy
        return policy

    def of_connection(self, connection: Connection) -> Policy:
        """Return the policy that holds for a connection."""
        return held(self.policy, connection.hold)


def held(policy: Policy, hold: int) -> Policy:
    """Return the policy of connections, with a delay and a retry window of their own."""
    window = max(policy.retry_window, hold + AT_LEAST_AFTER_HOLD)
    return replace(policy, delay=hold, retry_window=window, explicit=False)


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
