"""Postfix policy delegation: requests in from bytes cut anywhere, one action out for each.

The protocol is that of Postfix's SMTPD_POLICY_README. A request is `name=value` lines and an empty
line. Unknown names and other lines are skipped. Of a repeated name the first counts, so that
nothing can be appended to what the mail server said first.
"""

from __future__ import annotations

from greylag.core.attempt import Attempt, Stage, Words
from greylag.core.value import value
from greylag.core.verdict import Decision, Verdict
from greylag.wire.qmailspp import further_recipient
from greylag.wire.reply import Replies, header_of, render

MAX_REQUEST = 65536  # bytes; Postfix's own are under 4 KiB
_TYPE = b"smtpd_access_policy"
PLUGIN = b"qmail-spp"  # `greylag_client` of native/greylisting; believed of a trusted socket only
_OVERRIDE = b"greylag_"
POSTFIX = Words(
    client_name=b"client_name",
    confirmed=True,
    reverse_name=b"reverse_client_name",
    helo=b"helo_name",
    instance=b"instance",
    tls=b"encryption_protocol",
    recipients=b"recipient_count",
    user=b"sasl_username",
)
# What the plugin passes on is TCPREMOTEHOST: tcpserver confirms it only with -p, and does not say.
_QMAIL = Words(
    client_name=b"client_name",
    reverse_name=b"client_name",
    helo=b"helo_name",
    recipients=b"greylag_rcptcount",
)
# Made once: these names are looked up in each request.
_KEYS = {
    name: b"\n%b=" % name
    for name in (
        b"request",
        b"greylag_client",
        b"client_address",
        b"sender",
        b"recipient",
        b"sasl_username",
        b"protocol_state",
        b"greylag_rcptcount",
        b"greylag_rcptcountall",
        b"greylag_relayclient",
    )
}
# Any other word counts as a missing one, so that it lets nobody in without a question.
_BEFORE = (b"CONNECT", b"XCLIENT", b"EHLO", b"HELO", b"MAIL", b"VRFY", b"ETRN")
_STAGES = {
    b"RCPT": Stage.RCPT_FIRST,
    b"DATA": Stage.DATA,
    b"BDAT": Stage.DATA,
    b"END-OF-MESSAGE": Stage.DATA,
    **dict.fromkeys(_BEFORE, Stage.OTHER),
}


class Request:
    """One request. A missing attribute is not the same as an empty one.

    Only a few of 30 attributes are used. They are looked up in the text: to split it into a dict
    would cost as much as the decision. `text` is its lines, each with its line end.
    """

    __slots__ = ("_text",)

    def __init__(self, text: bytes) -> None:
        self._text = b"\n" + text

    def get(self, name: bytes) -> bytes | None:
        """Return an attribute's value, the first of that name, or None where there is none."""
        text, key = self._text, _KEYS.get(name) or b"\n%b=" % name
        start = text.find(key)
        if start < 0:
            return None
        start += len(key)
        return text[start : text.index(b"\n", start)]

    def names(self) -> list[bytes]:
        """Return the names of all attributes; a line without `=` is none."""
        lines = self._text.split(b"\n")
        return [line.partition(b"=")[0] for line in lines if b"=" in line]


@value
class Broken:
    """The peer does not speak the protocol: answer what came before, then hang up."""

    cause: str


class RequestReader:
    """Turns bytes, cut anywhere, into requests; holds at most one of MAX_REQUEST bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # no end of a request before here
        self._broken = False

    @property
    def inside(self) -> bool:
        """Tell whether a request has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Request | Broken]:
        """Return what these bytes complete. A Broken is always the last event."""
        if self._broken:
            return []
        end = data.find(b"\n\n")
        if not self._buffer and 0 <= end == len(data) - 2 and end <= MAX_REQUEST:
            # One whole request: clients that wait for their answer send nothing else.
            events = [_request(data[:-1])]
        else:
            self._buffer += data
            events = self._complete()
        if events and isinstance(events[-1], Broken):
            self._broken = True
            self._buffer.clear()
        return events

    def _complete(self) -> list[Request | Broken]:
        events = []
        while (event := self._next()) is not None:
            events.append(event)
            if isinstance(event, Broken):
                break
        return events

    def _next(self) -> Request | Broken | None:
        end = self._buffer.find(b"\n\n", self._scanned)
        if (end if end >= 0 else len(self._buffer)) > MAX_REQUEST:
            return Broken(f"a request of more than {MAX_REQUEST} bytes")
        if end < 0:
            self._scanned = max(0, len(self._buffer) - 1)
            return None
        text = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 2]
        self._scanned = 0
        return _request(text)


def _request(text: bytes) -> Request | Broken:
    if b"\0" in text:
        return Broken("a NUL in a request")
    request = Request(text)
    if request.get(b"request") != _TYPE:
        return Broken("a request that is not smtpd_access_policy")
    return request


def read_attempt(request: Request) -> Attempt:
    """Return the attempt that a request describes.

    At DATA and later Postfix names the recipient only if there is just one.
    """
    return Attempt(
        client_address=request.get(b"client_address") or None,
        sender=request.get(b"sender"),
        recipient=request.get(b"recipient") or None,
        authenticated=bool(request.get(b"sasl_username")),
        stage=_STAGES.get(request.get(b"protocol_state") or b"", Stage.RCPT_ONLY),
        told=request,
        words=POSTFIX,
    )


def read_plugin_attempt(request: Request) -> Attempt:
    """Return the attempt of a qmail-spp plugin: always at RCPT, with the host's counts."""
    accepted = request.get(b"greylag_rcptcount")
    commands = request.get(b"greylag_rcptcountall")
    return Attempt(
        client_address=request.get(b"client_address"),
        sender=request.get(b"sender"),
        recipient=request.get(b"recipient"),
        relay=request.get(b"greylag_relayclient") is not None,
        authenticated=bool(request.get(b"sasl_username")),
        further=further_recipient(accepted, commands),
        overrides=_variables(request),
        told=request,
        words=_QMAIL,
    )


def _variables(request: Request) -> tuple[tuple[bytes, bytes], ...]:
    """Return the GL* variables that tcprules set for this client, by their own names."""
    names = {name for name in request.names() if name.startswith(_OVERRIDE + b"gl")}
    return tuple(
        (name.removeprefix(_OVERRIDE).upper(), request.get(name) or b"") for name in sorted(names)
    )


def write_action(decision: Decision, replies: Replies, *, header: bool = False) -> bytes:
    """Return the response to a request, in one piece.

    A deferral is DEFER_IF_PERMIT, never a reply code. qmail-postgrey takes a code for a pass, and
    after DEFER_IF_PERMIT Postfix still looks for a rule that refuses for good. With `header`, mail
    that had to wait gets a header that says for how long, and its id.
    """
    if decision.verdict is Verdict.PASS:
        return _passing(decision, header=header)
    reply = render(decision, replies)
    if decision.verdict is Verdict.DEFER:
        return b"action=DEFER_IF_PERMIT " + reply.partition(b" ")[2] + b"\n\n"
    return b"action=" + reply + b"\n\n"


def _passing(decision: Decision, *, header: bool) -> bytes:
    told = header_of(decision) if header else b""
    return b"action=PREPEND " + told + b"\n\n" if told else b"action=DUNNO\n\n"


def write_plugin_action(decision: Decision, replies: Replies, *, header: bool = False) -> bytes:
    """Return the response to `native/greylisting`: the reply itself, and where to give it."""
    if decision.verdict is Verdict.PASS:
        return _passing(decision, header=header)
    place = b"\ngreylag_at=data\n\n" if decision.at_data else b"\n\n"
    return b"action=" + render(decision, replies) + place
