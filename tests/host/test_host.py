"""Each fact of the qmail-spp contract, held against the host that the end-to-end tests trust."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from signal import SIGPIPE

import pytest

from tests.host.qmail_smtpd import Dialogue, Wire
from tests.host.server import PATH, Client, ConnectionLost, Host, Reply, make_home, running
from tests.host.spp import HangUp, read_environment

OK = (250, b"ok")
FOREIGN = (553, b"sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)")
SECOND = (451, b"second")
SHOW = ":cat /proc/$$/environ > env"
EVERY_BYTE = bytes(set(range(256)) - set(b'\0\r\n<>"\\@'))
RULES = '127.0.0.2:allow,RELAYCLIENT=""\n127.0.0.3:deny\n127.0.0.4:allow,NOSPP=""\n:allow\n'
PLUGIN = """#!/usr/bin/python3 -IS
import os, sys
fds = [fd for fd in range(99) if os.path.exists(f"/proc/self/fd/{fd}")]
print("E451", sys.stdin, fds, os.readlink("/proc/self/fd/1")[:5])
print(os.open("/dev/null", os.O_RDONLY), sys.argv, os.getcwd(), file=sys.stderr)
"""
Serve = Callable[..., Host]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return what runs a host whose [rcpt] section has the given lines."""
    with ExitStack() as stack:

        def start(*plugins: str, env: dict[str, str] | None = None, **home: object) -> Host:
            make_home(tmp_path, plugins, **home)  # type: ignore[arg-type]
            host = running(tmp_path, rules=RULES, env=env or {}, log=tmp_path / "log")
            return stack.enter_context(host)

        yield start


def ask(host: Host, *recipients: str, source: str = "127.0.0.1") -> list[Reply]:
    """Ask for each recipient in one session, then for NOOP; shorter if the session was ended."""
    replies: list[Reply] = []
    with host.connect(source) as client, suppress(ConnectionLost):
        client.helo()
        client.mail("a@example.org")
        replies.extend(client.rcpt(recipient) for recipient in recipients or ["b@example.net"])
        replies.append(client.command("NOOP"))
    return replies


def test_what_a_plugin_finds_open_and_ignored(serve: Serve, tmp_path: Path) -> None:
    """Stdin is closed, so that 0 is the next descriptor; a plain line is run as it stands."""
    (tmp_path / "a b").write_text(PLUGIN)
    (tmp_path / "a b").chmod(0o755)
    host = serve("# a comment", "", ":grep SigIgn /proc/$$/status > ignored; true", "./a b")
    assert ask(host) == [(451, b"None [1, 2] pipe:"), OK]
    assert f"0 ['./a b'] {tmp_path}" in host.log.read_text().splitlines()
    ignored = int((tmp_path / "ignored").read_text().split()[1], 16)
    assert ignored & 0x7FFFFFFF == 1 << (SIGPIPE - 1)  # 32 and 33 are glibc's own


def test_the_environment_is_the_server_s_and_the_session_s(serve: Serve) -> None:
    host = serve(SHOW, env={"GREYLISTING": "", "X": "a=b c"})
    ask(host, '"q s"@example.net', source="127.0.0.2")
    seen = read_environment(f"{host.home}/env")
    assert seen.pop(b"TCPREMOTEPORT").isdigit()
    assert seen.pop(b"TCPLOCALPORT") == b"%d" % host.port
    assert seen == {
        b"PATH": PATH.encode(), b"GREYLISTING": b"", b"X": b"a=b c", b"RELAYCLIENT": b"",
        b"PROTO": b"TCP", b"TCPREMOTEIP": b"127.0.0.2", b"TCPLOCALIP": b"127.0.0.1",
        b"TCPLOCALHOST": b"0", b"SMTPHELOHOST": b"client.example.org", b"SMTPRCPTCOUNT": b"0",
        b"SMTPMAILFROM": b"a@example.org", b"SMTPRCPTTO": b"q s@example.net",
        b"SMTPRCPTCOUNTALL": b"1", b"SMTPRCPTHOSTSOK": b"1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        (b"TO: b@example.net SIZE=1", b"b@example.net"),
        (b"TO:<>", b""),
        (b'TO:<"a>\\"b"\\\\@example.net>', b'a>"b\\@example.net'),
        (b"TO:<@one.example,@two.example:b@example.net>", b"b@example.net"),
        (b"TO:<b@[127.0.0.1]>", b"b@mx.example.org"),
        (b"TO:<b@[192.0.2.1]>", b"b@[192.0.2.1]"),
        (b"TO:<cut\0off>", b"cut"),
        (b"TO:<" + EVERY_BYTE + b"@example.net>", EVERY_BYTE + b"@example.net"),
        (b"TO:<" + b"x" * 899 + b">", b"x" * 899),
        (b"TO:<" + b"x" * 900 + b">", None),
        (b"nobody", None),
    ],
)
def test_addresses_arrive_unquoted(serve: Serve, argument: bytes, address: bytes | None) -> None:
    host = serve(SHOW)
    with host.connect() as client:
        client.mail("")
        assert client.command(b"RCPT " + argument)[0] == (555 if address is None else 250)
    seen = {} if address is None else read_environment(f"{host.home}/env")
    assert seen.get(b"SMTPRCPTTO") == address
    assert seen.get(b"SMTPMAILFROM") == (None if address is None else b"")
    assert b"SMTPHELOHOST" not in seen


def test_counts_rcpthosts_and_what_pass_sees(serve: Serve) -> None:
    """[pass] is asked about accepted recipients alone, and counts the one it is asked about."""
    count = ":echo {} $SMTPRCPTCOUNT $SMTPRCPTCOUNTALL $SMTPRCPTHOSTSOK >> counts"
    sections = {"pass": [count.format("P")]}
    host = serve(count.format("R"), sections=sections, rcpthosts=["Example.net", ".example.org"])
    assert ask(host, "a@EXAMPLE.net", "b@example.com", "c@x.example.org", "d@example.org", "e") == [
        OK, FOREIGN, OK, FOREIGN, OK, OK
    ]  # fmt: skip
    assert (host.home / "counts").read_text().splitlines() == [
        "R 0 1 1", "P 1 1 1", "R 1 2 0", "R 1 3 1", "P 2 3 1", "R 2 4 0", "R 2 5 1", "P 3 5 1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plugin", "replies"),
    [
        (":", [SECOND, SECOND, OK]),
        (r"printf 'A\n'", [FOREIGN, FOREIGN, OK]),
        (r"printf 'N\n'", [FOREIGN, SECOND, OK]),
        (r"printf 'O\n'", [OK, SECOND, OK]),
        (r"printf 'E451 a  b\nR451 unread\n'", [(451, b"a  b"), SECOND, OK]),
        (r"printf 'E451 caf\351\n'; exit 3", [(451, b"caf\xe9"), SECOND, OK]),
        (r"printf 'R421 gone\n'", [(421, b"gone")]),
        (r"printf 'D\n'", []),
        (r"printf 'P553-note\nP553-more\nN\n'", [(553, b"note\nmore\n" + FOREIGN[1]), SECOND, OK]),
        (r"printf 'LR450 later\n'", [SECOND, (450, b"later"), OK]),
        (r"printf 'E451 lost'", [(451, b"los"), SECOND, OK]),
        (r"printf 'N'", [SECOND, SECOND, OK]),
        (r"printf 'E451 nul\0cut\n'", [(451, b"nul"), SECOND, OK]),
        (r"printf '\n\nX\ne451 no\nL\nLX\nE451 end\n'", [(451, b"end"), SECOND, OK]),
    ],
)
def test_every_command(serve: Serve, plugin: str, replies: list[Reply]) -> None:
    """The first recipient meets the command; both are foreign, and a second plugin defers."""
    first = f":test $SMTPRCPTCOUNTALL = 1 || exit 0; {plugin}"
    host = serve(first, ":echo E451 second", rcpthosts=["example.org"])
    assert ask(host, "b@example.net", "c@example.net") == replies


def test_variables_set_and_unset_are_seen_by_later_plugins(serve: Serve) -> None:
    first = r":printf 'SNEW=a=b\nSEMPTY=\nUX\nSRELAYCLIENT=\n'"
    second = ':echo "E451 $NEW ${EMPTY-unset} ${X-unset} ${RELAYCLIENT-unset}"'
    assert ask(serve(first, second, env={"X": "1"})) == [(451, b"a=b  unset "), OK]
    relaying = serve(first, sections={"pass": [second]}, rcpthosts=["example.org"])
    assert ask(relaying) == [FOREIGN, OK], "the host itself has read RELAYCLIENT at its start"


def test_refusals_for_later_outlive_all_but_rset_and_data(serve: Serve) -> None:
    """Two of them at one command are two replies, so that a client gets out of step."""
    host = serve(":echo 'LM450 mail later'; echo 'LD451 data later'")
    with host.connect() as client:
        assert [client.mail(""), client.rcpt("b@example.net")] == [OK, OK]
        assert [client.mail(""), client.data("x\n")] == [(450, b"mail later"), (451, b"data later")]
        assert [client.helo()[0], client.mail("")] == [250, (450, b"mail later")]
        assert [client.rset()[0], client.mail("")] == [250, OK]
        assert [client.rcpt("b@example.net"), client.rcpt("c@example.net")] == [OK, OK]
        client.send(b"DATA\r\nNOOP\r\n")
        assert [client.reply() for _ in range(3)] == [(451, b"data later")] * 2 + [OK]


def test_changed_addresses_and_added_headers_are_in_the_message(serve: Serve) -> None:
    sections = {"mail": [":echo Cd@example.org"], "data": [":echo HX-Data: 1"]}
    rcpt = [":echo Cc@example.net; echo 'HX-Seen: b'", ':echo "HX-To: $SMTPRCPTTO"']
    host = serve(*rcpt, sections=sections)
    with host.connect() as client:
        assert [client.helo(b"he\xfflo")[0], client.mail("a@example.org")] == [250, OK]
        assert [client.rcpt("b@example.net"), client.data(".\n..x\n\nbody\n")[0]] == [OK, 250]
    head, _, body = host.messages()[0].partition(b"X-Data: 1\n")
    assert body == b".\n..x\n\nbody\n"
    assert head.startswith(b"Return-Path: <d@example.org>\nDelivered-To: c@example.net\nReceived: ")
    assert b"(HELO he\xfflo) (127.0.0.1)\n  by mx.example.org with SMTP; " in head
    assert head.endswith(b"\nX-Seen: b\nX-To: c@example.net\n")


@pytest.mark.parametrize("plugin", [":exit 120", "plugins/none", "control/me", ":kill -SEGV $$"])
def test_failures_turn_mail_away(serve: Serve, plugin: str) -> None:
    reason = "child crashed" if "kill" in plugin else "can't execute"
    reply = f"qmail-spp failure: {plugin}: {reason} (#4.3.0)".encode()
    assert ask(serve(plugin)) == [(451, reply), OK]


def test_a_crash_after_a_reply_makes_a_second_reply(serve: Serve) -> None:
    assert [code for code, _ in ask(serve(":echo E550 no; kill -SEGV $$"))] == [550, 451]


def test_the_host_waits_for_the_exit_and_reads_no_more(serve: Serve) -> None:
    host = serve(":echo E451 x; sleep 0.3; yes; touch done")  # yes ends by a closed pipe
    started = time.monotonic()
    assert ask(host) == [(451, b"x"), OK]
    assert time.monotonic() - started >= 0.3
    assert (host.home / "done").exists()


def test_sections_go_by_their_first_letter(serve: Serve, tmp_path: Path) -> None:
    names = ["connection", "h", "mailing", "rx]", "Rcpt", "pass", "d]", "x"]
    text = "".join(f"[{name}\n:echo {name} >> ran\n" for name in names)
    (tmp_path / "other").write_text(":echo above >> ran\n" + text)
    ask(serve(":echo E451 no", env={"SPPCONFFILE": "other"}))
    assert (tmp_path / "ran").read_text().split() == ["connection", "h", "mailing", "rx]", "pass"]
    with serve(env={"SPPCONFFILE": "none"}).connect() as client:
        assert client.banner == (421, b"unable to read controls (#4.3.0)")


def test_tcprules_decide_for_one_network(serve: Serve) -> None:
    """NOSPP turns plugins off, RELAYCLIENT opens rcpthosts, and who is denied gets no banner."""
    host = serve(":test $SMTPRCPTHOSTSOK = 1 || echo E451 x", rcpthosts=["example.org"])
    assert [ask(host, source=f"127.0.0.{i}")[0] for i in (2, 4, 5)] == [OK, FOREIGN, (451, b"x")]
    with pytest.raises(ConnectionLost):
        host.connect("127.0.0.3")


def test_auth_sets_the_variables_and_lets_relay(serve: Serve) -> None:
    tell = ":echo E451 ${SMTPAUTHUSER-no} ${SMTPAUTHMETHOD-no} ${RELAYCLIENT-no}. $TCPREMOTEINFO"
    refuse = ':test "$SMTPAUTHUSER" = u@x || echo E454 no'
    host = serve(tell, sections={"auth": [refuse]}, users={"u@x": "p:w", "no@x": "p"})

    def told(client: Client) -> Reply:
        client.mail("a@example.org")
        reply = client.rcpt("b@example.net")
        client.rset()
        return reply

    with host.connect() as client:
        assert b"AUTH PLAIN" in client.ehlo()[1].split(b"\n")
        assert told(client) == (451, b"no no no.")
        assert client.auth_plain("u@x", "wrong") == (535, b"authentication failed (#5.7.1)")
        assert told(client) == (451, b"no plain no.")
        assert client.auth_plain("no@x", "p") == (454, b"no")
        assert told(client) == (451, b"no@x plain no.")
        assert [client.command("AUTH PLAIN")[0], client.command("*")[0]] == [334, 501]
        assert [client.command("AUTH PLAIN !")[0], client.command("AUTH LOGIN")[0]] == [501, 504]
        assert [client.command("AUTH PLAIN")[0], client.command("AHVAeABwOnc=")[0]] == [334, 235]
        assert told(client) == (451, b"u@x plain . u@x")
        assert client.auth_plain("u@x", "p:w")[0] == 503


class Script(Wire):
    """A wire whose input comes in given pieces and whose output is kept."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(timeout=0)
        self.pieces = [piece for piece in pieces if piece]

    def flush(self) -> bool:
        return True

    def _receive(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def replies(self) -> list[bytes]:
        with pytest.raises(HangUp):
            Dialogue({}, self).run()
        return [line[:6] for line in bytes(self._unsent).split(b"\r\n")]


def test_input_may_be_cut_anywhere(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    host = serve(":echo P250-x")
    monkeypatch.chdir(host.home)
    stream = b"EHLO x\nMAIL FROM:<a@example.org>\r\nrcpt to:b\r\nX\r\nDATA\r\n..\r\n.x\r\n\r\n.\r\n"
    stream += b"RSET\r\nVRFY x\r\n\nQUIT\r\nNOOP"
    wanted = Script(stream).replies()
    for place in range(len(stream)):
        assert Script(stream[:place], stream[place:]).replies() == wanted
    with host.connect() as client:
        for byte in stream:
            client.send(bytes([byte]))
        assert [line[:6] for line in client.rest().split(b"\r\n")] == wanted[1:]
    assert {text.partition(b" -0000\n")[2] for text in host.messages()} == {b".\nx\n\n"}


def test_every_wait_has_an_end(serve: Serve, tmp_path: Path) -> None:
    """The end of input, a bare LF in a message and silence end a session; nothing outlives it."""
    host = serve()
    with host.connect() as client:
        client.send(b"NOOP\r\nNOOP")
        client.end_input()
        assert client.rest() == b"250 ok\r\n"
    with host.connect() as client:
        client.send(b"MAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nx\n")
        assert client.rest().endswith(b"\r\n451 See https://cr.yp.to/docs/smtplf.html.\r\n")
    (tmp_path / "control" / "timeoutsmtpd").write_text("0.1\n")
    with running(tmp_path, log=host.log) as other, other.connect() as client:
        assert client.rest() == b"451 timeout (#4.4.2)\r\n"
    with pytest.raises(ConnectionRefusedError):
        other.connect()


def test_a_missing_tcpserver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="ucspi-tcp"), running(tmp_path, log=tmp_path / "l"):
        pass
