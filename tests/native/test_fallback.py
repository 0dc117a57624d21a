"""Where the daemon is of no use, the one-shot is executed in the client's place."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from greylag.cli.plugins import script as plugin_script
from tests.e2e.plugin import Value
from tests.evil import EVIL
from tests.native.building import Builder
from tests.native.conftest import Client, events_of
from tests.native.daemon import Script, answering, hanging, running

Changes = dict[str, Value | None]
DEFER = answering(b"action=451 4.7.1 Greylisted\n\n")


GARBAGE: list[bytes] = [
    b"\n", b"\n\n", b"\r\n\r\n", b"action=\n\n", b"action\n\n", b"action=DUNNO", b"action=DUNNO\n",
    b"ACTION=DUNNO\n\n", b" action=DUNNO\n\n", b"action= DUNNO\n\n", b"action=DUNNO \n\n",
    b"action=DUNNO\r\n\r\n", b"action=DUNNO\r\n\n", b"action=DUNNO\0\n\n", b"action=DUNNOT\n\n",
    b"action=OK\n\n", b"action=REJECT\n\n", b"action=DEFER_IF_PERMIT later\n\n",
    b"action=451\n\n", b"action=451 \n\n", b"action=45 later\n\n", b"action=4511 later\n\n",
    b"action=451-more\n\n", b"action=4x1 later\n\n", b"action=250 ok\n\n", b"action=354 go\n\n",
    b"action=651 x\n\n", b"action=later\n\n", b"action=451 a\0b\n\n", b"action=451 a\rb\n\n",
    b"action=451 a\tb\n\n", b"action=451 a\x1b[2J\n\n", b"action=451 a\x7f\n\n",
    b"action=451 \xc3\xa9\n\n", b"action=451 \x80\n\n", b"action=451 a\r\n\r\n",
    b"action=451 " + b"x" * 497 + b"\n\n", b"action=451 " + b"x" * 2000 + b"\n\n", b"x" * 1024,
    b"x" * 100_000, b"action=451 x\naction=DUNNO\n\n", b"action=DUNNO\naction=451 x\n\n",
    b"action=451 x\ngreylag_at=rcpt\n\n", b"action=451 x\ngreylag_at=data\ngreylag_at=data\n\n",
    b"action=451 x\ngreylag_at=data \n\n", b"greylag_at=data\n\n", b"action=451 x\nA\n\n",
    b"action=451 x\nother=1\n\n", b"x\naction=451 x\n\n", b"\naction=451 x\n\n", b"451 x\n\n",
    b"E451 x\n", b"A\n\n", bytes(range(256)) * 8, b"\0" * 1024, b"\xff" * 5000, b"\n" * 5000,
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"%s%n" * 300 + b"\n\n", b"action=451 x\n" * 100,
]  # fmt: skip


def test_garbage_is_for_the_oneshot_and_never_printed(client: Client) -> None:
    for response in GARBAGE:
        with running(client.socket, answering(response)):
            log = client.asks_oneshot()
        (event,) = events_of(log)
        assert event["level"] == b"warn", response
        assert event["error"] in (
            b"the daemon's answer makes no sense: using the one-shot",
            b"the daemon hung up: using the one-shot",
        )


def test_a_response_that_does_not_end_is_garbage_at_1024_bytes(client: Client) -> None:
    def script(connection: socket.socket, _question: bytes) -> None:
        connection.sendall(b"x" * 1024)
        hanging(connection, b"")

    with running(client.socket, script):
        log = client.asks_oneshot()
    assert "the daemon's answer makes no sense: using the one-shot" in log


@pytest.mark.parametrize(
    "script", [answering(), answering(b"action=451 4.7.1 Grey")], ids=["at-once", "half-way"]
)
@pytest.mark.parametrize("reads", [True, False])
def test_a_daemon_that_hangs_up(client: Client, script: Script, reads: bool) -> None:
    with running(client.socket, script, reads=reads):
        log = client.asks_oneshot(SMTPMAILFROM="a" * 15_000)
    assert [event["error"] for event in events_of(log)] == [
        b"the daemon hung up: using the one-shot"
    ]


def place(path: Path, kind: str) -> Path:
    """Put something at the socket's path that nobody listens on."""
    if kind == "refused":
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
    elif kind == "a file":
        path.write_text("action=DUNNO\n\n")
    elif kind == "a loop":
        path.symlink_to(path)
    elif kind == "below a file":
        return Path("/dev/null/s")
    return path


@pytest.mark.parametrize("kind", ["missing", "refused", "a file", "a loop", "below a file"])
def test_a_daemon_that_cannot_be_reached(client: Client, kind: str) -> None:
    log = client.asks_oneshot(GREYLAG_SOCKET=str(place(client.socket, kind)))
    assert log == (
        'greylisting: level=warn error="the daemon cannot be reached: using the one-shot"\n'
    )


def test_the_log_level_of_the_client_network_holds(client: Client) -> None:
    assert client.asks_oneshot(GLLOGLEVEL="2") == ""
    assert client.asks_oneshot(GLLOGLEVEL="3") != ""
    for odd in ("", "x", "-1", "10", "2x"):
        assert client.asks_oneshot(GLLOGLEVEL=odd) != ""


def each(names: str, value: Value | None) -> list[Changes]:
    return [{name: value} for name in names.split()]


NOT_FOR_THE_DAEMON: list[Changes] = [
    *each("TCPREMOTEIP SMTPMAILFROM SMTPRCPTTO", None),
    *each("GLCONFIGFILE GLMYSQLDEFAULTFILE GREYLAG_CONFIG", ""),
    *each("TCPREMOTEIP TCPREMOTEHOST SMTPHELOHOST SMTPMAILFROM", "a\nsender=b"),
    *each("SMTPRCPTTO SMTPRCPTCOUNT GLEXPLICIT GLLOGLEVEL", "\n"),
    *each("SMTPMAILFROM SMTPHELOHOST GLBLOCKEXPIRE", "x" * 120_000),
    *[change for evil in EVIL if b"\n" in evil for change in each("SMTPMAILFROM", evil)],
]


def test_questions_that_the_daemon_must_not_get(client: Client, build: Builder) -> None:
    with running(client.socket, DEFER) as daemon:
        for changes in NOT_FOR_THE_DAEMON:
            assert client.asks_oneshot(**changes) == "", changes
            answer = client.of(build(fallback=0)).run(**changes)
            assert answer.output == b""
            assert [event["error"] for event in events_of(answer.log)] == [
                b"the daemon cannot take this question: letting the mail in"
            ]
    assert daemon.questions == []


def test_without_a_fallback_the_mail_is_let_in(client: Client, build: Builder) -> None:
    answer = client.of(build(fallback=0)).run()
    assert answer.output == b""
    assert events_of(answer.log) == [
        {
            "level": b"error",
            "reason": b"store-unavailable",
            "error": b"the daemon cannot be reached: letting the mail in",
        }
    ]
    assert not client.oneshot_ran()


def test_a_oneshot_that_cannot_be_run(client: Client, build: Builder, tmp_path: Path) -> None:
    answer = client.of(build(oneshot=build.folder / "missing")).run()
    assert answer.output == b""
    assert [event["error"] for event in events_of(answer.log)] == [
        b"the daemon cannot be reached: using the one-shot",
        b"the one-shot cannot be run: letting the mail in",
    ]


def test_a_oneshot_that_is_the_client_itself_does_not_go_round_for_ever(
    client: Client, build: Builder
) -> None:
    itself = build.folder / "itself"
    itself.unlink(missing_ok=True)
    itself.symlink_to(build(oneshot=itself) / "greylisting")
    answer = client.of(build(oneshot=itself)).run()
    assert answer.output == b""
    assert events_of(answer.log)[-1]["error"] == b"the one-shot is not one: letting the mail in"


def test_the_real_oneshot_answers_in_its_place(client: Client, build: Builder) -> None:
    oneshot = build.folder / "real-oneshot"
    oneshot.write_text(plugin_script("greylag.plugin.greylisting"))
    oneshot.chmod(0o755)
    config = client.record.with_name("greylag.toml")
    config.write_text(f'[store]\nurl = "sqlite://{config.parent}/greylag.db"\n')
    real = client.of(build(oneshot=oneshot))
    for sender in (b"a@example.org", b"a\nsender=b", b"x" * 120_000):
        answer = real.run(GREYLAG_CONFIG=str(config), SMTPMAILFROM=sender)
        assert answer.deferred, answer
