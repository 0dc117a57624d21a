"""How the switch is shown, by the commands that say what holds now."""

from __future__ import annotations

from greylag.admin.switch import switch_text
from greylag.core.accesslist import NEVER
from greylag.core.switch import Switch


def switch_json(switch: Switch | None) -> dict[str, object] | None:
    """Return the switch as JSON has it."""
    if switch is None:
        return None
    return {
        "mode": switch.mode.value,
        "since": switch.since,
        "until": None if switch.until >= NEVER else switch.until,
        "who": switch.who,
    }


def switch_fields(switch: Switch | None, now: int) -> list[tuple[str, str]]:
    """Return a line for what a command shows; none where the settings hold."""
    return [] if switch is None else [("switch", switch_text(switch, now))]
