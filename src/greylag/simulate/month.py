"""Sends a month of mail through `service`, attempt by attempt, on a clock of its own.

Each attempt goes the way that it goes in a process for one recipient. Every four hours of the month
what has expired is deleted, as the daemon does.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle, islice

from greylag.core.attempt import Attempt, Stage
from greylag.core.engine import precheck
from greylag.core.evidence import Evidence, Kind
from greylag.core.policy import Policy, with_evidence
from greylag.core.question import Question
from greylag.core.spf import Outcome
from greylag.core.spf.questions import Result
from greylag.core.value import replace
from greylag.core.verdict import Verdict
from greylag.service import Service
from greylag.service.policies import Policies
from greylag.simulate.mail import Host, Mail
from greylag.simulate.schedules import retries
from greylag.store.base import Store, StoreError
from greylag.wire.policy import POSTFIX

_CLEANED_EVERY = 4 * 3600  # seconds
_EXPIRED_AT_ONCE = 500
_TOGETHER = 250  # attempts in one transaction: nobody waits for their commits


@dataclass
class Sending:
    """A mail on its way."""

    mail: Mail
    tries: int = 0
    first: int = 0  # the time of its first attempt
    delivered: int | None = None  # when it was let in
    senders: list[str] = field(default_factory=list)  # of each attempt

    def next_try(self) -> tuple[Host, str]:
        """Return where the next attempt comes from, and its sender."""
        host = next(islice(cycle(self.mail.hosts), self.tries, None))
        sender = self.mail.sender(self.tries)
        self.tries += 1
        self.senders.append(sender)
        return host, sender


class Month:
    """Mail on its way, and the time it is."""

    def __init__(self, mails: list[Mail], begins: int) -> None:
        self.now = begins
        self.sendings = [Sending(mail, first=begins + mail.at) for mail in mails]
        self._number = count()
        self._coming = [(one.first, next(self._number), one) for one in self.sendings]
        heapq.heapify(self._coming)
        self._retries = {id(one): retries(one.mail.schedule) for one in self.sendings}

    @property
    def next_at(self) -> int | None:
        """Return when the next attempt is made, or None: all is over."""
        return self._coming[0][0] if self._coming else None

    def take(self) -> tuple[Sending, Attempt]:
        """Return the next attempt; it is then as late as that."""
        self.now, _number, sending = heapq.heappop(self._coming)
        host, sender = sending.next_try()
        told = {b"client_name": (host.name or "unknown").encode(), b"helo_name": host.helo.encode()}
        recipient = sending.mail.recipient.encode()
        return sending, Attempt(
            host.address.encode(),
            sender.encode(),
            recipient,
            stage=Stage.RCPT,
            told=told,
            words=POSTFIX,
        )

    def heard(self, sending: Sending, verdict: Verdict) -> None:
        """Note the answer; who was deferred comes again, if he does so at all."""
        if verdict is Verdict.PASS:
            sending.delivered = self.now
        elif (after := next(self._retries[id(sending)], None)) is not None:
            again = (sending.first + after, next(self._number), sending)
            heapq.heappush(self._coming, again)

    def play(self, store: Store, policies: Policies, until: int) -> Iterator[int]:
        """Send all mail that comes until then; yield the number of attempts made at once.

        Raises StoreError.
        """
        service = Service(
            lambda: store, report=_raise, clock=lambda: self.now, gather=_published, history=True
        )
        cleaned = self.now
        while (at := self.next_at) is not None and at < until:
            if at >= cleaned + _CLEANED_EVERY:
                cleaned = at
                _expire(store, at)
            with store.transaction():
                yield self._some(service, policies, min(until, cleaned + _CLEANED_EVERY))

    def _some(self, service: Service, policies: Policies, until: int) -> int:
        made = 0
        while made < _TOGETHER and (at := self.next_at) is not None and at < until:
            sending, attempt = self.take()
            decision = service.answer(precheck(attempt, policies.of(attempt)))
            self.heard(sending, decision.verdict)
            made += 1
        return made


def as_published(policy: Policy) -> Policy:
    """Return the policy for a month: what DNS would say is known, whatever is asked of DNS."""
    return with_evidence(replace(policy, dns=True))


def _published(question: Question, kinds: frozenset[Kind], _seconds: float) -> Evidence:
    """Return what DNS says in this month: servers have names below their sender's domain.

    Their domains publish SPF, as do the domains of the shops that some bots claim to be.
    """
    told = b"" if question.attempt is None else question.attempt.confirmed_name
    name, domain = told.decode(), question.sender_domain
    outcome = Outcome(Result.FAIL if domain.startswith("shop") else Result.NONE, ("-all",))
    if name.endswith(f".{domain}"):
        outcome = Outcome(Result.PASS, (f"ip4:{domain}",), narrow=True)
    found = {Kind.NAMES: (name,) if name else (), Kind.SPF: outcome}
    return {kind: found.get(kind, ()) for kind in kinds}


def _expire(store: Store, now: int) -> None:
    after = None
    while True:
        after = store.expire(now, _EXPIRED_AT_ONCE, after).after
        if after is None:
            return


def _raise(error: StoreError) -> None:
    raise error
