"""The `ifauthskip` plugin (also `skipifauth`): a client that has logged in is not greylisted.

Prints `N` (accept this RCPT, run no further plugin for it) where SMTPAUTHUSER is set and not
empty. See docs/reference/ifauthskip.md.
"""

from __future__ import annotations

import os

from greylag.plugin.process import write_in_time

PATIENCE = 5000  # milliseconds; a host that does not read its plugin is not waited for


def main() -> None:
    """Print the command, if any, and end the process."""
    if os.environb.get(b"SMTPAUTHUSER"):
        write_in_time(1, b"N\n", PATIENCE)
    os._exit(0)
