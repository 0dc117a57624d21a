"""`greylag allow` and `deny` with the options that say what a SUBJECT is."""

from __future__ import annotations

import json

import pytest

from greylag.core.subject import ClientName, Domain, SenderDomain, SenderMailbox
from tests.cli.conftest import Greylag

PREFIX = "greylag: "


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "allow add --client-name Mail.Example.org",
            (
                "client name mail.example.org and names below it: "
                "mail FROM it is let in where DNS confirms the name"
            ),
        ),
        (
            "deny add --client-name mx.mail.example.org",
            (
                "client name mx.mail.example.org and names below it: "
                "mail FROM it is refused where DNS confirms the name"
            ),
        ),
        (
            "allow add alice@partner.example --sender",
            "sender alice@partner.example: mail FROM it is let in where SPF passes",
        ),
        (
            "allow add --sender alice@partner.example --spoofable",
            "sender alice@partner.example: mail FROM it is let in, also if it is forged",
        ),
        (
            "deny add --sender-domain partner.example",
            "sender domain partner.example: mail FROM it is refused",
        ),
        (
            "allow add --sender-domain partner.example --with-subdomains",
            (
                "sender domain partner.example and domains below it: "
                "mail FROM it is let in where SPF passes"
            ),
        ),
        (
            "deny add --recipient bob@example.net",
            "recipient bob@example.net: mail TO it is refused",
        ),
        (
            "allow add --domain --with-subdomains example.net",
            "recipient domain example.net and domains below it: mail TO it is let in",
        ),
    ],
)
def test_what_was_understood_is_told(greylag: Greylag, words: str, told: str) -> None:
    result = greylag.run(*words.split())
    assert result.exit_code == 0
    assert f"{PREFIX}{told}\n" in result.stderr


def test_each_kind_is_another_entry_and_is_removed_by_its_kind(greylag: Greylag) -> None:
    for kind in ("--client-name", "--sender-domain", "--domain"):
        assert greylag.run("allow", "add", kind, "a.example.org").exit_code == 0
    assert greylag.run("allow", "remove", "--sender-domain", "a.example.org").exit_code == 0
    with greylag.store() as store:
        subjects = [entry.subject for entry in store.entries()]
    assert subjects == [ClientName("a.example.org"), Domain("a.example.org")]
    result = greylag.run("deny", "remove", "--client-name", "a.example.org")
    assert result.exit_code == 1
    assert "greylag allow remove --client-name a.example.org" in result.stderr


def test_lists_show_kind_origin_and_who_may_be_forged(greylag: Greylag) -> None:
    greylag.run("allow", "add", "--sender", "a@example.org", "--spoofable", "--comment", "c")
    (greylag.home / "names").write_text("mail.example.org # shop\n192.0.2.1\n")
    assert greylag.run("allow", "import", "--client-name", "names").exit_code == 0
    shown = greylag.run("allow", "list").stdout.splitlines()
    assert shown[0].split() == ["subject", "kind", "expires", "created", "origin", "comment"]
    assert "sender, spoofable" in shown[1]
    assert shown[2].split()[:3] == ["mail.example.org", "client", "name"]
    assert shown[2].split()[-2:] == ["names", "shop"]
    entries = greylag.json("allow", "list")["entries"]
    facts = ("subject", "kind", "purpose", "list", "spoofable", "origin", "comment")
    assert [[entry[fact] for fact in facts] for entry in entries] == [
        ["a@example.org", "sender", "access", "allow", True, "", "c"],
        ["mail.example.org", "client-name", "access", "allow", False, "names", "shop"],
        ["192.0.2.1", "network", "access", "allow", False, "names", ""],
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("allow add alice@partner.example", "--sender takes it for who mail is from"),
        ("allow add alice@partner.example", "--recipient for whom it is to"),
        ("allow add --sender --recipient a@b.example", "--sender and --recipient are two kinds"),
        ("allow add --with-subdomains a.example", "--with-subdomains goes with"),
        ("allow add --sender --with-subdomains a@b.example", "--with-subdomains goes with"),
        ("deny add --sender --spoofable a@b.example", "No such option '--spoofable'"),
        (
            "allow add --recipient --spoofable a@b.example",
            "--spoofable is for --sender and --sender-domain",
        ),
        ("allow add --sender partner.example", "--sender-domain names a domain"),
        ("allow add --client-name 192.0.2.1", "is an address"),
    ],
)
def test_a_wrong_use_says_what_to_choose(greylag: Greylag, words: str, told: str) -> None:
    result = greylag.run(*words.split())
    assert result.exit_code == 2
    assert told in result.stderr
    assert not greylag.database.exists()


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ("--client-name example.org", True),
        ("--client-name mail.example.org", False),
        ("--sender-domain --with-subdomains example.org", True),
        ("--sender-domain --with-subdomains xyz", True),
        ("--sender-domain --with-subdomains news.example.org", False),
        ("--sender-domain example.org", False),
        ("--sender a@example.org", False),
        ("--recipient b@example.net", False),
        ("--domain --with-subdomains a.example.net", True),
    ],
)
def test_a_denial_of_many_has_to_be_confirmed(greylag: Greylag, words: str, asks: bool) -> None:
    result = greylag.run("deny", "add", *words.split())
    assert result.exit_code == (1 if asks else 0)
    assert ("would be refused" in result.stderr) is asks
    assert greylag.run("deny", "add", *words.split(), "--yes").exit_code == 0


def test_a_file_of_senders_or_of_names(greylag: Greylag) -> None:
    (greylag.home / "senders").write_text("alice@partner.example # our partner\nEve@a.example\n")
    assert greylag.run("allow", "import", "--sender", "senders").exit_code == 0
    (greylag.home / "domains").write_text("partner.example\nnews.example\n")
    words = ("--sender-domain", "--with-subdomains", "domains")
    assert greylag.run("deny", "import", *words, "--yes").exit_code == 0
    with greylag.store() as store:
        found = [(entry.subject, entry.origin) for entry in store.entries()]
    assert found == [
        (SenderMailbox("alice@partner.example"), "senders"),
        (SenderMailbox("eve@a.example"), "senders"),
        (SenderDomain("partner.example", below=True), "domains"),
        (SenderDomain("news.example", below=True), "domains"),
    ]
    result = greylag.run("allow", "import", "--sender", "domains")
    assert result.exit_code == 2
    assert "domains:1: expected a mailbox" in result.stderr


def test_check_names_the_entry_that_decides_with_its_kind(greylag: Greylag) -> None:
    greylag.run("deny", "add", "--sender-domain", "example.org", "--comment", "ticket 7")
    result = greylag.run("check", "192.0.2.1", "a@example.org", "b@example.net")
    assert "list entry      sender domain example.org on the denylist\n" in result.stdout
    assert "  origin        an admin\n" in result.stdout
    assert "entry=sender-domain:example.org" in result.stdout
    shown = json.loads(
        greylag.run("check", "192.0.2.1", "a@example.org", "b@example.net", "--json").stdout
    )
    assert shown["entry"]["kind"] == "sender-domain"


def test_a_tag_of_a_recipient_is_left_out_where_the_policy_leaves_it_out(greylag: Greylag) -> None:
    (greylag.home / "greylag.toml").write_text('[policy]\nmailbox_separator = "+"\n')
    words = ("allow", "add", "--recipient", "bob+shop@example.net")
    result = greylag.run("--config", str(greylag.home / "greylag.toml"), *words)
    if result.exit_code == 0:  # where there is that setting
        assert "recipient bob@example.net: mail TO it is let in" in result.stderr


def test_what_needs_dns_is_told_where_dns_is_off(greylag: Greylag) -> None:
    greylag.configure('dns.servers = "off"\n')
    told = "SPF never passes"
    assert told in greylag.run("allow", "add", "--sender", "a@example.org").stderr
    assert told not in greylag.run("deny", "add", "--sender", "a@example.org").stderr
    words = ("allow", "add", "--sender", "a@example.org", "--spoofable")
    assert told not in greylag.run(*words).stderr
    told = "names count where the mail server tells them"
    assert told in greylag.run("deny", "add", "--client-name", "a.mail.example.org").stderr
    assert "DNS is off" not in greylag.run("allow", "add", "192.0.2.1").stderr
    greylag.configure('dns.servers = ["127.0.0.1"]\n')
    assert "DNS is off" not in greylag.run("allow", "add", "--sender", "b@example.org").stderr
