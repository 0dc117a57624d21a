"""The tables in MySQL and MariaDB: the old plugin's, word for word, and our own beside them.

The old tables are never altered. Where they are missing, they are made with triggers that clear
host bits and refuse nonsense, which the old triggers did not do (properties.md, fault 6 of the
plugin). Our own tables hold what the old plugin has no place for.
"""

from __future__ import annotations

LISTS = """CREATE TABLE IF NOT EXISTS greylisting_lists (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT,
    ipaddr VARCHAR(43) DEFAULT NULL,
    ipaddr_start VARBINARY(16) NOT NULL DEFAULT '0',
    ipaddr_end VARBINARY(16) NOT NULL DEFAULT '0',
    ipaddr_prefixsize TINYINT UNSIGNED NOT NULL DEFAULT 0,
    rcpt_to VARCHAR(255) DEFAULT NULL,
    block_expires DATETIME NOT NULL,
    record_expires DATETIME NOT NULL,
    create_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    comment VARCHAR(255) NOT NULL DEFAULT '',
    PRIMARY KEY (id),
    KEY ipaddr_start (ipaddr_start),
    KEY ipaddr_end (ipaddr_end),
    KEY rcpt_to (rcpt_to(20))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci"""

DATA = """CREATE TABLE IF NOT EXISTS greylisting_data (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    relay_ip VARBINARY(16) NOT NULL,
    mail_from VARCHAR(255) DEFAULT NULL,
    rcpt_to VARCHAR(255) DEFAULT NULL,
    block_expires DATETIME NOT NULL,
    record_expires DATETIME NOT NULL,
    blocked_count INT UNSIGNED NOT NULL DEFAULT 0,
    passed_count INT UNSIGNED NOT NULL DEFAULT 0,
    aborted_count INT UNSIGNED NOT NULL DEFAULT 0,
    create_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (id),
    KEY relay_ip (relay_ip),
    KEY mail_from (mail_from(20)),
    KEY rcpt_to (rcpt_to(20))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci"""

FIGURES = """CREATE TABLE IF NOT EXISTS greylag_figures (
    hour BIGINT NOT NULL,
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (hour, name)
) ENGINE=InnoDB"""

# What stands under a name (`core.identity`), and in no row of the old tables.
RECORDS = """CREATE TABLE IF NOT EXISTS greylag_records (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    identity VARBINARY(255) NOT NULL,
    sender VARBINARY(255) NOT NULL,
    recipient VARBINARY(255) NOT NULL,
    first_seen BIGINT NOT NULL,
    defer_until BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    blocked BIGINT NOT NULL,
    passed BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY identity (identity, sender, recipient)
) ENGINE=InnoDB"""

# List entries that the old lists cannot express.
ENTRIES = """CREATE TABLE IF NOT EXISTS greylag_entries (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    purpose VARBINARY(32) NOT NULL,
    kind VARBINARY(32) NOT NULL,
    network VARBINARY(16) NOT NULL,
    prefix INT NOT NULL,
    name VARBINARY(255) NOT NULL,
    denied_until BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    created BIGINT NOT NULL,
    comment VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    origin VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    spoofable TINYINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY name (name, network, prefix, kind, purpose),
    KEY network (network),
    KEY kind (kind)
) ENGINE=InnoDB"""

# What became of deferred mail (`core.history`), in the order of first contact: the newest are at
# the end, and the oldest are deleted from the beginning.
DEFERRALS = """CREATE TABLE IF NOT EXISTS greylag_deferrals (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    short BIGINT NOT NULL,
    network VARBINARY(16) NOT NULL,
    sender VARBINARY(255) NOT NULL,
    recipient VARBINARY(255) NOT NULL,
    first_seen BIGINT NOT NULL,
    defer_until BIGINT NOT NULL,
    client VARBINARY(16) NOT NULL,
    name VARBINARY(255) NOT NULL,
    signs VARBINARY(255) NOT NULL,
    pool VARBINARY(255) NOT NULL,
    tries BIGINT NOT NULL,
    first_try BIGINT NOT NULL,
    last_try BIGINT NOT NULL,
    outcome VARBINARY(32) NOT NULL,
    ended BIGINT NOT NULL,
    released BIGINT NOT NULL,
    PRIMARY KEY (id),
    KEY short (short)
) ENGINE=InnoDB"""

# Figures of the day; '' is for all that have no name there. Each node of a cluster has its own.
TALLIES = """CREATE TABLE IF NOT EXISTS greylag_tallies (
    kind VARBINARY(32) NOT NULL,
    day BIGINT NOT NULL,
    node INT NOT NULL,
    name VARBINARY(255) NOT NULL,
    deferred BIGINT NOT NULL,
    passed BIGINT NOT NULL,
    waited BIGINT NOT NULL,
    likely_spam BIGINT NOT NULL,
    never BIGINT NOT NULL,
    PRIMARY KEY (kind, day, node, name)
) ENGINE=InnoDB"""

# How many names a day has: to count them for each new one would take too long.
DAYS = """CREATE TABLE IF NOT EXISTS greylag_days (
    kind VARBINARY(32) NOT NULL,
    day BIGINT NOT NULL,
    node INT NOT NULL,
    names BIGINT NOT NULL,
    PRIMARY KEY (kind, day, node)
) ENGINE=InnoDB"""

# What admins did.
ACTIONS = """CREATE TABLE IF NOT EXISTS greylag_actions (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    at BIGINT NOT NULL,
    who VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    action VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    subject VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB"""

# The range of an entry, from its text: all of it in SQL, so that rows made by hand are right.
_TRIGGER = """CREATE TRIGGER greylisting_lists_{moment} BEFORE {event} ON greylisting_lists
FOR EACH ROW BEGIN
    DECLARE packed VARBINARY(16);
    DECLARE size, bits, whole, rest INT;
    DECLARE masked, filled VARBINARY(16) DEFAULT '';
    IF NEW.ipaddr IS NULL THEN
        SET NEW.ipaddr_start = '0', NEW.ipaddr_end = '0', NEW.ipaddr_prefixsize = 0;
    ELSE
        SET packed = INET6_ATON(SUBSTRING_INDEX(NEW.ipaddr, '/', 1));
        SET size = 8 * LENGTH(packed);
        IF packed IS NULL OR NEW.ipaddr NOT REGEXP '^[0-9a-fA-F:.]+(/[0-9]{{1,3}})?$' THEN
            SIGNAL SQLSTATE '45000'
                SET MESSAGE_TEXT = 'ipaddr: expected an address, or a range such as 192.0.2.0/24';
        END IF;
        SET bits = IF(LOCATE('/', NEW.ipaddr), SUBSTRING_INDEX(NEW.ipaddr, '/', -1), size);
        IF bits > size THEN
            SIGNAL SQLSTATE '45000'
                SET MESSAGE_TEXT = 'ipaddr: the prefix is longer than the address';
        END IF;
        SET whole = bits DIV 8, rest = bits MOD 8;
        SET masked = LEFT(packed, whole), filled = LEFT(packed, whole);
        IF rest > 0 THEN
            SET masked = CONCAT(masked, UNHEX(LPAD(HEX(
                ORD(SUBSTRING(packed, whole + 1, 1)) & (0xFF00 >> rest) & 0xFF), 2, '0')));
            SET filled = CONCAT(filled, UNHEX(LPAD(HEX(
                ORD(SUBSTRING(packed, whole + 1, 1)) | (0xFF >> rest)), 2, '0')));
        END IF;
        SET NEW.ipaddr_start = RPAD(masked, LENGTH(packed), UNHEX('00'));
        SET NEW.ipaddr_end = RPAD(filled, LENGTH(packed), UNHEX('FF'));
        SET NEW.ipaddr_prefixsize = bits;
    END IF;
END"""
TRIGGERS = {
    f"greylisting_lists_{moment}": _TRIGGER.format(moment=moment, event=event)
    for moment, event in (("bi", "INSERT"), ("bu", "UPDATE"))
}
TABLES = {
    "greylisting_lists": LISTS,
    "greylisting_data": DATA,
    "greylag_figures": FIGURES,
    "greylag_records": RECORDS,
    "greylag_entries": ENTRIES,
    "greylag_deferrals": DEFERRALS,
    "greylag_tallies": TALLIES,
    "greylag_days": DAYS,
    "greylag_actions": ACTIONS,
}

# What a look-up needs of the old tables; the first index named on these columns will do.
COLUMNS = {
    "greylisting_lists": (
        *("id", "ipaddr", "ipaddr_start", "ipaddr_end", "ipaddr_prefixsize", "rcpt_to"),
        *("block_expires", "record_expires", "create_time", "last_update", "comment"),
    ),
    "greylisting_data": (
        *("id", "relay_ip", "mail_from", "rcpt_to", "block_expires", "record_expires"),
        *("blocked_count", "passed_count", "aborted_count", "create_time", "last_update"),
    ),
    "greylag_figures": ("hour", "name", "number"),
    "greylag_records": (
        *("id", "identity", "sender", "recipient", "first_seen", "defer_until", "expires"),
        *("blocked", "passed"),
    ),
    "greylag_entries": (
        *("id", "purpose", "kind", "network", "prefix", "name", "denied_until", "expires"),
        *("created", "comment", "origin", "spoofable"),
    ),
    "greylag_deferrals": (
        *("id", "short", "network", "sender", "recipient", "first_seen", "defer_until", "client"),
        *("name", "signs", "pool", "tries", "first_try", "last_try", "outcome", "ended"),
        "released",
    ),
    "greylag_tallies": (
        *("kind", "day", "node", "name", "deferred", "passed", "waited", "likely_spam", "never"),
    ),
    "greylag_days": ("kind", "day", "node", "names"),
    "greylag_actions": ("id", "at", "who", "action", "subject"),
}

# What a look-up needs an index on, and the statement that adds it.
INDEXES = {
    (table, column): f"ALTER TABLE {table} ADD INDEX {column} ({length})"
    for table, column, length in (
        ("greylisting_data", "relay_ip", "relay_ip"),
        ("greylisting_data", "mail_from", "mail_from(20)"),
        ("greylisting_data", "rcpt_to", "rcpt_to(20)"),
        ("greylisting_lists", "ipaddr_start", "ipaddr_start"),
        ("greylisting_lists", "rcpt_to", "rcpt_to(20)"),
        ("greylag_entries", "network", "network"),
        ("greylag_entries", "kind", "kind"),
        ("greylag_deferrals", "short", "short"),
    )
} | {
    # Unique: what is written takes the place of the row that has its key.
    (table, column): f"ALTER TABLE {table} ADD UNIQUE {column} ({columns})"
    for table, column, columns in (
        ("greylag_records", "identity", "identity, sender, recipient"),
        ("greylag_entries", "name", "name, network, prefix, kind, purpose"),
    )
}
