"""How records, list entries and settings are shown: in words, and as JSON has them.

A database may hold what no greylag wrote, so nothing here trusts that a packed address is one.
"""

from __future__ import annotations

from greylag.admin.lists import denying
from greylag.admin.moments import span
from greylag.admin.records import state_of
from greylag.cli.output import clean
from greylag.core.accesslist import NEVER, Entry
from greylag.core.client import is_packed, network
from greylag.core.identity import pool_of
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.subject import Network, Subject
from greylag.core.triplet import OF_CONNECTIONS, OF_SEVERAL, Triplet, kind_of
from greylag.service.providers import OFF, REFRESHED, Provider


def subject_text(subject: Subject) -> str:
    """Return a list entry's subject; of a range that is none (a foreign hand's), its bytes."""
    try:
        return clean(str(subject))
    except ValueError:
        packed = subject.packed.hex() if isinstance(subject, Network) else ""
        return f"unreadable range {packed}"


def network_text(packed: bytes, policy: Policy) -> str:
    """Return a record's pool, or its client network, as far as it is one under this policy."""
    pool = pool_of(packed)
    if pool is not None:
        return clean(str(pool))
    prefix = policy.prefix_of(packed)
    if not is_packed(packed) or network(packed, prefix) != packed:
        prefix = 8 * len(packed)  # written under another policy, or by a foreign hand
    return subject_text(Network(packed, prefix))


def addresses_text(key: Triplet) -> tuple[str, str]:
    """Return what a record has in the columns of sender and recipient."""
    kind = kind_of(key)
    if kind == OF_CONNECTIONS:
        return "(connections, for jgreylist)", ""
    recipient = "(several recipients)" if kind == OF_SEVERAL else key.recipient
    return key.sender or "<>", recipient


def entry_json(entry: Entry, now: int) -> dict[str, object]:
    """Return a list entry as JSON has it."""
    return {
        "subject": subject_text(entry.subject),
        "kind": entry.subject.kind,
        "purpose": entry.purpose.value,
        "list": "deny" if denying(entry, now) else "allow",
        "spoofable": entry.spoofable,
        "origin": entry.origin,
        "comment": entry.comment,
        "created": entry.created,
        "expires": None if entry.expires >= NEVER else entry.expires,
        "live": entry.live(now),
    }


def record_json(triplet: Triplet, record: Record, policy: Policy, now: int) -> dict[str, object]:
    """Return a record as JSON has it."""
    return {
        "kind": kind_of(triplet),
        "client_network": network_text(triplet.network, policy),
        "sender": triplet.sender,
        "recipient": triplet.recipient,
        "state": state_of(record, now),
        "first_seen": record.first_seen,
        "may_pass_at": record.defer_until,
        "forgotten_at": record.expires,
        "deferred_count": record.blocked,
        "passed_count": record.passed,
    }


def provider_json(provider: Provider) -> dict[str, object]:
    """Return a provider as JSON has it."""
    return {
        "name": provider.name,
        "domain": provider.domain,
        "status": provider.status,
        "refreshed": provider.refreshed or None,
        "tried": provider.tried or None,
        "outcome": provider.outcome,
        "why": provider.why,
    }


def provider_text(provider: Provider, now: int) -> str:
    """Return a provider, the age of its ranges, and how its last refresh ended."""
    age, outcome = age_text(provider.refreshed, now), outcome_text(provider, now)
    return f"{provider.name}: {provider.domain}, refreshed {age} ago, last outcome: {outcome}"


def age_text(since: int, now: int) -> str:
    """Return how long ago that was."""
    return span(max(now - since, 0))


def outcome_text(provider: Provider, now: int) -> str:
    """Return how the last refresh of a provider ended, and when that was, if it failed."""
    if provider.status == OFF:
        return "removed"
    if not provider.tried or provider.outcome == REFRESHED:
        return provider.outcome or "never refreshed"
    return f"{provider.outcome} ({age_text(provider.tried, now)} ago)"
