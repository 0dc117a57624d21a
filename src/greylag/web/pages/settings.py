"""The settings in force, and where each comes from. They are changed in files alone (T17)."""

from __future__ import annotations

import json

from greylag.admin.whatif import effects
from greylag.app.explained import explained, takes_effect
from greylag.app.option import Option
from greylag.app.options import OPTIONS
from greylag.app.recipients import TABLE_OPTIONS
from greylag.app.written import shown_value, written
from greylag.core.duration import format_duration
from greylag.store.base import HISTORY, Store
from greylag.web.visit import Visit

_LOOKED = 20_000  # deferrals, the newest
_LASTS = 300  # seconds for which it is kept


def page(visit: Visit, store: Store) -> str:
    """Show them by section, with those that are set for some recipients, and what they do."""
    lacks = store.lacks(HISTORY)
    settings, sight = visit.web.settings, visit.sight
    told = {} if lacks else _effects(visit)
    sections: dict[str, list[dict[str, object]]] = {}
    for option in OPTIONS:
        section, _dot, _name = option.key.partition(".")
        row = _row(visit, option) | {"effect": told.get(option.key, "")}
        sections.setdefault(section, []).append(row)
    tables = [
        {
            "match": [sight.text(text) for text in table.match],
            "changes": [
                (
                    name,
                    sight.text(_json(written(TABLE_OPTIONS[name], item))),
                )
                for name, item in table.changes
            ],
            "origin": sight.text(table.origin),
        }
        for table in settings.recipients.tables
    ]
    remarks = [sight.text(text) for text in (*settings.warnings, *settings.notes)]
    return visit.web.drawing.page(
        "settings", visit, sections=sections, tables=tables, remarks=remarks
    )


def _row(visit: Visit, option: Option) -> dict[str, object]:
    """Return what the command explains of a setting, and what it is now."""
    settings, said = visit.web.settings, explained(option)
    origin = settings.origins[option.key]
    return {
        "key": option.key,
        "value": visit.sight.text(_json(shown_value(option, settings.values[option.key]))),
        "default": _json(said["default"]),
        "expected": said["expected"],
        "takes_effect": takes_effect(said["restart"]),
        "origin": origin,
        "meaning": said["meaning"],
        "changed": origin != "default",
    }


def _effects(visit: Visit) -> dict[str, str]:
    """Return sentences on what the times of greylisting do, by setting; none while they count."""
    policy, now = visit.web.settings.policy, visit.now
    found = visit.web.kept.of(
        "effects", now, _LASTS, lambda own: effects(own, policy, now, _LOOKED)
    )
    if found is None:
        return {}
    longer, shorter, narrower = found.longer, found.shorter, found.narrower
    if longer.complete:
        passed = f"Of {longer.passed:,} mails that passed in the last seven days,"
    else:
        passed = f"Of the newest {longer.passed:,} mails that passed,"
    told = {
        "policy.greylist": f"In the last 24 hours {found.deferred:,} first contacts were deferred."
    }
    if found.observed:
        told["policy.greylist"] += (
            f" It would have delayed {found.observed:,} more, but only observed."
        )
    if longer.passed:
        told["policy.delay"] = (
            f"{passed} {longer.later:,} would have been refused once more with "
            f"{format_duration(longer.delay)}, and {shorter.sooner:,} would have passed sooner "
            f"with {format_duration(shorter.delay)}."
        )
        told["policy.retry_window"] = (
            f"{passed} {narrower.again:,} would have had to begin again with "
            f"{format_duration(narrower.retry_window)}."
        )
    return told


def _json(item: object) -> str:
    return json.dumps(item, ensure_ascii=False)
