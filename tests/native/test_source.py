"""House rules of the C sources: small, bounded, clean under every compiler that is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.plugin import needed
from tests.native.building import NATIVE, ROOT, make

SOURCES = sorted([*NATIVE.glob("*.c"), *NATIVE.glob("*.h")])
FORBIDDEN = (
    *("strcat", "strncat", "strcpy", "strncpy", "stpcpy", "sprintf", "vsprintf", "snprintf"),
    *("printf", "fprintf", "dprintf", "gets", "fgets", "scanf", "sscanf", "system", "popen"),
    *("malloc", "calloc", "realloc", "alloca", "fork", "setjmp", "getaddrinfo", "syslog"),
)


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_comments(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_no_function_that_forgets_how_much_room_there_is(path: Path) -> None:
    """CVE-2023-52159 (strncat with the whole buffer's size), CVE-2005-1127 (format strings)."""
    called = set(re.findall(r"\b(\w+)\s*\(", without_comments(path)))
    assert not called & set(FORBIDDEN)
    assert "<stdio.h>" not in path.read_text()


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < 300
    assert max(map(len, lines)) <= 100
    start = 0
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}":
            assert number - start <= 40, f"line {start}"


@pytest.mark.parametrize("compiler", ["gcc", "gcc -static", "musl-gcc -static", "clang"])
def test_builds_are_clean(compiler: str, tmp_path: Path) -> None:
    command = compiler.partition(" ")[0]
    if command in ("gcc", "musl-gcc"):
        needed(command, "gcc musl-tools")
    elif shutil.which(command) is None:
        pytest.skip(f"{command} is optional")
    done = make("native", f"NATIVE_OUT={tmp_path}", f"NATIVE_CC={compiler}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.iterdir()} == {
        "greylisting",
        "ifauthskip",
        "jgreylist",
    }


def test_a_failing_build_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = make("native", f"NATIVE_OUT={tmp_path}", "NATIVE_EXTRA=-DMAX_REPLY=")
    assert done.returncode != 0
    assert "error" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_socket_path_that_no_socket_can_have_does_not_build(tmp_path: Path) -> None:
    done = make("native", f"NATIVE_OUT={tmp_path}", f"NATIVE_SOCKET=/{'x' * 120}")
    assert "SOCKET_PATH is too long" in done.stderr


@pytest.mark.parametrize("program", ["greylisting", "jgreylist"])
def test_the_fuzzers_build_and_hold_for_their_seeds(program: str, tmp_path: Path) -> None:
    done = make("native-fuzzer", f"NATIVE_FUZZ_OUT={tmp_path}", f"NATIVE_FUZZED={program}")
    assert done.returncode == 0, done.stderr
    seeds = sorted((ROOT / "tests" / "native" / "corpus" / program).iterdir())
    assert seeds
    (built,) = tmp_path.glob(f"*_{program}")
    replayed = subprocess.run(
        [built, *seeds], capture_output=True, text=True, timeout=120, check=False
    )
    assert replayed.returncode == 0, replayed.stderr
