"""The statements of the history in SQLite: constants all, with parameters by position."""

from __future__ import annotations

from greylag.core.tallies import HIGHEST

# Anybody can make many triplets that share one short id, or the range of a pair: an event looks at
# so many of them, the newest of an id, and some of a pair.
SAME_ID, SAME_PAIR = 100, 1000
OWN_ID = 16  # of one id, when many end at once
_COLUMNS = """number, network, sender, recipient, first_seen, defer_until, client, name, signs,
    pool, tries, first_try, last_try, outcome, ended, released"""
INSERT = """INSERT INTO deferrals (short, network, sender, recipient, first_seen, defer_until,
        client, name, signs, pool, tries, first_try, last_try, outcome, ended, released)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
UPDATE = """UPDATE deferrals SET defer_until = ?, tries = ?, first_try = ?, last_try = ?,
    outcome = ?, ended = ?, released = ? WHERE number = ?"""
_OF_ID = f"SELECT * FROM deferrals WHERE short = ?1 ORDER BY number DESC LIMIT {SAME_ID}"  # noqa: S608
# The inner look needs the index alone.
_OF_PAIR = f"""SELECT * FROM deferrals WHERE number IN (
        SELECT number FROM (SELECT number FROM deferrals WHERE short BETWEEN ?1 AND ?2
            LIMIT {SAME_PAIR}) ORDER BY number DESC LIMIT {SAME_ID})"""  # noqa: S608
_MEANT = f"""SELECT {_COLUMNS} FROM (looked_at) WHERE network = ?3 AND sender = ?4
    AND recipient = ?5 AND (outcome = 'waiting' OR (?6 AND outcome <> 'passed'))
    ORDER BY outcome = 'waiting' DESC, number DESC LIMIT 1"""  # noqa: S608
FIND = _MEANT.replace("(looked_at)", f"({_OF_ID})")
FIND_OF_POOL = _MEANT.replace("(looked_at)", f"({_OF_PAIR})").replace("network =", "pool =")
_TRIED = """UPDATE deferrals SET tries = min(tries, 1 << 61) + ?6, last_try = max(last_try, ?7),
    first_try = iif(first_try, first_try, ?7) WHERE number = (SELECT number FROM (looked_at)
        WHERE network = ?3 AND sender = ?4 AND recipient = ?5 AND outcome = 'waiting'
        AND typeof(tries) || typeof(first_try) || typeof(last_try) = 'integerintegerinteger'
        ORDER BY number DESC LIMIT 1)"""
TRIED = _TRIED.replace("(looked_at)", f"({_OF_ID})")
TRIED_OF_POOL = _TRIED.replace("(looked_at)", f"({_OF_PAIR})").replace("network =", "pool =")
# What the record of a triplet is of, and some deferrals of its pair.
OWN = f"""SELECT {_COLUMNS} FROM (SELECT * FROM deferrals WHERE short = ?1
        ORDER BY number DESC LIMIT {OWN_ID})
    WHERE network = ?2 AND sender = ?3 AND recipient = ?4
    AND (outcome = 'waiting' OR (outcome = 'passed' AND ended >= ?5)
        OR (outcome = 'other-way' AND first_seen >= ?5))
    ORDER BY outcome = 'waiting' DESC, number DESC LIMIT 1"""  # noqa: S608
NEAR = f"""SELECT {_COLUMNS} FROM deferrals WHERE number IN (
        SELECT number FROM (SELECT number FROM deferrals WHERE short BETWEEN ?1 AND ?2
            LIMIT {SAME_PAIR}) ORDER BY number DESC LIMIT ?3) ORDER BY number"""  # noqa: S608
# A page: where its step ends, and what fits. NULL: no such condition. Both read no column that they
# do not need: a report looks at a hundred thousand rows.
_END = "SELECT min(number), first_seen, count(*) FROM "  # the time is of that row
_STEP = "number < ?1 ORDER BY number DESC LIMIT ?2"
_OF_IDS = "FROM deferrals INDEXED BY deferrals_short WHERE short BETWEEN ?3 AND ?4 AND"
END_OF_STEP = f"{_END} (SELECT number, first_seen FROM deferrals WHERE {_STEP})"  # noqa: S608
END_OF_IDS = f"{_END} (SELECT number, first_seen {_OF_IDS} {_STEP})"
_FITTING = """number < ?1 AND number >= ?2 AND short BETWEEN ?3 AND ?4
    AND (?12 IS NULL OR instr(?12, ' ' || outcome || ' '))
    AND first_seen >= ?5 AND first_seen < ?6
    AND instr(sender, ?7) AND instr(recipient, ?8) AND (NOT ?9 OR sender = '')
    AND (?10 IS NULL OR (network BETWEEN ?10 AND ?11 AND length(network) = length(?10)))
    AND (?13 = '' OR instr(' ' || signs || ' ', ' ' || ?13 || ' '))
    ORDER BY number DESC"""
PAGE = f"SELECT {_COLUMNS} FROM deferrals NOT INDEXED WHERE {_FITTING}"  # noqa: S608
PAGE_OF_IDS = f"SELECT {_COLUMNS} {_OF_IDS} {_FITTING}"
COUNT_IDS = """SELECT count(*) FROM (SELECT 1 FROM deferrals WHERE short BETWEEN ? AND ?
    LIMIT ?)"""
# A bound, as SQLite fails at sums of more than 64 bits. What is no number counts for 0.
_COUNTS = ("deferred", "passed", "waited", "likely_spam", "never")
_BOUNDED = f"min(max(count + 0, 0), {HIGHEST})"
_ONE_MORE = f"count = min({_BOUNDED} + ?, {HIGHEST})"
_MORE = ", ".join(_ONE_MORE.replace("count", one) for one in _COUNTS)
ADD_TALLY = f"UPDATE tallies SET {_MORE} WHERE kind = ? AND day = ? AND name = ?"  # noqa: S608
INSERT_TALLY = """INSERT INTO tallies (deferred, passed, waited, likely_spam, never, kind, day,
    name) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
NAMES_OF_DAY = "SELECT names FROM tally_days WHERE kind = ? AND day = ?"
NEW_TALLY = """INSERT OR IGNORE INTO tallies (kind, day, name, deferred, passed, waited,
    likely_spam, never) VALUES (?, ?, ?, 0, 0, 0, 0, 0)"""
MORE_NAMES = """INSERT INTO tally_days (kind, day, names) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET names = names + excluded.names"""
# Changes no row where the day has as many names as it may have.
ONE_MORE_NAME = """INSERT INTO tally_days (kind, day, names) VALUES (?, ?, 1)
    ON CONFLICT DO UPDATE SET names = names + 1 WHERE names < ?"""
_ADDED_UP = ", ".join(f"sum({_BOUNDED.replace('count', one)})" for one in _COUNTS)
_SUMS = f"{_ADDED_UP} FROM tallies WHERE kind = ?1 AND day >= ?2 AND day < ?3"
SUMS = f"SELECT {_SUMS}"
TALLIES = f"""SELECT name, {_SUMS} AND name <> '' GROUP BY name
    ORDER BY 2 DESC, name LIMIT ?4"""
FORGET = """DELETE FROM deferrals
    WHERE number IN (SELECT number FROM deferrals ORDER BY number LIMIT ?1)
    AND (first_seen < ?2 OR first_seen > ?3
        OR number <= (SELECT max(number) FROM deferrals) - ?4)"""
FORGET_ACTIONS = """DELETE FROM actions
    WHERE number IN (SELECT number FROM actions ORDER BY number LIMIT ?1)
    AND (at < ?2 OR at > ?3)"""
OLD_DAY = "SELECT kind, day FROM tally_days WHERE day < ? OR day > ? LIMIT 1"
FORGET_TALLIES = """DELETE FROM tallies WHERE kind = ?1 AND day = ?2 AND name IN
    (SELECT name FROM tallies WHERE kind = ?1 AND day = ?2 LIMIT ?3)"""
FORGET_DAY = "DELETE FROM tally_days WHERE kind = ? AND day = ?"
LARGE_DAY = """SELECT kind, day, names FROM tally_days WHERE names > ?
    AND typeof(names) = 'integer' AND day < ? LIMIT 1"""
SMALLEST = """SELECT name, deferred, passed, waited, likely_spam, never FROM tallies
    WHERE kind = ? AND day = ? AND name <> ''
    ORDER BY deferred + passed + never, name DESC LIMIT ?"""
FORGET_TALLY = "DELETE FROM tallies WHERE kind = ? AND day = ? AND name = ?"
FEWER_NAMES = "UPDATE tally_days SET names = names - ? WHERE kind = ? AND day = ?"
NOTE_ACTION = "INSERT INTO actions (at, who, action, subject) VALUES (?, ?, ?, ?)"
ACTIONS = "SELECT at, who, action, subject FROM actions ORDER BY number DESC LIMIT ?"
