"""The names of users, for what is told about files that are not ours."""

from __future__ import annotations


def name_of(user: int) -> str:
    """Return a user's name, or the number of one that has none."""
    from pwd import getpwuid  # where something is wrong, and nowhere else

    try:
        return getpwuid(user).pw_name
    except KeyError:
        return str(user)
