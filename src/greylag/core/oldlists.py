"""What the lists of the old plugin can say.

They have addresses, ranges and recipient domains. Who brought an entry stands in its comment.
"""

from __future__ import annotations

from greylag.core.accesslist import Entry, Purpose
from greylag.core.subject import DOMAIN, NETWORK


def in_old_lists(entry: Entry) -> bool:
    """Tell whether they can say what an entry says."""
    if entry.purpose is not Purpose.ACCESS or entry.spoofable:
        return False
    return entry.subject.kind in (NETWORK, DOMAIN)
