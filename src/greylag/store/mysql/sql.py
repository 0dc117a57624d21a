"""The statements of the MySQL store: constants all, with parameters by position.

Times go in and come out as seconds since 1970 in UTC, whatever the type of the column: a session's
time zone is set to UTC, and a zero date, which some server modes refuse to compute with, is 0.
"""

from __future__ import annotations

MOST = 64  # triplets, or rows, that one statement is about
SIZES = range(1, MOST + 1)

_EPOCH = "'1970-01-01 00:00:00'"
_LONG_AGO = "'1970-01-01 00:00:01'"


def _seconds(column: str) -> str:
    return f"COALESCE(TIMESTAMPDIFF(SECOND, {_EPOCH}, {column}), 0)"


_ROW = f"""id, relay_ip, mail_from, rcpt_to, {_seconds("create_time")},
    {_seconds("block_expires")}, {_seconds("record_expires")}, blocked_count, passed_count"""
_SELECT = f"SELECT {_ROW} FROM greylisting_data"  # noqa: S608 - constants
# The query over-matches, by collations and by mixing names of several triplets; rows are checked
# again. To the server lists like these are cheaper than one condition for each
# triplet, which it would try in turn on each row; and it may take the best of three indexes.
_ONE_OF = f"{_SELECT} WHERE (%(networks)s) AND rcpt_to IN (%(texts)s) AND %(senders)s"


def _sized(statement: str, row: str) -> dict[int, str]:
    """Return a statement for each number of rows; `row` is what it has for one of them."""
    return {size: statement.replace(row, ",".join([row] * size)) for size in SIZES}


def _one_of(senders: str, locking: str) -> dict[int, str]:
    """Return a statement for each number of triplets; `senders` is its condition on mail_from."""
    found = {}
    for size in SIZES:
        networks = " OR ".join(["relay_ip BETWEEN %s AND %s"] * size)
        texts = ",".join(["%s"] * size)
        names = {"networks": networks, "texts": texts, "senders": senders.replace("%s", texts)}
        found[size] = _ONE_OF % names + locking
    return found


# The null sender is '' or NULL. It has rows of every network, so it is asked for apart. Else the
# server would not take the index on mail_from for the others, which is by far the best for them.
_SENDERS = {False: "mail_from IN (%s)", True: "(mail_from = '' OR mail_from IS NULL)"}
LOAD = {null: _one_of(senders, "") for null, senders in _SENDERS.items()}
LOAD_TO_CHANGE = {null: _one_of(senders, " FOR UPDATE") for null, senders in _SENDERS.items()}

CREATE = _sized(
    """INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, create_time, block_expires,
    record_expires, blocked_count, passed_count, aborted_count)
    VALUES (%s,%s,%s,%s,%s,%s,%s,%s,0)""",
    "(%s,%s,%s,%s,%s,%s,%s,%s,0)",
)
# By the primary key, so that one statement changes many rows; each is there, and locked.
CHANGE = _sized(
    """INSERT INTO greylisting_data (id, relay_ip, block_expires, record_expires,
    blocked_count, passed_count, aborted_count) VALUES (%s,%s,%s,%s,%s,%s,0)
    ON DUPLICATE KEY UPDATE
    blocked_count = LEAST(blocked_count + VALUES(blocked_count), 4294967295),
    passed_count = LEAST(passed_count + VALUES(passed_count), 4294967295),
    record_expires = GREATEST(record_expires, VALUES(record_expires))""",
    "(%s,%s,%s,%s,%s,%s,0)",
)
# Of all rows of a record: the old program reads any of them.
FREE = {1: "UPDATE greylisting_data SET block_expires = %s WHERE id = %s AND block_expires > %s"}
# A key that nobody has: to try whether anything can be written. In a table that knows no ROLLBACK
# it is an expired row, which the next walk removes.
INSERT_NOBODY = f"""INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, create_time,
    block_expires, record_expires, blocked_count, passed_count, aborted_count)
    VALUES (%s, 'nobody.invalid', 'nobody.invalid', {_LONG_AGO}, {_LONG_AGO},
    {_LONG_AGO}, 0, 0, 0)"""  # noqa: S608 - constants
ROWS_OF = _sized(f"{_SELECT} WHERE id IN (%s)", "%s")
FORGET = _sized("DELETE FROM greylisting_data WHERE id IN (%s)", "%s")

_LIVE = "record_expires > %s AND (passed_count > 0 OR create_time <= %s)"
COUNT = f"""SELECT COALESCE(SUM(passed_count = 0), 0), COALESCE(SUM(passed_count > 0), 0)
    FROM greylisting_data WHERE {_LIVE}"""  # noqa: S608 - constants
# MariaDB reads the one, MySQL the other.
COUNT_IN_TIME = COUNT.replace(
    "SELECT",
    "/*M! SET STATEMENT max_statement_time = 0.4 FOR */ SELECT /*+ MAX_EXECUTION_TIME(400) */",
    1,
)
TOOK_TOO_LONG = (1969, 3024, 1317)

# The walk of the expiry: by the primary key, so a step costs the same whatever the table holds.
WALK = f"{_SELECT} WHERE id > %s ORDER BY id LIMIT %s"
# A stretch of one network's rows, in the order of the index on relay_ip, which ends with the id.
_STRETCH = """(SELECT relay_ip, id, passed_count FROM greylisting_data
    WHERE (relay_ip = %s AND id > %s) OR (relay_ip > %s AND relay_ip <= %s)
    ORDER BY relay_ip, id LIMIT %s) AS stretch"""
COUNT_STRETCH = f"""SELECT COUNT(*), COALESCE(SUM((passed_count > 0) = %s), 0),
    MAX(CONCAT(relay_ip, LPAD(HEX(id), 16, '0'))) FROM {_STRETCH}"""  # noqa: S608 - constants
SOME_OF_STRETCH = f"""SELECT id FROM {_STRETCH} WHERE (passed_count > 0) = %s
    ORDER BY passed_count > 1, RAND() LIMIT %s"""  # noqa: S608 - constants

# A text, or its other spelling, is part of a name, whatever the column's own rules are.
_WITHIN = "INSTR(LOWER(CONVERT(COALESCE({}, '') USING utf8mb4)) COLLATE utf8mb4_bin, LOWER(%s))"
_SENDER, _RECIPIENT = _WITHIN.format("mail_from"), _WITHIN.format("rcpt_to")
SEARCH = f"""{_SELECT} WHERE id > %s
    AND relay_ip BETWEEN %s AND %s AND (%s = 0 OR LENGTH(relay_ip) = %s)
    AND ({_SENDER} OR {_SENDER}) AND ({_RECIPIENT} OR {_RECIPIENT})
    AND (%s = 0 OR COALESCE(mail_from, '') = '') AND (%s IS NULL OR (passed_count > 0) = %s)
    ORDER BY id LIMIT %s"""

# The newest rows alone, by the primary key; and whether there are older ones.
_OLDER = "(SELECT COALESCE(CAST(MAX(id) AS SIGNED), 0) FROM greylisting_data) - %s"
WAITING = SEARCH.replace("id > %s", f"id > {_OLDER}").replace("\n    ORDER BY id LIMIT %s", "")
HAS_OLDER = f"SELECT 1 FROM greylisting_data WHERE id <= {_OLDER} LIMIT 1"  # noqa: S608

# Our own table, of what stands under a name.
_SELECT_NAMED = """SELECT id, identity, sender, recipient, first_seen, defer_until, expires,
    blocked, passed FROM greylag_records"""
_KEY = "(identity = %s AND sender = %s AND recipient = %s)"
LOAD_NAMED = {
    locked: {
        size: f"{_SELECT_NAMED} WHERE {' OR '.join([_KEY] * size)}{' FOR UPDATE' * locked}"
        for size in SIZES
    }
    for locked in (False, True)
}
# Whoever writes a record has it locked, so it is written as a whole.
PUT_NAMED = _sized(
    """INSERT INTO greylag_records (identity, sender, recipient, first_seen, defer_until,
    expires, blocked, passed) VALUES (%s,%s,%s,%s,%s,%s,%s,%s) ON DUPLICATE KEY UPDATE
    first_seen = VALUES(first_seen), defer_until = VALUES(defer_until),
    expires = VALUES(expires), blocked = VALUES(blocked), passed = VALUES(passed)""",
    "(%s,%s,%s,%s,%s,%s,%s,%s)",
)
REMOVE_NAMED = _sized("DELETE FROM greylag_records WHERE id IN (%s)", "%s")
WALK_NAMED = f"{_SELECT_NAMED} WHERE id > %s ORDER BY id LIMIT %s"
SEARCH_NAMED = f"""{_SELECT_NAMED} WHERE id > %s
    AND (%s = 0 OR (LENGTH(identity) = %s AND identity BETWEEN %s AND %s))
    AND INSTR(sender, %s) AND INSTR(recipient, %s)
    AND (%s = 0 OR sender = '') AND (%s IS NULL OR (passed > 0) = %s) ORDER BY id LIMIT %s"""

# Where room is made, the first is the old table and the second ours. The highest id is asked for
# by itself: beside RAND() the server would read the whole index for it.
LOOK = 5000
_TABLES = (("greylisting_data", "passed_count"), ("greylag_records", "passed"))


def _of_both(statement: str) -> list[str]:
    """Return a statement for each of the tables."""
    return [statement.replace("ONE_TABLE", t).replace("ONE_COUNT", c) for t, c in _TABLES]


SOMEWHERE = _of_both("""SELECT FLOOR(RAND() * (1 + COALESCE((SELECT MAX(id) FROM ONE_TABLE), 0))),
    COALESCE((SELECT MAX(id) FROM ONE_TABLE), 0)""")
WAITING_FROM = _of_both("""SELECT id FROM (SELECT id, ONE_COUNT AS passed FROM ONE_TABLE
    WHERE id >= %s ORDER BY id LIMIT 5000) AS stretch
    WHERE passed = 0 AND RAND() < 0.5 ORDER BY id LIMIT %s""")
WAITING_IN = _of_both("""SELECT COUNT(*), COALESCE(MAX(id), 0), COALESCE(SUM(passed = 0), 0)
    FROM (SELECT id, ONE_COUNT AS passed FROM ONE_TABLE
    WHERE id >= %s ORDER BY id LIMIT 5000) AS stretch""")

CHARSETS = """SELECT table_name, column_name, character_set_name FROM information_schema.columns
    WHERE table_schema = DATABASE() AND column_name IN ('mail_from', 'rcpt_to')"""

_ENTRY = f"""SELECT id, ipaddr, ipaddr_start, ipaddr_prefixsize, rcpt_to,
    {_seconds("block_expires")}, {_seconds("record_expires")}, {_seconds("create_time")}, comment
    FROM greylisting_lists"""  # noqa: S608 - constants
ENTRIES_AFTER = f"{_ENTRY} WHERE id > %s ORDER BY id LIMIT %s"
ENTRIES_BY_DOMAIN = f"{_ENTRY} WHERE rcpt_to IN (%s, %s)"
# A range begins at one of these addresses; the old triggers left host bits in some: look nearby.
# Single addresses have none, and of them a list may have all that are near.
ENTRIES_BY_NETWORK = {
    size: f"{_ENTRY} WHERE ipaddr IS NOT NULL AND (ipaddr_start IN ("
    + ",".join(["%s"] * (8 * size + 1))
    + ") OR (ipaddr_start BETWEEN %s AND %s"
    + f" AND NOT (ipaddr_prefixsize = {8 * size} AND LENGTH(ipaddr_start) = {size})))"
    for size in (4, 16)
}
PUT_ENTRY = _sized(
    """INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize,
    rcpt_to, block_expires, record_expires, create_time, comment)
    VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s)""",
    "(%s,%s,%s,%s,%s,%s,%s,%s,%s)",
)
# What an entry for one of these may be in: by an index, and what no index finds.
ENTRIES_OF_RANGES = {
    size: f"{_ENTRY} WHERE "
    + " OR ".join(["(ipaddr_prefixsize = %s AND ipaddr_start BETWEEN %s AND %s)"] * size)
    for size in SIZES
}
ENTRIES_OF_DOMAINS = _sized(f"{_ENTRY} WHERE rcpt_to IN (%s)", "%s")
ODD_ENTRIES = f"""{_ENTRY} WHERE (ipaddr IS NOT NULL AND LENGTH(ipaddr_start) NOT IN (4, 16))
    OR rcpt_to NOT REGEXP '^([-_0-9a-zA-Z]+[.])*[-_0-9a-zA-Z]+ *$'"""
REMOVE_ENTRIES = _sized("DELETE FROM greylisting_lists WHERE id IN (%s)", "%s")
# A row with an address and a domain means either: the one goes, the other stays.
REMOVE_ADDRESS = """UPDATE greylisting_lists SET ipaddr = NULL, ipaddr_start = '0',
    ipaddr_end = '0', ipaddr_prefixsize = 0 WHERE id = %s"""
REMOVE_DOMAIN = "UPDATE greylisting_lists SET rcpt_to = NULL WHERE id = %s"
HIGHEST_ENTRY = "SELECT COALESCE(MAX(id), 0) FROM greylisting_lists"
GENERATION = """SELECT COUNT(*), COALESCE(MAX(id), 0),
    COALESCE(MAX(UNIX_TIMESTAMP(last_update)), 0), UNIX_TIMESTAMP()
    FROM (SELECT id, last_update FROM greylisting_lists
        WHERE id > %s ORDER BY id LIMIT %s) AS stretch"""

# Our own table, of entries that those lists cannot express.
_OWN_ENTRY = """SELECT id, purpose, kind, network, prefix, name, denied_until, expires, created,
    comment, origin, spoofable FROM greylag_entries"""
OWN_ENTRIES_AFTER = f"{_OWN_ENTRY} WHERE id > %s ORDER BY id LIMIT %s"
# The names of an attempt, of whatever kind: a sender's domain may find an entry for a client's.
OWN_ENTRIES_BY_NAME = _sized(f"{_OWN_ENTRY} WHERE name IN (%s)", "%s")
OWN_ENTRIES_BY_NETWORK = {
    size: f"{_OWN_ENTRY} WHERE network IN ({','.join(['%s'] * (8 * size + 1))})" for size in (4, 16)
}
SOME_CLIENT_NAME = f"{_OWN_ENTRY} WHERE kind = 'client-name' LIMIT 1"
_ENTRY_KEY = "(name = %s AND network = %s AND prefix = %s AND kind = %s AND purpose = %s)"
OWN_ENTRIES_OF = {size: f"{_OWN_ENTRY} WHERE {' OR '.join([_ENTRY_KEY] * size)}" for size in SIZES}
# One that replaces another gets a new number.
PUT_OWN_ENTRY = _sized(
    """REPLACE INTO greylag_entries (name, network, prefix, kind, purpose, denied_until, expires,
    created, comment, origin, spoofable) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)""",
    "(%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)",
)
REMOVE_OWN_ENTRIES = _sized("DELETE FROM greylag_entries WHERE id IN (%s)", "%s")
# Changes are counted: nobody has to look through the table to see one.
OWN_GENERATION = """SELECT COALESCE((SELECT MAX(CAST(number AS SIGNED)) FROM greylag_figures
    WHERE hour = -1 AND name = 'entries'), 0),
    COALESCE((SELECT MAX(id) FROM greylag_entries), 0)"""
NEXT_OWN_GENERATION = """INSERT INTO greylag_figures (hour, name, number) VALUES (-1, 'entries', 1)
    ON DUPLICATE KEY UPDATE number = IF(number BETWEEN 1 AND 1 << 62, number + 1, 1)"""

FIGURE = _sized(
    """INSERT INTO greylag_figures (hour, name, number) VALUES (%s,%s,%s)
    ON DUPLICATE KEY UPDATE number = LEAST(LEAST(number, 1 << 53) + VALUES(number), 1 << 53)""",
    "(%s,%s,%s)",
)
FIGURES = """SELECT hour, name, number FROM greylag_figures WHERE hour >= %s AND hour < %s
    ORDER BY hour, name"""
# Nodes that add to the same row are in each other's way at every commit, so each has its own rows.
# Galera gives each node an offset; the first, and a server that is alone, has 1.
_NODE = "IF(@@auto_increment_offset = 1, '', CONCAT('@', @@auto_increment_offset))"
_TURNS = "FROM greylag_figures WHERE hour = -1 AND name = 'lock'"
OWN_TABLES = (
    *("greylag_records", "greylag_entries", "greylag_deferrals", "greylag_tallies"),
    *("greylag_days", "greylag_actions"),
)
READ_ONE = "SELECT 1 FROM {} LIMIT 1"
MARK = f"SELECT {_NODE}, COUNT(*) {_TURNS}"
# It fails where one of our tables is not there, or cannot be read. None is read but the first that
# has a row.
_ALL = ", ".join(f"(SELECT 1 FROM {table} LIMIT 1)" for table in OWN_TABLES)  # noqa: S608
MARK_OF_ALL = f"SELECT {_NODE}, COUNT(*) {_TURNS} AND COALESCE({_ALL}, 1)"

# Nothing of the server's or the database's own settings may change what a statement means.
SESSION = """SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', innodb_lock_wait_timeout = %s, lock_wait_timeout = %s,
    wait_timeout = 28800"""
READ_ONLY = "SELECT @@GLOBAL.read_only"
CLUSTERED = "SHOW VARIABLES WHERE Variable_name = 'wsrep_on' AND Value = 'ON'"
# In a Galera cluster: ready is a node that is part of the majority and has all that it needs.
CLUSTER = "SHOW STATUS WHERE Variable_name IN ('wsrep_provider_name', 'wsrep_ready')"
# Our writers take turns at a row of our own table: who has no right to that cannot be in the way.
LOCK = "SELECT number FROM greylag_figures WHERE hour = -1 AND name = 'lock' FOR UPDATE"
REMOVALS = """SELECT coalesce(max(CAST(number AS SIGNED)), 0) FROM greylag_figures
    WHERE hour = -1 AND name = 'removals'"""
NEXT_REMOVAL = """INSERT INTO greylag_figures (hour, name, number) VALUES (-1, 'removals', 1)
    ON DUPLICATE KEY UPDATE number = IF(number BETWEEN 1 AND 1 << 62, number + 1, 1)"""
# The names of these rows say what the switch is (`core.switch`).
_SWITCH = "hour = -1 AND name >= 'switch:' AND name < 'switch;'"
SWITCH = f"SELECT name, CAST(number AS SIGNED) FROM greylag_figures WHERE {_SWITCH}"  # noqa: S608
GLANCE = """SELECT name, CAST(number AS SIGNED) FROM greylag_figures
    WHERE hour = -1 AND (name = 'removals' OR (name >= 'switch:' AND name < 'switch;'))"""
NO_SWITCH = f"DELETE FROM greylag_figures WHERE {_SWITCH}"  # noqa: S608
SET_SWITCH = "INSERT INTO greylag_figures (hour, name, number) VALUES (-1, %s, %s)"
# What the last walk over all records found.
NOTE_COUNT = """INSERT INTO greylag_figures (hour, name, number) VALUES (-1, 'counted:at', %s),
    (-1, 'counted:passed', %s), (-1, 'counted:waiting', %s)
    ON DUPLICATE KEY UPDATE number = VALUES(number)"""
NOTED_COUNT = """SELECT CAST(number AS SIGNED) FROM greylag_figures
    WHERE hour = -1 AND name IN ('counted:at', 'counted:passed', 'counted:waiting') ORDER BY name"""
MAKE_LOCK = "INSERT IGNORE INTO greylag_figures (hour, name, number) VALUES (-1, 'lock', 0)"
# Where that may not be: at the first row of the old table. While that is empty, and if the first
# row goes, the locks of gaps that this isolation takes keep two from inserting the same.
ISOLATION = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
LOCK_FIRST = "SELECT id FROM greylisting_data ORDER BY id LIMIT 1 FOR UPDATE"
BEGIN, COMMIT, ROLLBACK = "START TRANSACTION", "COMMIT", "ROLLBACK"
# How long a lock is waited for: what takes part in turns, and all else; see session.py.
ROWS_WAIT = "SET SESSION innodb_lock_wait_timeout = {:d}"
# Put before a statement: it waits for no lock of a table (LOCK TABLES, ALTER TABLE).
TABLE_AT_ONCE = "/*M!100300 SET STATEMENT lock_wait_timeout = 0 FOR */ "
TURN_WAITS = " /*M!100300 WAIT {:d} */"
PROBE = "SELECT 1 FROM greylisting_data LIMIT 1"
