"""Hostile bytes and environments: one legal command line or nothing, and the same verdict."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greylag.plugin import greylisting, process
from tests.e2e.plugin import BIN, Plugin, Value
from tests.evil import EVIL

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
LEGAL = re.compile(rb"(?:(?:E|LD)[45][0-9][0-9] [ -~]{1,500}\n)?")
NAMES = (
    "SMTPMAILFROM",
    "SMTPRCPTTO",
    "TCPREMOTEIP",
    "SMTPHELOHOST",
    "TCPREMOTEHOST",
    "TCPREMOTEINFO",
    "SMTPAUTHUSER",
    "SMTPRCPTHOSTSOK",
    "PROTO",
    "GREYLISTING",
    "GLBLOCKEXPIRE",
    "GLRECORDEXPIRE",
    "GLRECORDEXPIREGOOD",
    "GLLOGLEVEL",
    "GLEXPLICIT",
)
ANY_BYTES = st.binary(max_size=900).map(lambda raw: raw.replace(b"\0", b"\x01"))
VALUES = st.one_of(ANY_BYTES, st.sampled_from(EVIL).map(lambda raw: raw.replace(b"\0", b"")))
CHANGES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
REAL = settings(
    max_examples=120 if SOAK else 30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


# What comes before any store is opened is tried on one alone, but in the soak.
on_one_store = pytest.mark.skipif(False, reason="never") if SOAK else pytest.mark.sqlite


def check(output: bytes, log: str) -> None:
    assert LEGAL.fullmatch(output)
    assert re.fullmatch(r"(?:greylisting: [ -~]*\n)*", log)


@given(changes=CHANGES)
@REAL
def test_any_bytes_in_every_variable_t13(plugin: Plugin, changes: dict[str, bytes]) -> None:
    answer = plugin.run(**changes)
    assert answer.code == 0
    check(answer.output, answer.log)


@given(changes=CHANGES)
@settings(REAL, max_examples=1500 if SOAK else 500)
def test_any_bytes_many_times_in_one_process_t13(
    plugin: Plugin, changes: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """The same property on the same code, without the price of a process."""
    environ = plugin.variables({**changes, "GLLOGLEVEL": changes.get("GLLOGLEVEL", b"5")})
    greylisting.answer(
        environ, greylisting.Log(), greylisting.Answer(), time.monotonic() + process.BUDGET
    )
    printed = capfd.readouterr()
    check(printed.out.encode(), printed.err)


EVIL_HOME = Path("evil")
ENVIRONMENTS: list[dict[str, Value | None]] = [
    {"PYTHONPATH": "EVIL"},
    {"PYTHONHOME": "EVIL"},
    {"PYTHONHOME": "/nonexistent"},
    {"PYTHONSTARTUP": "EVIL/sitecustomize.py"},
    {"PYTHONINSPECT": "1"},
    {"PYTHONVERBOSE": "1"},
    {"PYTHONDEBUG": "9"},
    {"PYTHONOPTIMIZE": "2"},
    {"PYTHONDONTWRITEBYTECODE": "1"},
    {"PYTHONPYCACHEPREFIX": "EVIL"},
    {"PYTHONWARNINGS": "error"},
    {"PYTHONWARNINGS": "error::evil.Evil"},
    {"PYTHONDEVMODE": "1"},
    {"PYTHONUTF8": "junk"},
    {"PYTHONUTF8": "0"},
    {"PYTHONCOERCECLOCALE": "warn"},
    {"PYTHONIOENCODING": "junk:junk"},
    {"PYTHONHASHSEED": "junk"},
    {"PYTHONMALLOC": "junk"},
    {"PYTHONFAULTHANDLER": "1"},
    {"PYTHONTRACEMALLOC": "9"},
    {"PYTHONPROFILEIMPORTTIME": "1"},
    {"PYTHONBREAKPOINT": "os.abort"},
    {"PYTHONEXECUTABLE": "EVIL/python"},
    {"PYTHONPLATLIBDIR": "EVIL"},
    {"PYTHONUSERBASE": "EVIL"},
    {"PYTHONNOUSERSITE": ""},
    {"PYTHONSAFEPATH": ""},
    {"PYTHONINTMAXSTRDIGITS": "1"},
    {"PYTHONDUMPREFSFILE": "EVIL/x"},
    {"PYTHONTHREADDEBUG": "1"},
    {"PYTHONASYNCIODEBUG": "1"},
    {"LANG": "xx_XX.junk"},
    {"LC_ALL": "tr_TR.ISO-8859-9"},
    {"LC_ALL": b"\xff"},
    {"LANGUAGE": "../../x"},
    {"TZ": "EVIL/x"},
    {"TZ": ":/etc/passwd"},
    {"HOME": None, "PATH": None},
    {"HOME": "EVIL"},
    {"PATH": "EVIL"},
    {"TMPDIR": "EVIL"},
    {"SQLITE_TMPDIR": "EVIL"},
    {"SQLITE_HISTORY": "EVIL/x"},
    {"IFS": "/"},
    {"ENV": "EVIL/x"},
    {"BASH_ENV": "EVIL/x"},
    {"SHELLOPTS": "xtrace"},
    {"PS4": "$(touch EVIL/owned)"},
    {"BASH_FUNC_exec%%": "() { touch EVIL/owned; }"},
    {"SMTPHELOHOST": "() { :;}; touch EVIL/owned"},
    {"TCPREMOTEINFO": "`touch EVIL/owned`"},
    {"TCPREMOTEHOST": "$(touch EVIL/owned)"},
    {"GREYLAG_SOCKET": "EVIL/x"},
    {"GREYLAG_STORE_URL": "sqlite:///nonexistent/x.db"},
    {"GREYLAG_STORE": "memory:"},
    {"GREYLAG_POLICY_DELAY": "0s"},
    {"GREYLAG_NOW": "9999999999"},
    {"GREYLAG_TIME": "0", "policy_test_time": "0"},
    {"XDG_CONFIG_HOME": "EVIL"},
    {"OPENSSL_CONF": "EVIL/x"},
    {"MALLOC_PERTURB_": "165"},
    {"VIRTUAL_ENV": "EVIL", "__PYVENV_LAUNCHER__": "EVIL"},
    {f"X{number}": "y" * 900 for number in range(100)},
]


def evil_folder(home: Path) -> Path:
    """Make a folder whose modules say so if anything ever loads them."""
    folder = home / "evil"
    folder.mkdir(exist_ok=True)
    for module in ("sitecustomize", "usercustomize", "os", "sqlite3", "enum", "greylag", "x"):
        (folder / f"{module}.py").write_text(f"open({str(folder / 'owned')!r}, 'w').close()\n")
    return folder


@on_one_store
@pytest.mark.parametrize("changes", ENVIRONMENTS, ids=lambda changes: " ".join([*changes][:2]))
def test_hostile_environments_same_verdict_t23(
    plugin: Plugin, changes: dict[str, Value | None]
) -> None:
    """The environment chooses no code, no clock, no database; postgrey's policy_test_time."""
    same_verdict(plugin, changes)


@pytest.mark.parametrize("changes", ENVIRONMENTS[::6], ids=lambda changes: " ".join([*changes][:2]))
def test_some_of_them_on_each_store_t23(plugin: Plugin, changes: dict[str, Value | None]) -> None:
    same_verdict(plugin, changes)


def same_verdict(plugin: Plugin, changes: dict[str, Value | None]) -> None:
    folder = evil_folder(plugin.home)
    filled = {
        name: text.replace("EVIL", str(folder)) if isinstance(text, str) else text
        for name, text in changes.items()
    }
    answer = plugin.run(**filled)
    assert (
        answer.output == b"E451 4.7.1 Greylisted, please try again in 300 seconds (id 9SWE-4EK)\n"
    )
    assert answer.code == 0
    check(answer.output, answer.log)
    assert not (folder / "owned").exists()
    assert "reason=early" in plugin.run().log


def test_there_are_60_environments() -> None:
    assert len(ENVIRONMENTS) >= 60


@pytest.mark.parametrize(
    ("name", "text"),
    [("PYTHONINSPECT", "1"), ("PYTHONWARNINGS", "error"), ("PYTHONDEVMODE", "1")],
)
def test_the_plugin_of_pip_answers_alike_under_plain_variables_t23(
    plugin: Plugin, name: str, text: str
) -> None:
    piped = replace(plugin, program=BIN / "greylisting")
    answer = piped.run(**{name: text})
    assert answer.deferred
    check(answer.output, answer.log)


SHELLSHOCK = [
    b"() { :;}; touch owned",
    b"() { _; } >_[$($())] { touch owned; }",
    b"`touch owned`",
    b"$(touch owned)",
    b";touch owned|&",
    b"|touch owned",
    b"a@example.org;touch owned",
]


@on_one_store
@pytest.mark.parametrize("text", SHELLSHOCK, ids=repr)
@pytest.mark.parametrize("name", ["SMTPMAILFROM", "SMTPRCPTTO", "SMTPHELOHOST", "SMTPAUTHUSER"])
def test_no_shell_sees_an_address_t24(plugin: Plugin, name: str, text: bytes) -> None:
    """CVE-2014-6271 through qmail, CVE-2010-1132, CVE-2020-7247."""
    for program in ("greylisting", "ifauthskip"):
        one = replace(plugin, program=plugin.home / "plugins" / program)
        done = subprocess.run(
            [one.program], env=one.variables({name: text}), cwd=one.home, check=True, timeout=30
        )
        assert done.returncode == 0
    assert not (plugin.home / "owned").exists()


AUDIT = """
import os, sys
def refuse(event, arguments):
    if event.split(".")[0] in ("subprocess", "pty", "socket", "ctypes", "ftplib", "smtplib"):
        os._exit(99)
    if event in ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"):
        os._exit(99)
    if event == "open" and "w" in str(arguments[1] or "") :
        os._exit(98)
sys.addaudithook(refuse)
from greylag.plugin.greylisting import main
main()
"""


@pytest.mark.sqlite
@pytest.mark.parametrize("payload", EVIL[::5], ids=lambda raw: repr(raw)[:30])
def test_the_plugin_starts_nothing_and_opens_no_socket(plugin: Plugin, payload: bytes) -> None:
    """An audit hook ends the process with 99 if anything is executed (CVE-2010-1132)."""
    text = payload.replace(b"\0", b"")
    done = subprocess.run(
        [BIN / "python", "-I", "-c", AUDIT],
        env=plugin.variables({"SMTPMAILFROM": text, "SMTPRCPTTO": text, "SMTPHELOHOST": text}),
        cwd=plugin.home,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"E451")


def test_format_characters_are_text_cve_2005_1127(plugin: Plugin) -> None:
    text = "%s%n%(x)s{0.__class__}{retry_after}"
    plugin.write_toml('[reply]\ndefer = "451 %s%n %(x)s {client_address}"\n')
    answer = plugin.run(SMTPMAILFROM=text, SMTPRCPTTO=text)
    assert answer.output == b"E451 %s%n %(x)s 192.0.2.17\n"
    assert f"sender={text} " in answer.log
    plugin.write_toml('[reply]\ndefer = "451 {0.__class__}"\n')
    assert "reply.defer: expected no braces" in plugin.run().log


def test_an_environment_of_the_largest_size_is_answered(plugin: Plugin) -> None:
    huge = b"x" * 120_000
    answer = plugin.run(SMTPMAILFROM=huge, SMTPRCPTTO=huge + b"@example.net", SMTPHELOHOST=huge)
    assert answer.deferred
    assert len(answer.log) < 3000
    assert "reason=early" in plugin.run(SMTPMAILFROM=huge, SMTPRCPTTO=huge + b"@example.net").log


def test_memory_is_bounded_p2(plugin: Plugin) -> None:
    limit = ("prlimit", f"--as={256 * 1024 * 1024}")
    assert plugin.run(*limit, SMTPMAILFROM=b"\xff" * 120_000).deferred
    assert len(plugin.records()) == 1
