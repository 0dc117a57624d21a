"""What became of mail that never came back, and who was hurt: rules, in their order.

    other way     the same sender passed from elsewhere, or tried again from another of its
                  servers; or a sender that has another address in each mail passed from there
    varying       a list, or another sender that has another address in each mail
    likely spam   signs that speak against it, and no retry
    unknown       all else

A mail that never came back is no spam for that alone: a pool retries from another network, and a
list from another address. figures.md has the rules as a table, and why each is as it is.
"""

from __future__ import annotations

from functools import lru_cache

from greylag.core.history import NEVER_CAME_BACK, Deferral, Outcome
from greylag.core.identity import PoolKind, pool_of
from greylag.core.signs import Sign
from greylag.core.stable import stable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greylag.core.record import Record

# Signs that mean: who says that he is this sender is not. A pass of the real one tells nothing.
_FORGED = frozenset((Sign.SPF.value, Sign.DNSBL.value))
# Signs that a mail server in order does not show. No name alone is left out: pools have it, too.
_NO_SERVER = frozenset((Sign.DYNAMIC_NAME.value, Sign.DNSBL.value))
ENOUGH_SIGNS = 2  # each is weak by itself: small sites have one, but hardly two
# Senders of one domain, at the same servers, to one recipient: two may be two people.
SEVERAL_SENDERS = 3
# Seconds: attempts as close as this may be those of one mail, with another sender each time.
NEAR = 6 * 3600
BURST = 60  # seconds: mail servers wait for a minute at least, some bots try again in a second
RETRIED_WITHIN = 2 * 86400  # seconds: later it is another mail
HURT_AFTER = 1800  # seconds: nearly every mail server has tried again by then
_NEVER_CAME_BACK = frozenset(NEVER_CAME_BACK)
_LONGEST = 64  # characters of a mailbox that are compared: as many as RFC 5321 allows
_STABLE_KEPT = 1024  # senders: those of one pair are compared with each other


def fate_of_deferral(
    deferral: Deferral, others: Sequence[Deferral], record: Record | None = None
) -> Outcome:
    """Return what became of a deferral whose time is over, and that never came back.

    `others` are deferrals of the same sender domain and recipient, whatever became of them. The
    record of the triplet knows of retries that the history may have missed.
    """
    others = [o for o in others if _is_another(o, deferral)]
    akin = [other for other in others if _share_servers(deferral, other)]
    if any(_is_same_mail(deferral, other) for other in others) or _came_again(deferral, akin):
        return Outcome.OTHER_WAY
    signs = len(deferral.signs)
    if any(_differ_in_numbers(deferral, other) for other in others):
        return Outcome.LIKELY_SPAM if signs >= ENOUGH_SIGNS else Outcome.VARYING
    retried = _tried_again(deferral, akin) or _was_missed(deferral, record)
    if signs >= ENOUGH_SIGNS or (signs and not retried):
        return Outcome.LIKELY_SPAM
    alike = [other for other in akin if _begin_alike(deferral, other)]
    if any(other.outcome is Outcome.PASSED and _meanwhile(deferral, other) for other in alike):
        return Outcome.OTHER_WAY
    if "#" in deferral.triplet.sender or len(_senders(deferral, alike)) >= SEVERAL_SENDERS:
        return Outcome.VARYING
    return Outcome.UNKNOWN if retried or not deferral.triplet.sender else _once(deferral, akin)


def _once(deferral: Deferral, akin: Sequence[Deferral]) -> Outcome:
    """Return what a sender is that did not try again, by others at the same servers."""
    same: dict[str, list[Deferral]] = {}
    for one in akin:
        same.setdefault(one.triplet.sender, []).append(one)
    once = [one for one in akin if _came_once(one, deferral, same[one.triplet.sender])]
    if len(_senders(deferral, [one for one in once if _is_near(one, deferral)])) >= SEVERAL_SENDERS:
        return Outcome.VARYING
    others_return = any(
        one.outcome is Outcome.PASSED or _tried_again(one, same[one.triplet.sender]) for one in akin
    )
    if len(_senders(deferral, once)) >= SEVERAL_SENDERS and not others_return:
        return Outcome.LIKELY_SPAM
    return Outcome.UNKNOWN


def is_likely_good(deferral: Deferral) -> bool:
    """Tell whether this is likely the mail of a mail server in order.

    Who came back is one, unless it looks like somebody's computer at home. Who did not has to be
    the sender's own, by SPF or by name; if it tried again too early, any name will do.
    """
    signs = frozenset(deferral.signs)
    if deferral.outcome is Outcome.PASSED:
        return len(signs) < ENOUGH_SIGNS and not signs & _NO_SERVER
    if deferral.outcome in (Outcome.OTHER_WAY, Outcome.VARYING):
        return True
    if deferral.outcome is Outcome.LIKELY_SPAM or signs:
        return False
    return _is_own(deferral) or (bool(deferral.name) and _tried_again(deferral, ()))


def _is_own(deferral: Deferral) -> bool:
    """Tell whether the client is the sender's own: SPF says so, or its name is in that domain."""
    pool = pool_of(deferral.pool)
    if pool is not None and pool.kind is PoolKind.SPF:
        return True
    owner, domain = _owner(deferral), _domain(deferral)
    return bool(owner) and (domain == owner or domain.endswith(f".{owner}"))


def is_hurt(deferral: Deferral) -> bool:
    """Tell whether likely good mail waited long, or never came; what came otherwise did come."""
    if deferral.outcome in (Outcome.WAITING, Outcome.FORGOTTEN, Outcome.OTHER_WAY):
        return False
    waited = deferral.waited
    return is_likely_good(deferral) and (waited is None or waited >= HURT_AFTER)


def _is_another(other: Deferral, deferral: Deferral) -> bool:
    """Tell whether it is not the deferral itself: same domain and recipient are only likely."""
    one, two = other.triplet, deferral.triplet
    if one.recipient != two.recipient or _domain(other) != _domain(deferral):
        return False  # another pair whose ids begin alike
    return one != two or other.first_seen != deferral.first_seen


def _domain(deferral: Deferral) -> str:
    return deferral.triplet.sender.rpartition("@")[2]


def _is_same_mail(deferral: Deferral, other: Deferral) -> bool:
    """Tell whether the other is of the same sender and passed, so that a retry passed there.

    When it passed does not matter: after that it was known, and the retry was let in at once.
    Bounces of all the world have the same sender, so they have to come from the same servers.
    """
    if other.outcome is not Outcome.PASSED or other.triplet.sender != deferral.triplet.sender:
        return False
    if not deferral.triplet.sender:
        return _share_servers(deferral, other) and _meanwhile(deferral, other)
    return not (_FORGED.intersection(deferral.signs) - set(other.signs))


def _meanwhile(deferral: Deferral, other: Deferral) -> bool:
    return other.ended >= deferral.first_seen


def _differ_in_numbers(deferral: Deferral, other: Deferral) -> bool:
    """Tell whether two senders differ in what programs change from mail to mail."""
    one, two = deferral.triplet.sender, other.triplet.sender
    return one != two and _stable(deferral) == _stable(other)


def _stable(deferral: Deferral) -> bytes:
    return _stable_of(deferral.triplet.sender, deferral.triplet.recipient)


@lru_cache(_STABLE_KEPT)
def _stable_of(sender: str, recipient: str) -> bytes:
    """Return a sender without what changes; no more is looked at than a mailbox may have."""
    mailbox, at, domain = sender.rpartition("@")
    cut = f"{mailbox[:_LONGEST]}{at}{domain}"
    return stable(cut.encode(errors="surrogateescape"), recipient.encode(errors="surrogateescape"))


def _begin_alike(deferral: Deferral, other: Deferral) -> bool:
    """Tell whether a program made both senders, as it looks: `v-1x7_a` and `v-1q2_b`."""
    beginning = _beginning(deferral)
    return bool(beginning) and beginning == _beginning(other)


def _beginning(deferral: Deferral) -> str:
    """Return the first word of several that are not all letters, as most names of people are."""
    words = deferral.triplet.sender.rpartition("@")[0].translate(_JOINERS).split()
    return "" if len(words) < 2 or all(word.isalpha() for word in words) else words[0]


_JOINERS = dict.fromkeys(map(ord, "-._+='*"), " ")


def _share_servers(deferral: Deferral, other: Deferral) -> bool:
    """Tell whether both came from one network, one pool or below one name."""
    return (
        deferral.triplet.network == other.triplet.network
        or bool(deferral.pool and deferral.pool == other.pool)
        or bool(_owner(deferral) and _owner(deferral) == _owner(other))
    )


def _owner(deferral: Deferral) -> str:
    """Return the domain that the client's name is in, about; of a dynamic name it tells nothing.

    Both deferrals have one sender domain and one recipient, so it need not be exact.
    """
    if not deferral.name or Sign.DYNAMIC_NAME.value in deferral.signs:
        return ""
    labels = deferral.name.split(".")
    is_country = len(labels[-1]) == 2 and len(labels) > 2 and len(labels[-2]) <= 3  # co.uk
    return ".".join(labels[-3 if is_country else -2 :])


def _senders(deferral: Deferral, others: Iterable[Deferral]) -> set[str]:
    return {deferral.triplet.sender, *(other.triplet.sender for other in others)}


def _came_again(deferral: Deferral, akin: Iterable[Deferral]) -> bool:
    """Tell whether the same mail was tried later from another server of the same sender."""
    return any(
        other.triplet.sender == deferral.triplet.sender != ""
        and deferral.first_seen < other.first_seen <= deferral.first_seen + RETRIED_WITHIN
        for other in akin
    )


def _tried_again(deferral: Deferral, akin: Iterable[Deferral]) -> bool:
    """Tell whether a retry came too early, or there was another attempt from the same servers."""
    if deferral.tries and deferral.last_try - deferral.first_seen >= BURST:
        return True
    return any(
        other.triplet.sender == deferral.triplet.sender
        and other.first_seen != deferral.first_seen
        and abs(other.first_seen - deferral.first_seen) <= RETRIED_WITHIN
        for other in akin
    )


def _was_missed(deferral: Deferral, record: Record | None) -> bool:
    """Tell whether the record counts retries of which the history does not know when."""
    return record is not None and record.blocked - 1 > deferral.tries


def _came_once(other: Deferral, deferral: Deferral, akin: Iterable[Deferral]) -> bool:
    """Tell whether the other never tried again, and its time is over, as it is for older ones."""
    over = other.outcome in _NEVER_CAME_BACK or (
        other.outcome is Outcome.WAITING and other.first_seen <= deferral.first_seen + NEAR
    )
    return over and not _tried_again(other, akin)


def _is_near(other: Deferral, deferral: Deferral) -> bool:
    return abs(other.first_seen - deferral.first_seen) <= NEAR
