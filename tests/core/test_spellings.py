"""T40: no spelling of a recipient takes its mail out of greylisting.

A recipient is written in ever new ways that some mail server reads as `b@example.net`: by routes,
quotes, literals, dots, letters that are one to it. Mail to example.net is greylisted here, and so
is all that may be mail to it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from greylag.core.attempt import Attempt
from greylag.core.policy import Policy
from greylag.core.verdict import Verdict
from tests.core.asking import T, allow, ask
from tests.strategies import SOAK

SPELLINGS = 100_000 if SOAK else 3_000
NET, COM = "example.net", "example.com"  # greylisted, and let in
Dice = random.Random


def of_case(text: str, dice: Dice) -> str:
    return "".join(dice.choice((letter.lower(), letter.upper())) for letter in text)


def of_width(text: str, dice: Dice) -> str:
    """Some letters and dots in their wide forms, which IDNA maps to the narrow ones."""
    wide = {letter: chr(ord(letter) + 0xFEE0) for letter in "abcdefghijklmnopqrstuvwxyz"}
    dots = dict.fromkeys(".", dice.choice("\u3002\uff0e\uff61"))
    at = dice.randrange(len(text))
    return text[:at] + (wide | dots).get(text[at], text[at]) + text[at + 1 :]


def of_signs(text: str, dice: Dice) -> str:
    """Signs in it that IDNA leaves out, or that are one with a letter."""
    if dice.random() < 0.3:
        return text.replace("e", "\u212f").replace("x", "\u2179")
    at = dice.randrange(len(text))
    signs = "\u00ad\u200b\u200c\u200d\u2060\ufe0f\ufeff\u034f\u180b\u3164\U000e0100"
    return text[:at] + dice.choice(signs) + text[at:]


def with_dots(text: str, dice: Dice) -> str:
    return dice.choice((text + ".", text + "..", "." + text, text + "\u3002", text + ".\uff61"))


def with_blanks(text: str, dice: Dice) -> str:
    blank = dice.choice((" ", "\t", "\r", "\n", "\0", "\u00a0", "(x)", "\x7f"))
    return dice.choice((text + blank, blank + text))


def as_literal(text: str, _dice: Dice) -> str:
    return f"[{text}]"


DOMAINS: list[Callable[[str, Dice], str]] = [
    *(of_case, of_width, of_signs, with_dots, with_blanks, as_literal)
]
ROUTES = [
    "{b}%{net}@{com}", "{net}!{b}@{com}", '"{b}@{net}"@{com}', "{b}@{net}@{com}",
    "@{com}:{b}@{net}", "@{com},@{com}:{b}@{net}", "{b}\\@{net}@{com}", "{com}!{net}!{b}@{com}",
    "{b}%{net}%{com}@{com}", '"{b}"@{net}', "{b}@{net}", "{net}!{b}", "{b}%{net}", '"{b}@{net}"',
    "{com}!{b}@{net}", "<{b}@{net}>", "{b}@{net},", "{b}@{net};", "{b}@{net}>", "{b}@{com}@{net}",
]  # fmt: skip


def spelling(dice: Dice) -> bytes:
    net = NET
    for _ in range(dice.randrange(3)):
        net = dice.choice(DOMAINS)(net, dice)
    com = of_case(COM, dice) + dice.choice(("", ".", ""))
    text = dice.choice(ROUTES).format(b=of_case("b", dice), net=net, com=com)
    return text.encode()


def test_no_spelling_leaves_greylisting_t40() -> None:
    """T40: in explicit mode for example.net, and beside an allowlisted example.com."""
    dice = random.Random() if SOAK else random.Random(40)
    explicit, seen = Policy(explicit=True), set()
    for _ in range(SPELLINGS):
        recipient = spelling(dice)
        seen.add(recipient)
        attempt = Attempt(b"192.0.2.17", b"a@example.org", recipient)
        for policy, entries in ((explicit, [allow(NET)]), (Policy(), [allow(COM)])):
            decision = ask(attempt, {}, policy, T, entries)
            assert decision.verdict is Verdict.DEFER, (recipient, decision.reason)
    assert len(seen) > SPELLINGS / 10


def test_what_is_let_in_is_let_in() -> None:
    """The same questions can be answered by a pass: else the test above would hold anything."""
    for policy, entries, domain in (
        (Policy(explicit=True), [allow(NET)], COM),
        (Policy(), [allow(COM)], COM),
    ):
        attempt = Attempt(b"192.0.2.17", b"a@example.org", f"b@{domain}".encode())
        assert ask(attempt, {}, policy, T, entries).verdict is Verdict.PASS
