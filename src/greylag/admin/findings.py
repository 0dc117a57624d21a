"""What an admin should look at: at most three things, the most important first.

Each is a rule of its own that says what was found, and what to do. Names in it are others' words:
who shows them makes them safe, but in a command they are quoted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from shlex import quote

from greylag.admin.moments import span
from greylag.admin.overview import Overview
from greylag.admin.switch import switch_text
from greylag.admin.top import NULL_SENDER, Top
from greylag.admin.ways import LASTS
from greylag.core.history import By, Outcome
from greylag.core.shortid import shown_id
from greylag.core.summary import Summary
from greylag.core.switch import Switch
from greylag.core.value import value

MOST = 3  # a longer list is not read
ENOUGH = 20  # of what a share is told: of fewer it says nothing
SLOW = 1800  # seconds
MANY_HURT = 3  # mails of one domain
FLOOD = 0.5  # of all deferrals from one network
LITTLE_KNOWN = 0.5  # of what never came back
OFTEN_DELAYED = 0.5  # of what was let in


@value
class Finding:
    """One thing to look at."""

    word: str  # stable, for programs
    text: str  # what was found
    advice: str  # what to do; a command where there is one


@value
class Facts:
    """What the rules look at."""

    overview: Overview
    top: Top
    switch: Switch | None = None  # that holds now
    dns: bool = True  # without it no SPF passes, so entries for senders do not count

    @property
    def total(self) -> Summary:
        """The figures of the whole time."""
        return self.overview.total


Rule = Callable[[Facts], Finding | None]


def findings(facts: Facts) -> list[Finding]:
    """Return what to look at."""
    return list(_found(facts))[:MOST]


def _found(facts: Facts) -> Iterator[Finding]:
    for rule in RULES:
        if (found := rule(facts)) is not None:
            yield found


def switched(facts: Facts) -> Finding | None:
    """Somebody switched greylisting off, or to observing, and it is so still."""
    if facts.switch is None:
        return None
    text = f"{switch_text(facts.switch, facts.overview.until)}."
    return Finding("switched", text[0].upper() + text[1:], "By the settings again: greylag on")


def nothing_counted(facts: Facts) -> Finding | None:
    """Nobody asks greylag: mail goes past it, or there was none."""
    total = facts.total
    if facts.overview.no_figures is not None or any((total.let_in, total.deferred, total.refused)):
        return None
    text = "Nothing was counted in this time."
    return Finding("nothing-counted", text, "See whether the mail server asks: greylag check")


def evicted(facts: Facts) -> Finding | None:
    """Mail that waited had to make room, so its retry was deferred as if it was new."""
    if not facts.total.evicted:
        return None
    number = facts.total.evicted
    who = f"{number} waiting triplets had to make room, so they are"
    if number == 1:
        who = "1 waiting triplet had to make room, so it is"
    text = f"{who} delayed again."
    advice = (
        "See greylag top for a flood from one network; raise store.max_waiting where there is none"
    )
    return Finding("evicted", text, advice)


def hurt(facts: Facts) -> Finding | None:
    """Likely good mail of one domain waited long, or never came back.

    Who sends to many once, under a domain of his own, must not be let in by this advice: a domain
    of which nothing ever passed comes last, and there it says to look first.
    """
    many = [one for one in facts.top.hurt if one.mails >= MANY_HURT]
    if not many:
        return None
    worst = next((one for one in many if one.passed), many[0])
    if not worst.passed:
        text = f"{worst.mails} mails from {worst.domain} never came back, and none of it passed."
        advice = (
            f"Good or spam, nobody can tell: look first: greylag why {shown_id(worst.worst.id)}"
        )
        return Finding("hurt", text, advice)
    text = f"{worst.mails} likely good mails from {worst.domain} "
    if worst.never:
        text += f"were late, or never came back ({worst.never} of them)."
    else:
        text += f"were late: one waited for {span(worst.longest)}."
    if worst.domain == NULL_SENDER:
        advice = "See greylag top"
    elif facts.dns:
        who = f"greylag allow add --sender-domain {quote(worst.domain)} --expires {LASTS}"
        advice = f"Let it in without a delay: {who}"
    else:  # nobody can tell whether it is that domain's mail
        example = shown_id(worst.worst.id)
        advice = f"See how to let it in by address, as DNS is off: greylag why {example}"
    return Finding("hurt", text, advice)


def slow(facts: Facts) -> Finding | None:
    """Half of what is delayed waits long: the senders retry late, or the delay is too long."""
    bound, over = facts.total.median_bound, facts.total.median_over
    if facts.total.retried < ENOUGH or over is None or (bound is not None and bound < SLOW):
        return None
    text = f"Half of the mail that was delayed waited for more than {span(over)}."
    return Finding("slow", text, "A shorter policy.delay lets in the first retry of more senders")


def flood(facts: Facts) -> Finding | None:
    """One network is deferred more than all others together."""
    networks = facts.top.names.get(By.NETWORK, {})
    whole = sum(tally.deferred for tally in networks.values())
    name, most = next(((name, tally.deferred) for name, tally in networks.items() if name), ("", 0))
    if whole < ENOUGH or most <= whole * FLOOD:
        return None
    text = f"{most} of {whole} deferred mails came from the network {name}."
    return Finding("flood", text, f"Look at it: greylag search --client {name}")


def little_known(facts: Facts) -> Finding | None:
    """Most of what never came back is of no class, as nothing is known of the clients."""
    total = facts.total
    unknown = total.never[Outcome.UNKNOWN.value]
    if total.stopped < ENOUGH or unknown <= total.stopped * LITTLE_KNOWN:
        return None
    text = f"Of {unknown} of {total.stopped} mails that never came back nothing is known."
    advice = "Let greylag ask name servers (dns.servers), so that it can tell spam from good mail"
    return Finding("little-known", text, advice)


def often_delayed(facts: Facts) -> Finding | None:
    """Much of what is let in was delayed first."""
    share = facts.total.share
    if share is None or facts.total.retried < ENOUGH or share <= OFTEN_DELAYED:
        return None
    text = f"{share:.0%} of the mail that was let in had been delayed."
    advice = "In a new installation this falls by itself; else see docs/everyday/which-mail.md"
    return Finding("often-delayed", text, advice)


# The most important first.
RULES: tuple[Rule, ...] = (
    switched, nothing_counted, evicted, hurt, flood, slow, little_known, often_delayed,
)  # fmt: skip
