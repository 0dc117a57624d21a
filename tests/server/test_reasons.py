"""One word for one reason: in the log, in the metrics and in `greylag check`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greylag.core.verdict import Reason
from tests.server.daemon import BIN, Connection, Daemon, serving
from tests.server.test_serve import free_port

POLICY = '[policy]\ndelay = "3s"\nnull_sender = "never"\n'
FRIEND, FOE = "198.51.100.1", "203.0.113.1"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("reasons")
    with serving(
        folder, POLICY, server=f'metrics = "127.0.0.1:{port}"\n[log]\nlevel = "debug"'
    ) as running:
        greylag(running, "allow", "add", FRIEND)
        greylag(running, "deny", "add", FOE)
        time.sleep(2)
        yield running


def greylag(daemon: Daemon, *words: str) -> str:
    config = ["--config", str(daemon.folder / "greylag.toml")]
    done = subprocess.run(
        [BIN / "greylag", *config, *words],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout


def retried(client: Connection) -> None:
    client.ask(sender="retried@example.org")
    time.sleep(4.1)
    client.ask(sender="retried@example.org")


def known(client: Connection) -> None:
    retried(client)
    client.ask(sender="retried@example.org")


def early(client: Connection) -> None:
    client.ask(sender="early@example.org")
    client.ask(sender="early@example.org")


Provoke = Callable[[Connection], object]
BY_THE_DAEMON: dict[Reason, Provoke] = {
    Reason.OTHER_STAGE: lambda client: client.ask(protocol_state="DATA"),
    Reason.AUTHENTICATED: lambda client: client.ask(sasl_username="user"),
    Reason.INCOMPLETE: lambda client: client.ask(recipient=""),
    Reason.INVALID_CLIENT: lambda client: client.ask(client_address="not-an-ip"),
    Reason.DENYLISTED: lambda client: client.ask(client_address=FOE),
    Reason.ALLOWLISTED: lambda client: client.ask(client_address=FRIEND),
    Reason.NULL_SENDER: lambda client: client.ask(sender=""),
    Reason.NEW: lambda client: client.ask(sender="new@example.org"),
    Reason.EARLY: early,
    Reason.RETRIED: retried,
    Reason.KNOWN: known,
}
# Words that this daemon does not say, and the test that holds each.
ELSEWHERE = {
    Reason.DISABLED: "core/test_engine.py::test_rule",
    Reason.RELAY: "e2e/test_session.py::test_relaying_clients_are_untouched",
    Reason.RECIPIENT_REFUSED: "native/test_greylisting.py::test_whoever_is_exempt_costs_no_socket",
    Reason.NO_REVERSE_DNS: "core/test_connection.py::test_what_needs_no_record",
    Reason.NOT_LISTED: "core/test_engine.py::test_rule",
    Reason.OFF: "core/test_sparing.py::test_greylisting_can_be_off",
    Reason.EXPECTED: "core/test_sparing.py::test_rule_without_evidence",
    Reason.CORRESPONDENT: "core/test_sparing.py::test_our_users_teach_who_may_answer",
    Reason.TRUSTED: "core/test_sparing.py::test_trust_lasts_while_mail_comes",
    Reason.PROVIDER: "core/test_sparing.py::test_rule_without_evidence",
    Reason.DNSWL: "core/test_sparing.py::test_rule_with_evidence",
    Reason.TRAPPED: "core/test_sparing.py::test_who_mails_a_trap_is_refused_for_a_day",
    Reason.UNSUSPICIOUS: "core/test_sparing.py::test_signs",
    Reason.OBSERVED: "core/test_sparing.py::test_observing_lets_in_what_it_would_have_deferred",
    Reason.CONFIG_ERROR: "e2e/test_plugin.py::test_several_errors_of_greylag_toml_are_all_said",
    Reason.STORE_UNAVAILABLE: "server/test_failure.py::test_failing_may_mean_deferring",
    Reason.INTERNAL_ERROR: "e2e/test_failure.py::test_a_failure_of_our_own_is_said_and_lets_in",
}


def counted(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
        text = page.read().decode()
    lines = re.findall(r"^greylag_attempts_total\{(.*)\} (\S+)$", text, re.MULTILINE)
    return {re.findall(r'reason="([^"]*)"', labels)[0]: int(float(n)) for labels, n in lines}


@pytest.mark.parametrize("reason", BY_THE_DAEMON, ids=lambda reason: reason.value)
def test_the_log_and_the_metrics_say_the_same_word(
    daemon: Daemon, port: int, reason: Reason
) -> None:
    before = counted(port).get(reason.value, 0)
    with daemon.connect() as client:
        BY_THE_DAEMON[reason](client)
    assert counted(port)[reason.value] > before
    assert daemon.logged(f"reason={reason.value}")


@pytest.mark.parametrize(
    ("reason", "question"),
    [
        (Reason.DENYLISTED, (FOE, "a@example.org", "b@example.net")),
        (Reason.ALLOWLISTED, (FRIEND, "a@example.org", "b@example.net")),
        (Reason.NULL_SENDER, ("192.0.2.17", "<>", "b@example.net")),
        (Reason.NEW, ("192.0.2.17", "never-seen@example.org", "b@example.net")),
        (Reason.RETRIED, ("192.0.2.17", "check@example.org", "b@example.net")),
    ],
    ids=lambda item: item.value if isinstance(item, Reason) else "",
)
def test_check_says_the_same_word(
    daemon: Daemon, reason: Reason, question: tuple[str, ...]
) -> None:
    if reason is Reason.RETRIED:
        with daemon.connect() as client:
            client.ask(sender="check@example.org")
        time.sleep(4)
    assert json.loads(greylag(daemon, "check", "--json", *question))["reason"] == reason.value


def test_the_metrics_begin_with_a_zero_for_each_row_of_the_table(tmp_path: Path) -> None:
    """So that a rate is right from the first answer on, and no word is missing in a dashboard."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    with (
        serving(tmp_path, server=f'metrics = "127.0.0.1:{port}"'),
        urllib.request.urlopen(url, timeout=20) as page,
    ):
        text = page.read().decode()
    shown = re.findall(r"^greylag_attempts_total\{(.+)\} [01].0$", text, re.MULTILINE)
    found = {tuple(sorted(re.findall(r'(\w+="[a-z-]+")', labels))) for labels in shown}
    assert found == {
        (f'reason="{reason.value}"', f'verdict="{verdict.value}"')
        for reason in Reason
        for verdict in reason.verdicts
    }


def test_every_reason_is_held_somewhere() -> None:
    assert set(BY_THE_DAEMON) | set(ELSEWHERE) == set(Reason)
    for place in ELSEWHERE.values():
        file, _colons, name = place.partition("::")
        text = (Path(__file__).parent.parent / file).read_text()
        assert f"def {name}" in text, place


def test_ten_thousand_mails_add_no_series(daemon: Daemon, port: int) -> None:
    def series() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
            return sum(1 for line in page if line.startswith(b"greylag_"))

    with daemon.connect() as client:
        client.ask(sender="x@example.org")
        before = series()
        for number in range(2000):
            client.ask(sender=f"s{number}@example.org", recipient=f"r{number}@example.net")
    assert series() == before
