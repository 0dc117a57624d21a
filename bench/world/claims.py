"""What has to hold in the world, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.world.bots import BOTS
from bench.world.bulk import EXPECTED
from bench.world.pools import BY_NAME, NEITHER
from bench.world.population import CORRESPONDENT, GOOD, POOLS_WITH_SPF
from bench.world.schedules import first_after
from bench.world.settings import DEFAULT, NAMES, OBSERVE, PLAIN, SUSPICIOUS
from bench.world.simulation import Fate
from greylag.core.client import IPV4_BYTES, network, parse_address

Fates = Mapping[str, list[Fate]]  # by settings; the mails are the same, in the same order
DELAY = 300  # seconds, of all settings
MOST_DELAYED = 0.05  # of the good mail, where only what looks suspicious is delayed


@dataclass(frozen=True)
class Claim:
    """What has to hold, and the mails that are against it."""

    text: str
    against: tuple[Fate, ...]
    holds: bool
    note: str = ""


def claims(found: Fates) -> Iterator[Claim]:
    """Yield what has to hold of the settings that there are."""
    if PLAIN in found:
        yield _again(found[PLAIN])
    if DEFAULT in found:
        yield _at_first_retry(DEFAULT, POOLS_WITH_SPF, found)
        yield _stopped_too(DEFAULT, found)
        yield _never_delayed(DEFAULT, found[DEFAULT])
    if NAMES in found:
        yield _at_first_retry(NAMES, (*POOLS_WITH_SPF, BY_NAME), found)
        yield _stopped_too(NAMES, found)
        yield _never_delayed(NAMES, found[NAMES])
    if SUSPICIOUS in found:
        yield _few_delayed(found[SUSPICIOUS])
        yield _stopped_too(SUSPICIOUS, found)
        yield _never_delayed(SUSPICIOUS, found[SUSPICIOUS])
    if OBSERVE in found:
        delayed = [fate for fate in found[OBSERVE] if fate.delayed]
        yield _claim("observe: nothing is delayed", delayed)


def _claim(text: str, against: list[Fate], note: str = "") -> Claim:
    return Claim(text, tuple(against), not against, note)


def _network(address: str) -> bytes:
    packed = parse_address(address.encode()) or b""
    return network(packed, 24 if len(packed) == IPV4_BYTES else 64)


def _again(fates: list[Fate]) -> Claim:
    """Plain: mail of a pool passes only from where its sender has tried before, if by chance."""
    began: dict[tuple[bytes, bytes, bytes], int] = {}
    kinds = (*POOLS_WITH_SPF, BY_NAME, NEITHER, CORRESPONDENT)
    tries = [
        (fate.mail.at + after, fate, address, after == fate.delivered)
        for fate in fates
        if fate.mail.kind in kinds
        for after, address in fate.tries
    ]
    against = []
    for at, fate, address, passed in sorted(tries, key=lambda one: one[0]):
        key = (fate.mail.sender, fate.mail.recipient, _network(address))
        if passed and at - began.get(key, at) < DELAY:
            against.append(fate)
        began.setdefault(key, at)
    return _claim("plain: a pool's mail waits until it comes from one network again", against)


def _at_first_retry(name: str, kinds: tuple[str, ...], found: Fates) -> Claim:
    against = [
        fate
        for fate in found[name]
        if fate.mail.kind in kinds and fate.wait > first_after(fate.mail.schedule, DELAY)
    ]
    what = "pools with SPF" if BY_NAME not in kinds else "pools with SPF or names"
    return _claim(f"{name}: {what} pass at their first retry after the delay", against)


def _stopped_too(name: str, found: Fates) -> Claim:
    """No bot mail passes that plain stops, but where the operator let in all that is new."""
    passed = [
        fate
        for fate, plain in zip(found[name], found[PLAIN], strict=True)
        if fate.mail.kind in BOTS and fate.passed and not plain.passed
    ]
    opened = [fate for fate in passed if fate.reasons[1] == "expected"]
    against = [fate for fate in passed if fate not in opened]
    note = f"{len(opened)} came to a mailbox that was told to expect mail" if opened else ""
    return _claim(f"{name}: no bot mail passes that plain stops", against, note)


def _never_delayed(name: str, fates: list[Fate]) -> Claim:
    spared = (CORRESPONDENT, EXPECTED)
    against = [fate for fate in fates if fate.mail.kind in spared and fate.delayed]
    return _claim(f"{name}: correspondents and expected mail are never delayed", against)


def _few_delayed(fates: list[Fate]) -> Claim:
    good = [fate for fate in fates if fate.mail.kind in GOOD]
    against = [fate for fate in good if fate.delayed]
    share = len(against) / len(good)
    text = f"suspicious: at most {MOST_DELAYED:.0%} of the good mail is delayed"
    return Claim(text, tuple(against), share <= MOST_DELAYED, f"{share:.1%}")
