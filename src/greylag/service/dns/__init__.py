"""Asks DNS about clients and senders.

- `resolver`: answers queries from its cache, or asks name servers; few at once, each name once.
- `gatherer`: runs what `core` wants to know (generators of queries) within a budget of time.
- `oneshot`: does all of this in a process that lives for one question, and has no asyncio.
- `cache`: answers, for as long as they may be kept.
- `servers`: whom to ask.
- `exchange`: one query to one server, over UDP and, if the reply is cut short, over TCP.

Queries as bytes, and what replies mean, are in `wire.dns`.

An answer is that of `core.spf.questions`: records, () for none, None for "not known". Late, false
and broken replies are all None. Nobody is let in because an answer is missing.
"""
