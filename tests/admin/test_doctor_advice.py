"""What `greylag doctor` advises is run as it stands: it must not break what it is not about."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from greylag.admin.doctor import CHECKS, diagnose, restrictions
from greylag.admin.doctor.finding import Finding, Level, TooSlow, Unseen
from greylag.admin.doctor.place import Place
from greylag.admin.setup.restrictions import BEFORE_RCPT, question, with_question
from greylag.cli.common import Run
from greylag.cli.place import place_of
from greylag.core.value import replace

RUN = "var/qmail/supervise/qmail-smtpd/run"
SMTPD = "exec tcpserver -u 8900 -g 8901 0 25 /var/qmail/bin/qmail-smtpd\n"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A root with a qmail home, whose plugins ask greylag as vpopmail."""
    for name in ("control", "plugins", "bin", "supervise/qmail-smtpd"):
        (tmp_path / "var/qmail" / name).mkdir(parents=True)
    for name in ("etc/greylag", "var/lib", "etc/xinetd.d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("vpopmail:x:8900:8901::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("vchkpw:x:8901:\n")
    (tmp_path / RUN).write_text(f"#!/bin/sh\n{SMTPD}")
    (tmp_path / "var/qmail/control/smtpplugins").write_text("[rcpt]\nplugins/greylisting\n")
    plugin = tmp_path / "var/qmail/plugins/greylisting"
    plugin.write_text("#!/bin/sh\n# greylag plugin\n")
    plugin.chmod(0o755)
    configure(tmp_path)
    tmp_path.chmod(0o755)
    return tmp_path


def configure(scratch: Path, more: str = "") -> Path:
    path = scratch / "etc/greylag/greylag.toml"
    path.write_text(f'[dns]\nservers = "off"\n{more}')
    return path


def place(scratch: Path) -> Place:
    return place_of(Run(), str(scratch), {})


def look(scratch: Path, code: str) -> list[Finding]:
    """Return the problems that one check tells."""
    (check,) = [one for one in CHECKS if one.code == code]
    found = diagnose(place(scratch), [check])
    return [one for one in found if one.level in (Level.WARN, Level.ERROR)]


def run(command: str) -> None:
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=60)


def test_a_plugin_that_is_gone_takes_no_other_line_with_it(scratch: Path) -> None:
    lines = scratch / "var/qmail/control/smtpplugins"
    for name in ("spfcheck", "a.check"):
        (scratch / "var/qmail/plugins" / name).write_text("#!/bin/sh\n")
    kept = "[rcpt]\nplugins/spfcheck\nplugins/a.check\nplugins/greylisting\n"
    lines.write_text(f"{kept}plugins/check\n./plugins/check \nplugins/a[+]check\n/nosuch/a|b\n")
    for found in look(scratch, "plugin-missing"):
        run(found.mend)
    assert lines.read_text() == kept


def test_no_plugin_is_named_that_is_not_there(scratch: Path) -> None:
    (scratch / "var/qmail/control/smtpplugins").write_text("[rcpt]\n")
    (found,) = look(scratch, "plugin-unnamed")
    assert " setup qmail " in found.mend.partition(" && printf ")[0]
    (scratch / "var/qmail/plugins/ifauthskip").write_text("#!/bin/sh\n# greylag plugin\n")
    (found,) = look(scratch, "plugin-unnamed")
    assert found.mend.startswith("printf ")


def test_a_folder_that_others_use_is_not_closed_to_them(scratch: Path) -> None:
    configure(scratch, '[store]\nurl = "sqlite:///var/lib/greylag.db"\n')
    (found,) = look(scratch, "db-folder")
    assert found.mend.startswith("chgrp 8901 ")
    (scratch / "var/lib/mysql").mkdir()
    (found,) = look(scratch, "db-folder")
    assert found.mend == ""
    assert "a folder of its own" in found.text


def test_a_plugin_is_opened_and_keeps_its_other_bits(scratch: Path) -> None:
    with (scratch / "var/qmail/control/smtpplugins").open("a") as lines:
        lines.write("plugins/a b\n")
    path = scratch / "var/qmail/plugins/a b"
    path.touch()
    path.chmod(0o4710)
    (found,) = look(scratch, "plugin-rights")
    run(found.mend)
    assert stat.S_IMODE(path.stat().st_mode) == 0o4755
    assert look(scratch, "plugin-rights") == []


def test_a_folder_above_is_entered_and_not_read(scratch: Path) -> None:
    folder = scratch / "var/qmail/plugins"
    folder.chmod(0o700)
    (found,) = look(scratch, "plugin-rights")
    run(found.mend)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o711
    assert look(scratch, "plugin-rights") == []


def test_an_option_file_of_others_is_left_alone(scratch: Path) -> None:
    mine = scratch / "etc/greylag/my.cnf"
    configure(scratch, '[store]\nurl = "mysql:?default_file=/etc/greylag/my.cnf"\n')
    mine.write_text("[client]\nuser = a\npassword = b\n")
    assert [one.mend.split()[0] for one in look(scratch, "mysql-cnf")] == ["chown"]
    mine.write_text("[client]\nuser = a\n")  # by the socket: there is no password to hide
    assert look(scratch, "mysql-cnf") == []
    mine.write_text("[mysqld]\nport = 3306\n[client]\npassword = b\n")
    (found,) = look(scratch, "mysql-cnf")
    assert found.mend == ""
    mine.write_text("[client]\npassword = b\n")
    mine.chmod(0o640)
    assert [one.mend.split()[0] for one in look(scratch, "mysql-cnf")] == ["chown"]
    os.chown(mine, 0, 8999)  # whose group would lose it
    assert [one.mend for one in look(scratch, "mysql-cnf")] == [""]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("etc/inetd.conf", "smtp stream tcp nowait vpopmail /x tcp-env /var/qmail/bin/qmail-smtpd"),
        ("etc/xinetd.d/smtp", "service smtp\n{\n server = /var/qmail/bin/qmail-smtpd\n}\n"),
        (RUN, f"#!/command/execlineb -P\n{SMTPD}"),
    ],
)
def test_no_line_of_a_shell_is_put_into_what_no_shell_reads(
    scratch: Path, name: str, text: str
) -> None:
    (scratch / RUN).unlink()
    (scratch / name).write_text(text)
    (found,) = look(scratch, "greylisting-unset")
    assert found.mend == ""


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ("envdir ./vars", "var/qmail/supervise/qmail-smtpd/vars"),
        ("s6-envdir -i /etc/qmail/vars", "etc/qmail/vars"),
        ("chpst -u vpopmail -e /etc/qmail/vars", "etc/qmail/vars"),
    ],
)
def test_what_a_folder_sets_is_set(scratch: Path, words: str, folder: str) -> None:
    (scratch / RUN).write_text(f"#!/bin/sh\n{SMTPD.replace('exec ', f'exec {words} ')}")
    assert len(look(scratch, "greylisting-unset")) == 1
    (scratch / folder).mkdir(parents=True)
    (scratch / folder / "GREYLISTING").touch()
    assert look(scratch, "greylisting-unset") == []


@pytest.mark.parametrize("first", ["#!/bin/sh", "#! /usr/bin/env bash", "#!/bin/dash -e"])
def test_a_shells_script_gets_its_line(scratch: Path, first: str) -> None:
    (scratch / RUN).write_text(f"{first}\n{SMTPD}")
    (found,) = look(scratch, "greylisting-unset")
    edit, _and, restart = found.mend.partition(" && ")
    run(edit)
    assert (scratch / RUN).read_text() == f'{first}\nexport GREYLISTING=""\n{SMTPD}'
    assert restart == f"svc -t {scratch}/var/qmail/supervise/qmail-smtpd"


def test_what_is_set_up_is_the_machine_that_was_looked_at(scratch: Path) -> None:
    (scratch / "var/qmail/control/smtpplugins").unlink()
    (scratch / "var/qmail/bin/qmail-smtpd").touch()
    (scratch / RUN).unlink()
    (found,) = look(scratch, "nobody-asks")
    assert found.mend.endswith(f"/greylag setup qmail --yes --root {scratch}")
    assert found.mend.count(str(scratch)) == 1  # setup's paths are as that machine sees them


def test_no_store_of_this_machine_is_touched_for_one_in_a_folder(scratch: Path) -> None:
    (found,) = look(scratch, "db-missing")
    assert "greylag db init" not in found.mend
    run(found.mend)
    assert look(scratch, "db-missing") == []
    made = (scratch / "var/lib/greylag").stat()
    assert (made.st_uid, made.st_gid) == (8900, 8901)  # who has these names here is another


def test_before_setup_no_folder_is_missing_as_setup_makes_it_for_the_right_user(
    scratch: Path,
) -> None:
    (scratch / "var/qmail/plugins/greylisting").unlink()
    (scratch / "var/qmail/control/smtpplugins").unlink()
    assert look(scratch, "db-missing") == []
    unit = scratch / "etc/systemd/system/greylag.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nUser=vpopmail\nExecStart=/usr/local/bin/greylag serve\n")
    assert len(look(scratch, "db-missing")) == 1


def test_a_section_is_not_taken_from_the_lines_below_it(scratch: Path) -> None:
    toml = configure(scratch, '[policy]\ndelay = "5m"\n[polcy]\ngreylist = "off"\n')
    assert [one.mend for one in look(scratch, "settings")] == [""]
    toml = configure(scratch, '[policy]\ndelai = "5m"\n')
    (found,) = look(scratch, "settings")
    run(found.mend)
    assert toml.read_text().endswith('# delai = "5m"\n')


def test_own_clients_pass_over_no_check_that_stood_before(scratch: Path) -> None:
    asked = restrictions.service("inet:127.0.0.1:10023")
    steps = restrictions.read(f"reject_sender_login_mismatch, {asked}, permit")
    made = restrictions.righted(steps, asked, at_data=True, unauth=False)
    assert made == (
        "reject_sender_login_mismatch, permit_mynetworks, permit_sasl_authenticated, "
        f"{asked}, permit"
    )


@pytest.mark.parametrize(
    "text",
    [
        "check_client_access { a { b { c d } } }, permit",
        ", ".join(["check_client_access hash:/etc/postfix/clients"] * 1000),
    ],
    ids=["braces", "long"],
)
def test_a_list_that_is_not_read_whole_is_not_written(text: str) -> None:
    with pytest.raises(Unseen):
        restrictions.read(text)


def test_a_database_that_does_not_answer_is_not_called_damaged(scratch: Path) -> None:
    (scratch / "var/lib/greylag").mkdir()
    (scratch / "var/lib/greylag/greylag.db").touch()

    def hangs() -> object:
        raise TooSlow

    slow = replace(place(scratch), open_store=hangs)
    (check,) = [one for one in CHECKS if one.code == "db-unusable"]
    assert [one.level for one in diagnose(slow, [check])] == [Level.SKIPPED]


def test_the_log_is_opened_anew_by_what_runs_the_daemon(scratch: Path) -> None:
    configure(scratch, '[log]\nfile = "/var/log/greylag.log"\n')
    service = scratch / "etc/greylag/service"
    service.mkdir()
    (service / "run").write_text("#!/bin/sh\nexec setuidgid vpopmail greylag serve\n")
    log = scratch / "var/log/greylag.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate((2 << 30) + 1)
    (found,) = look(scratch, "log")
    assert found.mend == f"mv {log} {log}.old && svc -h {service}"


def test_the_folder_of_the_last_run_is_for_those_who_open_the_database(scratch: Path) -> None:
    command = [str(Path(sys.executable).parent / "greylag"), "doctor", "--changes", "--root"]
    subprocess.run([*command, str(scratch)], check=False, timeout=60, capture_output=True)
    made = (scratch / "var/lib/greylag").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_uid, made.st_gid) == (0o2770, 8900, 8901)
    assert (scratch / "var/lib/greylag/doctor.json").exists()


def test_the_question_is_put_where_setup_puts_it(scratch: Path) -> None:
    """Where nobody else refuses it, mail to others' domains would leave records."""
    (scratch / "etc/postfix").mkdir()
    (scratch / "etc/postfix/master.cf").touch()
    main = scratch / "etc/postfix/main.cf"
    ask = question("unix:greylag/greylag.sock")
    main.write_text(f"smtpd_data_restrictions = {ask}\n")
    (found,) = look(scratch, "postfix-recipient")
    wanted = with_question("", "unix:greylag/greylag.sock", BEFORE_RCPT)
    assert f"smtpd_recipient_restrictions = {wanted}'" in found.mend


def test_a_dashboard_without_a_user_is_told(scratch: Path) -> None:
    wants = scratch / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "greylag-web.service").symlink_to("/etc/systemd/system/greylag-web.service")
    (found,) = look(scratch, "web-no-user")
    assert "web passwd admin" in found.mend
    (scratch / "var/lib/greylag").mkdir()
    (scratch / "var/lib/greylag/web-users").touch()
    assert look(scratch, "web-no-user") == []
