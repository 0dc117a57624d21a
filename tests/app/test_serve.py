"""What the settings become: each has its place in the plan of the daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from greylag.app.config import load
from greylag.app.serve import plan_of
from greylag.core.policy import SPARING, Kept, Room, with_evidence
from greylag.core.value import replace
from greylag.core.verdict import Verdict
from greylag.server.daemon import Plan
from greylag.server.dialogues import DialogueLimits
from greylag.server.fronts import Endpoint, Rules
from greylag.server.fronts.policy import PolicyDelegation
from greylag.server.listeners import TcpPlace, UnixPlace
from greylag.server.session import Limits
from greylag.wire.reply import Replies

EVERYTHING = """
policy.delay = "7m"
store.url = "mysql://grey:geheim@db/mail"
store.on_failure = "defer"
store.max_waiting = 20001
store.max_waiting_per_network = 202
store.max_passed_per_network = 2003
history.keep = "7d"
history.most = 5000
reply.defer = "451 later"
reply.header = true
server.socket = "/run/x/s.sock"
server.socket_mode = "0600"
server.socket_group = "mail"
server.policy = ["192.0.2.1:10023", "[2001:db8::1]:10024"]
server.trust_tcp = true
server.max_connections = 31
server.max_connections_per_peer = 5
server.deadline = "3s"
server.metrics = "[::1]:9123"
jgreylist.trees = ["/var/qmail/x"]
jgreylist.max_dialogues = 41
jgreylist.max_per_network = 6
jgreylist.idle = "7s"
jgreylist.tarpit = "8s"
log.file = "/var/log/x"
log.level = "debug"
log.times = "always"
log.format = "postgrey"
"""


def plan(tmp_path: Path, text: str) -> Plan:
    (tmp_path / "greylag.toml").write_text(text)
    return plan_of(load({b"GREYLAG_CONFIG": bytes(tmp_path / "greylag.toml")}, str(tmp_path)))


def test_every_setting_has_its_place_in_the_plan(tmp_path: Path) -> None:
    made = plan(tmp_path, EVERYTHING)
    policy = with_evidence(replace(SPARING, dns=True, delay=420, old_tables=True))
    replies = Replies(defer="451 later")
    assert made.rules == Rules(
        policy, replies, Verdict.DEFER, True, ("/var/qmail/x",), True, made.rules.recipients
    )
    assert (made.store_name, made.deadline) == ("mysql://grey:***@db/mail", 3.0)
    assert made.endpoints == (
        Endpoint(UnixPlace("/run/x/s.sock", 0o600, "mail"), PolicyDelegation),
        Endpoint(TcpPlace("192.0.2.1", 10023), PolicyDelegation),
        Endpoint(TcpPlace("2001:db8::1", 10024), PolicyDelegation),
    )
    assert made.limits == Limits(31, 5)
    assert made.room == Room(20001, 202, 2003, Kept(7 * 86400, 5000))
    assert (made.log_file, made.log_level, made.log_times) == ("/var/log/x", 5, "always")
    assert made.log_format == "postgrey"
    assert made.metrics == TcpPlace("::1", 9123)
    assert made.reception.limits == DialogueLimits(41, 6, 7.0, 8.0)
    assert made.reception.policy == policy


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", UnixPlace("/run/x/handover.sock", 0o600, "mail")),
        ('handover = "/run/y/h.sock"', UnixPlace("/run/y/h.sock", 0o600, "mail")),
        ('handover_mode = "0666"', UnixPlace("/run/x/handover.sock", 0o666, "mail")),
        ('handover_group = "nofiles"', UnixPlace("/run/x/handover.sock", 0o600, "nofiles")),
    ],
)
def test_clients_are_handed_over_at_a_place_like_the_sockets(
    tmp_path: Path, text: str, place: UnixPlace
) -> None:
    server = 'socket = "/run/x/s.sock"\nsocket_mode = "0600"\nsocket_group = "mail"\n'
    assert plan(tmp_path, f"[server]\n{server}{text}\n").reception.socket == place
