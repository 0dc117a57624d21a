"""`greylag qmail`: plugins put in place, and taken out again."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from greylag.admin.folder import KEPT
from greylag.cli import compiling
from greylag.cli import plugins as module
from greylag.cli.main import cli
from greylag.cli.old_names import IN_SBIN
from greylag.cli.plugins import NATIVE, PLUGINS
from tests.cli.runner import runner

OLD = "#!/bin/sh\n# the old program\n"


def run(home: Path, command: str, *options: str) -> Result:
    return runner().invoke(cli, ["qmail", command, "--qmail-home", str(home), *options])


def files(home: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((home / "plugins").glob("*"))}


def test_install_writes_programs_that_run_this_greylag(tmp_path: Path) -> None:
    assert run(tmp_path, "install").exit_code == 0
    for name in PLUGINS:
        path = tmp_path / "plugins" / name
        assert path.read_text().startswith(f"#!{sys.executable} -IS\n")
        done = subprocess.run([path], env={}, capture_output=True, check=False, timeout=30)
        if name == "jgreylist":
            assert (done.returncode, done.stdout) == (1, b"")
            assert b"no command" in done.stderr
        else:
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path, "install")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "plugins").iterdir()}
    again = run(tmp_path, "install")
    assert again.output.count("up to date") == len(PLUGINS)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "plugins").iterdir()} == before


@pytest.mark.parametrize("mode", [0o644, 0o750, 0o777, 0o4755])
def test_a_plugin_of_ours_with_another_mode_is_written_again(tmp_path: Path, mode: int) -> None:
    """qmail-spp refuses every recipient where a plugin cannot be executed."""
    run(tmp_path, "install")
    path = tmp_path / "plugins" / "greylisting"
    path.chmod(mode)
    assert f"{path}: would be written\n" in run(tmp_path, "install", "--dry-run").output
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert f"{path}: written\n" in run(tmp_path, "install").output
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert not path.with_name(f"greylisting{KEPT}").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_plugin_that_another_user_could_change_is_written_again_t44(tmp_path: Path) -> None:
    run(tmp_path, "install")
    path = tmp_path / "plugins" / "greylisting"
    os.chown(path, 65534, 65534)
    assert f"{path}: written\n" in run(tmp_path, "install").output
    assert path.stat().st_uid == 0


def test_the_old_program_is_kept_and_put_back(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "greylisting").write_text(OLD)
    result = run(tmp_path, "install")
    assert "the program that was there is now greylisting.before-greylag" in result.output
    assert files(tmp_path)[f"greylisting{KEPT}"] == OLD
    assert files(tmp_path)["greylisting"] != OLD
    run(tmp_path, "install")
    assert run(tmp_path, "uninstall").exit_code == 0
    assert files(tmp_path) == {"greylisting": OLD}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=lambda make: make.__name__)
def test_uninstall_leaves_what_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "plugins").mkdir()
    make(tmp_path / "plugins" / "greylisting")
    result = run(tmp_path, "uninstall")
    assert result.exit_code == 0
    assert f"{tmp_path}/plugins/greylisting: not ours, left as it is\n" in result.output


def test_uninstall_leaves_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "greylisting").write_text(OLD)
    assert "not ours" in run(tmp_path, "uninstall").output
    assert files(tmp_path) == {"greylisting": OLD}


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_dry_run_touches_nothing(tmp_path: Path, command: str) -> None:
    if command == "uninstall":
        run(tmp_path, "install")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    result = run(tmp_path, command, "--dry-run")
    assert result.exit_code == 0
    assert "greylisting" in result.stdout
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_home_that_is_not_there_is_told(tmp_path: Path) -> None:
    words = ["qmail", "install", "--qmail-home", str(tmp_path / "missing")]
    result = runner().invoke(cli, words)
    assert result.exit_code == 66
    assert "missing' does not exist" in result.stderr


def test_plugins_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "plugins").write_text("a file")
    result = run(tmp_path, "install")
    assert result.exit_code == 1
    assert str(tmp_path / "plugins") in result.stderr


@pytest.mark.parametrize("python", ["/a path/python3", "/" + "x" * 300])
def test_an_interpreter_that_no_first_line_can_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setattr("greylag.cli.qmail.unreachable", lambda _plugins: [])
    result = run(tmp_path, "install")
    assert result.exit_code == 1
    assert "cannot name an interpreter" in result.stderr
    assert not (tmp_path / "plugins").exists()


def test_a_folder_that_mail_users_cannot_enter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "root"
    closed.mkdir(mode=0o700)
    (closed / "python3").touch()
    monkeypatch.setattr(sys, "executable", str(closed / "python3"))
    assert closed in module.unreachable(tmp_path / "plugins")
    refused = run(tmp_path, "install")
    assert refused.exit_code == 1
    assert str(closed) in refused.stderr
    assert not (tmp_path / "plugins").exists()
    assert run(tmp_path, "install", "--force").exit_code == 0


def test_old_names_are_written_and_taken_back(tmp_path: Path) -> None:
    """What the guide's run script and crontab name: one of them with an underscore."""
    sbin, home = tmp_path / "sbin", tmp_path / "qmail"
    (home / "bin").mkdir(parents=True)
    sbin.mkdir()
    (home / "bin" / "jgreylist").write_text(OLD)
    assert "--old-names" in run(home, "install", "--sbin", str(sbin)).output
    assert not list(sbin.iterdir())
    run(home, "install", "--old-names", "--sbin", str(sbin))
    assert sorted(path.name for path in sbin.iterdir()) == sorted(IN_SBIN)
    assert (home / "bin" / "jgreylist").read_text() != OLD
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    run(elsewhere, "uninstall", "--sbin", str(sbin))
    assert len(list(sbin.iterdir())) == len(IN_SBIN)
    run(home, "uninstall", "--sbin", str(sbin))
    assert not list(sbin.iterdir())
    assert (home / "bin" / "jgreylist").read_text() == OLD


def test_a_jgreylist_in_bin_that_replaced_nothing_is_left_and_told(tmp_path: Path) -> None:
    words = ("--sbin", str(tmp_path))
    run(tmp_path, "install", "--old-names", *words)
    told = f"{tmp_path}/bin/jgreylist: left in place, as a run script may name it\n"
    assert told in run(tmp_path, "uninstall", *words).output
    assert (tmp_path / "bin" / "jgreylist").exists()


@pytest.mark.parametrize("name", ["jgreylist-clean", "jgreylist_clean"])
def test_the_old_cleaner_without_an_argument_cleans_the_usual_tree(
    tmp_path: Path, name: str
) -> None:
    old = tmp_path / "jgreylist" / "192" / "000" / "002"
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old, (1000, 1000))
    (tmp_path / "sbin").mkdir()
    run(tmp_path, "install", "--old-names", "--sbin", str(tmp_path / "sbin"))
    program = tmp_path / "sbin" / name
    done = subprocess.run([program], env={}, cwd="/", capture_output=True, check=True, timeout=30)
    assert done.stdout.startswith(b"removed: 1 came once")
    assert not old.exists()


def test_the_line_for_the_tree_is_said(tmp_path: Path) -> None:
    (tmp_path / "jgreylist").mkdir()
    result = run(tmp_path, "install", "--native")
    assert f'[jgreylist]\ntrees = ["{tmp_path}/jgreylist"]' in result.output


def test_a_reader_that_goes_away_is_no_error_of_the_folder(tmp_path: Path) -> None:
    """As in `greylag qmail install | head -1`: main() answers that, quietly."""
    (tmp_path / "plugins").mkdir()
    with pytest.raises(BrokenPipeError), module.opened(tmp_path / "plugins"):
        raise BrokenPipeError


def test_install_again_mends_a_plugin_whose_python_is_gone(tmp_path: Path) -> None:
    """As an upgrade of the distribution leaves it."""
    run(tmp_path, "install")
    path = tmp_path / "plugins" / "greylisting"
    path.write_text(path.read_text().replace(sys.executable, "/usr/bin/python3.0"))
    with pytest.raises(FileNotFoundError):
        subprocess.run([path], check=False, env={})
    assert f"{path}: written\n" in run(tmp_path, "install").output
    assert not path.with_name(f"greylisting{KEPT}").exists()
    assert subprocess.run([path], check=False, env={}, timeout=30).returncode == 0


def test_a_bare_command_tells_that_the_plugin_reads_another_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GREYLAG_CONFIG", raising=False)
    theirs, ours = tmp_path / "theirs.toml", tmp_path / "ours.toml"
    for path in (theirs, ours):
        path.write_text(f'store.url = "sqlite://{tmp_path}/x.db"\n')
    words = ["--config", str(theirs), "qmail", "install", "--qmail-home", str(tmp_path)]
    hint = f"greylag: for other commands, set GREYLAG_CONFIG={theirs} or give --config {theirs}\n"
    assert hint in runner().invoke(cli, words).stderr
    told = f"the plugins in {tmp_path}/plugins read {theirs}, and this command {{}}"
    commands = (
        *(["config"], ["config", "--check"], ["check", "192.0.2.1"], ["search"], ["stats"]),
        *(["allow", "list"], ["allow", "add", "192.0.2.9"], ["allow", "remove", "192.0.2.9"]),
        *(["forget", "--waiting"], ["expire"], ["db", "init"], ["db", "check"]),
    )
    for command in commands:
        for file, wanted in ((ours, True), (theirs, False)):
            words = ["--config", str(file), "--qmail-home", str(tmp_path), *command]
            said = runner().invoke(cli, words).stderr
            assert said.count(told.format(file)) == wanted, said


def test_a_plain_install_tells_that_the_plugins_read_other_settings_than_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade: it is `greylag qmail install` alone for those who chose no file."""
    monkeypatch.delenv("GREYLAG_CONFIG", raising=False)
    chosen = tmp_path / "chosen.toml"
    chosen.write_text(f'store.url = "sqlite://{tmp_path}/x.db"\n')
    words = ["qmail", "install", "--qmail-home", str(tmp_path)]
    told = f"greylag: the plugins read {chosen} before, and now /etc/greylag/greylag.toml\n"
    with_it = runner().invoke(cli, ["--config", str(chosen), *words])
    assert told not in with_it.stderr
    assert told in runner().invoke(cli, words).stderr
    assert told not in runner().invoke(cli, words).stderr  # they do no longer


def test_a_planted_program_names_no_settings_and_ends_nothing(tmp_path: Path) -> None:
    """What stands in the place of a plugin may hold anything (T44)."""
    (tmp_path / "plugins").mkdir()
    planted = tmp_path / "plugins" / "greylisting"
    planted.write_text("setdefault(b'GREYLAG_CONFIG', b'x', 1)\n")
    done = runner().invoke(cli, ["qmail", "install", "--qmail-home", str(tmp_path)])
    assert done.exit_code == 0
    assert "the plugins read" not in done.stderr


def test_without_a_compiler_it_says_what_else_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiling, "PACKAGED", tmp_path / "none")
    done = run(tmp_path, "install", "--native")
    assert done.exit_code == 1
    for way in ("apt-get install gcc", "--oneshot", "--python", "the Debian package"):
        assert way in done.stderr
    assert files(tmp_path) == {}


@pytest.mark.parametrize("socket", ["/run/greylag/greylag.sock", "/run/other/greylag.sock"])
def test_without_a_compiler_the_packages_own_programs_do_for_the_usual_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, socket: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiling, "PACKAGED", tmp_path)
    for name in set(NATIVE.values()):  # skipifauth is no program of its own there
        (tmp_path / name).write_bytes(b"\x7fELF of the package")
    config = tmp_path / "greylag.toml"
    config.write_text(f'[server]\nsocket = "{socket}"\n')
    monkeypatch.setenv("GREYLAG_CONFIG", str(config))
    done = run(tmp_path, "install", "--native")
    usual = socket.startswith("/run/greylag/")
    assert done.exit_code == (0 if usual else 1), done.output
    if usual:
        written = (tmp_path / "plugins" / "greylisting").read_bytes()
        assert written.startswith(b"\x7fELF of the package\n# asks at /run/greylag/")


def test_native_and_python_exclude_each_other(tmp_path: Path) -> None:
    done = run(tmp_path, "install", "--native", "--python")
    assert done.exit_code == 2
    assert "--native and --python exclude each other" in done.stderr
    assert not (tmp_path / "plugins").exists()
