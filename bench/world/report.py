"""Prints what became of the mail, and what holds."""

from __future__ import annotations

from statistics import median

from bench.common import heading
from bench.world.bots import BOTS, RENTED
from bench.world.claims import Claim, Fates
from bench.world.population import GOOD
from bench.world.simulation import Fate

EXAMPLES = 5  # of the mails against a claim


def print_tables(found: Fates) -> None:
    """Print a table of good mail for each of the settings, and one of bots for all."""
    for name, fates in found.items():
        heading(f"{name}: good mail")
        print(f"  {'':22} {'mails':>7} {'delayed':>8} {'median':>8} {'longest':>8} {'never':>6}")
        good = [fate for fate in fates if fate.mail.kind in GOOD]
        for kind in GOOD:
            _print_row(kind, [fate for fate in good if fate.mail.kind == kind])
        _print_row("all", good)
    heading("bots, and rented servers that nothing tells: mails that passed")
    print(f"  {'':22} {'mails':>7}" + "".join(f" {name:>12}" for name in found))
    for kind in (*BOTS, *RENTED):
        ours = [[fate for fate in fates if fate.mail.kind == kind] for fates in found.values()]
        passed = [sum(fate.passed for fate in fates) for fates in ours]
        print(f"  {kind:22} {len(ours[0]):7}" + "".join(f" {number:12}" for number in passed))


def _print_row(kind: str, fates: list[Fate]) -> None:
    waits = [fate.delivered for fate in fates if fate.delivered]
    never = sum(not fate.passed for fate in fates)
    middle = _time(median(waits)) if waits else "-"
    longest = _time(max(waits)) if waits else "-"
    delayed = sum(fate.delayed for fate in fates)
    print(f"  {kind:22} {len(fates):7} {delayed:8} {middle:>8} {longest:>8} {never:6}")


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def print_claims(claims: list[Claim]) -> None:
    """Print what holds; of what does not, some mails."""
    heading("what has to hold")
    for claim in claims:
        note = f" ({claim.note})" if claim.note else ""
        print(f"  {claim.text}: {'holds' if claim.holds else 'DOES NOT HOLD'}{note}")
        for fate in () if claim.holds else claim.against[:EXAMPLES]:
            print(f"    {told(fate)}")


def told(fate: Fate) -> str:
    """Return a mail and its fate in one line."""
    mail = fate.mail
    wait = "never" if fate.delivered is None else f"after {fate.delivered} s"
    return (
        f"{mail.kind}: {mail.sender.decode()} to {mail.recipient.decode()} from"
        f" {fate.tries[-1][1]}: {wait}, {len(fate.tries)} attempts, {', '.join(fate.reasons)}"
    )
