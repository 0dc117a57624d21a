"""Every setting of `greylag.toml`: one table for the loader, `greylag config` and docs."""

from __future__ import annotations

from greylag.app import reading
from greylag.app.dns import DNS_OPTIONS
from greylag.app.option import Option
from greylag.app.policy_options import POLICY_OPTIONS
from greylag.core.policy import Room
from greylag.core.verdict import INFO, Verdict
from greylag.store import check_url
from greylag.wire.reply import Replies, check_template

_REPLIES = Replies()
_ROOM = Room()

OPTIONS = (
    *POLICY_OPTIONS,
    *DNS_OPTIONS,
    Option(
        "store.url",
        lambda raw: check_url(reading.text(raw)),
        "sqlite:///var/lib/greylag/greylag.db",
        "where records, lists and figures are kept",
        secret=True,
        restart=True,
    ),
    Option(
        "store.timeout",
        reading.wait,
        4,
        "the longest wait for another program that is writing",
        restart=True,
    ),
    Option(
        "store.on_failure",
        reading.on_failure,
        Verdict.PASS,
        'the answer when the store fails: "pass" or "defer"',
    ),
    Option(
        "store.max_waiting",
        reading.count(10_000, 1_000_000_000),
        _ROOM.total,
        "records that may wait for a retry; where there are more, the daemon evicts some at random",
    ),
    Option(
        "store.max_waiting_per_network",
        reading.count(100, 1_000_000_000),
        _ROOM.per_network,
        "as above, per client network",
    ),
    Option(
        "store.max_passed_per_network",
        reading.count(1000, 1_000_000_000),
        _ROOM.passed_per_network,
        "records that have passed, per client network; of more, some are evicted",
    ),
    Option(
        "history.keep",
        reading.off_or(86400),
        _ROOM.history.seconds,
        'how long it is kept what became of deferred mail; "off": it is not kept, and what there'
        " is of it is deleted",
    ),
    Option(
        "history.most",
        reading.count(1000, 1_000_000_000),
        _ROOM.history.most,
        "deferrals that the history has at most; of more, the oldest are deleted",
    ),
    Option(
        "reply.defer",
        lambda raw: check_template(reading.text(raw), "4"),
        _REPLIES.defer,
        "the SMTP reply of a deferral; {retry_after}, {client_address} and {id} are filled in",
    ),
    Option(
        "reply.deny",
        lambda raw: check_template(reading.text(raw), "5"),
        _REPLIES.deny,
        "the SMTP reply to a client that the denylist refuses; {client_address} is filled in",
    ),
    Option(
        "reply.deny_recipient",
        lambda raw: check_template(reading.text(raw), "5"),
        _REPLIES.deny_recipient,
        "the SMTP reply where the denylist names the recipient's domain",
    ),
    Option(
        "reply.header",
        reading.flag,
        False,
        "have the mail server add a header to mail that had to wait, with the delay in seconds",
    ),
    Option(
        "server.socket",
        reading.path,
        "/run/greylag/greylag.sock",
        "the unix socket of the daemon",
        restart=True,
    ),
    Option(
        "server.socket_mode",
        reading.mode,
        0o660,
        "the mode of that socket: who may write to it may ask",
        restart=True,
    ),
    Option(
        "server.socket_group",
        reading.text,
        "",
        "the group of that socket; empty: that of the daemon",
        restart=True,
    ),
    Option(
        "server.handover",
        reading.path,
        "",
        "the unix socket where jgreylist hands over clients; empty: `handover.sock` beside "
        "`server.socket`",
        restart=True,
    ),
    Option(
        "server.handover_mode",
        lambda raw: raw if raw == "" else reading.mode(raw),
        "",
        "the mode of that socket; empty: that of `server.socket`",
        restart=True,
    ),
    Option(
        "server.handover_group",
        reading.text,
        "",
        "the group of that socket; empty: that of `server.socket`",
        restart=True,
    ),
    Option(
        "server.policy",
        reading.places,
        (),
        "addresses and ports that mail servers may ask at",
        restart=True,
    ),
    Option(
        "server.trust_tcp",
        reading.flag,
        False,
        "believe greylag_* attributes on these ports too, as on the unix socket",
    ),
    Option(
        "server.max_connections",
        reading.count(1, 100_000),
        4000,
        "connections at once, of each place where the daemon listens; more are closed",
    ),
    Option(
        "server.max_connections_per_peer",
        reading.count(0, 100_000),
        0,
        "as above, per TCP address (IPv6: per /64); 0: half of them",
    ),
    Option(
        "server.deadline",
        reading.wait,
        1,
        "how long the store may take for an answer; then `store.on_failure` is the answer",
    ),
    Option(
        "server.metrics",
        reading.place,
        "",
        "address and port of the figures for Prometheus; empty: none",
        restart=True,
    ),
    Option(
        "jgreylist.trees",
        reading.paths,
        (),
        "record trees (JGREYLIST_DIR) that the daemon may serve; others are left to the one-shot",
    ),
    Option(
        "jgreylist.max_dialogues",
        reading.count(0, 1_000_000),
        10_000,
        "greylisted clients that the daemon talks to at once; more are told 421",
    ),
    Option(
        "jgreylist.max_per_network",
        reading.count(0, 1_000_000),
        100,
        "as above, per client network",
    ),
    Option(
        "jgreylist.idle",
        reading.between(5, 300),
        30,
        "how long a greylisted client may take for a line",
    ),
    Option(
        "jgreylist.tarpit",
        reading.between(0, 60),
        0,
        'how long each reply to a greylisted client waits; "0s": not at all',
    ),
    Option(
        "log.file",
        reading.path,
        "",
        "the daemon's log, opened again on SIGHUP; empty: standard error",
    ),
    Option(
        "log.level",
        reading.level,
        INFO,
        'what is logged: "off", "fatal", "error", "warn", "info" or "debug"',
    ),
    Option(
        "log.times",
        reading.times,
        "file",
        'whether the daemon\'s lines begin with their time: "file": in `log.file`, '
        '"always", "never"',
    ),
    Option(
        "log.format",
        reading.log_format,
        "greylag",
        "how the daemon's lines tell of answers about mail: in its own form, or in postgrey's",
    ),
    Option(
        "web.listen",
        reading.some_place,
        "127.0.0.1:8025",
        "address and port of the dashboard",
        restart=True,
    ),
    Option(
        "web.users",
        reading.path,
        "/var/lib/greylag/web-users",
        "the file of those who may sign in to the dashboard, as `greylag web passwd` writes it",
        restart=True,
    ),
    Option(
        "web.hosts",
        reading.hosts,
        (),
        "names by which browsers may call the dashboard, beside localhost and addresses",
        restart=True,
    ),
    Option(
        "web.proxies",
        reading.addresses,
        (),
        "addresses of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
        restart=True,
    ),
    Option(
        "web.owners",
        reading.flag,
        False,
        "let operators make links by which owners of mailboxes see and release their waiting mail",
        restart=True,
    ),
)
BY_KEY = {option.key: option for option in OPTIONS}
