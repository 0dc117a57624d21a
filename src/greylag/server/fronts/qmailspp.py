"""What `native/greylisting` asks, the plugin of a qmail with qmail-spp."""

from __future__ import annotations

from functools import partial

from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.verdict import Decision
from greylag.server.answering import Inquiry
from greylag.server.fronts import Rules, Shared
from greylag.wire.policy import Request, read_plugin_attempt, write_plugin_action


class QmailSpp:
    """Reads the requests of the plugin."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def inquire(self, request: Request) -> Inquiry:
        """Return what the plugin asks about a recipient."""
        shared = self._shared
        rules = shared.rules
        attempt = read_plugin_attempt(request)
        found = precheck(attempt, shared.policies.of(attempt))
        return Inquiry(
            found, shared.worker, partial(self._finish, rules, attempt), rules.on_failure
        )

    def _finish(self, rules: Rules, attempt: Attempt, decision: Decision) -> bytes:
        self._shared.journal.decision(attempt, decision)
        return write_plugin_action(decision, rules.replies)
