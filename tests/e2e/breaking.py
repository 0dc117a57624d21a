"""What the tests share that break a server that `greylag setup` has set up, one thing at a time.

Mail comes in all the time from a loop, which sends again what was deferred.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.servers.machine import Machine

# A line for each session: the answer that ended it. Who was deferred comes again after the delay.
LOOP = """
import os, smtplib, sys, time
port, client, message = int(sys.argv[1]), sys.argv[2], b"Subject: loop\\r\\n\\r\\nin the loop\\r\\n"
number, waiting = 0, []
with open("/var/log/loop", "a", buffering=1) as log:
    while not os.path.exists("/run/loop-end"):
        if waiting and waiting[0][0] < time.monotonic():
            sender = waiting.pop(0)[1]
        else:
            number += 1
            sender = f"loop{number}@example.org"
        try:
            try:
                smtp = smtplib.SMTP("192.0.2.25", port, "mail.example.org", 30, (client, 0))
            except ConnectionRefusedError:
                print("NOBODY listens", file=log)
                time.sleep(0.1)
                continue
            with smtp:
                smtp.ehlo()
                code, text = smtp.mail(sender)
                if code == 250:
                    code, text = smtp.rcpt("alice@example.net")
                if code == 250:
                    code, text = smtp.data(message)
                if code == 451 and len(waiting) < 5:
                    waiting.append((time.monotonic() + 3, sender))
            print(code, text.decode(), file=log)
        except Exception as error:
            print("LOST", repr(error), file=log)
        time.sleep(0.05)
"""
CLIENT = "198.51.100.9"
_MOST_ROUNDS = 4  # of reading what doctor says, and doing it


@dataclass(frozen=True)
class Broken:
    """Something that is broken: the code that doctor has to name it by, and how it is done."""

    code: str
    how: str
    defers: bool = False  # all mail is deferred until it is mended
    hangs_up: bool = False  # the server answers 421 to all who connect, until it is mended
    restarts: bool = False  # the mend starts tcpserver anew, and nobody listens for a moment


def chosen(
    broken: dict[str, Broken], others: Iterable[str] = (), also: Iterable[str] = ()
) -> list[str]:
    """Return the first of each code that `others` do not have; all where there is time."""
    if os.environ.get("GREYLAG_SOAK"):
        return list(broken)
    first = {one.code: what for what, one in reversed(broken.items()) if one.code not in others}
    return [what for what in broken if what in first.values() or what in also]


@dataclass(frozen=True)
class Told:
    """A problem that doctor tells."""

    level: str
    code: str
    text: str
    mend: str


@dataclass
class Sessions:
    """What became of the sessions of the loop, in parts."""

    machine: Machine
    read: int = 0
    all: list[str] = field(default_factory=list)

    def since(self) -> list[str]:
        """Return those that have ended since the last call."""
        text = self.machine.run(f"tail -c +{self.read + 1} /var/log/loop")
        text = text[: text.rfind("\n") + 1]
        self.read += len(text.encode())
        self.all += text.splitlines()
        return text.splitlines()


def start(machine: Machine, port: int) -> Sessions:
    machine.run(f"cat > /opt/loop.py <<'END'\n{LOOP}\nEND\n")
    machine.run(f"ip address add {CLIENT}/32 dev lo")  # nobody else asks from there
    machine.run(
        "rm -f /run/loop-end; : > /var/log/loop;"
        f" setsid /usr/bin/python3 -I /opt/loop.py {port} {CLIENT} </dev/null >/dev/null 2>&1 &"
    )
    return Sessions(machine)


def end(machine: Machine) -> None:
    machine.run("touch /run/loop-end")
    machine.eventually("pgrep -f /opt/loop.py || echo none", "none")


def doctor(machine: Machine) -> list[Told]:
    """Return the problems that doctor prints, with its own commands."""
    lines = machine.run("greylag doctor 2>&1 || [ $? -ge 10 ]").splitlines()
    found: list[Told] = []
    for line in lines:
        if line.startswith("        ") and found:
            found[-1] = Told(found[-1].level, found[-1].code, found[-1].text, line.strip())
            continue
        told = re.fullmatch(r"(\S+) +(\S+) +(.*)", line)
        assert told is not None, line
        found.append(Told(told[1], told[2], told[3], ""))
    assert len(found) > 5, lines
    return [one for one in found if one.level != "ok"]


def run(machine: Machine, command: str) -> None:
    """Run a command; where it has tcpserver started anew, wait until it is."""
    pid = "svstat /etc/service/qmail-smtpd | grep -o 'pid [0-9]*'"
    before = machine.run(pid, check=False)
    machine.run(command)
    if "svc -t" in command and "qmail-smtpd" in command:
        other = f"now=$({pid}) && [ \"$now\" != '{before.strip()}' ] && echo other"
        assert "other" in machine.eventually(other, "other")


def mended(machine: Machine, what: str, one: Broken) -> list[str]:
    """Break one thing; do what doctor says, until it is silent. Return the codes that it named."""
    run(machine, one.how)
    named: list[str] = []
    told = doctor(machine)
    assert one.code in [two.code for two in told], (what, told)
    for _round in range(_MOST_ROUNDS):
        # The thing itself first: what else was told may be gone with it.
        first = next((two for two in told if two.code == one.code), told[0])
        assert first.mend, (what, first)
        named.append(first.code)
        run(machine, first.mend)
        told = doctor(machine)
        assert one.code not in [two.code for two in told], (what, first, told)
        if not told:
            return named
    raise AssertionError((what, told))


def deferred(mail: Callable[[str], str]) -> str:
    """Send first mails until one is deferred; return the last answer.

    A daemon believes what it has read of the store for a second, such as that it is switched off.
    """
    end = time.monotonic() + 5
    for number in itertools.count():
        answer = mail(f"new-{number}-{time.time_ns()}@example.org")
        if answer.startswith("451 ") or time.monotonic() > end:
            break
    return answer


def wrong(sessions: list[str], one: Broken | None = None) -> list[str]:
    """Return what became neither of an accepted mail nor of one that was greylisted."""
    found = [x for x in sessions if not x.startswith("250 ") and "Greylisted" not in x]
    if one is not None and one.defers:
        found = [x for x in found if not x.startswith("451 ")]
    if one is not None and one.hangs_up:
        found = [x for x in found if "unable to read controls" not in x]
    if one is not None and one.restarts:
        found = [x for x in found if not x.startswith("NOBODY")]
    return found


def undone(machine: Machine, sessions: Sessions, mta: str) -> str:
    """Take setup back, with the settings as it left them; return what it said."""
    machine.run("cp -p /opt/toml /etc/greylag/greylag.toml")
    told = machine.run(f"greylag setup {mta} --undo --yes --purge")
    end(machine)
    sessions.since()
    return told
