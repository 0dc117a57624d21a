"""P20: commands of the handbook that no other test runs, as they stand, and all its settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.app.toml_file import read_toml
from tests.e2e.plugin import needed
from tests.e2e.test_daemon_page import SITE
from tests.e2e.test_qmail_page import blocks, one
from tests.servers.machine import Machine, machine

DOCS = Path(__file__).parents[2] / "docs"
INDENTED = re.compile(r"(?:^    .*\n(?:\n(?=    ))*)+", re.MULTILINE)
OTHERS = ("[Unit]", "[Service]", "[rcpt]", "[client]")  # files of other programs
SECTIONS = "policy|dns|store|history|reply|server|jgreylist|log|web|recipient"
# What the pages take for granted: logs of accepted mail, lists of postgrey and Postfix, a tree.
BEFORE = """
for name in jgreylist-clean:cli.jgreylist_clean:main greylisting_cleanup:cli.main:cleanup; do
    printf '#!/opt/greylag/.venv/bin/python\\nfrom greylag.%s import %s as main\\nmain()\\n' \\
        $(echo $name | cut -d: -f2,3 --output-delimiter=' ') > /opt/greylag/.venv/bin/${name%%:*}
    chmod 755 /opt/greylag/.venv/bin/${name%%:*}
done
install -d -o vpopmail -g vchkpw -m 2770 /var/lib/greylag
install -d -o vpopmail -g vchkpw /var/lib/jgreylist /var/log/qmail/smtpd
now=$(date '+%b %e %H:%M:%S')
stamp=$(printf '@4%015x00000000' $(($(date +%s) + 10)))
echo "$stamp 192.0.2.9 result=accepted code=250" > /var/log/qmail/smtpd/current
cp /var/log/qmail/smtpd/current /var/log/qmail/smtpd/$stamp.s
cat > /var/log/mail.log <<END
$now mx postfix/smtpd[1]: ABC123: client=mail.example.org[192.0.2.8]
$now mx postfix/qmgr[2]: ABC123: from=<a@example.org>, size=9, nrcpt=1 (queue active)
END
printf 'block_expire=5\\n' > /var/qmail/control/greylisting
mkdir -p /etc/postgrey /etc/postfix
[ -s /etc/postgrey/whitelist_clients ] || echo mail.example.org > /etc/postgrey/whitelist_clients
[ -s /etc/postgrey/whitelist_recipients ] ||
    echo abuse@example.net > /etc/postgrey/whitelist_recipients
printf '192.0.2.1 OK\\nmail.example.org OK\\n198.51.100.7 REJECT\\n' > /etc/postfix/client_access
"""


def settings() -> Iterator[tuple[str, str]]:
    """Yield what the pages show of greylag.toml."""
    for path in sorted(DOCS.rglob("*.md")):
        for piece in INDENTED.findall(path.read_text()):
            if re.match(rf"    \[+(?:{SECTIONS})\]", piece) and path.name != "which-mail.md":
                yield path.name, piece


@pytest.mark.parametrize(("page", "piece"), list(settings()), ids=str)
def test_all_settings_that_are_shown_are_good(page: str, piece: str) -> None:
    text = re.sub(r"^    ", "", piece, flags=re.MULTILINE)
    urls = re.findall(r"^url = .*\n", text, re.MULTILINE)  # two ways to say it: each by itself
    for url in urls or [""]:
        others = [line for line in text.splitlines(keepends=True) if line not in urls]
        said = "".join([*others[:1], url, *others[1:]])
        assert read_toml(said.encode(), page).errors == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("tcprules", "ucspi-tcp")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE + BEFORE)
        yield made


def test_what_is_known_from_logs(server: Machine) -> None:
    server.run(one(blocks("docs/start/jgreylist.md", "Install"), "greylag import"))
    server.run(
        blocks("docs/start/moving.md", "Coming from no greylisting, or from another greylister")[0]
    )


def test_the_old_plugins_settings_are_looked_at(server: Machine) -> None:
    told = server.run(blocks("docs/start/moving.md", "With the daemon")[0])
    assert told.startswith("ok\n")
    assert "control/greylisting" in told


def test_a_tree_is_cleaned_and_copied(server: Machine) -> None:
    pieces = blocks("docs/start/jgreylist.md", "The record tree")
    cron = one(pieces, "10 3 * * *").removeprefix("10 3 * * * ")
    server.run(f"runuser -u vpopmail -- {cron}")
    assert cron in blocks("docs/reference/jgreylist-clean.md", "Description")[0]
    server.run(one(pieces, "greylag db copy"))


@pytest.mark.parametrize(
    ("page", "heading", "number"),
    [
        ("docs/start/jgreylist.md", "tcprules", 0),
        ("docs/start/qmail.md", "Which clients", 0),
        ("docs/start/qmail.md", "Users who send mail", 0),
    ],
)
def test_rules_of_tcpserver(server: Machine, page: str, heading: str, number: int) -> None:
    rules = blocks(page, heading)[number]
    server.run(f"tcprules /run/rules.cdb /run/rules.tmp <<'END'\n{rules}END\n")
    assert server.run("TCPREMOTEIP=192.0.2.9 tcprulescheck /run/rules.cdb").strip()


def test_lists_of_postgrey_and_postfix(server: Machine) -> None:
    for piece in blocks("docs/start/postfix.md", "Lists of postgrey and of Postfix"):
        server.run(piece)
    server.run(blocks("docs/reference/commands.md", "Other programs' files")[0].replace("# ", ""))
    shown = server.run("greylag allow list")
    assert "192.0.2.1" in shown
    assert "198.51.100.7" in server.run("greylag deny list")


def test_cron_goes_on_with_our_cleaner(server: Machine) -> None:
    server.run("mkdir -p /usr/local/sbin")
    server.run(blocks("docs/running/mysql.md", "Cleaning up")[0])
    assert "deleted" in server.run("/usr/local/sbin/greylisting_cleanup.sh --dry-run")


def test_lines_of_run_scripts_are_shell(server: Machine) -> None:
    for page, heading in (
        ("docs/start/qmail.md", "softlimit"),
        ("docs/start/jgreylist.md", "daemontools"),
        ("docs/start/jgreylist.md", "Description"),
    ):
        piece = blocks(page, heading)[0]
        server.run(f"sh -n <<'END'\n{piece}END\n")
        assert "tcpserver" in piece


def test_a_user_of_the_dashboard_is_made(server: Machine) -> None:
    passwd, serve = one(
        blocks("docs/everyday/dashboard.md", "Start it"), "greylag web"
    ).splitlines()
    server.run(f"echo correct-horse-battery | {passwd}")
    assert "admin" in server.run("greylag web users")
    told = server.run(f"timeout -s TERM 5 {serve} 2>&1 || true")
    assert "event=web-started" in told


@pytest.mark.parametrize("page", ["start/postgrey", "start/sqlgrey"])
def test_a_page_for_those_who_come_shows_what_other_pages_do(page: str) -> None:
    """Their commands are run by the tests of those pages."""
    others = ("start/imports", "start/postfix", "everyday/which-mail")
    known = "".join((DOCS / f"{other}.md").read_text() for other in others)
    for line in re.findall(r"^ {4,}(greylag .*)$", (DOCS / f"{page}.md").read_text(), re.MULTILINE):
        assert f"    {line}\n" in known, line
