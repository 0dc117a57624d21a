"""The statements of the history in MySQL: constants all, with parameters by position."""

from __future__ import annotations

from greylag.core.tallies import HIGHEST as MOST

# Anybody can make many triplets that share one short id, or the range of a pair: so few of them
# are looked at for one event, the newest of an id, and some of a pair.
SAME_ID, SAME_PAIR = 100, 1000
MOST_ROWS = 1000  # deferrals that are read to tell what became of some, however many there are
HIGHEST = 1 << 62  # above every number
_COLUMNS = """id, network, sender, recipient, first_seen, defer_until, client, name, signs, pool,
    tries, first_try, last_try, outcome, ended, released"""


class Sized(dict[int, str]):
    """A statement for each number of rows, made when it is asked for: a one-shot needs few."""

    def __init__(self, statement: str, row: str, joint: str = ",") -> None:
        super().__init__()
        self._statement, self._row, self._joint = statement, row, joint

    def __missing__(self, size: int) -> str:
        made = self._statement.replace(self._row, self._joint.join([self._row] * size))
        self[size] = made
        return made


_FACTS = """short, network, sender, recipient, first_seen, defer_until, client, name, signs, pool,
    tries, first_try, last_try, outcome, ended, released"""
_VALUES = "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s"
INSERT = Sized(
    f"INSERT INTO greylag_deferrals ({_FACTS}) VALUES ({_VALUES})",  # noqa: S608 - constants
    f"({_VALUES})",
)
# Each is there, and no other writer has a turn: so nothing is inserted, and what does not change
# stands for itself.
_CHANGED = "%s,0,'','','',0,%s,'','','','',%s,%s,%s,%s,%s,%s"
UPDATE = Sized(
    f"""INSERT INTO greylag_deferrals (id, {_FACTS}) VALUES ({_CHANGED})
    ON DUPLICATE KEY UPDATE defer_until = VALUES(defer_until), tries = VALUES(tries),
    first_try = VALUES(first_try), last_try = VALUES(last_try), outcome = VALUES(outcome),
    ended = VALUES(ended), released = VALUES(released)""",  # noqa: S608
    f"({_CHANGED})",
)
# Of ranges of ids. Where there are more than fit, each of them is looked at by itself.
MOST_NUMBERS = 2000
_RANGE = "short BETWEEN %s AND %s"
NUMBERS = Sized(
    f"""SELECT short, id FROM greylag_deferrals FORCE INDEX (short) WHERE {_RANGE}
    LIMIT {MOST_NUMBERS}""",  # noqa: S608
    _RANGE,
    " OR ",
)
NUMBERS_OF_ID = f"""SELECT short, id FROM greylag_deferrals FORCE INDEX (short) WHERE short = %s
    ORDER BY id DESC LIMIT {SAME_ID}"""  # noqa: S608
NUMBERS_OF_PAIR = f"""SELECT short, id FROM (SELECT short, id FROM greylag_deferrals
        FORCE INDEX (short) WHERE {_RANGE} LIMIT {SAME_PAIR}) AS few
    ORDER BY id DESC LIMIT {SAME_ID}"""  # noqa: S608
ROWS = Sized(
    f"SELECT {_COLUMNS} FROM greylag_deferrals WHERE id IN (%s)",  # noqa: S608
    "%s",
)
# Locked, so read as they are now: where writers take turns at the old table, it may be empty.
OPEN_ROWS = Sized(
    f"""SELECT {_COLUMNS} FROM greylag_deferrals WHERE id IN (%s) AND outcome <> 'passed'
    FOR UPDATE""",  # noqa: S608
    "%s",
)

# A page: where its step ends, and what fits. NULL: no such condition.
_END = "SELECT COALESCE(MIN(id), 0), COUNT(*) FROM"
END_OF_STEP = f"""{_END} (SELECT id FROM greylag_deferrals FORCE INDEX (PRIMARY) WHERE id < %s
    ORDER BY id DESC LIMIT %s) AS step"""  # noqa: S608
END_OF_IDS = f"""{_END} (SELECT id FROM greylag_deferrals FORCE INDEX (short)
    WHERE {_RANGE} AND id < %s ORDER BY id DESC LIMIT %s) AS step"""  # noqa: S608
_FITTING = f"""{_RANGE} AND id >= %s AND id < %s AND first_seen >= %s AND first_seen < %s
    AND INSTR(sender, %s) AND INSTR(recipient, %s) AND (%s = 0 OR sender = '')
    AND (%s IS NULL OR (LENGTH(network) = LENGTH(%s) AND network BETWEEN %s AND %s))
    AND (%s IS NULL OR FIND_IN_SET(outcome, %s))
    AND (%s = '' OR INSTR(CONCAT(' ', signs, ' '), CONCAT(' ', %s, ' ')))
    ORDER BY id DESC"""
_PAGE = f"SELECT {_COLUMNS} FROM greylag_deferrals FORCE INDEX"  # noqa: S608
PAGE, PAGE_OF_IDS = f"{_PAGE} (PRIMARY) WHERE {_FITTING}", f"{_PAGE} (short) WHERE {_FITTING}"
FIRST_SEEN = "SELECT first_seen FROM greylag_deferrals WHERE id = %s"
COUNT_IDS = f"""SELECT COUNT(*) FROM (SELECT 1 FROM greylag_deferrals FORCE INDEX (short)
    WHERE {_RANGE} LIMIT %s) AS few"""  # noqa: S608

# A number at its column's end would fail the whole statement: so all are bounded.
_MORE = ", ".join(
    f"{column} = LEAST(LEAST({column}, {MOST}) + VALUES({column}), {MOST})"
    for column in ("deferred", "passed", "waited", "likely_spam", "never")
)
ADD_TALLY = Sized(
    f"""INSERT INTO greylag_tallies (kind, day, node, name, deferred, passed, waited, likely_spam,
    never) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s) ON DUPLICATE KEY UPDATE {_MORE}""",  # noqa: S608
    "(%s,%s,%s,%s,%s,%s,%s,%s,%s)",
)
_NAME = "(kind = %s AND day = %s AND node = %s AND name = %s)"
KNOWN_NAMES = Sized(
    """SELECT kind, name FROM greylag_tallies
    WHERE kind = %s AND day = %s AND node = %s AND name IN ('',%s)""",
    ",%s",
    "",
)
FORGET_NAMES = Sized(f"DELETE FROM greylag_tallies WHERE {_NAME}", _NAME, " OR ")  # noqa: S608
NAMES_OF_DAY = "SELECT kind, names FROM greylag_days WHERE day = %s AND node = %s"
MORE_NAMES = Sized(
    """INSERT INTO greylag_days (kind, day, node, names) VALUES (%s,%s,%s,%s)
    ON DUPLICATE KEY UPDATE names = LEAST(names, 1 << 61) + VALUES(names)""",
    "(%s,%s,%s,%s)",
)
FEWER_NAMES = """UPDATE greylag_days SET names = names - LEAST(names, %s)
    WHERE kind = %s AND day = %s AND node = %s"""
_SUMS = """SUM(deferred), SUM(passed), SUM(waited), SUM(likely_spam), SUM(never)
    FROM greylag_tallies WHERE kind = %s AND day >= %s AND day < %s"""
SUMS = f"SELECT {_SUMS}"
TALLIES = f"""SELECT name, {_SUMS} AND name <> '' GROUP BY name
    ORDER BY SUM(deferred) DESC, name LIMIT %s"""

# How close the ids lie at both ends tells how many there are, about: nodes of a cluster leave
# gaps between them, and to count millions takes seconds.
OLDEST = "SELECT id, first_seen FROM greylag_deferrals ORDER BY id LIMIT %s"
NEWEST = """SELECT COUNT(*), COALESCE(MIN(id), 0), COALESCE(MAX(id), 0) FROM
    (SELECT id FROM greylag_deferrals ORDER BY id DESC LIMIT %s) AS newest"""
FORGET = """DELETE FROM greylag_deferrals
    WHERE id <= %s AND (first_seen < %s OR first_seen > %s OR id <= %s)"""
# What a damaged column holds may be too old for us, and not for the server: only what it says that
# it deleted is counted, or whoever goes on until nothing is left would never end.
CHANGED = "SELECT ROW_COUNT()"
OLDEST_ACTIONS = "SELECT id, at FROM greylag_actions ORDER BY id LIMIT %s"
FORGET_ACTIONS = "DELETE FROM greylag_actions WHERE id <= %s AND (at < %s OR at > %s)"
OLD_DAY = "SELECT kind, day, node FROM greylag_days WHERE day < %s OR day > %s LIMIT 1"
_OF_DAY = "kind = %s AND day = %s AND node = %s"
FORGET_TALLIES = f"DELETE FROM greylag_tallies WHERE {_OF_DAY} ORDER BY name LIMIT %s"  # noqa: S608
FORGET_DAY = f"DELETE FROM greylag_days WHERE {_OF_DAY}"  # noqa: S608
LARGE_DAY = """SELECT kind, day, node, names FROM greylag_days
    WHERE names > %s AND day < %s LIMIT 1"""
SMALLEST = f"""SELECT name, deferred, passed, waited, likely_spam, never FROM greylag_tallies
    WHERE {_OF_DAY} AND name <> ''
    ORDER BY 0e0 + deferred + passed + never, name DESC LIMIT %s"""  # noqa: S608
NOTE_ACTION = Sized(
    "INSERT INTO greylag_actions (at, who, action, subject) VALUES (%s,%s,%s,%s)", "(%s,%s,%s,%s)"
)
ACTIONS = "SELECT at, who, action, subject FROM greylag_actions ORDER BY id DESC LIMIT %s"
