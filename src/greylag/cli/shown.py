"""How records, list entries and settings are shown: in words, and as JSON has them."""

from __future__ import annotations

from greylag.admin.lists import denying
from greylag.admin.moments import span
from greylag.admin.records import id_of, state_of
from greylag.core.accesslist import NEVER, Entry
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import Triplet, kind_of
from greylag.service.providers import OFF, REFRESHED, Provider
from greylag.show.texts import network_text, subject_text


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
        "id": id_of(triplet, policy),
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
