"""Every setting, changed and reloaded: the daemon applies it, or says that it needs a restart."""

from __future__ import annotations

import contextlib
import re
import select
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from greylag.app.options import OPTIONS
from greylag.core.accesslist import NEVER, Entry
from greylag.core.record import Created, Noted, Passed
from greylag.core.stable import stable
from greylag.core.subject import Domain, Network
from greylag.core.triplet import TRUSTED, Triplet, sent_of, trapped_of
from greylag.store import open_store
from tests.core.test_suffixes import TEXT as SUFFIXES
from tests.server.clients import talking
from tests.server.daemon import Connection, Daemon, request, serving
from tests.server.test_failure import until_deferred
from tests.server.test_serve import free_port

DENIED = Network(bytes((203, 0, 113, 0)), 24)
NO_MAIL = Domain("denied.example")
LET_IN = b"action=DUNNO"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ "
PIPELINED = 50


class Site:
    """A daemon whose settings change."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self.daemon = daemon
        self.folder = daemon.folder
        self.port = port
        self._numbers = count()

    def change(self, **changes: str) -> None:
        """Have other settings than the first, in TOML (`__` for the dot), and reload."""
        write_settings(self.folder, self.port, changes)
        before = self.log().count("event=reloaded")
        self.daemon.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while self.log().count("event=reloaded") == before:
            assert time.monotonic() < end, self.log()[-2000:]
            time.sleep(0.02)

    def log(self) -> str:
        """Return all logs."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def fresh(self) -> str:
        return f"fresh{next(self._numbers)}@example.org"

    def ask(self, **changes: str) -> bytes:
        """Ask about a new triplet, unless its sender is told."""
        with self.daemon.connect() as client:
            return client.ask(**{"sender": self.fresh(), **changes})

    def ask_all(self, address: Callable[[int], str], numbers: range, tag: str) -> list[bytes]:
        answers = []
        with self.daemon.connect() as client:
            for start in numbers[::PIPELINED]:
                part = range(start, min(start + PIPELINED, numbers.stop))
                client.socket.sendall(
                    b"".join(
                        request(client_address=address(n), sender=f"{tag}{n}@example.org")
                        for n in part
                    )
                )
                answers += [client.response() for _ in part]
        return answers

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.daemon.database)) as db:
            return db.execute(sql, values).fetchall()

    def number(self, sql: str, *values: object) -> int:
        return int(str(self.rows(sql, *values)[0][0]))

    def soon_at_most(self, most: int, sql: str, *values: object) -> bool:
        end = time.monotonic() + 20
        while self.number(sql, *values) > most and time.monotonic() < end:
            time.sleep(0.05)
        return self.number(sql, *values) <= most

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the database's lock, so that the daemon's deadline runs out; then let it recover."""
        with contextlib.closing(sqlite3.connect(self.daemon.database)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield
        with self.daemon.connect() as client:
            until_deferred(client, self.fresh())


def write_settings(folder: Path, port: int, changes: dict[str, str]) -> Path:
    settings = {
        "store__url": f'"sqlite://{folder}/greylag.db"',
        "server__socket": f'"{folder}/s"',
        "server__policy": f'["127.0.0.1:{port}"]',
        **changes,
    }
    config = folder / "greylag.toml"
    lines = (f"{key.replace('__', '.')} = {value}\n" for key, value in settings.items())
    config.write_text("".join(lines))
    return config


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("reload")
    with contextlib.closing(open_store(f"sqlite://{folder}/greylag.db", timeout=4)) as store:
        store.put_entries([Entry(DENIED, NEVER), Entry(NO_MAIL, NEVER)])
    port = free_port()
    with serving(folder, config=write_settings(folder, port, {})) as daemon:
        yield Site(daemon, port)


@pytest.fixture
def site(one: Site) -> Site:
    """The daemon with its first settings."""
    one.change()
    return one


def delay(site: Site) -> None:
    assert b"in 300 seconds" in site.ask()
    site.change(policy__delay='"7m"')
    assert b"in 420 seconds" in site.ask()


def retry_window(site: Site) -> None:
    site.change(policy__retry_window='"1h"')
    sender = site.fresh()
    site.ask(sender=sender)
    lasts = "SELECT expires - first_seen FROM records WHERE sender = ?"
    assert site.number(lasts, sender) == 3600


def passed_once(site: Site) -> tuple[str, bytes]:
    """Have a triplet pass; return its sender, and the answer."""
    sender = site.fresh()
    site.ask(sender=sender)
    time.sleep(1.1)
    return sender, site.ask(sender=sender)


def lifetime(site: Site) -> None:
    site.change(policy__delay='"1s"', policy__retry_window='"1h"', policy__lifetime='"1d"')
    sender, answer = passed_once(site)
    assert answer == LET_IN
    lasts = site.number("SELECT expires - first_seen FROM records WHERE sender = ?", sender)
    assert 86400 < lasts < 86500


def network_of(site: Site, address: str) -> object:
    sender = site.fresh()
    site.ask(sender=sender, client_address=address)
    return site.rows("SELECT network FROM records WHERE sender = ?", sender)[0][0]


def ipv4_prefix(site: Site) -> None:
    site.change(policy__ipv4_prefix="32")
    assert network_of(site, "192.0.2.17") == socket.inet_aton("192.0.2.17")


def ipv6_prefix(site: Site) -> None:
    site.change(policy__ipv6_prefix="128")
    whole = socket.inet_pton(socket.AF_INET6, "2001:db8::17")
    assert network_of(site, "2001:db8::17") == whole


def null_sender(site: Site) -> None:
    assert site.ask(sender="") == LET_IN
    site.change(policy__null_sender='"rcpt"')
    assert site.ask(sender="") != LET_IN


def probe_senders(site: Site) -> None:
    assert site.ask(sender="postmaster@example.org") == LET_IN
    site.change(policy__probe_senders="[]")
    assert site.ask(sender="postmaster@example.org") != LET_IN


def explicit(site: Site) -> None:
    site.change(policy__explicit="true")
    assert site.ask() == LET_IN


def normalise(site: Site) -> None:
    site.change(policy__normalise="true")
    site.ask(sender="bounces-12345678@lists.example.org")
    stable_name = stable(b"bounces-12345678@lists.example.org", b"").decode()
    assert stable_name != "bounces-12345678@lists.example.org"
    assert site.number("SELECT count(*) FROM records WHERE sender = ?", stable_name) == 1


def mailbox_separator(site: Site) -> None:
    site.change(policy__mailbox_separator='"-"')
    sender = site.fresh()
    site.ask(sender=sender, recipient="someone-tag@example.net")
    found = site.rows("SELECT recipient FROM records WHERE sender = ?", sender)
    assert found == [("someone@example.net",)]


def identity(site: Site) -> None:
    """There is no DNS here: that is a warning at the reload."""
    site.change(policy__identity='"spf"', dns__servers='"off"')
    assert site.daemon.logged("policy.identity needs DNS")


TRUSTED_RECORDS = "SELECT count(*) FROM records WHERE recipient = ?"


def _earns_trust(site: Site, **changes: str) -> None:
    before = site.number(TRUSTED_RECORDS, TRUSTED)
    none = {"policy__trust_after": "0", "policy__trust_all_after": "0", "policy__delay": '"1s"'}
    site.change(**none)
    passed_once(site)
    assert site.number(TRUSTED_RECORDS, TRUSTED) == before
    site.change(**none | changes)
    client = f"192.0.2.{100 + len(changes) + before}"
    asked = {"sender": site.fresh(), "client_address": client, "client_name": "mx.example.org"}
    site.ask(**asked)
    time.sleep(1.1)
    assert site.ask(**asked) == LET_IN
    assert site.number(TRUSTED_RECORDS, TRUSTED) > before


def trust_after(site: Site) -> None:
    _earns_trust(site, policy__trust_after="5")


def trust_all_after(site: Site) -> None:
    _earns_trust(site, policy__trust_all_after="5")


def _have_noted(site: Site, key: Triplet) -> None:
    now = int(time.time())
    with contextlib.closing(open_store(f"sqlite://{site.daemon.database}", timeout=4)) as store:
        store.apply([Noted(key, now, now + 86400)], {}, now)


def correspondents(site: Site) -> None:
    site.change(policy__correspondents='"off"')
    sender = site.fresh()
    _have_noted(site, sent_of(sender, "other@example.net"))
    assert site.ask(sender=sender, recipient="other@example.net") != LET_IN
    sender = site.fresh()
    _have_noted(site, sent_of(sender, "other@example.net"))
    site.change(policy__correspondents='"90d"')
    assert site.ask(sender=sender, recipient="other@example.net") == LET_IN


def greylist(site: Site) -> None:
    site.change(policy__greylist='"off"')
    assert site.ask() == LET_IN


def signs(site: Site) -> None:
    assert site.ask(helo_name="[192.0.2.1]") != LET_IN
    site.change(policy__greylist='"suspicious"', policy__signs='["sender-is-recipient"]')
    assert site.ask(helo_name="[192.0.2.1]") == LET_IN
    site.change(policy__greylist='"suspicious"', policy__signs='["helo"]')
    assert site.ask(helo_name="[192.0.2.1]") != LET_IN


def signs_needed(site: Site) -> None:
    signs = '["helo", "sender-is-recipient"]'
    needed = {"policy__greylist": '"suspicious"', "policy__signs": signs}
    site.change(**needed, policy__signs_needed="2")
    assert site.ask(helo_name="[192.0.2.1]") == LET_IN


def our_names(site: Site) -> None:
    needed = {"policy__greylist": '"suspicious"', "policy__signs": '["helo"]'}
    site.change(**needed)
    assert site.ask(helo_name="mx.example.com") == LET_IN
    site.change(**needed, policy__our_names='["mx.example.com"]')
    assert site.ask(helo_name="mx.example.com") != LET_IN


TRAPPED = {"client_address": "203.0.114.7"}


def trap(site: Site) -> None:
    _have_noted(site, trapped_of(bytes((203, 0, 114, 7))))
    site.change(policy__trapped_for='"1d"', policy__trap='"defer"')
    assert b"in 86400 seconds" in site.ask(**TRAPPED)


def trapped_for(site: Site) -> None:
    site.change(policy__trapped_for='"off"')
    _have_noted(site, trapped_of(bytes((203, 0, 114, 7))))
    assert b"in 300 seconds" in site.ask(**TRAPPED)
    site.change(policy__trapped_for='"1d"')
    assert site.ask(**TRAPPED).startswith(b"action=553")


@contextlib.contextmanager
def name_server() -> Iterator[tuple[socket.socket, str]]:
    """A name server that never answers; with its address, as a list in TOML."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        yield server, f'["127.0.0.1:{server.getsockname()[1]}"]'


def asked_about(server: socket.socket, name: bytes) -> bool:
    """Wait for a question about a name; others may come before it."""
    return any(name in server.recv(512) for _ in range(6))


def servers(site: Site) -> None:
    """The next question goes to another server."""
    for _ in range(2):
        with name_server() as (server, address):
            site.change(policy__identity='"spf"', dns__servers=address)
            site.ask()
            assert asked_about(server, b"\x07example\x03org")


def _zone(site: Site, **changes: str) -> None:
    with name_server() as (server, address):
        site.change(dns__servers=address, **changes)
        site.ask()
        assert asked_about(server, b"\x03192\x04zone\x07example")


def dnsbl(site: Site) -> None:
    signs = {"policy__greylist": '"suspicious"', "policy__signs": '["dnsbl"]'}
    _zone(site, dns__dnsbl='["zone.example.org"]', **signs)


def dnswl(site: Site) -> None:
    _zone(site, dns__dnswl='["zone.example.org"]')


def suffixes(site: Site) -> None:
    """It is read at a reload: one that is missing leaves the old settings in force."""
    by_name, kept = {"policy__identity": '"spf+name"'}, site.folder / "suffixes"
    kept.write_text(SUFFIXES)
    site.change(**by_name, dns__suffixes=f'"{kept}"')
    write_settings(site.folder, site.port, {**by_name, "dns__suffixes": '"/nowhere"'})
    site.daemon.process.send_signal(signal.SIGHUP)
    assert site.daemon.logged("/nowhere: no such file")


def on_failure(site: Site) -> None:
    with site.locked():
        assert site.ask() == LET_IN
    site.change(store__on_failure='"defer"')
    with site.locked():
        assert site.ask() != LET_IN
    site.change()


def max_waiting(site: Site) -> None:
    site.change(store__max_waiting="10000")
    site.ask_all(lambda n: f"10.{n >> 8}.{n & 255}.1", range(11_000), "many")
    assert site.soon_at_most(10_000, "SELECT count(*) FROM records WHERE passed = 0")


OF_NETWORK = "SELECT count(*) FROM records WHERE network = ? AND settled = ?"


def max_waiting_per_network(site: Site) -> None:
    site.change(store__max_waiting_per_network="100")
    site.ask_all(lambda _: "198.51.100.7", range(400), "few")
    assert site.soon_at_most(100, OF_NETWORK, bytes((198, 51, 100, 0)), 0)


def max_passed_per_network(site: Site) -> None:
    """The daemon looks at a network of which it has seen much, when mail of it passes."""
    network, now = bytes((198, 18, 0, 0)), int(time.time())
    keys = [Triplet(network, f"before{n}@example.org", "b@example.net") for n in range(1100)]
    with contextlib.closing(open_store(f"sqlite://{site.daemon.database}", timeout=4)) as store:
        store.apply([Created(key, now - 300, now - 1, now + 86400) for key in keys], {}, now)
        store.apply([Passed(key, now + 86400) for key in keys], {}, now)
    site.change(store__max_passed_per_network="1000", policy__delay='"1s"')
    assert site.number(OF_NETWORK, network, 1) == 1100
    end = time.monotonic() + 60
    while site.number(OF_NETWORK, network, 1) > 1000 and time.monotonic() < end:
        # Where the disk is slow, the deadline lets in what gets no record, and it comes anew.
        site.ask_all(lambda _: "198.18.0.7", range(100), "passes")
        time.sleep(1.1)
    assert site.number(OF_NETWORK, network, 1) <= 1000


REMEMBERED = "SELECT count(*) FROM deferrals"


def remembers(site: Site, seconds: float = 20) -> bool:
    """Tell whether a deferral gets into the history, about a second after the answer."""
    sender = site.fresh()
    site.ask(sender=sender)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if site.rows("SELECT 1 FROM deferrals WHERE sender = ?", sender):
            return True
        time.sleep(0.05)
    return False


def history_keep(site: Site) -> None:
    assert remembers(site)
    site.change(history__keep='"off"')
    assert not remembers(site, 3)
    site.change(history__keep='"7d"')
    assert remembers(site)


def history_most(site: Site) -> None:
    end = time.monotonic() + 60
    while site.number(REMEMBERED) <= 1000 and time.monotonic() < end:
        tag = site.fresh()[:-12]  # of a flood some are left out
        site.ask_all(lambda n: f"10.9.{n >> 8}.{n & 255}", range(450), tag)
        time.sleep(1.5)
    assert site.number(REMEMBERED) > 1000
    site.change(history__most="1000")
    assert site.soon_at_most(1000, REMEMBERED)


def reply_defer(site: Site) -> None:
    site.change(reply__defer='"451 4.7.1 another text"')
    assert b"another text" in site.ask()


def reply_deny(site: Site) -> None:
    site.change(reply__deny='"554 5.7.1 another text"')
    assert b"another text" in site.ask(client_address="203.0.113.9")


def reply_deny_recipient(site: Site) -> None:
    site.change(reply__deny_recipient='"554 5.7.1 another text"')
    assert b"another text" in site.ask(recipient="b@denied.example")


def header(site: Site) -> None:
    site.change(policy__delay='"1s"', reply__header="true")
    assert passed_once(site)[1].startswith(b"action=PREPEND X-Greylist")


CONNECTION = {"protocol_state": "CONNECT", "greylag_client": "jgreylist"}


def trust_tcp(site: Site) -> None:
    with Connection(site.port) as client:
        assert b"greylag_reason" not in client.ask(**CONNECTION)
    site.change(server__trust_tcp="true")
    with Connection(site.port) as client:
        assert b"greylag_reason" in client.ask(**CONNECTION)


def max_connections(site: Site) -> None:
    with site.daemon.connect() as client:
        client.ask()
        site.change(server__max_connections="1")
        time.sleep(0.3)
        with site.daemon.connect() as other:
            assert other.ask()
            assert client.closed()  # it was idle


def max_connections_per_peer(site: Site) -> None:
    with Connection(site.port) as client:
        assert client.ask()
        site.change(server__max_connections_per_peer="1")
        time.sleep(0.3)
        with Connection(site.port) as other:
            assert other.ask()
            assert client.closed()  # it was idle


def deadline(site: Site) -> None:
    site.change(server__deadline='"3s"')
    with site.locked():
        assert site.ask() == LET_IN
    assert site.daemon.logged("no answer within 3 s")


def trees(site: Site) -> None:
    tree = site.folder / "tree"
    tree.mkdir(mode=0o700)
    asked = {**CONNECTION, "greylag_tree": str(tree)}
    assert site.ask(**asked) == b"greylag_tree=no"
    site.change(jgreylist__trees=f'["{tree}"]')
    assert site.ask(**asked).endswith(b"greylag_tree=yes")


def max_dialogues(site: Site) -> None:
    site.change(jgreylist__max_dialogues="0")
    with talking(site.folder) as client:
        assert client.reply().startswith(b"421 ")


def max_per_network(site: Site) -> None:
    site.change(jgreylist__max_per_network="0")
    with talking(site.folder) as client:
        assert client.reply().startswith(b"421 ")


def idle(site: Site) -> None:
    """With the default of half a minute nothing would come before this test gives up."""
    site.change(jgreylist__idle='"5s"')
    with talking(site.folder) as client:
        client.socket.settimeout(15)
        assert client.reply().startswith(b"220 ")
        assert client.reply() == b"421 timeout"


def tarpit(site: Site) -> None:
    site.change(jgreylist__tarpit='"60s"')
    with talking(site.folder) as client:
        client.socket.sendall(b"EHLO x\r\n")
        readable = select.select([client.socket], [], [], 1.5)[0]
        assert not readable or not client.reply().startswith(b"250")


def log_file(site: Site) -> None:
    """The lines go to the new file, and where there is none again, to stderr."""
    files = [site.folder / "one.log", site.folder / "two.log"]
    for file in files:
        site.change(log__file=f'"{file}"')
        sender = site.fresh()
        site.ask(sender=sender)
        assert written(file, sender)
    missing = site.folder / "missing" / "x.log"
    site.change(log__file=f'"{missing}"')
    assert written(files[1], "level=error event=log-not-reopened")
    assert str(missing) in files[1].read_text()
    site.change()
    sender = site.fresh()
    site.ask(sender=sender)
    assert site.daemon.logged(sender)
    assert sender not in files[1].read_text()


def written(file: Path, text: str) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if file.exists() and text in file.read_text():
            return True
        time.sleep(0.02)
    return False


def log_level(site: Site) -> None:
    site.change(log__level='"warn"')
    unsaid, said = site.fresh(), site.fresh()
    site.ask(sender=unsaid)
    site.change()
    site.ask(sender=said)
    assert site.daemon.logged(said)
    assert unsaid not in site.log()


def log_times(site: Site) -> None:
    """RFC 3339 in a file, nothing on stderr, unless the setting says otherwise."""
    file = site.folder / "stamped.log"
    senders = [site.fresh() for _ in range(3)]
    site.change(log__file=f'"{file}"')
    site.ask(sender=senders[0])
    assert written(file, senders[0])
    site.change(log__file=f'"{file}"', log__times='"never"')
    site.ask(sender=senders[1])
    assert written(file, senders[1])
    site.change(log__times='"always"')
    site.ask(sender=senders[2])
    assert site.daemon.logged(senders[2])
    lines = [*file.read_text().splitlines(), *site.log().splitlines()]
    begins = [next(line.partition("greylag: ")[0] for line in lines if s in line) for s in senders]
    assert begins[1] == ""
    assert all(re.fullmatch(STAMP, begins[n]) for n in (0, 2))


def log_format(site: Site) -> None:
    ours, theirs = site.fresh(), site.fresh()
    site.ask(sender=ours)
    site.change(log__format='"postgrey"')
    site.ask(sender=theirs)
    assert site.daemon.logged(f"sender={theirs}, recipient=")
    assert f"sender={ours} recipient=" in site.log()
    assert site.daemon.logged("action=greylist, reason=new, client_name=")


APPLIED: dict[str, Callable[[Site], None]] = {
    "policy.delay": delay,
    "policy.retry_window": retry_window,
    "policy.lifetime": lifetime,
    "policy.ipv4_prefix": ipv4_prefix,
    "policy.ipv6_prefix": ipv6_prefix,
    "policy.null_sender": null_sender,
    "policy.probe_senders": probe_senders,
    "policy.explicit": explicit,
    "policy.normalise": normalise,
    "policy.mailbox_separator": mailbox_separator,
    "policy.identity": identity,
    "policy.trust_after": trust_after,
    "policy.trust_all_after": trust_all_after,
    "policy.correspondents": correspondents,
    "policy.greylist": greylist,
    "policy.signs": signs,
    "policy.signs_needed": signs_needed,
    "policy.our_names": our_names,
    "policy.trap": trap,
    "policy.trapped_for": trapped_for,
    "dns.servers": servers,
    "dns.dnsbl": dnsbl,
    "dns.dnswl": dnswl,
    "dns.suffixes": suffixes,
    "store.on_failure": on_failure,
    "store.max_waiting": max_waiting,
    "store.max_waiting_per_network": max_waiting_per_network,
    "store.max_passed_per_network": max_passed_per_network,
    "history.keep": history_keep,
    "history.most": history_most,
    "reply.defer": reply_defer,
    "reply.deny": reply_deny,
    "reply.deny_recipient": reply_deny_recipient,
    "reply.header": header,
    "server.trust_tcp": trust_tcp,
    "server.max_connections": max_connections,
    "server.max_connections_per_peer": max_connections_per_peer,
    "server.deadline": deadline,
    "jgreylist.trees": trees,
    "jgreylist.max_dialogues": max_dialogues,
    "jgreylist.max_per_network": max_per_network,
    "jgreylist.idle": idle,
    "jgreylist.tarpit": tarpit,
    "log.file": log_file,
    "log.level": log_level,
    "log.times": log_times,
    "log.format": log_format,
}
TOLD = {
    "store.url": '"sqlite:///nowhere/other.db"',
    "store.timeout": '"2s"',
    "server.socket": '"/nowhere/s"',
    "server.socket_mode": '"0600"',
    "server.socket_group": '"mail"',
    "server.handover": '"/nowhere/handover"',
    "server.handover_mode": '"0600"',
    "server.handover_group": '"mail"',
    "server.policy": "[]",
    "server.metrics": '"127.0.0.1:9"',
}


DASHBOARD = {"web.listen": '"127.0.0.1:9"', "web.users": '"/nowhere/users"'}


def test_every_setting_is_applied_or_told() -> None:
    assert set(APPLIED) == {option.key for option in OPTIONS if not option.restart}
    ours = {option.key for option in OPTIONS if not option.key.startswith("web.")}
    assert set(TOLD) == {option.key for option in OPTIONS if option.restart} & ours


def test_what_only_the_dashboard_reads_is_not_told(site: Site) -> None:
    before = site.log().count("event=restart-needed")
    site.change(**{key.replace(".", "__"): value for key, value in DASHBOARD.items()})
    assert site.log().count("event=restart-needed") == before


@pytest.mark.parametrize("key", APPLIED)
def test_a_reload_applies(site: Site, key: str) -> None:
    before = site.log().count("event=restart-needed")
    APPLIED[key](site)
    assert site.log().count("event=restart-needed") == before


@pytest.mark.parametrize("key", TOLD)
def test_a_reload_tells_what_needs_a_restart(site: Site, key: str) -> None:
    """And applies all else; it is told at each reload until the old value is back."""
    told = f"level=warn event=restart-needed settings={key}\n"
    before = site.log().count(told)
    for number in (1, 2):
        site.change(**{key.replace(".", "__"): TOLD[key], "policy__delay": '"7m"'})
        assert site.log().count(told) == before + number
        assert b"in 420 seconds" in site.ask()
    with Connection(site.port) as client:
        assert client.ask()
    site.change()
    assert site.log().count(told) == before + 2


def test_all_that_needs_a_restart_is_told_in_one_line(site: Site) -> None:
    site.change(**{key.replace(".", "__"): value for key, value in TOLD.items()})
    assert f"event=restart-needed settings={','.join(TOLD)}\n" in site.log()


def test_a_new_log_has_times_from_its_first_line_on(site: Site) -> None:
    file = site.folder / "new.log"
    site.change(server__metrics='"127.0.0.1:9"', log__file=f'"{file}"')
    assert written(file, "event=restart-needed")
    assert [line for line in file.read_text().splitlines() if not re.match(STAMP, line)] == []


def test_a_reload_applies_tables_of_recipients(site: Site) -> None:
    config = site.folder / "greylag.toml"
    write_settings(site.folder, site.port, {})
    table = '[[recipient]]\nmatch = ["postmaster@"]\ngreylist = "off"\n'
    config.write_text(config.read_text() + table)
    before = site.log().count("event=reloaded")
    site.daemon.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while site.log().count("event=reloaded") == before:
        assert time.monotonic() < end
        time.sleep(0.02)
    sender = site.fresh()
    assert site.ask(sender=sender, recipient="Postmaster@example.net") == LET_IN
    assert site.daemon.logged(f"reason=off client_address=192.0.2.17 sender={sender}")
    assert site.ask(recipient="other@example.net") != LET_IN
