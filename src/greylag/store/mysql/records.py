"""Records of both tables: what a transaction has read and locked of them, and what becomes of it.

A client network's are rows of the old plugin's table, where one record can be several rows
(`rows.merged`). What stands under a name is in the table beside it (`named`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from greylag.core.identity import is_network
from greylag.core.record import Change, Created, Noted, Record, applied, joined
from greylag.core.triplet import Triplet
from greylag.store.mysql import sql
from greylag.store.mysql.named import Named
from greylag.store.mysql.names import Names
from greylag.store.mysql.rows import (
    Known,
    Row,
    addresses_of,
    assigned,
    date,
    new_row,
    read_rows,
)
from greylag.store.mysql.session import MysqlSession, parts


class MysqlRecords:
    """The records in a store's session."""

    def __init__(self, session: MysqlSession, names: Names) -> None:
        self._session = session
        self._names = names
        self.named = Named(session)
        self._held: dict[Triplet, Known] = {}

    def let_go(self) -> None:
        """Forget what was read and locked: others may change it from now on."""
        self._held.clear()

    def known(self, triplets: Iterable[Triplet], *, locked: bool = False) -> dict[Triplet, Known]:
        """Return what is known of these triplets, with one trip to the server."""
        distinct = list(dict.fromkeys(triplets))
        nets = [triplet for triplet in distinct if is_network(triplet.network)]
        asked = self._ask(nets, sql.LOAD_TO_CHANGE if locked else sql.LOAD)
        others: list[Triplet] = []
        if len(nets) < len(distinct):
            others = [triplet for triplet in distinct if not is_network(triplet.network)]
            self.named.ask(others, locked=locked)
        answers = self._session.answers()
        rows = {row.number: row for found in answers[:asked] for row in read_rows(found)}
        known = assigned(rows.values(), nets)
        if others:
            known |= self.named.assigned(answers[asked:], others)
        return known

    def _ask(self, nets: list[Triplet], statements: Mapping[bool, Mapping[int, str]]) -> int:
        """Put the questions about rows of the old table; return how many they are."""
        spelt = list(dict.fromkeys([*nets, *map(self._names.stored, nets)]))
        asked = 0
        for null, sized in statements.items():
            for part in parts([t for t in spelt if (not t.sender) is null]):
                networks = [address for t in part for address in addresses_of(t.network)]
                senders = [] if null else [t.sender for t in part]
                names = (*networks, *(t.recipient for t in part), *senders)
                self._session.ask(sized[len(part)], names)
                asked += 1
        return asked

    def hold(self, triplets: Iterable[Triplet]) -> Mapping[Triplet, Known]:
        """Lock these triplets' rows until the transaction ends, and remember what they mean."""
        missing = [triplet for triplet in triplets if triplet not in self._held]
        self._held.update(self.known(missing, locked=True))
        return self._held

    def change(self, change: Change, now: int) -> Record | None:
        """Make a change to what is held; return the record of which the time was over."""
        known = self._held[change.triplet]
        replaced = None
        renewed = isinstance(change, Created | Noted)
        if renewed and known.now is not None and not known.now.live(now):
            replaced = known.now
            known.start_anew()
        if isinstance(change, Created) and known.now is None:
            known.client = change.client
        known.now = applied(change, known.now, now)
        return replaced

    def join(self, triplet: Triplet, record: Record) -> None:
        """Merge a record into what is held."""
        known = self._held[triplet]
        after = joined(known.now or record, record)
        if after != known.now:
            known.start_anew()  # the one statement for changes moves no first contact
            known.now = after

    def write(self) -> None:
        """Write what the changes came to, in a few statements."""
        gone, created, changed, freed = [], [], [], []
        named: dict[Triplet, Record] = {}
        for triplet, known in self._held.items():
            record, before = known.now, known.before
            if not is_network(triplet.network):
                if record is not None and record != before:
                    named[triplet] = record
                continue
            gone += known.gone
            if record is None or record == before:
                continue
            if known.row is None or before is None:
                created.append(new_row(self._names.stored(triplet), record, known.client))
            else:
                if record.defer_until < before.defer_until:
                    until = date(record.defer_until)
                    freed += [(until, row.number, until) for row in known.rows]
                counts = (record.blocked - before.blocked, record.passed - before.passed)
                dates = (date(record.defer_until), date(record.expires))
                changed.append((known.row.number, known.row.relay, *dates, *counts))
        self.remove(gone)
        self._session.write(sql.CREATE, created)
        self._session.write(sql.CHANGE, changed)
        for row in freed:
            self._session.write(sql.FREE, [row])
        self.named.put(named)
        self._held.clear()

    def remove(self, numbers: Sequence[int], named: Sequence[int] = ()) -> int:
        """Remove rows of the old table, and of the one beside it; return how many."""
        for part in parts(numbers):
            self._session.read(sql.FORGET[len(part)], part)
        self.named.remove(named)
        return len(numbers) + len(named)

    def forget(self, triplets: Iterable[Triplet]) -> list[Triplet]:
        """Remove records; return the keys of those that there were."""
        numbers: dict[bool, list[int]] = {True: [], False: []}
        known = self.known(triplets, locked=True)
        for triplet, one in known.items():
            numbers[is_network(triplet.network)] += [row.number for row in one.rows]
        self.remove(numbers[True], numbers[False])
        return [triplet for triplet, one in known.items() if one.rows]

    def rows_of(self, numbers: Sequence[int]) -> list[Row]:
        """Return rows of the old table."""
        for part in parts(numbers):
            self._session.ask(sql.ROWS_OF[len(part)], part)
        return [row for found in self._session.answers() for row in read_rows(found)]
