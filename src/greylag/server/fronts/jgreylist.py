"""What `native/jgreylist` asks for each connection."""

from __future__ import annotations

from functools import partial

from greylag.core.connection import Connection, held, precheck_connection
from greylag.core.policy import Policy
from greylag.core.verdict import Decision
from greylag.server.answering import Inquiry, Shared
from greylag.server.trees import Trees
from greylag.wire.connection import NOT_SERVED, read_connection, tree_of, write_connection_action
from greylag.wire.policy import Request


class Jgreylist:
    """Reads the requests of the wrapper: the store answers, or the record tree that it names.

    A tree answers as in the one-shot: by its own records alone, without settings and lists. Where
    it is not served, or fails, the one-shot tries, as it may have rights that the daemon has not.
    """

    def __init__(self, shared: Shared, trees: Trees | None) -> None:
        self._shared = shared
        self._trees = trees  # None: no tree is served here

    def inquire(self, request: Request) -> Inquiry | bytes:
        """Return what the wrapper asks about a connection."""
        tree, connection = tree_of(request), read_connection(request)
        finish = partial(self._finish, connection, tree is not None)
        if tree is None:
            rules = self._shared.rules
            policy = self._shared.policies.of_connection(connection)
            found = precheck_connection(connection, policy)
            return Inquiry(found, self._shared.worker, finish, rules.on_failure)
        worker = self._trees.find(tree, connection.hold) if self._trees else None
        if worker is None:
            return NOT_SERVED
        found = precheck_connection(connection, held(Policy(), connection.hold))
        return Inquiry(found, worker, finish, NOT_SERVED)

    def _finish(self, connection: Connection, by_tree: bool, decision: Decision) -> bytes:
        self._shared.journal.connection(connection, decision)
        return write_connection_action(decision, connection, by_tree=by_tree)
