"""The SQLite schema, as numbered migrations: a database of any released version is brought up.

`PRAGMA user_version` is the number of the last migration that ran. Each runs in one transaction
with its number, so a process that dies in the middle leaves the version before. Migrations that
were released are never edited; a change is a new one at the end.

The records table has no other index than its key: an index for expiry or search would cost a
third more for each record, and both can walk the table in the order of the key. The key begins
with `settled`, so those that wait lie together: first contacts touch this small part alone,
however many millions have passed.
"""

from __future__ import annotations

APPLICATION_ID = (
    0x67726C67  # "grlg" in the file's header: never touch a database of another program
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE records (
            network BLOB NOT NULL,      -- packed, host bits cleared; 4 or 16 bytes
            sender TEXT NOT NULL,       -- canonical
            recipient TEXT NOT NULL,    -- canonical
            first_seen INTEGER NOT NULL,
            defer_until INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            blocked INTEGER NOT NULL,
            passed INTEGER NOT NULL,
            PRIMARY KEY (network, sender, recipient)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE entries (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            network BLOB,               -- packed, or NULL where a domain is named
            prefix INTEGER,
            domain TEXT,
            denied_until INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            created INTEGER NOT NULL,
            comment TEXT NOT NULL,
            CHECK ((network IS NULL) = (prefix IS NULL)),
            CHECK ((network IS NULL) <> (domain IS NULL)),
            UNIQUE (network, prefix),
            UNIQUE (domain)
        ) STRICT""",
        """CREATE TABLE figures (
            hour INTEGER NOT NULL,
            name TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (hour, name)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE state (name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "INSERT INTO state VALUES ('lists', 0)",
    ),
    (
        "ALTER TABLE records RENAME TO mixed",
        # The key comes first: any other order is corrupt to SQLite 3.40, in integrity_check.
        """CREATE TABLE records (
            settled INTEGER NOT NULL CHECK (settled = (passed > 0)),
            network BLOB NOT NULL,      -- packed, host bits cleared; 4 or 16 bytes
            sender TEXT NOT NULL,       -- canonical
            recipient TEXT NOT NULL,    -- canonical
            first_seen INTEGER NOT NULL,
            defer_until INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            blocked INTEGER NOT NULL,
            passed INTEGER NOT NULL,
            PRIMARY KEY (settled, network, sender, recipient)
        ) STRICT, WITHOUT ROWID""",
        "INSERT INTO records SELECT 0, * FROM mixed WHERE passed = 0",  # in the order of the key
        "INSERT INTO records SELECT 1, * FROM mixed WHERE passed > 0",
        "DROP TABLE mixed",
        # A triplet has one record, on whichever side.
        """CREATE TRIGGER one_record BEFORE INSERT ON records
            WHEN EXISTS (SELECT 1 FROM records WHERE settled = 1 - NEW.settled
                AND network = NEW.network AND sender = NEW.sender AND recipient = NEW.recipient)
            BEGIN SELECT RAISE(ABORT, 'there is a record of this triplet'); END""",
    ),
    (
        "ALTER TABLE entries RENAME TO old_entries",
        """CREATE TABLE entries (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            purpose TEXT NOT NULL,      -- access, expected, trap, provider
            kind TEXT NOT NULL,         -- what is named: network, client-name, sender, ...
            network BLOB,               -- packed; of the kind network, and NULL of all others
            prefix INTEGER,
            name TEXT,                  -- canonical; of all other kinds
            denied_until INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            created INTEGER NOT NULL,
            comment TEXT NOT NULL,
            origin TEXT NOT NULL,       -- who brought it; '' is an admin
            spoofable INTEGER NOT NULL, -- 1: also where SPF did not pass
            CHECK ((network IS NULL) = (kind <> 'network')),
            CHECK ((prefix IS NULL) = (kind <> 'network')),
            CHECK ((name IS NULL) = (kind = 'network')),
            UNIQUE (network, prefix, purpose),
            UNIQUE (name, kind, purpose)
        ) STRICT""",
        """INSERT INTO entries SELECT number, 'access', iif(domain IS NULL, 'network', 'domain'),
            network, prefix, domain, denied_until, expires, created, comment, '', 0
            FROM old_entries""",
        # Imports wrote the name of their file before the comment: [networks.txt] branch office.
        """UPDATE entries SET origin = substr(comment, 2, instr(comment, ']') - 2),
            comment = ltrim(substr(comment, instr(comment, ']') + 1))
            WHERE comment GLOB '[[]?*]*'""",
        "DROP TABLE old_entries",
        # Is there any at all? That is asked for each attempt whose names are not known.
        "CREATE INDEX client_names ON entries (kind) WHERE kind = 'client-name'",
    ),
    (
        # What became of deferred mail (`core.history`), in the order of first contact: the newest
        # are at the end, and the oldest are deleted from the beginning.
        """CREATE TABLE deferrals (
            number INTEGER PRIMARY KEY,
            short INTEGER NOT NULL,     -- the short id, of 35 bits
            network BLOB NOT NULL,
            sender TEXT NOT NULL,
            recipient TEXT NOT NULL,
            first_seen INTEGER NOT NULL,
            defer_until INTEGER NOT NULL,
            client BLOB NOT NULL,       -- packed; empty where it is not known
            name TEXT NOT NULL,         -- confirmed name of the client, or ''
            signs TEXT NOT NULL,        -- words with a space between them
            pool BLOB NOT NULL,         -- empty for none
            tries INTEGER NOT NULL,     -- that came too early
            first_try INTEGER NOT NULL,
            last_try INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            ended INTEGER NOT NULL,
            released INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX deferrals_short ON deferrals (short)",
        """CREATE TABLE tallies (
            kind TEXT NOT NULL,         -- network, sender-domain, ...
            day INTEGER NOT NULL,
            name TEXT NOT NULL,         -- '' for all that are not named
            deferred INTEGER NOT NULL,
            passed INTEGER NOT NULL,
            waited INTEGER NOT NULL,
            likely_spam INTEGER NOT NULL,
            never INTEGER NOT NULL,
            PRIMARY KEY (kind, day, name)
        ) STRICT, WITHOUT ROWID""",
        # How many names a day has: to count them for each new one would take too long.
        """CREATE TABLE tally_days (
            kind TEXT NOT NULL,
            day INTEGER NOT NULL,
            names INTEGER NOT NULL,
            PRIMARY KEY (kind, day)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE actions (
            number INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            who TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL
        ) STRICT""",
    ),
)
