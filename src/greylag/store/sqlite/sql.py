"""The statements of the SQLite store: constants all, with parameters by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

# One statement for many rows saves what a call costs, above all giving up Python's lock and
# getting it back. There is one of each size, so that each is compiled once.
SIZES = (64, 16, 4, 1)
# A CROSS JOIN keeps its order in SQLite: look-ups by the key alone, for each that is asked for one
# among those that wait and one among those that have passed.
_LOAD = """WITH asked (network, sender, recipient) AS (VALUES (?,?,?))
    SELECT network, sender, recipient, first_seen, defer_until, expires, blocked, passed
    FROM asked CROSS JOIN records USING (network, sender, recipient) WHERE settled IN (0, 1)"""
LOAD = {size: _LOAD.replace("(?,?,?)", ",".join(["(?,?,?)"] * size)) for size in SIZES}
# Columns by their names, here and below: SQLite looks for a schema that another process has just
# made newer when it misses a column, not when there are too many values.
_CREATE = """INSERT INTO records (settled, network, sender, recipient,
        first_seen, defer_until, expires, blocked, passed)
    VALUES (0,?,?,?,?,?,?,1,0)"""
_ROW = _CREATE.partition("VALUES ")[2]
CREATE = {size: _CREATE.replace(_ROW, ",".join([_ROW] * size)) for size in SIZES}
# The guard of core.record.Record.live, the other way round.
REMOVE_DEAD = """DELETE FROM records
    WHERE settled IN (0, 1) AND network = ?1 AND sender = ?2 AND recipient = ?3
    AND (expires <= ?4 OR (passed = 0 AND first_seen > ?4 + ?5))
    RETURNING first_seen, defer_until, expires, blocked, passed"""
CREATE_IF_ABSENT = """INSERT INTO records (settled, network, sender, recipient,
        first_seen, defer_until, expires, blocked, passed)
    SELECT 0, ?1, ?2, ?3, ?4, ?5, ?6, 1, 0
    WHERE NOT EXISTS (SELECT 1 FROM records
        WHERE settled IN (0, 1) AND network = ?1 AND sender = ?2 AND recipient = ?3)"""
BLOCKED = """UPDATE records SET blocked = blocked + ?4
    WHERE settled IN (0, 1) AND network = ?1 AND sender = ?2 AND recipient = ?3"""
PASSED = """UPDATE records SET passed = passed + ?5, expires = max(expires, ?4), settled = 1
    WHERE settled IN (0, 1) AND network = ?1 AND sender = ?2 AND recipient = ?3"""
FREED = """UPDATE records SET defer_until = min(defer_until, ?4)
    WHERE settled = 0 AND network = ?1 AND sender = ?2 AND recipient = ?3
    AND expires > ?5 AND first_seen <= ?5 + ?6"""
PUT = """INSERT INTO records (settled, network, sender, recipient,
        first_seen, defer_until, expires, blocked, passed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
FORGET = """DELETE FROM records
    WHERE settled IN (0, 1) AND network = ? AND sender = ? AND recipient = ?"""
END = FORGET + " RETURNING first_seen, defer_until, expires, blocked, passed"
# What is there may be as large as a column can hold.
FIGURE = """INSERT INTO figures (hour, name, number) VALUES (?1, ?2, min(?3, ?4))
    ON CONFLICT DO UPDATE SET number = min(min(number, ?4) + excluded.number, ?4)"""
# SCAN and SEARCH read both sides in the order of the triplets, and SQLite merges them.
_IN_ORDER = " ORDER BY network, sender, recipient LIMIT "
_SCAN = """SELECT network, sender, recipient,
        expires <= ?4 OR (passed = 0 AND first_seen > ?4 + ?5), settled
    FROM records WHERE settled = 0 AND (network, sender, recipient) > (?1, ?2, ?3)"""
SCAN = " UNION ALL ".join((_SCAN, _SCAN.replace("settled = 0", "settled = 1"))) + _IN_ORDER + "?6"
_SEARCH = """SELECT network, sender, recipient, first_seen, defer_until, expires, blocked, passed
    FROM records WHERE settled = 0 AND network BETWEEN ?1 AND ?2
    AND (?3 = 0 OR length(network) = ?3) AND instr(sender, ?4) AND instr(recipient, ?5)
    AND (NOT ?6 OR sender = '') AND (?7 IS NULL OR settled = ?7)
    AND (network, sender, recipient) > (?8, ?9, ?10)"""
SEARCH = (
    " UNION ALL ".join((_SEARCH, _SEARCH.replace("settled = 0", "settled = 1"))) + _IN_ORDER + "?11"
)
# Of a bounded number of those that wait; the second tells whether there are more.
_SOME = "SELECT * FROM records WHERE settled = 0 AND network BETWEEN ?1 AND ?2 LIMIT "
WAITING = f"""SELECT network, sender, recipient, first_seen, defer_until, expires, blocked, passed
    FROM ({_SOME} ?7) WHERE (?3 = 0 OR length(network) = ?3) AND length(network) <= 16
    AND instr(sender, ?4) AND instr(recipient, ?5) AND (NOT ?6 OR sender = '')"""  # noqa: S608
COUNT_SOME = f"SELECT count(*) FROM ({_SOME} ?3)"  # noqa: S608
# Two counts take two thirds of the time of sums over both.
COUNT = """SELECT (SELECT count(*) FROM records WHERE settled = 0 AND length(network) <= 16
        AND expires > ?1 AND first_seen <= ?1 + ?2),
    (SELECT count(*) FROM records WHERE settled = 1 AND length(network) <= 16 AND expires > ?1)"""
# A stretch of one network's records begins after a key, or, with ?3 and ?4 as '', at the first.
_STRETCH = """FROM records
    WHERE settled = ?1 AND network = ?2 AND (sender, recipient) >= (?3, ?4)
    ORDER BY sender, recipient LIMIT ?5"""
COUNT_STRETCH = f"SELECT count(*) FROM (SELECT 1 {_STRETCH})"  # noqa: S608 - constants
END_OF_STRETCH = f"SELECT sender, recipient {_STRETCH} OFFSET ?6"
SOME_OF_STRETCH = f"""SELECT network, sender, recipient
    FROM (SELECT network, sender, recipient, passed {_STRETCH})
    ORDER BY passed > 1, random() LIMIT ?6"""  # noqa: S608
LOOK = """SELECT network, sender, recipient, random() % 2 FROM records
    WHERE settled = 0 AND (network, sender, recipient) > (?, ?, ?)
    ORDER BY network, sender, recipient LIMIT ?"""
ENTRY = """SELECT kind, entries.network, entries.prefix, name, purpose, origin, spoofable,
    denied_until, expires, comment, created, number FROM entries"""
ENTRIES = ENTRY + " ORDER BY number"
ENTRIES_AFTER = ENTRY + " WHERE number > ? ORDER BY number LIMIT ?"
# The names of an attempt, of whatever kind: a sender's domain may find an entry for a client's.
NAMES = 16
ENTRIES_BY_NAME = ENTRY + " WHERE name IN (" + ",".join("?" * NAMES) + ")"
SOME_CLIENT_NAME = ENTRY + " WHERE kind = 'client-name' LIMIT 1"
# One look-up in the index for each network around it.
ENTRIES_BY_NETWORK = {
    size: "WITH around (network, prefix) AS (VALUES "
    + ",".join(["(?,?)"] * (8 * size + 1))
    + ") "
    + ENTRY.replace("FROM entries", "FROM around CROSS JOIN entries USING (network, prefix)")
    for size in (4, 16)
}
PUT_ENTRY = """INSERT OR REPLACE INTO entries (kind, network, prefix, name,
        purpose, origin, spoofable, denied_until, expires, comment, created)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
REMOVE_NETWORK = "DELETE FROM entries WHERE network = ? AND prefix = ? AND purpose = ?"
REMOVE_NAMED = "DELETE FROM entries WHERE name = ? AND kind = ? AND purpose = ?"
# A key that nobody has: to try whether anything can be written.
INSERT_NOBODY = """INSERT OR REPLACE INTO records (settled, network, sender, recipient, first_seen,
    defer_until, expires, blocked, passed) VALUES (0, x'', '', '', 0, 0, 0, 0, 0)"""
REMOVE_NOBODY = "DELETE FROM records WHERE settled = 0 AND network = x'' AND sender = ''"
GENERATION = "SELECT number FROM state WHERE name = 'lists'"
# A random number: a database that replaces another may have seen as many changes. Versions
# before count on from there, so there has to be room.
NEXT_GENERATION = "UPDATE state SET number = abs(random() % (1 << 62)) WHERE name = 'lists'"
REMOVALS = "SELECT coalesce(max(number), 0) FROM state WHERE name = 'removals'"
NEXT_REMOVAL = """INSERT INTO state (name, number) VALUES ('removals', 1)
    ON CONFLICT DO UPDATE SET number = abs(random() % (1 << 62))"""
# The names of these rows say what the switch is (`core.switch`).
SWITCH = "SELECT name, number FROM state WHERE name >= 'switch:' AND name < 'switch;'"
NO_SWITCH = "DELETE FROM state WHERE name >= 'switch:' AND name < 'switch;'"
SET_SWITCH = "INSERT INTO state (name, number) VALUES (?, ?)"
FIGURES = "SELECT hour, name, number FROM figures WHERE hour >= ? AND hour < ? ORDER BY hour, name"


def parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts of those sizes that there are statements for."""
    start = 0
    for size in SIZES:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size
