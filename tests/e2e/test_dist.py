"""`make dist`: wheel, source distribution and Debian package; two builds give the same bytes."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from greylag import __version__
from tests.e2e.plugin import needed

ROOT = Path(__file__).parents[2]
# A tag that lintian of Debian 13 no longer has, so no override can name it. Without systemd the
# daemon runs under daemontools or runit.
# It takes a name that it does not know for an error.
LINTIAN = (
    "lintian --allow-root -I $(lintian-explain-tags --list-tags | sed -n "
    '"s/^package-supports-alternative-init-but-no-init.d-script/--suppress-tags &/p")'
)
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def build(folder: Path, umask: str) -> dict[str, bytes]:
    """Build everything as somebody would at another time, in another folder."""
    environ = {**CLEAN, "SOURCE_DATE_EPOCH": "1767225600"}
    command = f'umask {umask}; exec "$1" "$2" "$3"'
    words = ["sh", "-c", command, "sh", f"{ROOT}/tools/dist", sys.executable, str(folder)]
    done = subprocess.run(
        words, cwd="/", env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed("dh", "debhelper")
    folder = tmp_path_factory.mktemp("first")
    build(folder, "022")
    return folder


@pytest.fixture(scope="module")
def package(dist: Path) -> Path:
    (found,) = dist.glob("greylag_*.deb")
    return found


def files_of(package: Path) -> list[str]:
    listed = subprocess.check_output(["dpkg-deb", "-c", package], text=True)
    return [line.split()[5].removeprefix(".") for line in listed.splitlines()]


def test_two_builds_give_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in dist.iterdir()}
    again = build(tmp_path, "077")
    assert first.keys() == again.keys()
    told = (".buildinfo", ".changes")  # what says of the build itself when and where it was
    assert not [
        name
        for name, content in first.items()
        if content != again[name] and not name.endswith(told)
    ]


def test_the_source_distribution_has_all_that_is_built_from(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"debian/rules", "contrib/systemd/greylag.service", "tools/deb", "LICENSE"} <= names
    assert not [name for name in names if name.startswith((".venv", "build/", "dist/"))]


def test_lintian_has_nothing_to_say(dist: Path) -> None:
    (changes,) = dist.glob("*.changes")
    needed("lintian", "lintian")
    command = ["sh", "-c", f'{LINTIAN} "$1"', "sh", str(changes)]
    done = subprocess.run(command, env=CLEAN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""


def test_each_override_has_a_reason() -> None:
    lines = (ROOT / "debian" / "greylag.lintian-overrides").read_text().splitlines()
    assert len(lines) % 2 == 0
    for reason, override in zip(lines[::2], lines[1::2], strict=True):
        assert reason.startswith("# ")
        assert override.startswith("greylag: ")


def test_the_package_has_what_a_server_needs(package: Path) -> None:
    names = files_of(package)
    for name in (
        "/etc/greylag/greylag.toml",
        "/etc/logrotate.d/greylag",
        "/usr/bin/greylag",
        "/usr/bin/jgreylist-clean",
        "/usr/lib/greylag/greylisting",
        "/usr/lib/greylag/ifauthskip",
        "/usr/lib/greylag/jgreylist",
        "/usr/lib/greylag/greylisting-oneshot",
        "/usr/share/bash-completion/completions/greylag",
        "/usr/share/fish/vendor_completions.d/greylag.fish",
        "/usr/share/man/man1/greylag.1.gz",
        "/usr/share/man/man5/greylag.toml.5.gz",
        "/usr/share/zsh/vendor-completions/_greylag",
    ):
        assert name in names
    for unit in ("greylag", "greylag-web", "greylag-doctor", "greylag-report"):
        assert any(name.endswith(f"/systemd/system/{unit}.service") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_package_asks_for_the_libraries_that_pyproject_asks_for() -> None:
    """debian/control has the lower bounds again: pybuild leaves them out."""
    control = (ROOT / "debian" / "control").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(r'"([a-z0-9-]+)>=([0-9.]+)"', project.partition("\ntest = ")[0])
    assert len(wanted) == 10
    for name, version in wanted:
        debian = {"argon2-cffi": "argon2", "hatchling": "hatchling"}.get(name, name)
        assert f" python3-{debian} (>= {version})," in control


def test_the_package_has_the_version_of_the_program(package: Path) -> None:
    changelog = (ROOT / "debian" / "changelog").read_text()
    assert changelog.startswith(f"greylag ({__version__}) ")
    assert f"_{__version__}_" in package.name


def test_the_plugins_in_c_are_hardened(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    for name in ("greylisting", "ifauthskip", "jgreylist"):
        program = tmp_path / "usr" / "lib" / "greylag" / name
        shown = subprocess.check_output(["readelf", "-Wdl", program], text=True)
        assert "GNU_RELRO" in shown
        assert "BIND_NOW" in shown
        assert "Flags: PIE" in shown or " PIE" in shown
        assert b"/usr/lib/greylag/" in program.read_bytes() or name == "ifauthskip"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_is_good_shell(package: Path, tmp_path: Path, shell: str) -> None:
    program = needed(shell, shell)
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    (script,) = [
        path
        for path in (tmp_path / "usr" / "share").rglob("*greylag*")
        if shell in str(path.relative_to(tmp_path)) and path.is_file()
    ]
    done = subprocess.run([program, "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
