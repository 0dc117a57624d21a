"""`[[recipient]]`: tables of `greylag.toml` with settings for some recipients."""

from __future__ import annotations

from greylag.app.policy_options import POLICY_OPTIONS
from greylag.core.policy import Greylist
from greylag.core.recipients import Table, pattern_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from greylag.app.option import Option

SECTION = "recipient"
# What can differ from recipient to recipient. The rest makes keys of records that all share, or is
# about clients alone.
_NAMES = {
    *("greylist", "delay", "retry_window", "lifetime", "identity"),
    *("trust_after", "trust_all_after", "signs", "signs_needed"),
}
TABLE_OPTIONS: dict[str, Option] = {
    name: option for option in POLICY_OPTIONS if (name := option.key.partition(".")[2]) in _NAMES
}
MATCH = "match"
_SHOWN = 80  # characters of a wrong value that an error quotes
# Whoever is refused by mistake writes to them, and waits for the answer.
SPARED = Table(("postmaster@", "abuse@"), (("greylist", Greylist.OFF),), "default")
DEFAULT_TABLES: tuple[Table, ...] = (SPARED,)


def read_table(
    raw: object, origin: str, shown: Callable[[object], str]
) -> tuple[Table | None, list[tuple[str, str]]]:
    """Return a table, and its errors: each behind the key that it is about.

    `shown` quotes what is wrong.
    """
    if not isinstance(raw, dict):
        return None, [("", f"{SECTION}: expected tables [[{SECTION}]], got {shown(raw)}")]
    errors: list[tuple[str, str]] = []
    changes: list[tuple[str, object]] = []
    for name, given in raw.items():
        option = TABLE_OPTIONS.get(name)
        if name == MATCH:
            continue
        if option is None:
            errors.append((name, _unknown(name, shown)))
            continue
        try:
            changes.append((name, option.read(given)))
        except ValueError as error:
            errors.append((name, f"{SECTION}.{name}: {error}, got {shown(given)}"))
    try:
        match = _match(raw.get(MATCH), shown)
    except ValueError as error:
        errors.append((MATCH, f"{SECTION}.{MATCH}: {error}"))
        match = ()
    return (None if errors else Table(match, tuple(changes), origin)), errors


def _match(raw: object, shown: Callable[[object], str]) -> tuple[str, ...]:
    expected = (
        'expected a list such as ["example.net", ".example.net", "user@example.org", "postmaster@"]'
    )
    if not isinstance(raw, list) or not raw or not all(isinstance(item, str) for item in raw):
        raise ValueError(expected)
    found = []
    for number, item in enumerate(raw, 1):
        try:
            found.append(pattern_of(item))
        except ValueError as error:
            # A mailbox may be shown; what may be a URL may not.
            quoted = shown(item) if set(item) & set(":/") else repr(item[:_SHOWN])
            raise ValueError(f"{expected}: number {number}, {quoted}, {error}") from None
    return tuple(found)


def _unknown(name: str, shown: Callable[[object], str]) -> str:
    if any(option.key == f"policy.{name}" for option in POLICY_OPTIONS):
        return f"{SECTION}.{name}: it holds for all recipients, and belongs into [policy]"
    from greylag.app.spelling import close  # most files have no error

    known = (MATCH, *TABLE_OPTIONS)
    meant = [f": did you mean {found!r}?" for found in close(name, known)]
    hint = meant[0] if meant else f": known are {', '.join(known)}"
    return f"unknown key {shown(f'{SECTION}.{name}')}{hint}"
