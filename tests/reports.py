"""What tests ask that have one policy and one store."""

from __future__ import annotations

from typing import Any

import pytest

from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.policy import Policy
from greylag.core.verdict import Decision
from greylag.service import Service
from greylag.store.base import StoreError


def no_failure(error: StoreError) -> None:
    pytest.fail(f"the store failed: {error}")


class PolicyService(Service):
    """A service that attempts are put to, under one policy."""

    def __init__(self, policy: Policy, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._policy = policy

    def decide(self, attempt: Attempt) -> Decision:
        """Answer an attempt."""
        return self.answer(precheck(attempt, self._policy))

    def explain(self, attempt: Attempt) -> Decision:
        """Return what `decide` would answer."""
        return self.foretell(precheck(attempt, self._policy))
