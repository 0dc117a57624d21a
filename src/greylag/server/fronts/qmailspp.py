"""What `native/greylisting` asks, the plugin of a qmail with qmail-spp."""

from __future__ import annotations

from functools import partial

from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.value import replace
from greylag.core.verdict import Decision, Verdict
from greylag.server.answering import Inquiry
from greylag.server.fronts import Rules, Shared
from greylag.server.journal import WARN
from greylag.wire.oldplugin import Given, passing, read_variables
from greylag.wire.policy import (
    Request,
    client_names,
    plugin_variables,
    read_plugin_attempt,
    write_plugin_action,
)

_MOST_OVERRIDES = 256  # kinds of tcprules settings that are remembered; admins write a few


class QmailSpp:
    """Reads the requests of the plugin."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._overridden: dict[tuple[tuple[bytes, bytes], ...], Policy] = {}
        self._of = shared.rules  # that these were made from

    def inquire(self, request: Request) -> Inquiry:
        """Return what the plugin asks about a recipient."""
        shared = self._shared
        rules = shared.rules
        attempt = read_plugin_attempt(request)
        policy = self._policy_for(plugin_variables(request))
        finish = partial(self._finish, rules, request, attempt)
        found = precheck(attempt, policy)
        return Inquiry(found, shared.worker, finish, rules.on_failure)

    def _finish(
        self, rules: Rules, request: Request, attempt: Attempt, decision: Decision
    ) -> bytes:
        if decision.verdict is Verdict.PASS:
            self._shared.journal.decision(attempt, decision)
        else:
            self._shared.journal.decision(attempt, decision, client_names(request))
        return write_plugin_action(decision, rules.replies)

    def _policy_for(self, variables: dict[bytes, bytes]) -> Policy:
        """Return the policy under what tcprules set for this client."""
        rules = self._shared.rules
        if not variables:
            return rules.policy
        if self._of is not rules:
            self._of = rules
            self._overridden.clear()
        key = tuple(sorted(variables.items()))
        if key not in self._overridden:
            if len(self._overridden) >= _MOST_OVERRIDES:
                self._overridden.clear()
            self._overridden[key] = self._read_overrides(variables)
        return self._overridden[key]

    def _read_overrides(self, variables: dict[bytes, bytes]) -> Policy:
        found = read_variables(variables)
        old = [item for item in found.given if item.key.startswith("policy.")]
        old, warnings = passing(old, lambda given: self._changed(given).fault())
        for line in found.warnings + warnings:  # once, as the policy is kept
            self._shared.journal.event(WARN, {"reason": "config-warning", "error": line})
        return self._changed(old)

    def _changed(self, given: list[Given]) -> Policy:
        changes = {item.key.removeprefix("policy."): item.value for item in given}
        return replace(self._shared.rules.policy, **changes)
