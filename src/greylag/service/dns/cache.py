"""Answers of DNS that are kept: for a time, and no more than have room."""

from __future__ import annotations

from collections import OrderedDict

from greylag.core.spf.questions import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.spf.questions import Query

# Seconds. A zone says how long its answers hold; less would be a question for each attempt, more
# would be old news. Where there is nothing may soon be something. An error is kept so that a
# server with a fault is not asked for each recipient of one mail.
LEAST, MOST, MOST_NOTHING, ERROR = 30.0, 3600.0, 300.0, 5.0
MOST_ENTRIES = 100_000
MOST_BYTES = 32 * 1024 * 1024
# Measured: an entry takes so much beside its texts, and each record so much beside its bytes.
ENTRY, RECORD = 400, 40


def lifetime(answer: Answer, ttl: float) -> float:
    """Return how many seconds an answer is kept that says of itself how long it holds."""
    if answer is None:
        return ERROR
    return min(max(ttl, LEAST), MOST if answer else MOST_NOTHING)


class Cache:
    """The answers that were used last. Each costs a bounded time, however many there are."""

    def __init__(self, entries: int = MOST_ENTRIES, size: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = entries, size
        self._kept: OrderedDict[Query, tuple[float, Answer, int]] = OrderedDict()
        self.bytes = 0  # estimated

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, query: Query, now: float) -> tuple[Answer] | None:
        """Return the answer in a tuple, or None if none is kept."""
        found = self._kept.get(query)
        if found is None:
            return None
        if found[0] <= now:
            self._remove(query)
            return None
        self._kept.move_to_end(query)
        return (found[1],)

    def put(self, query: Query, answer: Answer, ttl: float, now: float) -> None:
        """Keep an answer. Those that were not used for longest make room for it."""
        if query in self._kept:
            self._remove(query)
        size = ENTRY + len(query.name) + sum(RECORD + len(record) for record in answer or ())
        if size > self._most_bytes:
            return
        self._kept[query] = (now + lifetime(answer, ttl), answer, size)
        self.bytes += size
        while len(self._kept) > self._most or self.bytes > self._most_bytes:
            _query, (_ends, _answer, freed) = self._kept.popitem(last=False)
            self.bytes -= freed

    def _remove(self, query: Query) -> None:
        self.bytes -= self._kept.pop(query)[2]
