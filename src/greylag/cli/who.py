"""Who runs a command, as the audit names him."""

from __future__ import annotations

import os

from greylag.store.owner import name_of

_ROOT = 0


def who() -> str:
    """Return the user's name; of root by sudo, the name of who called that."""
    user = os.getuid()
    caller = os.environ.get("SUDO_USER", "") if user == _ROOT else ""
    return caller or name_of(user)
