"""Policy delegation: Postfix, Exim, and others that ask as Postfix does.

Our C programs for qmail speak the same protocol, and each says its name in `greylag_client`. That
is believed at the unix socket, and at a TCP port if the settings say so. The plugin of a qmail with
qmail-spp asks about recipients, as Postfix does; `jgreylist` asks about connections.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from greylag.core.attempt import Attempt, Stage
from greylag.core.verdict import WARN, Decision, Reason
from greylag.server.answering import Inquiry, Shared
from greylag.server.fronts import Rules
from greylag.server.fronts.jgreylist import Jgreylist
from greylag.server.journal import Journal
from greylag.wire.connection import JGREYLIST
from greylag.wire.policy import (
    PLUGIN,
    Broken,
    Request,
    RequestReader,
    read_attempt,
    read_plugin_attempt,
    write_action,
    write_plugin_action,
)

MOST = 1000  # messages under way whose headers are remembered
# Call-outs alone stop after RCPT; a server that takes mail asks at DATA for each, so that this
# many without one is no chance.
ENOUGH = 100
_NEVER_AT_RCPT = (
    "mail is not greylisted: the mail server never asks about a recipient"
    " (Postfix: smtpd_recipient_restrictions)"
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    Inquire = Callable[[Request], Inquiry | bytes]


class PolicyDelegation:
    """The front end for all who speak the protocol."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._stages = Stages(shared.journal)
        self._headers = Headers()
        local, remote = Jgreylist(shared, shared.trees), Jgreylist(shared, None)
        self._local = {PLUGIN: self._plugin, JGREYLIST: local.inquire}
        self._trusted = {PLUGIN: self._plugin, JGREYLIST: remote.inquire}

    def codec(self, *, local: bool) -> PolicyCodec:
        """Return the codec of a new connection."""
        if local:
            return PolicyCodec(self._postfix, self._local)
        return PolicyCodec(self._postfix, self._trusted if self._shared.rules.trust_tcp else {})

    def _postfix(self, request: Request) -> Inquiry:
        return self._shared.inquiry(read_attempt(request), self._write)

    def _write(self, rules: Rules, attempt: Attempt, decision: Decision) -> bytes:
        self._stages.saw(attempt, decision)
        header = rules.header and decision.waited is not None and self._headers.is_first(attempt)
        return write_action(decision, rules.replies, header=header)

    def _plugin(self, request: Request) -> Inquiry:
        return self._shared.inquiry(read_plugin_attempt(request), _write_plugin)


def _write_plugin(rules: Rules, attempt: Attempt, decision: Decision) -> bytes:
    # qmail-spp adds a header for each run of a plugin, which is for each recipient.
    header = rules.header and not attempt.further
    return write_plugin_action(decision, rules.replies, header=header)


class PolicyCodec(RequestReader):
    """The codec of one connection. Each request says who asks."""

    def __init__(self, inquire: Inquire, programs: Mapping[bytes, Inquire]) -> None:
        super().__init__()
        self._inquire = inquire
        self._programs = programs  # those that are believed, by `greylag_client`

    def inquire(self, request: Request | Broken) -> Inquiry | bytes | None:
        """Return what a request asks; None after bytes that are no request."""
        if isinstance(request, Broken):
            return None
        program = request.get(b"greylag_client") if self._programs else None
        if program is None:
            return self._inquire(request)
        return self._programs.get(program, self._inquire)(request)


class Stages:
    """Notices a mail server that never asks at a stage where something is decided.

    It counts what was left for DATA until the first question at DATA comes, and what was asked at
    other stages alone until the first one about a recipient.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._left = 0  # for DATA: bounces
        self._passed = 0  # at stages where the rest is not decided

    def saw(self, attempt: Attempt, decision: Decision) -> None:
        """Take note of an answer; tell once if the question that was to follow never does."""
        if attempt.stage is Stage.DATA:
            self._left = ENOUGH  # it is asked at DATA: nothing to tell from now on
        elif attempt.stage is not Stage.OTHER and decision.reason is not Reason.INVALID_CLIENT:
            self._passed = ENOUGH  # not by a probe of the port alone
        if decision.reason is not Reason.OTHER_STAGE:
            return
        if attempt.stage is Stage.RCPT_FIRST:
            self._left += 1
            if self._left == ENOUGH:
                cause = "bounces are not greylisted: the mail server never asks at DATA"
                self._tell({"event": "no-data-question"}, cause)
        else:
            self._passed += 1
            if self._passed == ENOUGH:
                self._tell({"event": "no-recipient-question"}, _NEVER_AT_RCPT)

    def _tell(self, event: dict[str, str], cause: str) -> None:
        self._journal.event(WARN, {**event, "attempts": str(ENOUGH), "error": cause})


class Headers:
    """Remembers which of the latest messages have their header: each gets one only."""

    def __init__(self) -> None:
        self._given: OrderedDict[tuple[bytes | None, ...], None] = OrderedDict()

    def is_first(self, attempt: Attempt) -> bool:
        """Tell whether a message has no header yet; from now on it has.

        The instance is Postfix's word for one transaction. Client and sender are compared too: a
        mail server may have one word for all. Without a word every recipient is a message.
        """
        instance = attempt.instance
        if not instance:
            return True
        message = (instance, attempt.client_address, attempt.sender)
        if message in self._given:
            return False
        self._given[message] = None
        if len(self._given) > MOST:
            self._given.popitem(last=False)
        return True
