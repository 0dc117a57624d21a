"""P3: each parser that hostile bytes reach, a million mutants of real input each (`make soak`).

A mutant is a seed with a few wounds: bits turned, pieces cut out, doubled, moved or put in from
another seed. What a parser says of it has to be one of its answers, whole; nothing else is caught.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import suppress

import pytest

from greylag.admin.seeding import Found, Reader
from greylag.core.address import MAX_LENGTH, canonical, normalise
from greylag.core.attempt import Attempt
from greylag.core.client import format_address, parse_address
from greylag.core.connection import precheck_connection
from greylag.core.engine import decide, precheck
from greylag.core.policy import NullSender, Policy
from greylag.core.question import Question
from greylag.core.subject import parse_subject
from greylag.core.verdict import Decision
from greylag.service.policies import Policies
from greylag.wire.connection import read_connection, write_connection_action
from greylag.wire.handover import read_opening
from greylag.wire.logline import decision_line, parse_event
from greylag.wire.oldplugin import read_file
from greylag.wire.policy import (
    MAX_REQUEST,
    Broken,
    Request,
    RequestReader,
    read_attempt,
    read_plugin_attempt,
    write_action,
    write_plugin_action,
)
from greylag.wire.qmailspp import read_environment, write_command
from greylag.wire.reply import Replies
from greylag.wire.tempfail import ROOM, Dialogue, End, Turn
from tests.strategies import SOAK
from tests.wire.hostile import VALUES

MUTANTS = 1_000_000 if SOAK else 2_000
NOW = 1_800_000_000
POLICY = Policy(null_sender=NullSender.RCPT)
REPLIES = Replies()
RESPONSE = re.compile(rb"action=[ -~]{1,520}\n(greylag_(at=data|reason=[a-z-]+)\n)?\n")
COMMAND = re.compile(rb"((E|LD)[45]\d\d [ -~]{1,500}\n)?")
REPLY = re.compile(rb"[245]\d\d [ -~]{1,500}\r\n")

_POSTFIX = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.17\nsasl_username=\n"
    b"sender=a@example.org\nrecipient=b@example.net\nrecipient_count=0\ninstance=1a.2b.0\n\n"
)
_PLUGIN = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\ngreylag_client=plugin\nsender=\n"
    b"client_address=2001:db8::17\nrecipient=b@example.net\ngreylag_glblockexpire=2\n\n"
)
_CONNECTION = (
    b"request=smtpd_access_policy\nprotocol_state=CONNECT\ngreylag_client=jgreylist\n"
    b"client_address=192.0.2.17\nclient_name=mx.example.org\ngreylag_jgreylist=no %\n"
    b"greylag_byip=1\ngreylag_holdtime=30\ngreylag_norev=\ngreylag_timeout=60\ngreylag_limit=3\n"
    b"greylag_reply=450 GREYLIST Try again later.\n\n"
)
REQUESTS = [_POSTFIX, _PLUGIN, _CONNECTION]
ADDRESSES = [
    *(b"192.0.2.17", b"::ffff:192.0.2.17", b"2001:db8::1", b"fe80::1%eth0", b"::", b"0.0.0.0"),
    *(b"1:2:3:4:5:6:7:8", b"2001:db8:0:0:0:0:192.0.2.1", b"[192.0.2.17]", b"192.0.2.0/24"),
    *(b"2001:db8::/32", b"::ffff:192.0.2.0/120", b"example.org", b"xn--bcher-kva.example.org"),
]
MAILBOXES = [
    *(b"a@example.org", b"prvs=1234abcdef=a@example.org", b"prvs=a/1234abcdef@example.org", b""),
    *(b"a+tag=b=c@example.org", b"list-return-17-b=example.net@example.org", b"SRS0=HHH=TT=d=a@x"),
]
TALK = [
    b"EHLO a.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nQUIT\r\n",
    b"HELO x\nRCPT TO:<b>\nDATA\nNOOP\rRSET\r\n.\r\nSTARTTLS\r\nAUTH PLAIN AA==\r\nquit now\r\n",
]
LOGS = [
    b"@4000000067450a2b1c2d3e4f tcpserver: pid 7 from 192.0.2.17",
    b"@4000000067450a2b1c2d3e4f mx: remote=192.0.2.17 result=accepted code=250 from=a@example.org",
    b"Nov 25 10:00:00 mx postfix/smtpd[7]: 4F2: client=mx.example.org[2001:db8::17]",
    b"2026-11-25T10:00:00.123456+01:00 mx postfix/smtpd[7]: 4F2: client=unknown[192.0.2.17]",
    # one mail in four lines
    (
        b"Nov 25 10:00:00 mx mail.info postfix/smtpd[7]: 4F2: client=mx.example.org[2001:db8::17]\n"
        b"Nov 25 10:00:00 mx postfix/qmgr[1]: 4F2: from=<a@x>, size=1, nrcpt=1 (queue active)\n"
        b"Nov 25 10:00:01 mx postfix/lmtp[1]: 4F2: to=<b@y>, relay=z, delay=1, delays=1/0/0/0, "
        b"dsn=2.0.0, status=sent (ok)\nNov 25 10:00:01 mx postfix/qmgr[1]: 4F2: removed"
    ),
    b"2026-11-25 10:00:00 1rP3xZ-0001aB-2C <= a@x H=mx.example.org (x) [192.0.2.17] P=smtp S=1",
]
CONTROL = [
    b"mysql_default_file=/etc/my.cnf\nblock_expire=2\nrecord_expire=2000\n# note\n",
    b"record_expire_good=36\r\nloglevel=4\r\nexplicit=1\r\n; note\r\n block_expire = 5\n",
]


def wounded(source: random.Random, seeds: list[bytes]) -> bytes:
    """Return a mutant of one of the seeds."""
    text = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 4)):
        at = source.randint(0, len(text))
        end = min(len(text), at + source.randint(0, 12))
        kind = source.randrange(6)
        if kind == 0:
            text[at:at] = source.choice(VALUES)[:600]
        elif kind == 1:
            text[at:at] = source.choice(seeds)
        elif kind == 2:
            text[at:at] = text[at:end] * source.choice((1, 2, 60))
        elif kind == 3:
            del text[at:end]
        elif kind == 4:
            text[at:end] = source.randbytes(end - at)
        elif at < len(text):
            text[at] ^= 1 << source.randrange(8)
    return bytes(text)


def decision_of(question: Decision | Question) -> Decision:
    return question if isinstance(question, Decision) else decide(question, None, NOW)


def answered(attempt: Attempt) -> None:
    """Follow an attempt to all that is written of it."""
    decision = decision_of(precheck(attempt, POLICY))
    line = decision_line(attempt, decision)
    assert parse_event(line)["verdict"] == decision.verdict.value.encode()
    assert "\n" not in line
    assert RESPONSE.fullmatch(write_action(decision, REPLIES, header=True))
    assert RESPONSE.fullmatch(write_plugin_action(decision, REPLIES))
    assert COMMAND.fullmatch(write_command(decision, REPLIES))


def policy(data: bytes) -> None:
    reader = RequestReader()
    half = len(data) // 2
    events = [*reader.feed(data[:half]), *reader.feed(data[half:])]
    assert events == [] or all(isinstance(event, Request) for event in events[:-1])
    for event in events:
        if isinstance(event, Broken):
            assert event.cause
            assert reader.feed(REQUESTS[0]) == []
            continue
        answered(read_attempt(event))
        answered(read_plugin_attempt(event))
        Policies(POLICY).of(read_plugin_attempt(event))
        connection = read_connection(event)
        decision = decision_of(precheck_connection(connection, POLICY))
        assert RESPONSE.fullmatch(write_connection_action(decision, connection))
        opening = read_opening(event, POLICY)
        assert opening is None or REPLY.fullmatch(opening.refusal)


def environment(data: bytes) -> None:
    names = (b"TCPREMOTEIP", b"SMTPMAILFROM", b"SMTPRCPTTO", b"SMTPRCPTCOUNT", b"SMTPAUTHUSER")
    values = dict(zip(names, data.split(b"|"), strict=False))
    answered(read_environment({b"GREYLISTING": b"", **values}))


def address(data: bytes) -> None:
    packed = parse_address(data)
    assert packed is None or parse_address(format_address(packed).encode()) == packed
    text = data.decode("latin-1")
    with suppress(ValueError):
        subject = parse_subject(text)
        assert parse_subject(str(subject)) == subject


def mailbox(data: bytes) -> None:
    for raw in (data, normalise(data)):
        text = canonical(raw)
        assert len(text) <= MAX_LENGTH
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text


def dialogue(data: bytes) -> None:
    talk = Dialogue(b"450 GREYLIST Try again later.\r\n", limit=3)
    turns: list[Turn] = []
    for start in range(0, len(data), ROOM):
        talk.feed(data[start : start + ROOM])
        while (turn := talk.next_turn()) is not None:
            turns.append(turn)
    assert all(REPLY.fullmatch(turn.reply) for turn in turns)
    assert all(turn.end is None for turn in turns[:-1])
    assert all(isinstance(turn.end, End) for turn in turns[-1:] if turn.end is not None)


def log(data: bytes) -> None:
    def known(found: Found) -> None:
        assert all(len(triplet.network) in (4, 16) for triplet in found)

    reader = Reader(NOW, 0, POLICY, None, by_address=False, triplets=True, write=known)
    for line in data.decode("latin-1").split("\n"):
        reader.take(line)
    reader.flush()


def control(data: bytes) -> None:
    found = read_file(data, "control/greylisting")
    assert (
        len(found.given) + len(found.errors) + len(found.notes)
        <= data.count(b"\n") + data.count(b"\r") + 2
    )


CASES: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "policy requests": (policy, REQUESTS),
    "a plugin's environment": (environment, [b"192.0.2.17|a@example.org|b@example.net|1|"]),
    "addresses and subjects": (address, ADDRESSES),
    "mailboxes": (mailbox, MAILBOXES),
    "dialogues": (dialogue, TALK),
    "logs": (log, LOGS),
    "control/greylisting": (control, CONTROL),
}


@pytest.mark.parametrize("name", CASES)
def test_mutants_get_a_defined_answer_p3(name: str) -> None:
    parser, seeds = CASES[name]
    start = random.SystemRandom().randrange(1 << 32) if SOAK else 1
    source = random.Random(start)
    for number in range(MUTANTS):
        mutant = wounded(source, seeds)
        try:
            parser(mutant)
        except BaseException:
            print(f"mutant {number} of seed {start}: {mutant!r}")
            raise


def test_the_longest_request_is_whole_p3() -> None:
    text = REQUESTS[0][:-1]
    policy(text + b"helo_name=" + b"x" * (MAX_REQUEST - len(text) - 10) + b"\n\n")
