"""`make run`: the main job, shown on real programs.

A qmail home below build/, the test host under real tcpserver, the installed plugin, SQLite.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.host.server import Client, Host, Reply, make_home, running

BIN = Path(sys.executable).parent
DELAY = 3  # seconds; a real one is minutes
RULES = '127.0.0.2:allow,RELAYCLIENT="",GREYLISTING=""\n:allow,GREYLISTING=""\n'
SENDER, RECIPIENT = "sender@example.org", "you@example.net"
STATE = Path("build/demo")


def prepare(home: Path) -> Path:
    """Make the qmail home as the README tells an admin to; return the settings' file."""
    home.mkdir(parents=True, exist_ok=True)
    make_home(
        home,
        ["plugins/ifauthskip", "plugins/greylisting"],
        rcpthosts=["example.net"],
        users={"user@example.net": "secret"},
    )
    subprocess.run(
        # By force, as the plugins run as whoever runs this: a checkout in a closed home will do.
        [BIN / "greylag", "qmail", "install", "--force", "--qmail-home", home],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for old in home.glob("greylag.db*"):
        old.unlink()
    config = home / "greylag.toml"
    config.write_text(
        f'[policy]\ndelay = "{DELAY}s"\n\n[store]\nurl = "sqlite://{home}/greylag.db"\n'
    )
    return config


def ask(host: Host, source: str = "127.0.0.1", *, login: bool = False) -> Reply:
    """Hold a session up to RCPT; return the reply to that."""
    with Client.connect(host.port, source=source) as client:
        client.ehlo()
        if login:
            client.auth_plain("user@example.net", "secret")
        client.mail(SENDER)
        reply = client.rcpt(RECIPIENT)
        client.quit()
    return reply


def show(what: str, wanted: int, question: Callable[[], Reply]) -> bool:
    """Ask and print; return whether the answer was the one it should be."""
    code, text = question()
    right = code == wanted
    print(f"  {what:46} {code} {text.decode('ascii', 'replace')}{'' if right else '   WRONG'}")
    return right


def main() -> int:
    """Show the main job; return the exit code: 0 if every answer was right."""
    home = STATE.resolve()
    config = prepare(home)
    log = home / "log"
    log.unlink(missing_ok=True)
    print("qmail-spp host under tcpserver, plugins/greylisting on SQLite, delay 3 s:\n")
    with running(home, rules=RULES, env={"GREYLAG_CONFIG": str(config)}, log=log) as host:
        right = show("first RCPT from a new sender", 451, lambda: ask(host))
        right &= show("a retry that is too early", 451, lambda: ask(host))
        time.sleep(DELAY)
        right &= show(f"a retry after the delay of {DELAY} s", 250, lambda: ask(host))
        right &= show("a client that has logged in", 250, lambda: ask(host, login=True))
        right &= show("a client that may relay", 250, lambda: ask(host, "127.0.0.2"))
    print("\nWhat the plugin logged:\n")
    print("".join(f"  {line}\n" for line in log.read_text().splitlines() if "verdict" in line))
    print_next_steps(config)
    return 0 if right else 1


def print_next_steps(config: Path) -> None:
    """Tell how to ask a first question, and how to see the record."""
    command = f"{BIN}/greylag --config {config}"
    environ = (
        f"GREYLAG_CONFIG={config} GREYLISTING= TCPREMOTEIP=192.0.2.17 \\\n"
        f"    SMTPMAILFROM={SENDER} SMTPRCPTTO={RECIPIENT}"
    )
    print(f"Ask a first question yourself:\n\n  {environ} {BIN}/greylisting\n")
    print(f"See the records:\n\n  {command} check 127.0.0.1 {SENDER} {RECIPIENT}")
    print(f"  {command} check 192.0.2.17 {SENDER} {RECIPIENT}\n  {command} stats\n")
    # Where the output is a file, it is kept back; the command below writes at once.
    print("What the first of these shows:\n", flush=True)
    subprocess.run([*command.split(), "check", "127.0.0.1", SENDER, RECIPIENT], check=False)
    print("\nSee a month of mail, with the daemon and the dashboard; its address is shown:\n")
    print(f"  {BIN}/greylag demo")


if __name__ == "__main__":
    sys.exit(main())
