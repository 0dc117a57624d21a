"""Signs: what makes a first contact look suspicious, each with where it comes from.

With `policy.greylist = "suspicious"`, who shows fewer than `policy.signs_needed` of the signs that
count is let in at once. Each sign is weak by itself. What is not known is a sign, too: greylisting
is the safe side.
"""

from __future__ import annotations

from enum import Enum

from greylag.core.dynamic import looks_dynamic
from greylag.core.evidence import Kind
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from greylag.core.policy import Policy
    from greylag.core.question import Question


class Sign(Enum):
    """What may speak against a client or a sender."""

    NO_NAME = "no-name"  # no name that leads back to the client
    DYNAMIC_NAME = "dynamic-name"  # a name that an access provider makes (`core.dynamic`)
    HELO = "helo"  # no name, an address, or one of ours
    SPF = "spf"  # SPF says that the client may not send for the domain
    DNSBL = "dnsbl"  # a zone lists the client
    SENDER_IS_RECIPIENT = "sender-is-recipient"

    __hash__ = object.__hash__


@value
class Found:
    """A sign that a client shows, and where it comes from."""

    sign: Sign
    source: str
    known: bool = True  # it is known that the client shows it


def most_signs(policy: Policy) -> int:
    """Return how many of the signs that count one attempt can show at most."""
    counted = policy.signs if policy.dnsbl else policy.signs - {Sign.DNSBL}
    either = {Sign.NO_NAME, Sign.DYNAMIC_NAME}  # who has no name has no dynamic one
    return len(counted) - (either <= counted)


def signs_of(question: Question) -> list[Found]:
    """Return the signs that count under the policy and that this attempt shows."""
    counted = question.policy.signs
    return [found for found in _signs(question, question.policy.dnsbl) if found.sign in counted]


def known_signs(question: Question) -> tuple[str, ...]:
    """Return the words of all signs that this attempt surely shows, whichever count.

    So history says the same of a client whatever the policy is, and where nothing was asked of DNS
    nobody is suspected for that.
    """
    found = _signs(question, has_dnsbl=True)
    return tuple(one.sign.value for one in found if one.known)


def _signs(question: Question, has_dnsbl: bool) -> Iterator[Found]:
    yield from _of_names(question)
    yield from _of_helo(question)
    yield from _of_spf(question)
    if has_dnsbl:
        zones = question.evidence.get(Kind.DNSBL)
        if zones is None:
            yield Found(Sign.DNSBL, "it is not known whether a zone lists the client", known=False)
        elif isinstance(zones, tuple) and zones:
            yield Found(Sign.DNSBL, f"listed by {', '.join(zones)}")
    if question.triplet.sender and question.triplet.sender == question.triplet.recipient:
        yield Found(Sign.SENDER_IS_RECIPIENT, "sender and recipient are the same")


def _of_names(question: Question) -> Iterator[Found]:
    names = question.names
    if names is None:
        yield Found(
            Sign.NO_NAME, "it is not known whether the client has a confirmed name", known=False
        )
        return
    if not names:
        yield Found(Sign.NO_NAME, "the client has no confirmed name")
        return

    if all(looks_dynamic(name, question.client) for name in names):
        yield Found(Sign.DYNAMIC_NAME, f"the client's name {names[0]} looks dynamic")


def _of_helo(question: Question) -> Iterator[Found]:
    raw = question.attempt.helo if question.attempt is not None else b""
    if not raw:
        return  # the mail server does not tell it, or it is a connection
    from greylag.core.names import Helo, helo_of

    kind = helo_of(raw, (*question.policy.our_names, question.domain))
    if kind is not Helo.NAME:
        yield Found(Sign.HELO, _HELO[kind.value])


_HELO = {
    "no-name": "HELO is no name of a host",
    "literal": "HELO is an address",
    "ours": "HELO is one of our own names",
}


def _of_spf(question: Question) -> Iterator[Found]:
    if question.connection:
        return
    outcome = question.evidence.get(Kind.SPF)
    if outcome is None:
        yield Found(Sign.SPF, "it is not known what SPF says", known=False)
        return
    from greylag.core.spf import Outcome, Result

    if not isinstance(outcome, Outcome) or outcome.result is Result.TEMPERROR:
        yield Found(Sign.SPF, "it is not known what SPF says", known=False)
    elif outcome.result in (Result.FAIL, Result.SOFTFAIL):
        yield Found(Sign.SPF, f"SPF says {outcome.result.value}: {' '.join(outcome.terms)}")
