"""What the client asks, and what it makes of a right answer."""

from __future__ import annotations

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.plugin import Value
from tests.evil import EVIL
from tests.native.building import Builder
from tests.native.conftest import Client
from tests.native.daemon import answering, running

DUNNO = answering(b"action=DUNNO\n\n")
DEFER = answering(b"action=451 4.7.1 Greylisted\n\n")
ALL = {
    "TCPREMOTEIP": "client_address",
    "TCPREMOTEHOST": "client_name",
    "SMTPHELOHOST": "helo_name",
    "SMTPMAILFROM": "sender",
    "SMTPRCPTTO": "recipient",
    "SMTPRCPTCOUNT": "greylag_rcptcount",
    "SMTPRCPTCOUNTALL": "greylag_rcptcountall",
    "GLBLOCKEXPIRE": "greylag_glblockexpire",
    "GLRECORDEXPIRE": "greylag_glrecordexpire",
    "GLRECORDEXPIREGOOD": "greylag_glrecordexpiregood",
    "GLLOGLEVEL": "greylag_glloglevel",
    "GLEXPLICIT": "greylag_glexplicit",
}
LEAST = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.17\n"
    b"sender=a@example.org\nrecipient=b@example.net\ngreylag_client=qmail-spp\n\n"
)


@pytest.mark.parametrize(
    "changes",
    [
        {"GREYLISTING": None},
        {"RELAYCLIENT": ""},
        {"RELAYCLIENT": "@example.org"},
        {"SMTPAUTHUSER": "a"},
        {"SMTPRCPTHOSTSOK": "0"},
        {"GREYLISTING": None, "TCPREMOTEIP": None, "GLCONFIGFILE": "x"},
    ],
)
def test_whoever_is_exempt_costs_no_socket(
    client: Client, changes: dict[str, Value | None]
) -> None:
    with running(client.socket, DEFER) as daemon:
        answer = client.run(**changes)
    assert (answer.output, answer.log, daemon.questions) == (b"", "", [])
    assert not client.oneshot_ran()


@pytest.mark.parametrize(
    "changes", [{"SMTPAUTHUSER": ""}, {"SMTPRCPTHOSTSOK": "00"}, {"SMTPRCPTHOSTSOK": None}]
)
def test_almost_exempt_is_not_exempt(client: Client, changes: dict[str, Value | None]) -> None:
    with running(client.socket, DEFER):
        assert client.run(**changes).deferred


def test_the_request_has_what_is_known_and_no_more(client: Client) -> None:
    with running(client.socket, DUNNO) as daemon:
        answer = client.run()
    assert (answer.output, answer.log) == (b"", "")
    assert daemon.questions == [LEAST]


def test_every_attribute_in_its_order(client: Client) -> None:
    values: dict[str, Value | None] = {name: f"of {name}" for name in ALL}
    with running(client.socket, DUNNO) as daemon:
        client.run(**values)
    (attributes,) = daemon.parsed()
    assert list(attributes.items()) == [
        (b"request", b"smtpd_access_policy"),
        (b"protocol_state", b"RCPT"),
        *((ALL[name].encode(), b"of " + name.encode()) for name in list(ALL)[:5]),
        (b"greylag_client", b"qmail-spp"),
        *((ALL[name].encode(), b"of " + name.encode()) for name in list(ALL)[5:]),
    ]


def test_empty_and_missing_values_differ(client: Client) -> None:
    with running(client.socket, DUNNO) as daemon:
        client.run(SMTPMAILFROM="", TCPREMOTEHOST="", SMTPHELOHOST=None)
    (attributes,) = daemon.parsed()
    assert attributes[b"sender"] == attributes[b"client_name"] == b""
    assert b"helo_name" not in attributes


RIGHT = [
    (b"action=DUNNO\n\n", b""),
    (b"action=dunno\n\n", b""),
    (b"greylag_at=data\naction=Dunno\n\n", b""),
    (b"action=451 4.7.1 Greylisted\n\n", b"E451 4.7.1 Greylisted\n"),
    (b"action=451 4.7.1 Greylisted\ngreylag_at=data\n\n", b"LD451 4.7.1 Greylisted\n"),
    (b"greylag_at=data\naction=450 later\n\n", b"LD450 later\n"),
    (b"action=553 5.7.1 No\n\n", b"E553 5.7.1 No\n"),
    (b"action=553 5.7.1 No\ngreylag_at=data\n\n", b"E553 5.7.1 No\n"),
    (b"action=451 " + b"~" * 496 + b"\n\n", b"E451 " + b"~" * 496 + b"\n"),
    (b"action=451 a=b action=DUNNO\n\n", b"E451 a=b action=DUNNO\n"),
    (b"action=DUNNO\n\naction=451 the next answer\n\n", b""),
    (b"action=451 once\n\n" + b"x" * 2000, b"E451 once\n"),
]


@pytest.mark.parametrize(("response", "output"), RIGHT)
def test_answers(client: Client, response: bytes, output: bytes) -> None:
    with running(client.socket, answering(response)):
        answer = client.run()
    assert (answer.output, answer.log) == (output, "")


@pytest.mark.parametrize(("response", "output"), [RIGHT[0], RIGHT[4], RIGHT[6]])
def test_answers_cut_at_every_byte(client: Client, response: bytes, output: bytes) -> None:
    for cut in range(1, len(response)):
        pieces = response[:cut], response[cut:]
        with running(client.socket, answering(*pieces, pause=0.005)):
            assert client.run().output == output, cut
    drops = [response[i : i + 1] for i in range(len(response))]
    with running(client.socket, answering(*drops, pause=0.002)):
        assert client.run().output == output


def test_hostile_values_arrive_as_they_are(client: Client) -> None:
    """T23, T24, CVE-2014-6271: values are data, whatever they look like."""
    fields = list(ALL)[:5]
    for evil in EVIL:
        if b"\n" in evil:
            continue
        with running(client.socket, DEFER) as daemon:
            answer = client.run(**dict.fromkeys(fields, evil))
        assert (answer.output, answer.log) == (b"E451 4.7.1 Greylisted\n", ""), evil
        (attributes,) = daemon.parsed()
        assert [attributes[ALL[name].encode()] for name in fields] == [evil] * len(fields)


def test_the_longest_values_of_smtp_fit_all_at_once(client: Client) -> None:
    values: dict[str, Value | None] = dict.fromkeys(ALL, b"\xff" * 899)
    with running(client.socket, DEFER) as daemon:
        assert client.run(**values).deferred
    (attributes,) = daemon.parsed()
    assert all(attributes[name.encode()] == b"\xff" * 899 for name in ALL.values())


def test_a_request_of_just_16_kib_is_sent_and_one_byte_more_is_not(client: Client) -> None:
    sender = b"a" * (16384 - len(LEAST) + len(b"a@example.org"))
    with running(client.socket, DEFER) as daemon:
        assert client.run(SMTPMAILFROM=sender).deferred
        assert client.asks_oneshot(SMTPMAILFROM=sender + b"a") == ""
    assert [len(question) for question in daemon.questions] == [16384]


def test_the_environment_chooses_nothing_else(client: Client) -> None:
    """T23: what the client reads is a fixed list of names."""
    foreign = dict.fromkeys(
        ("LANG", "LC_ALL", "IFS", "HOME", "TZ", "TMPDIR", "BASH_ENV", "ENV", "PYTHONPATH", "PWD",
         "PYTHONSTARTUP", "GREYLAG_STORE", "GREYLAG_DELAY", "GREYLAG_ONESHOT", "ONESHOT_PATH",
         "SOCKET_PATH", "MALLOC_CHECK_", "GCONV_PATH", "LOCPATH", "NLSPATH", "SMTPHELO",
         "client_address", "PROTO", "TCPREMOTEINFO", "TCPLOCALIP", "greylag_client"),
        b"() { :;}; exec /bin/false\n/x",
    )  # fmt: skip
    with running(client.socket, DEFER) as daemon:
        assert client.run(**foreign).deferred
    assert daemon.questions == [LEAST]


@pytest.mark.parametrize("named", ["", "/" + "x" * 107, "/" + "x" * 5000])
def test_without_a_usable_name_it_is_the_socket_compiled_in(
    client: Client, build: Builder, named: str
) -> None:
    with running(build.folder / "compiled-in.sock", DEFER):
        answer = client.run(GREYLAG_SOCKET=named)
    assert answer.output == b"E451 4.7.1 Greylisted\n"
    assert bool(answer.log) == bool(named)


@pytest.mark.parametrize(
    "closed", ["", "0<&-", "0<&- 1>&-", "0<&- 2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "1>/dev/full"]
)
def test_the_socket_never_stands_in_for_a_closed_descriptor(client: Client, closed: str) -> None:
    """The daemon sees nothing but the request: `running` looks at what else a client writes."""
    with running(client.socket, DEFER) as daemon:
        answer = client.run(closed)
    assert answer.output == (b"" if "1>" in closed else b"E451 4.7.1 Greylisted\n")
    assert daemon.questions == [LEAST]
    client.run(closed)  # no daemon now: the log line must not kill it either


def test_a_host_that_is_gone_does_not_kill_it(client: Client) -> None:
    with (
        running(client.socket, DEFER),
        subprocess.Popen(
            [client.program],
            env=client.variables({}),
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0


def test_descriptors_sent_along_are_dropped(client: Client) -> None:
    """T20."""

    def script(connection: socket.socket, _question: bytes) -> None:
        with Path("/dev/null").open("rb") as file:
            socket.send_fds(connection, [b"action="], [file.fileno()] * 253)
            socket.send_fds(connection, [b"451 x\n\n"], [file.fileno()] * 253)

    with running(client.socket, script):
        assert client.run().output == b"E451 x\n"


def test_sixteen_at_once_get_their_own_answers(client: Client) -> None:
    def script(connection: socket.socket, question: bytes) -> None:
        recipient = question.partition(b"recipient=")[2].partition(b"\n")[0]
        connection.sendall(b"action=451 not yet, " + recipient + b"\n\n")

    recipients = [f"user{number}@example.net" for number in range(64)]
    asking = [replace(client, environ={**client.environ, "SMTPRCPTTO": r}) for r in recipients]
    with running(client.socket, script), ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda one: one.run(), asking))
    assert [answer.output.decode() for answer in answers] == [
        f"E451 not yet, {recipient}\n" for recipient in recipients
    ]
