"""P20: which-mail.md, run as it stands, on Postfix as postfix.md sets it up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.app.toml_file import read_toml
from tests.e2e import test_postfix_page as postfix_page
from tests.e2e.plugin import needed
from tests.servers.machine import Machine, machine

PAGE = Path(__file__).parents[2] / "docs/everyday/which-mail.md"
SETTINGS = '[server]\npolicy = ["127.0.0.1:10023"]\n'
# Debian's own master.cf with its submission port uncommented, as the page asks for. Tests need a
# certificate, and a client who may say that somebody has logged in.
SUBMISSION = """
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
printf 'postlog unix-dgram n - n - 1 postlogd\\n' >> /etc/postfix/master.cf
sed -i '/^#submission inet/,/milter_macro/s/^#\\(submission \\|  -o \\)/\\1/' /etc/postfix/master.cf
[ -e /etc/postfix/own.pem ] || openssl req -x509 -nodes -newkey rsa:2048 -days 2 \
    -subj /CN=mx.example.net -keyout /etc/postfix/own.pem -out /etc/postfix/own.crt 2> /dev/null
postconf -e smtpd_tls_cert_file=/etc/postfix/own.crt smtpd_tls_key_file=/etc/postfix/own.pem \
    smtpd_authorized_xclient_hosts=127.0.0.1
"""
SUBMITTED = """
import smtplib, ssl, sys
login, sender, recipient = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", 587, "laptop.example.net", 100) as smtp:
    smtp.starttls(context=ssl._create_unverified_context())
    smtp.ehlo()
    if login:
        print(smtp.docmd("XCLIENT", "LOGIN=" + login))
        smtp.ehlo()
    smtp.mail(sender)
    code, text = smtp.rcpt(recipient)
print(code, text.decode())
"""


def blocks(title: str) -> list[str]:
    """Return the blocks of a section, each without its indent."""
    (part,) = [
        part for part in PAGE.read_text().split("\n## ")[1:] if part.startswith(f"{title}\n")
    ]
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", part, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n") + "\n" for block in found]


TITLES = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)
EVERYTHING = [(title, block) for title in TITLES for block in blocks(title)]
TOML = [(title, block) for title, block in EVERYTHING if block.startswith("[")]
COMMANDS = [(title, block) for title, block in EVERYTHING if not block.startswith("[")]


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("postfix", "postfix")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(postfix_page.SITE)
        made.run(postfix_page.SECTIONS["The daemon"])
        made.eventually(postfix_page.LOG, "event=started")
        made.run(postfix_page.SECTIONS["Postfix asks it"])
        yield made


def configure(debian: Machine, text: str) -> None:
    debian.run(f"cat > /etc/greylag/greylag.toml <<'END'\n{text}\nEND")


@pytest.mark.parametrize(("title", "block"), TOML, ids=[title for title, _ in TOML])
def test_all_settings_of_the_page_are_good(title: str, block: str) -> None:
    assert read_toml(block.encode(), title).errors == []


def test_all_commands_of_the_page(debian: Machine) -> None:
    """In their order, with all that the page switches on, where no name server answers."""
    configure(debian, SETTINGS + blocks("Switch it on")[0])
    for title, block in COMMANDS:
        if title == "Answers to your own users":
            debian.run(SUBMISSION)
        for line in block.splitlines():
            command = line
            if line.startswith("apt-get "):
                continue  # there is no network
            if line == "greylag providers refresh":
                command = f"{line} > /dev/null 2>&1 || [ $? = 1 ]"  # nor anybody who answers
            elif line.startswith("greylag check "):
                command = f"{line} || [ $? = 10 ]"
            elif line.startswith(("greylag search", "greylag distrust ")):
                command = f"{line} || [ $? = 1 ]"
            debian.run(command)
    assert "you@example.net" not in debian.run("greylag expect list; true")
    assert "mail.partner.example" in debian.run("greylag allow list")
    assert "old-address@example.net" in debian.run("greylag trap list")
    shown = debian.run("greylag config")
    for word in ("policy.normalise", "policy.identity", "recipient.match"):
        assert re.search(
            rf"^ *{re.escape(word)} .* /etc/greylag/greylag.toml:\d+$", shown, re.MULTILINE
        )


def mail(debian: Machine, sender: str, recipient: str = "alice@example.net") -> str:
    return postfix_page.mail(debian, postfix_page.OUTSIDE, sender, recipient)


def reload(debian: Machine, text: str) -> None:
    configure(debian, SETTINGS + text)
    debian.run("systemctl restart greylag")
    debian.eventually("greylag config --check", "ok")
    debian.run(
        "for n in $(seq 100); do bash -c ': > /dev/tcp/127.0.0.1/10023' && exit; sleep 0.1; done"
    )


def test_whom_a_user_wrote_to_may_answer_at_once(debian: Machine) -> None:
    debian.run(SUBMISSION)
    reload(debian, blocks("Switch it on")[0])
    (section,) = blocks("Answers to your own users")
    debian.run(section)
    assert mail(debian, "stranger@example.org").startswith("451")
    told = debian.python(SUBMITTED, "alice", "alice@example.net", "friend@example.org")
    assert told.splitlines()[-1].startswith("250"), told
    debian.eventually(postfix_page.LOG, "reason=authenticated")
    debian.run("sleep 2")  # it is remembered with what else is written later
    assert mail(debian, "friend@example.org").startswith("250")
    debian.eventually(postfix_page.LOG, "reason=correspondent")
    assert mail(debian, "other@example.org").startswith("451")
    for recipient in ("friend@example.org", "alice@example.net"):
        told = debian.python(SUBMITTED, "", "nobody-logged-in@example.com", recipient)
        assert told.splitlines()[-1].startswith("554 5.7.1"), told
    assert "nobody-logged-in" not in debian.run(postfix_page.LOG)


def test_of_tables_for_some_the_first_holds_so_postmaster_stays_free(debian: Machine) -> None:
    (tables,) = blocks("Less for some recipients")
    reload(debian, tables.replace("codes@", "bob@"))
    debian.run("id bob > /dev/null 2>&1 || useradd --create-home bob")
    assert mail(debian, "table@example.org", "bob@example.net").startswith("250")
    assert mail(debian, "table@example.org").startswith("451")
    assert mail(debian, "table@example.org", "postmaster@example.net").startswith("250")


def test_what_is_expected_and_who_is_never_greylisted(debian: Machine) -> None:
    reload(debian, blocks("Switch it on")[0])
    assert mail(debian, "codes@shop.example.org").startswith("451")
    debian.run("greylag expect alice@example.net")
    debian.run("sleep 3")
    assert mail(debian, "codes@shop.example.org").startswith("250")
    debian.run("greylag expect end alice@example.net")
    assert mail(debian, "a@example.org", "postmaster@example.net").startswith("250")


def test_observing_delays_nothing(debian: Machine) -> None:
    (section,) = [b for b in blocks("Try it without delaying anybody") if b.startswith("[")]
    reload(debian, section)
    assert mail(debian, "observed@example.org").startswith("250")
    debian.eventually(postfix_page.LOG, "reason=observed .*instead=new")
