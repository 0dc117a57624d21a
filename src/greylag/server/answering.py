"""From a request to its response: the daemon's side of "The life of a RCPT" in ARCHITECTURE.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from greylag.core.attempt import Attempt
from greylag.core.connection import Connection, precheck_connection
from greylag.core.engine import Question, unanswered
from greylag.core.policy import Policy
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Verdict
from greylag.server.headers import Headers
from greylag.server.journal import WARN, Journal
from greylag.server.stages import Stages
from greylag.server.trees import Trees
from greylag.server.worker import Worker
from greylag.service.batch import Answered
from greylag.service.desk import Desk
from greylag.wire.connection import (
    JGREYLIST,
    NOT_SERVED,
    read_connection,
    tree_of,
    write_connection_action,
)
from greylag.wire.oldplugin import Given, passing, read_variables
from greylag.wire.policy import (
    PLUGIN,
    Request,
    client_names,
    plugin_variables,
    read_attempt,
    read_plugin_attempt,
    write_action,
    write_plugin_action,
)
from greylag.wire.reply import Replies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.server.metrics import Metrics
    from greylag.server.session import Owe

_MOST_OVERRIDES = 256  # kinds of tcprules settings that are remembered; admins write a few


@value
class Rules:
    """What answers depend on, and a reload replaces as a whole."""

    policy: Policy
    replies: Replies
    on_failure: Verdict
    header: bool = False  # tell in a header how long mail had to wait
    trees: tuple[str, ...] = ()  # folders of the record trees that are served


class Answering:
    """Answers requests from the desk at once, or through the worker."""

    def __init__(
        self,
        rules: Rules,
        desk: Desk,
        worker: Worker,
        trees: Trees,
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        self._rules = rules
        self._trees = trees
        self._desk = desk
        self._worker = worker
        self._journal = journal
        self._metrics = metrics
        self._overridden: dict[tuple[tuple[bytes, bytes], ...], Policy] = {}
        self._stages = Stages(journal)
        self._headers = Headers()

    def use(self, rules: Rules) -> None:
        """Answer by these rules from now on."""
        self._rules = rules
        self._overridden.clear()

    def is_crowded(self) -> bool:
        """Tell whether so many wait that a connection may not add more than one."""
        return self._worker.is_crowded or self._trees.are_crowded

    def __call__(self, request: Request, owe: Owe, *, trusted: bool, local: bool) -> bytes | None:
        """Answer a request, now or through `owe`.

        Of a `trusted` one, qmail's programs ask too; of a `local` one, about files of this machine.
        """
        client = request.get(b"greylag_client") if trusted else None
        if client == JGREYLIST:
            tree = tree_of(request)
            if tree is not None and not local:
                return NOT_SERVED
            return self._connection(read_connection(request), tree, owe)
        rules = self._rules
        policy = rules.policy
        plugin = client == PLUGIN
        if plugin:
            attempt = read_plugin_attempt(request)
            policy = self._policy_for(plugin_variables(request))
        else:
            attempt = read_attempt(request)
        began = monotonic()
        found = self._desk.ask(attempt, policy)
        if isinstance(found, Decision):
            return self._finish(rules, request, attempt, plugin, began, found)
        finish = partial(self._finish, rules, request, attempt, plugin, began)
        self._worker.ask(found, partial(self._from_store, owe(), finish, found, rules))
        return None

    def _connection(self, connection: Connection, tree: bytes | None, owe: Owe) -> bytes | None:
        """Answer `native/jgreylist`, which asks for each connection; by the store, or by a tree."""
        if tree is not None:
            return self._by_tree(connection, tree, owe)
        rules = self._rules
        finish = partial(self._finish_connection, connection, monotonic())
        found = precheck_connection(connection, rules.policy)
        if isinstance(found, Question):
            found = self._desk.look_up(found)
        if isinstance(found, Decision):
            return finish(found)
        self._worker.ask(found, partial(self._from_store, owe(), finish, found, rules))
        return None

    def _by_tree(self, connection: Connection, path: bytes, owe: Owe) -> bytes | None:
        """Answer by a tree as the one-shot does: by no settings, no lists and no other records."""
        finish = partial(self._finish_connection, connection, monotonic(), by_tree=True)
        tree = self._trees.find(path, connection.hold)
        if tree is None:
            return NOT_SERVED
        found = precheck_connection(connection, Policy())
        if isinstance(found, Question):
            found = tree.desk.look_up(found)
        if isinstance(found, Decision):
            return finish(found)
        tree.worker.ask(found, partial(_from_tree, owe(), finish))
        return None

    def _finish_connection(
        self, connection: Connection, began: float, decision: Decision, *, by_tree: bool = False
    ) -> bytes:
        self._metrics.answered(decision, monotonic() - began)
        name = b"" if decision.verdict is Verdict.PASS else connection.client_name
        self._journal.connection(connection.client_address or b"", decision, name)
        return write_connection_action(decision, connection, by_tree=by_tree)

    def _from_store(
        self,
        reply: Callable[[bytes], None],
        finish: Callable[[Decision], bytes],
        question: Question,
        rules: Rules,
        answered: Answered | None,
    ) -> None:
        decision = unanswered(question, rules.on_failure) if answered is None else answered.decision
        reply(finish(decision))

    def _finish(
        self,
        rules: Rules,
        request: Request,
        attempt: Attempt,
        plugin: bool,
        began: float,
        decision: Decision,
    ) -> bytes:
        self._metrics.answered(decision, monotonic() - began)
        passes = decision.verdict is Verdict.PASS
        if passes:
            self._journal.decision(attempt, decision)
        else:
            self._journal.decision(attempt, decision, client_names(request))
        if not plugin:
            self._stages.saw(attempt, decision)
        if plugin:
            return write_plugin_action(decision, rules.replies)
        header = rules.header and decision.waited is not None
        if header:
            header = self._headers.is_first(request.get(b"instance"), attempt)
        return write_action(decision, rules.replies, header=header)

    def _policy_for(self, variables: dict[bytes, bytes]) -> Policy:
        """Return the policy under what tcprules set for this client."""
        if not variables:
            return self._rules.policy
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
            self._journal.event(WARN, {"reason": "config-warning", "error": line})
        return self._changed(old)

    def _changed(self, given: list[Given]) -> Policy:
        changes = {item.key.removeprefix("policy."): item.value for item in given}
        return replace(self._rules.policy, **changes)


def _from_tree(
    reply: Callable[[bytes], None], finish: Callable[[Decision], bytes], answered: Answered | None
) -> None:
    """Where the tree fails the one-shot tries: it may have rights that the daemon has not."""
    reply(NOT_SERVED if answered is None else finish(answered.decision))
