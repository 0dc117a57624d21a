"""The settings of [dns], and those that need DNS."""

from __future__ import annotations

from pathlib import Path

import pytest

from greylag.app import config
from greylag.app.config import ConfigError, Settings, load
from greylag.app.dns import DnsSettings
from greylag.app.policy_options import POLICY_OPTIONS, SPARING_NAMES
from greylag.core.evidence import Kind
from greylag.core.policy import SPARING, Greylist, IdentityBy, NullSender, Policy
from greylag.core.signs import Sign
from greylag.core.value import replace
from greylag.core.zones import DNSBL_CODES, Zone, parse_codes

SUFFIXES = Path("/usr/share/publicsuffix/public_suffix_list.dat")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(config, "DEFAULT_PATH", str(tmp_path / "etc-greylag.toml"))
    (tmp_path / "control").mkdir()
    return tmp_path


def load_toml(home: Path, text: str) -> Settings:
    (home / "etc-greylag.toml").write_text(text)
    return load({}, str(home))


def errors_of(home: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_toml(home, text)
    return [line.replace(f"{home}/", "") for line in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ('"system"', ()),
        ('["192.0.2.53"]', (("192.0.2.53", 53),)),
        ('["192.0.2.53:5353", "2001:db8::53"]', (("192.0.2.53", 5353), ("2001:db8::53", 53))),
        ('["[2001:db8::53]", "[::1]:5353"]', (("2001:db8::53", 53), ("::1", 5353))),
    ],
)
def test_who_is_asked(home: Path, text: str, servers: tuple[tuple[str, int], ...]) -> None:
    settings = load_toml(home, f"dns.servers = {text}\n")
    assert settings.dns == DnsSettings(asks=True, servers=servers, dnsbl=(), dnswl=())
    assert settings.policy.dns


def test_nobody_is_asked_where_it_is_off(home: Path) -> None:
    settings = load_toml(home, 'dns.servers = "off"\n')
    assert not settings.dns.asks
    assert not settings.policy.dns


@pytest.mark.parametrize(
    "text",
    [
        *('"dns.example.org"', '["dns.example.org"]', '["dns.example.org:53"]', "[]", "53"),
        *("[53]", '["192.0.2.1:"]', '["192.0.2.1:0"]', '["192.0.2.1:65536"]', '["192.0.2.1:²"]'),
        *('["[::1"]', '["[::1]53"]', '["[::1]:"]', '[""]', '["::1%"]', '["::1%a%b"]'),
        '["192.0.2.1", "192.0.2.2", "192.0.2.3", "::1"]',
    ],
)
def test_who_cannot_be_asked(home: Path, text: str) -> None:
    (found,) = errors_of(home, f"dns.servers = {text}\n")
    assert found.startswith('etc-greylag.toml:1: dns.servers: expected "system", "off", or a list')


def test_it_is_said_how_many_servers_are_too_many(home: Path) -> None:
    many = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "::1"]
    (found,) = errors_of(home, f"dns.servers = {many}\n")
    assert ": at most 3, got " in found
    load_toml(home, f"dns.servers = {many[:3]}\n")


def test_zones_and_the_evidence_that_they_are(home: Path) -> None:
    settings = load_toml(
        home,
        """
        policy.greylist = "suspicious"
        policy.signs = ["dnsbl"]
        [dns]
        servers = ["192.0.2.53"]
        dnsbl = ["bl.example.org", "Other.example.org=127.0.0.[2..11]"]
        dnswl = ["wl.example.org=127.0.[0..255].[2;3]"]
        """,
    )
    usual, own = parse_codes(DNSBL_CODES), parse_codes("127.0.0.[2..11]")
    wanted = (Zone("bl.example.org", usual), Zone("other.example.org", own))
    assert settings.dns.dnsbl == wanted
    assert [zone.name for zone in settings.dns.dnswl] == ["wl.example.org"]
    assert settings.policy.evidence == {Kind.DNSBL, Kind.DNSWL, Kind.SPF, Kind.NAMES}
    assert not settings.warnings


@pytest.mark.parametrize("key", ["dnsbl", "dnswl"])
@pytest.mark.parametrize(
    "text", ['"bl.example.org"', "[1]", '["bl"]', '["bl.example.org=1.2.3.4"]']
)
def test_zones_that_are_none(home: Path, key: str, text: str) -> None:
    (found,) = errors_of(home, f"dns.{key} = {text}\n")
    assert found.startswith(f"etc-greylag.toml:1: dns.{key}: expected ")


def test_every_setting_of_policy_becomes_a_field(home: Path) -> None:
    settings = load_toml(
        home,
        """
        [policy]
        normalise = false
        mailbox_separator = "-"
        identity = "none"
        trust_after = 3
        trust_all_after = 30
        correspondents = "60d"
        greylist = "observe"
        signs = ["helo"]
        signs_needed = 2
        our_names = ["MX.example.net", "192.0.2.25"]
        trap = "defer"
        trapped_for = "12h"
        [dns]
        servers = "system"
        """,
    )
    policy = settings.policy
    assert policy.identity is IdentityBy.NONE
    assert policy.evidence == {Kind.NAMES}  # for trust
    assert (policy.trust_after, policy.trust_all_after) == (3, 30)
    assert (policy.correspondents, policy.trapped_for) == (60 * 86400, 43200)
    assert policy.greylist is Greylist.OBSERVE
    assert policy.our_names == ("mx.example.net", "192.0.2.25")
    changed = {o.key for o in POLICY_OPTIONS if settings.values[o.key] != o.default}
    names = ("signs", "signs_needed", "our_names", "trap")
    assert changed == {f"policy.{name}" for name in (*SPARING_NAMES, *names)}


@pytest.mark.skipif(not SUFFIXES.exists(), reason="needs Debian's package publicsuffix")
def test_names_make_identities_with_the_list_of_suffixes(home: Path) -> None:
    text = 'policy.identity = "spf+name"\ndns.servers = "system"\n'
    policy = load_toml(home, text).policy
    assert policy.evidence == {Kind.SPF, Kind.NAMES}
    assert policy.suffixes is not None
    assert policy.suffixes.organisation_of("mx.example.org") == "example.org"


def test_a_list_of_suffixes_that_cannot_be_read(home: Path) -> None:
    text = f'policy.identity = "spf+name"\ndns.suffixes = "{home}/list"\n'
    where = "etc-greylag.toml:1: policy.identity: list: "
    assert errors_of(home, text) == [f"{where}no such file (Debian's package publicsuffix has it)"]
    for wrong in (b"// no list\ncom\n", b"\xff"):
        (home / "list").write_bytes(wrong)
        assert errors_of(home, text) == [f"{where}expected a whole public suffix list"]
    assert load_toml(home, f'dns.suffixes = "{home}/missing"\n').policy.suffixes is None


@pytest.mark.parametrize(
    "text",
    ['policy.identity = "spf"', 'policy.greylist = "suspicious"', 'dns.dnswl = ["wl.example.org"]'],
)
def test_what_needs_dns_is_a_warning_where_it_is_off(home: Path, text: str) -> None:
    settings = load_toml(home, f'{text}\ndns.servers = "off"\n')
    (warning,) = settings.warnings
    key = text.partition(" ")[0]
    assert warning == f'{home}/etc-greylag.toml:1: dns.servers is "off", and {key} needs DNS'
    assert not settings.policy.evidence


def test_signs_that_need_no_dns_are_none(home: Path) -> None:
    text = 'policy = {greylist = "suspicious", signs = ["helo"]}\ndns.servers = "off"\n'
    assert not load_toml(home, text).warnings


def test_a_new_installation_spares_good_mail(home: Path) -> None:
    settings = load({}, str(home))
    assert settings.policy == replace(SPARING, dns=True, evidence=frozenset((Kind.SPF, Kind.NAMES)))


def test_in_place_of_the_old_plugin_nothing_is_spared_unless_greylag_toml_says_so(
    home: Path,
) -> None:
    (home / "control" / "greylisting").write_text("")
    policy = load({}, str(home)).policy
    for name in SPARING_NAMES:
        assert getattr(policy, name) == getattr(Policy(), name)
    assert policy.null_sender is NullSender.RCPT
    assert not policy.dns
    assert not policy.spares
    sparing = load_toml(home, "policy.trust_after = 5\n").policy
    assert (sparing.trust_after, sparing.normalise) == (5, False)


@pytest.mark.parametrize(
    ("signs", "needed", "zones", "most"),
    [
        ([], 1, False, 0),
        (["helo", "spf"], 3, False, 2),
        (["no-name", "dynamic-name"], 2, False, 1),
        (["dnsbl"], 1, False, 0),
        (["dnsbl", "helo"], 2, False, 1),
        ([sign.value for sign in Sign], 5, False, 4),
        ([sign.value for sign in Sign], 6, True, 5),
    ],
)
def test_more_signs_needed_than_mail_can_show_is_an_error(
    home: Path, signs: list[str], needed: int, zones: bool, most: int
) -> None:
    """Or greylisting would be off, and nobody would know."""
    dns = '[dns]\nservers = ["192.0.2.53"]\n' + ('dnsbl = ["list.example.org"]\n' if zones else "")

    def text(number: int) -> str:
        return f'[policy]\ngreylist = "suspicious"\nsigns = {signs}\nsigns_needed = {number}\n{dns}'

    (error,) = errors_of(home, text(needed))
    places = ", ".join(f"etc-greylag.toml:{line}" for line in (4, 3, 2))
    told = f"policy.signs_needed is {needed}, and mail can show {most} of policy.signs at most"
    assert error.startswith(f"{places}: {told}: nothing would be greylisted")
    load_toml(home, text(needed).replace("suspicious", "all"))
    if most:
        load_toml(home, text(most))
