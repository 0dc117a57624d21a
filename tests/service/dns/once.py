"""One query, as a process for one question asks it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import cast

from greylag.core.evidence import Kind
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.spf.questions import Answer, Query
from greylag.core.triplet import Triplet
from greylag.service.dns.oneshot import OneShot
from greylag.service.dns.servers import Server

QUESTION = Question(b"\xc0\0\2\7", Triplet(b"\xc0\0\2\0", "a@x", "b@y"), "y", Policy())


def asked_once(query: Query, servers: Sequence[Server], seconds: float) -> Answer:
    """Return the answer; None where none came in time."""

    def steps(_question: Question) -> Generator[Query, Answer, object]:
        return (yield query)

    bugs: list[str] = []
    gather = OneShot({Kind.SPF: steps}, servers, bugs.append)
    found = gather(QUESTION, frozenset[Kind]({Kind.SPF}), seconds)
    assert not bugs
    return cast("Answer", found.get(Kind.SPF))
