"""The configuration: layers, and every error at once with file, line, key and what was expected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from greylag.app import config
from greylag.app.config import ConfigError, Settings, load
from greylag.app.options import OPTIONS
from greylag.core.policy import SPARING, NullSender, Policy, with_evidence
from greylag.core.value import replace
from greylag.core.verdict import Verdict
from greylag.wire.oldplugin import OLD_OPTIONS
from greylag.wire.reply import OLD_REPLIES, Replies

DAY, MINUTE = 86400, 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A qmail home without the old plugin's file, on a host without a system-wide file."""
    monkeypatch.setattr(config, "DEFAULT_PATH", str(tmp_path / "etc-greylag.toml"))
    (tmp_path / "control").mkdir()
    return tmp_path


def load_toml(home: Path, text: str, **environ: str) -> Settings:
    path = home / "greylag.toml"
    path.write_text(text)
    variables = {name.encode(): value.encode() for name, value in environ.items()}
    return load({b"GREYLAG_CONFIG": bytes(path), **variables}, str(home))


def errors_of(home: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_toml(home, text, **environ)
    return [line.replace(f"{home}/", "") for line in caught.value.errors]


def write_old(home: Path, text: str) -> None:
    (home / "control" / "greylisting").write_text(text)


NEW = with_evidence(replace(SPARING, dns=True))


def test_defaults_are_those_of_a_new_install(home: Path) -> None:
    settings = load({}, str(home))
    assert settings.policy == NEW
    assert settings.policy.null_sender is NullSender.DATA
    assert settings.replies == Replies()
    assert settings.store_url == "sqlite:///var/lib/greylag/greylag.db"
    assert (settings.store_timeout, settings.on_failure) == (4, Verdict.PASS)
    assert settings.log_level == 4
    assert set(settings.origins.values()) == {"default"}
    assert set(settings.origins) == {option.key for option in OPTIONS}


def test_every_key_of_the_file(home: Path) -> None:
    settings = load_toml(
        home,
        """
        [policy]
        delay = "2m"
        retry_window = "1h30m"
        lifetime = "5w"
        ipv4_prefix = 32
        ipv6_prefix = 48
        null_sender = "never"
        explicit = true
        [store]
        url = "sqlite:///var/lib/x.db"
        timeout = "2s"
        on_failure = "defer"
        [reply]
        defer = "450 4.2.0 later, {client_address}"
        deny = "550 5.7.1 no"
        deny_recipient = "550 5.7.1 not to it"
        [log]
        level = "debug"
        """,
    )
    assert settings.policy == replace(
        NEW,
        delay=120,
        retry_window=5400,
        lifetime=35 * DAY,
        ipv4_prefix=32,
        ipv6_prefix=48,
        null_sender=NullSender.NEVER,
        explicit=True,
    )
    assert settings.store_url == "sqlite:///var/lib/x.db"
    assert (settings.store_timeout, settings.on_failure) == (2, Verdict.DEFER)
    assert settings.replies == Replies(
        "450 4.2.0 later, {client_address}", "550 5.7.1 no", "550 5.7.1 not to it"
    )
    assert settings.log_level == 5
    assert settings.origins["policy.delay"] == f"{home}/greylag.toml:3"
    assert settings.origins["log.level"] == f"{home}/greylag.toml:19"


def test_the_system_wide_file_is_read_where_none_is_named(home: Path) -> None:
    (home / "etc-greylag.toml").write_text('[policy]\ndelay = "9m"\n')
    assert load({}, str(home)).policy.delay == 9 * MINUTE
    assert load_toml(home, "").policy.delay == Policy().delay


ALL_WRONG = """\
[policy]
delay = 5
retry_window = "2 days"
lifetime = "23h"
ipv4_prefix = 33
ipv6_prefix = true
null_sender = "later"
explicit = "yes"
delya = "5m"
[store]
url = "sqlite://greylag.db"
timeout = "2m"
on_failure = "reject"
[reply]
defer = "550 never"
deny = "553"
[log]
level = "loud"
[sever]
socket = "/run/x"
"""


def test_all_errors_at_once_each_with_its_line_and_what_was_expected(home: Path) -> None:
    assert errors_of(home, ALL_WRONG) == [
        (
            "greylag.toml:2: policy.delay: expected a duration with its unit (s, m, h, d or w), "
            'such as "5m" or "36d", got 5'
        ),
        (
            "greylag.toml:3: policy.retry_window: expected a duration with its unit "
            '(s, m, h, d or w), such as "5m" or "36d", got \'2 days\''
        ),
        (
            'greylag.toml:4: policy.lifetime: expected at least "1d", or every mail would be '
            "greylisted again, got '23h'"
        ),
        "greylag.toml:5: policy.ipv4_prefix: expected a whole number from 8 to 32, got 33",
        "greylag.toml:6: policy.ipv6_prefix: expected a whole number from 16 to 128, got True",
        'greylag.toml:7: policy.null_sender: expected "data", "rcpt" or "never", got \'later\'',
        "greylag.toml:8: policy.explicit: expected true or false, got 'yes'",
        "greylag.toml:9: unknown key 'policy.delya': did you mean 'policy.delay'?",
        (
            "greylag.toml:11: store.url: expected an absolute path after sqlite://, "
            "as in sqlite:///var/lib/x.db, got 'sqlite://greylag.db'"
        ),
        'greylag.toml:12: store.timeout: expected a duration from "1s" to "4s", got \'2m\'',
        'greylag.toml:13: store.on_failure: expected "pass" or "defer", got \'reject\'',
        "greylag.toml:15: reply.defer: expected a reply code that begins with 4, got '550 never'",
        (
            'greylag.toml:16: reply.deny: expected an SMTP reply such as "550 not accepted", '
            "got '553'"
        ),
        (
            'greylag.toml:18: log.level: expected one of "off", "fatal", "error", "warn", "info", '
            "\"debug\", got 'loud'"
        ),
        "greylag.toml:19: unknown section or key 'sever': did you mean 'server'?",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[policy\n", "greylag.toml: not TOML: "),
        ("policy = 3\n", "greylag.toml:1: expected a section [policy], not a value"),
        ("delay = '5m'\n", "greylag.toml:1: unknown section or key 'delay'"),
        (
            "[policy]\nwindow = '2d'\n",
            "greylag.toml:2: unknown key 'policy.window': did you mean 'policy.retry_window'?",
        ),
        (
            "[store]\ndelay = '5m'\n",
            "greylag.toml:2: unknown key 'store.delay': did you mean 'policy.delay'?",
        ),
        (
            "[store]\npolicy = '5m'\n",
            "greylag.toml:2: unknown key 'store.policy': did you mean 'server.policy'?",
        ),
        (
            "[server]\nreply = 1\n",
            "greylag.toml:2: unknown key 'server.reply': did you mean the section [reply]?",
        ),
        (
            "[server.reply]\ndefer = 1\n",
            "greylag.toml: unknown key 'server.reply': did you mean the section [reply]?",
        ),
        (
            "delay = 1\n",
            "greylag.toml:1: unknown section or key 'delay': did you mean 'policy.delay'?",
        ),
        (
            "[store]\nmaximum = 3\n",
            "greylag.toml:2: unknown key 'store.maximum': known are store.url, store.",
        ),
        ("[polling]\nx = 3\n", "greylag.toml:1: unknown section or key 'polling': known are "),
        ('store.url = "redis://x"\n', "greylag.toml:1: store.url: expected sqlite:///absolute"),
        ('policy = {delay = "5x"}\n', "greylag.toml"),
        ('[policy]\n"delay" = "5x"\n', "greylag.toml:2: policy.delay: expected a duration"),
        ("[store]\nurl = 3\n", "greylag.toml:2: store.url: expected a text in quotes, got 3"),
        (
            '[policy]\ndelay = "2d"\nretry_window = "2d"\n',
            "greylag.toml:3, greylag.toml:2: the retry window (2d) must be longer than the delay",
        ),
    ],
)
def test_one_error(home: Path, text: str, error: str) -> None:
    (found,) = errors_of(home, text)
    assert found.startswith(error)


def test_a_file_that_cannot_be_read(home: Path) -> None:
    for path, cause in ((home / "missing.toml", "no such file"), (home, "expected a plain file")):
        with pytest.raises(ConfigError) as caught:
            load({b"GREYLAG_CONFIG": bytes(path)}, str(home))
        assert str(path) in str(caught.value)
        assert cause in str(caught.value)


def test_bytes_that_are_no_text(home: Path) -> None:
    (home / "greylag.toml").write_bytes(b"[policy]\ndelay = '\xff'\n")
    with pytest.raises(ConfigError, match="expected UTF-8 text, got byte 0xff"):
        load({b"GREYLAG_CONFIG": bytes(home / "greylag.toml")}, str(home))


def test_the_mark_that_some_editors_write_first_is_no_text(home: Path) -> None:
    given = {b"GREYLAG_CONFIG": bytes(home / "greylag.toml")}
    (home / "greylag.toml").write_bytes(b'\xef\xbb\xbf[policy]\ndelay = "7m"\n')
    assert load(given, str(home)).policy.delay == 420
    (home / "greylag.toml").write_bytes(b"\xef\xbb\xbfa = \xff 1234567\n")
    with pytest.raises(ConfigError, match="expected UTF-8 text, got byte 0xff"):
        load(given, str(home))


def test_the_old_plugins_file_brings_its_defaults_and_texts(home: Path) -> None:
    write_old(home, "")
    settings = load({}, str(home))
    assert settings.policy.delay == 55 * MINUTE
    assert settings.policy.retry_window == 500 * MINUTE
    assert settings.policy.lifetime == 36 * DAY
    assert settings.policy.null_sender is NullSender.RCPT
    assert settings.replies == OLD_REPLIES
    assert settings.log_level == 3


def test_the_guides_example(home: Path) -> None:
    write_old(
        home,
        "mysql_default_file=control/mysql.cnf\nblock_expire=2 \nrecord_expire=2000 \n"
        "record_expire_good=36 \nloglevel=4\n",
    )
    settings = load({}, str(home))
    assert settings.store_url == f"mysql:?default_file={home}/control/mysql.cnf"
    assert settings.policy.delay == 2 * MINUTE
    assert settings.policy.retry_window == 2000 * MINUTE
    assert settings.log_level == 4
    assert settings.origins["policy.delay"] == "control/greylisting:2 (block_expire)"


def test_the_layers_in_their_order(home: Path) -> None:
    """Defaults, the old defaults, greylag.toml, control/greylisting, GL* variables."""
    write_old(home, "record_expire=600\n")
    toml = '[policy]\ndelay = "3m"\nretry_window = "3h"\n[log]\nlevel = "error"\n'
    settings = load_toml(home, toml, GLLOGLEVEL="5", GLEXPLICIT="1")
    assert settings.policy.lifetime == 36 * DAY
    assert settings.policy.delay == 3 * MINUTE
    assert settings.policy.retry_window == 600 * MINUTE
    assert settings.log_level == 5
    assert settings.policy.explicit
    assert settings.origins["log.level"] == "environment (GLLOGLEVEL)"
    assert settings.origins["policy.lifetime"].startswith("the old plugin's default")


def test_variables_of_tcprules_count_without_any_file(home: Path) -> None:
    settings = load({b"GLBLOCKEXPIRE": b"7"}, str(home))
    assert settings.policy.delay == 7 * MINUTE
    assert settings.replies == Replies()


def test_the_variables_that_say_it_is_the_old_setup(home: Path) -> None:
    (home / "other").write_text("block_expire=3\n")
    assert load({b"GLCONFIGFILE": b"other"}, str(home)).policy.delay == 3 * MINUTE
    assert load({b"GLCONFIGFILE": b"missing"}, str(home)).policy.delay == 55 * MINUTE
    named = load({b"GLMYSQLDEFAULTFILE": b"/x/my.cnf"}, str(home))
    assert named.store_url == "mysql:?default_file=/x/my.cnf"
    assert named.policy.delay == 55 * MINUTE


OLD_DELAY, OLD_WINDOW, OLD_LIFETIME = 55 * MINUTE, 500 * MINUTE, 36 * DAY


@pytest.mark.parametrize(
    ("text", "times", "warning"),
    [
        ("block_expire=-5\n", (OLD_DELAY, OLD_WINDOW), "1: block_expire: expected 0 or more"),
        ("\n# x\nblock_expire=soon\n", (0, OLD_WINDOW), "3: block_expire: expected a number"),
        ("record_expire=soon\n", (OLD_DELAY, OLD_WINDOW), "1: record_expire: expected a number"),
        ("block_expire=99999999999\n", (OLD_DELAY, OLD_WINDOW), "1: block_expire: expected a sm"),
        ("explicit=no\n", (OLD_DELAY, OLD_WINDOW), "1: explicit: expected a number"),
        ("explicit=\n", (OLD_DELAY, OLD_WINDOW), "1: explicit: expected a number"),
        ("loglevel=debug\n", (OLD_DELAY, OLD_WINDOW), "1: loglevel: expected a number"),
        ("block_expire=+2\n", (2 * MINUTE, OLD_WINDOW), "1: block_expire: expected a number"),
        ("record_expire_good=0\n", (OLD_DELAY, OLD_WINDOW), "1: record_expire_good: with 0"),
        (
            "block_expire=60\nrecord_expire=60\n",
            (60 * MINUTE, OLD_WINDOW),
            "2 (record_expire): the retry window (1h) must be longer than the delay (1h)",
        ),
        (
            "block_expire=600\n",
            (OLD_DELAY, OLD_WINDOW),
            "1 (block_expire): the retry window (8h20m) must be longer than the delay (10h)",
        ),
    ],
)
def test_fault_8_is_a_warning_and_mail_is_greylisted(
    home: Path, text: str, times: tuple[int, int], warning: str
) -> None:
    """What the old program reads is read; a time under which nothing could pass is passed over."""
    write_old(home, text)
    settings = load({}, str(home))
    assert (settings.policy.delay, settings.policy.retry_window) == times
    assert settings.warnings[0].startswith(f"control/greylisting:{warning}")
    variables = {
        option.variable.encode(): line.partition("=")[2].encode()
        for line in text.splitlines()
        for option in OLD_OPTIONS
        if line.startswith(f"{option.name}=")
    }
    write_old(home, "")
    settings = load(variables, str(home))
    assert (settings.policy.delay, settings.policy.retry_window) == times
    assert settings.warnings[0].startswith("environment")


def test_variables_that_let_nothing_pass_leave_the_file_in_force(home: Path) -> None:
    write_old(home, "block_expire=2\nrecord_expire=30\n")
    settings = load({b"GLBLOCKEXPIRE": b"40"}, str(home))
    assert (settings.policy.delay, settings.policy.retry_window) == (2 * MINUTE, 30 * MINUTE)
    assert "must be longer" in settings.warnings[0]


def test_a_tree_and_the_old_plugins_database_are_an_error_that_names_both(home: Path) -> None:
    write_old(home, "mysql_default_file=my.cnf\n")
    (found,) = errors_of(home, 'store.url = "tree:///var/lib/jgreylist"\n')
    assert found == (
        "greylag.toml:1: store.url = tree:///var/lib/jgreylist, but "
        "control/greylisting:1 (mysql_default_file) names a MySQL database: remove one of them"
    )


def test_another_database_that_the_old_file_overrides_is_noted(home: Path) -> None:
    write_old(home, "mysql_default_file=my.cnf\n")
    settings = load_toml(home, 'store.url = "mysql://grey:geheim@db/mail"\n')
    assert settings.store_url.endswith("/my.cnf")
    assert "store.url = mysql://grey:***@db/mail does not count" in settings.notes[0]


def test_a_mistyped_url_is_not_quoted_whatever_it_looks_like_t43(home: Path) -> None:
    (found,) = errors_of(home, 'store.url = "mysql:grey:geheim/mail"\n')
    assert found.startswith("greylag.toml:1: store.url: expected ")
    assert "geheim" not in found


def test_the_setting_that_names_the_database_is_the_one_that_is_told(home: Path) -> None:
    write_old(home, "mysql_default_file=/my.cnf\n")
    theirs, same = "/other.cnf", 'store.url = "mysql:?default_file=/other.cnf"\n'
    ours = 'store.url = "sqlite:///var/lib/x.db"\n'
    settings = load_toml(home, ours, GLMYSQLDEFAULTFILE=theirs)
    assert settings.notes[0].endswith("environment (GLMYSQLDEFAULTFILE) names the database")
    assert not load_toml(home, same, GLMYSQLDEFAULTFILE=theirs).notes  # both name the same


def test_an_old_database_that_cannot_be_one_is_an_error_with_its_line(home: Path) -> None:
    write_old(home, "block_expire=2\nmysql_default_file=/etc/my&x.cnf\n")
    (found,) = errors_of(home, "")
    assert found.startswith("control/greylisting:2 (mysql_default_file): expected mysql:")


def test_clients_are_handed_over_beside_the_socket_where_no_place_is_named(home: Path) -> None:
    socket = 'server.socket = "/run/x/policy.sock"\n'
    assert load_toml(home, socket).server.handover_path() == "/run/x/handover.sock"
    named = f'{socket}server.handover = "/run/y/h.sock"\n'
    assert load_toml(home, named).server.handover_path() == "/run/y/h.sock"


def test_the_account_of_version_0_3_is_the_store(home: Path) -> None:
    write_old(home, "mysql_host=db\nmysql_user=grey\nmysql_pass=geheim\nmysql_db=mail\n")
    settings = load({}, str(home))
    assert settings.store_url == "mysql://grey:geheim@db/mail"
    assert "mysql_user" in settings.origins["store.url"]


def test_fault_8_spaces_around_the_sign_are_taken_as_meant(home: Path) -> None:
    write_old(home, "block_expire = 4\r\n")
    assert load({}, str(home)).policy.delay == 4 * MINUTE


def test_errors_of_all_layers_come_together(home: Path) -> None:
    write_old(home, "mysql_default_file=\n")
    found = errors_of(home, "[polcy]\n", GLMYSQLDEFAULTFILE="")
    assert [line.partition(":")[0] for line in found] == [
        "greylag.toml",
        "control/greylisting",
        "environment",
    ]


def test_what_is_ignored_is_noted(home: Path) -> None:
    write_old(home, "blockexpire=5\njust words\n")
    notes = load({}, str(home)).notes
    assert notes == (
        "control/greylisting:1: 'blockexpire' is not a setting: ignored",
        "control/greylisting:2: 'just words' is not a setting: ignored",
    )


def test_an_old_file_that_cannot_be_read_is_an_error(home: Path) -> None:
    (home / "control" / "greylisting").mkdir()
    with pytest.raises(ConfigError, match="control/greylisting: expected a plain file"):
        load({}, str(home))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[]", ()),
        ('["PostMaster@", "probe@Example.ORG"]', ("postmaster@", "probe@example.org")),
    ],
)
def test_probe_senders_are_read_in_canonical_form(
    home: Path, text: str, wanted: tuple[str, ...]
) -> None:
    settings = load_toml(home, f"[policy]\nprobe_senders = {text}\n")
    assert settings.policy.probe_senders == wanted


@pytest.mark.parametrize(
    "text",
    ['"postmaster@"', "[1]", '["postmaster"]', '["@example.org"]', '["a b@"]', '["\u00e9@"]'],
)
def test_what_is_no_list_of_senders_is_an_error(home: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="expected a list of senders"):
        load_toml(home, f"[policy]\nprobe_senders = {text}\n")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_plain_file_in_the_place_of_a_configuration_holds_nobody(
    home: Path, make: Callable[[str], None]
) -> None:
    """The daemon reads it in its loop, when it is told to reload."""
    path = str(home / "other.toml")
    make(path)
    with pytest.raises(ConfigError, match=r"other\.toml: expected a plain file"):
        load({b"GREYLAG_CONFIG": path.encode()}, str(home))
    make(str(home / "control" / "greylisting"))
    with pytest.raises(ConfigError, match="control/greylisting: expected a plain file"):
        load({}, str(home))


def test_a_configuration_beyond_all_measure_is_an_error(home: Path) -> None:
    path = home / "other.toml"
    path.write_bytes(b"#" * (1 << 20))
    load({b"GREYLAG_CONFIG": bytes(path)}, str(home))
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(ConfigError, match="expected a file of at most 1 MiB"):
        load({b"GREYLAG_CONFIG": bytes(path)}, str(home))


def test_what_is_no_plain_file_leaves_no_descriptor_open(home: Path) -> None:
    (home / "control" / "greylisting").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ConfigError):
            load({}, str(home))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "text",
    [
        "policy.delay." + ".".join(["x"] * 990) + " = 1\n",
        "[policy]\ndelay." + ".".join(["x"] * 300_000) + " = 1\n",
        "[policy]\n" + "".join(f"k{n:05d} = 1\n" for n in range(20_000)),
        "".join(f"[k{n:05d}]\n" for n in range(20_000)),
    ],
    ids=["deep", "deeper", "many keys", "many sections"],
)
def test_a_file_of_nothing_but_errors_is_told_in_a_few_lines(home: Path, text: str) -> None:
    """T44: a wrong file, or a hostile one, must not hold a reload of the daemon for hours."""
    errors = errors_of(home, text)
    assert 1 <= len(errors) <= 51
    assert all(line.startswith("greylag.toml") and len(line) < 5000 for line in errors)
    if len(errors) > 1:
        assert "there may be more" in errors[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_of_the_kernels_that_has_to_be_waited_for_is_no_plain_file(home: Path) -> None:
    """T44: /proc/kmsg is a file by its type, and has no end."""
    (home / "control" / "greylisting").symlink_to("/proc/kmsg")
    try:
        handle = os.open("/proc/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        pytest.skip("the kernel's messages cannot be read here")
    try:
        while os.read(handle, 65536):
            pass
    except BlockingIOError:
        pass
    finally:
        os.close(handle)
    with pytest.raises(ConfigError, match="control/greylisting: expected a plain file"):
        load({}, str(home))


def test_a_wrong_sign_is_quoted(home: Path) -> None:
    """It is no password, though an `@` may be a part of a URL that has one."""
    with pytest.raises(ConfigError) as caught:
        load_toml(home, 'policy.mailbox_separator = "@"\n')
    (error,) = caught.value.errors
    assert error.endswith("""expected one sign such as "+" or "-", or "", got '@'""")
