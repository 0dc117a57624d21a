"""How trust, correspondents and who mailed a trap are shown, by `search` and `check`."""

from __future__ import annotations

from greylag.admin.moments import moment, when
from greylag.admin.trust import ANY, Standing, Trust, identity_text, trust_in
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import OF_SENT, OF_TRAPPED, OF_TRUST, Triplet

HEADERS = {
    OF_TRUST: ("identity", "sender domain", "first passes", "since", "until", "state"),
    OF_SENT: ("sender", "recipient", "written to since", "until"),
    OF_TRAPPED: ("client", "mailed a trap", "since", "until"),
}
NAMES = {OF_TRUST: "trusted", OF_SENT: "correspondents", OF_TRAPPED: "trapped"}


def row(kind: str, key: Triplet, record: Record, policy: Policy, now: int) -> tuple[str, ...]:
    """Return the row of a table for a record of one of these kinds."""
    since, until = moment(record.first_seen), when(record.expires, now)
    if kind == OF_SENT:
        return key.sender, key.recipient, since, until
    client = identity_text(key.network)
    if kind == OF_TRAPPED:
        return client, f"{record.passed} times", since, until
    trust = trust_in(key, record, policy)
    return client, trust.domain or ANY, _passes(trust), since, until, _state(trust, now)


def document(
    kind: str, key: Triplet, record: Record, policy: Policy, now: int
) -> dict[str, object]:
    """Return the same as JSON has it."""
    times = {"since": record.first_seen, "until": record.expires}
    if kind == OF_SENT:
        return {"sender": key.sender, "recipient": key.recipient, **times}
    if kind == OF_TRAPPED:
        return {"client": identity_text(key.network), "mails": record.passed, **times}
    return trust_json(trust_in(key, record, policy), now)


def trust_json(trust: Trust, now: int) -> dict[str, object]:
    """Return trust as JSON has it."""
    return {
        "identity": identity_text(trust.identity),
        "sender_domain": trust.domain or None,
        "passes": trust.passes,
        "needed": trust.needed,
        "since": trust.since or None,
        "until": trust.until or None,
        "trusted": trust.holds(now),
        "trusted_from": trust.earliest if trust.complete else None,
    }


def standing_json(found: Standing | None, now: int) -> dict[str, object]:
    """Return what `check --json` says of a client and its sender."""
    trust = [] if found is None else found.trust
    sent, trapped = (None, None) if found is None else (found.correspondent, found.trapped)
    return {
        "trust": [trust_json(one, now) for one in trust],
        "correspondent_until": sent.expires if sent else None,
        "trapped_until": trapped.expires if trapped else None,
    }


def standing_fields(found: Standing | None, now: int) -> list[tuple[str, str]]:
    """Return what `check` says of a client and its sender."""
    if found is None:
        return []
    fields = [("trusted", _trust_text(one, now)) for one in found.trust]
    if found.policy.correspondents:
        fields.append(("correspondent", _until(found.correspondent, now)))
    if found.policy.traps:
        fields.append(("trapped", _until(found.trapped, now)))
    return fields


def _until(record: Record | None, now: int) -> str:
    return "no" if record is None else f"until {when(record.expires, now)}"


def _trust_text(trust: Trust, now: int) -> str:
    who = identity_text(trust.identity)
    senders = f"senders of {trust.domain}" if trust.domain else "senders of any domain"
    if trust.holds(now):
        return f"{who} with {senders}, until {when(trust.until, now)}"
    number = _counted(trust) or "none"
    told = f"no: {who} has {number} of the {trust.needed} first passes it needs with {senders}"
    return f"{told}, since {when(trust.since, now)}" if trust.passes else told


def _passes(trust: Trust) -> str:
    return f"{_counted(trust)} of {trust.needed}" if trust.needed else "off"


def _counted(trust: Trust) -> int:
    # What was let in because of trust is counted, too, and is no first pass.
    return min(trust.passes, trust.needed)


def _state(trust: Trust, now: int) -> str:
    if trust.holds(now):
        return "trusted"
    return f"trusted from {when(trust.earliest, now)} on" if trust.complete else "on the way"
