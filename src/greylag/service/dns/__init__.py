"""Asks DNS about clients and senders. Nothing uses it yet.

- `resolver`: answers queries from its cache, or asks name servers; few at once, each name once.
- `gatherer`: runs what `core` wants to know (generators of queries) within a budget of time.
- `cache`: answers, for as long as they may be kept.
- `exchange`: one query to one server, over UDP and, if the reply is cut short, over TCP.
- `messages`: queries as bytes, and what replies mean. It alone needs dnspython, and it is imported
  when the first query is sent: whoever has no use for DNS needs no dnspython. That takes 40 ms or
  more, so a daemon that has a use for it imports `exchange` at its start.

An answer is that of `core.spf.questions`: records, () for none, None for "not known". Late, false
and broken replies are all None. Nobody is let in because an answer is missing.
"""
