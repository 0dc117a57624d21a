"""`greylag setup` in a scratch root: what it writes, what it refuses, and that it says why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.admin.setup.conftest import looked, root
from tests.e2e.plugin import BIN

__all__ = ["root"]  # a fixture
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="setup is for root")
MAIN = """\
# Debian's
queue_directory = /var/spool/postfix
mail_owner = postfix
mydestination = example.net
mynetworks = 127.0.0.0/8
"""


def run(root: Path, *words: str, code: int = 0, user: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [BIN / "greylag", "setup", *words, "--root", root],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        user=user,
        group=user,
        extra_groups=[],
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def qmail(root: Path) -> Path:
    """Make a qmail home with qmail-spp; return it."""
    home = root / "var/qmail"
    (home / "control").mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin/qmail-smtpd").write_bytes(b"\x7fELF\0control/smtpplugins\0ENABLE_SPP\0")
    return home


def postfix(root: Path) -> Path:
    """Make the configuration of a Postfix; return main.cf."""
    (root / "etc/postfix").mkdir()
    (root / "var/spool/postfix").mkdir(parents=True)
    (root / "etc/postfix/master.cf").write_text("smtp inet n - y - - smtpd\n")
    main = root / "etc/postfix/main.cf"
    main.write_text(MAIN)
    return main


@pytest.mark.parametrize("mta", ["qmail", "postfix"])
def test_there_again_and_back(root: Path, mta: str) -> None:
    """P19: a second run changes no byte and no time, undo leaves what was there."""
    {"qmail": qmail, "postfix": postfix}[mta](root)
    before = looked(root)
    told = run(root, mta, "--dry-run").stdout
    assert "nothing was written (--dry-run)" in told
    assert looked(root) == before
    told = run(root, mta, "--yes").stdout
    assert "nothing was started" in told
    after = looked(root)
    unit = after["etc/systemd/system/greylag.service"][-1]
    user = "vpopmail" if mta == "qmail" else "greylag"
    assert f"\nUser={user}\n".encode() in bytes(unit)  # type: ignore[call-overload]
    wants = after["etc/systemd/system/multi-user.target.wants/greylag.service"]
    assert wants[-1] == "/etc/systemd/system/greylag.service"
    assert "usr/local/share/bash-completion/completions/greylag" in after
    assert "usr/local/share/zsh" not in after  # that shell is not there
    assert "nothing to do" in run(root, mta, "--yes").stdout
    assert looked(root) == after
    run(root, mta, "--undo", "--yes")
    kept = {path: row for path, row in looked(root).items() if not path.endswith(("-", ".lock"))}
    for path in ("etc/passwd", "etc/group"):  # useradd and userdel write them at another time
        kept[path] = kept[path][:3] + before[path][3:4] + kept[path][4:]
    assert kept == before


def test_the_daemon_may_write_where_its_socket_is(root: Path) -> None:
    """The unit lets it write nowhere else, and Postfix's queue may be anywhere."""
    main = postfix(root)
    main.write_text(MAIN.replace("/var/spool/postfix", "/srv/queue"))
    (root / "srv/queue").mkdir(parents=True)
    run(root, "postfix", "--yes")
    unit = (root / "etc/systemd/system/greylag.service").read_text()
    assert "\nReadWritePaths=-/srv/queue/greylag\n" in unit


def test_qmail(root: Path) -> None:
    """ifauthskip comes first, and the program that was there is kept beside ours."""
    home = qmail(root)
    (home / "plugins").mkdir()
    (home / "plugins/greylisting").write_text("#!/bin/sh\n")
    (home / "control/smtpplugins").write_text("[mail]\nplugins/other\n\n[rcpt]\nplugins/mine\n")
    told = run(root, "qmail", "--yes").stdout
    assert (home / "control/smtpplugins").read_text() == (
        "[mail]\nplugins/other\n\n[rcpt]\nplugins/mine\nplugins/ifauthskip\nplugins/greylisting\n"
    )
    assert (home / "plugins/greylisting.before-greylag").read_text() == "#!/bin/sh\n"
    assert (home / "plugins/greylisting").read_bytes()[:4] == b"\x7fELF"
    assert b"greylag.plugin.greylisting" in (home / "plugins/greylisting-oneshot").read_bytes()
    assert os.fsencode(root) not in (home / "plugins/greylisting").read_bytes()
    assert "left to you: GREYLISTING is set nowhere" in told
    assert (root / "var/lib/greylag").stat().st_mode & 0o7777 == 0o2770
    assert (root / "var/lib/greylag").stat().st_gid == 8901
    logs = (root / "var/log/greylag").stat()
    assert (logs.st_mode & 0o7777, logs.st_gid) == (0o750, 8901)  # else undo would not know of it
    again = run(root, "qmail", "--undo", "--dry-run").stdout.splitlines()
    assert again[0] == "these are put back as they were, or removed:"
    assert "  /var/log/greylag" in again
    assert again[-1] == "nothing was done (--dry-run)"


def test_a_folder_of_another_user_is_not_taken_for_the_records_of_the_oneshot(root: Path) -> None:
    qmail(root)
    (root / "var/lib/greylag").mkdir()
    before = looked(root)
    done = run(root, "qmail", "--oneshot", "--yes", code=1)
    assert "chown -R vpopmail:vchkpw /var/lib/greylag" in done.stderr
    assert looked(root) == before


def test_no_word_of_a_crontab_means_more_than_it_says(root: Path) -> None:
    (root / "var/q 100%").parent.mkdir(exist_ok=True)
    qmail(root).rename(root / "var/q 100%")
    words = ("qmail", "--oneshot", "--yes", "--qmail-home", "/var/q 100%")
    assert "crontab" in run(root, *words, code=1).stderr
    assert not (root / "etc/cron.d").exists()


def test_the_user_and_what_is_set_are_found_in_the_run_script(root: Path) -> None:
    qmail(root)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nqmaild:x:7791:2108::/:/bin/sh\n")
    (root / "etc/group").write_text("nofiles:x:2108:\n")
    for name, text in {
        "qmail-smtpd": "export GREYLISTING=\nexec softlimit -m 20000000 tcpserver -u 7791 0 25 \\\n"
        " /var/qmail/bin/qmail-smtpd\n",
        "qmail-submission": "exec setuidgid root tcpserver 0 587 /var/qmail/bin/qmail-smtpd\n",
    }.items():
        (root / "var/qmail/supervise" / name).mkdir(parents=True)
        (root / "var/qmail/supervise" / name / "run").write_text(text)
    (root / "service").mkdir()
    (root / "service/qmail-smtpd").symlink_to("/var/qmail/supervise/qmail-smtpd")
    (root / "usr/bin/svscan").touch()
    told = run(root, "qmail", "--yes").stdout
    assert "asked by qmail-spp, as qmaild:nofiles" in told
    assert "the daemon, under daemontools" in told
    assert "GREYLISTING is set nowhere" not in told
    assert "softlimit -m 20000000 is too little: give it 60000000" in told
    assert (root / "service/greylag").readlink() == Path("/etc/greylag/service")
    script = (root / "etc/greylag/service/run").read_text()
    assert "exec setuidgid qmaild " in script
    assert "--qmail-home /var/qmail serve" in script


def test_the_oneshot_alone(root: Path) -> None:
    home = qmail(root)
    run(root, "qmail", "--yes", "--oneshot")
    assert (home / "plugins/greylisting").read_bytes().startswith(b"#!")
    assert not (root / "etc/systemd/system/greylag.service").exists()
    assert " vpopmail " in (root / "etc/cron.d/greylag").read_text()


def test_jgreylist(root: Path) -> None:
    """The guide's run script names it, and its tree is served."""
    home = qmail(root)
    (home / "bin/qmail-smtpd").write_bytes(b"without the patch")
    error = run(root, "qmail", "--yes", code=1).stderr
    assert "has no qmail-spp patch, and no run script names jgreylist" in error
    (home / "bin/jgreylist").write_text("#!/bin/sh\n")
    (home / "jgreylist").mkdir()
    (home / "supervise/smtpd").mkdir(parents=True)
    (home / "supervise/smtpd/run").write_text(
        'export JGREYLIST_DIR="/var/qmail/jgreylist"\n'
        "exec tcpserver 0 25 /var/qmail/bin/jgreylist /var/qmail/bin/qmail-smtpd\n"
    )
    run(root, "qmail", "--yes")
    assert (home / "bin/jgreylist").read_bytes()[:4] == b"\x7fELF"
    assert not (home / "control/smtpplugins").exists()
    toml = (root / "etc/greylag/greylag.toml").read_text()
    assert 'trees = ["/var/qmail/jgreylist"]' in toml


def test_what_main_cf_gets_stands_in_one_order(root: Path) -> None:
    """postconf(1) has another in each run, so the dry run would not show what is done."""
    postfix(root)
    dry = run(root, "postfix", "--dry-run").stdout
    names = [line[1:].partition(" =")[0] for line in dry.splitlines() if line.startswith("+")]
    assert [name for name in names if name.startswith(("smtpd_", "access_"))] == [
        "smtpd_recipient_restrictions",
        "smtpd_data_restrictions",
        "access_map_defer_code",
    ]


def test_postfix(root: Path) -> None:
    main = postfix(root)
    main.write_text(f"{MAIN}smtpd_recipient_restrictions = permit_mynetworks,\n  permit\n")
    run(root, "postfix", "--yes", "--observe")
    ask = (
        "check_policy_service { unix:greylag/greylag.sock, timeout=5s, default_action=DUNNO, "
        "try_limit=1 }"
    )
    lines = main.read_text().splitlines()
    assert lines[0] == "# Debian's"
    assert (
        "smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, "
        f"reject_unauth_destination, reject_unlisted_recipient, {ask}, permit"
    ) in lines
    assert f"smtpd_data_restrictions = permit_mynetworks, permit_sasl_authenticated, {ask}" in lines
    assert "access_map_defer_code = 451" in lines
    folder = (root / "var/spool/postfix/greylag").stat()
    made = (root / "etc/passwd").read_text().splitlines()[-1].split(":")
    assert made[0] == "greylag"
    assert (folder.st_mode & 0o7777, folder.st_uid, folder.st_gid) == (0o710, int(made[2]), 102)
    assert 'greylist = "observe"' in (root / "etc/greylag/greylag.toml").read_text()
    assert "nothing to do" in run(root, "postfix", "--yes").stdout  # it goes on observing


def test_a_question_by_hand_is_not_put_there_twice(root: Path) -> None:
    main = postfix(root)
    asks = "check_policy_service { inet:127.0.0.1:10023, default_action=DUNNO }"
    text = (
        f"{MAIN}smtpd_recipient_restrictions = reject_unauth_destination, {asks}\n"
        f"smtpd_data_restrictions = {asks}\naccess_map_defer_code = 452\n"
    )
    main.write_text(text)
    (root / "etc/greylag").mkdir()
    (root / "etc/greylag/greylag.toml").write_text('[server]\npolicy = ["127.0.0.1:10023"]\n')
    run(root, "postfix", "--yes")
    assert main.read_text() == text


def test_mysql(root: Path) -> None:
    qmail(root)
    options = root / "etc/my.cnf"
    assert (
        "there is no such file"
        in run(root, "qmail", "--yes", "--mysql-options", "/etc/my.cnf", code=66).stderr
    )
    options.write_text("[client]\n")
    options.chmod(0o600)
    before = looked(root)
    error = run(root, "qmail", "--yes", "--mysql-options", "/etc/my.cnf", code=66).stderr
    assert "/etc/my.cnf: cannot be read by the user vpopmail" in error
    advice = error.splitlines()[-1].partition("this lets it: ")[2]
    assert advice == "chgrp vchkpw /etc/my.cnf; chmod g+r /etc/my.cnf"
    assert looked(root) == before
    os.chown(options, 0, 102)  # whose group would lose it
    options.chmod(0o640)
    error = run(root, "qmail", "--yes", "--mysql-options", "/etc/my.cnf", code=66).stderr
    assert error.splitlines()[-1].endswith(": give greylag an option file of its own")
    (root / "etc/closed in").mkdir(mode=0o750)
    (root / "etc/closed in/my.cnf").touch()
    named = ("--mysql-options", "/etc/closed in/my.cnf")
    error = run(root, "qmail", "--yes", *named, code=66).stderr
    assert error.splitlines()[-1].endswith(" lets it: chmod o+x '/etc/closed in'")
    os.chown(options, 0, 8901)
    options.chmod(0o640)
    run(root, "qmail", "--yes", "--mysql-options", "/etc/my.cnf")
    toml = (root / "etc/greylag/greylag.toml").read_text()
    assert 'url = "mysql:?default_file=/etc/my.cnf"' in toml


def test_the_old_settings_decide_where_records_are(root: Path) -> None:
    home = qmail(root)
    (home / "control/greylisting").write_text("mysql_default_file=control/mysql.cnf\n")
    error = run(root, "qmail", "--yes", "--store", "sqlite", code=1).stderr
    assert "names MySQL (/var/qmail/control/mysql.cnf), and decides" in error
    assert "MySQL, as control/greylisting says" in run(root, "qmail", "--yes").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("qmail", "--yes"), 1, "no qmail was found"),
        (("postfix", "--yes"), 1, "no Postfix was found"),
        (("postfix", "--undo", "--yes"), 1, "nothing to undo"),
        (("qmail", "--purge"), 2, "--purge goes with --undo"),
        (("qmail", "--store", "sqlite", "--mysql-options", "/x"), 2, "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_written(
    root: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    before = looked(root)
    done = run(root, *words, code=code)
    assert said in done.stdout + done.stderr
    assert looked(root) == before


def test_nothing_is_done_where_nobody_can_be_asked(root: Path) -> None:
    postfix(root)
    before = looked(root)
    assert "there is no terminal to ask on" in run(root, "postfix", code=2).stderr
    assert looked(root) == before


def test_a_broken_settings_file_is_told_and_left(root: Path) -> None:
    postfix(root)
    (root / "etc/greylag").mkdir()
    (root / "etc/greylag/greylag.toml").write_text("[server\n")
    before = looked(root)
    assert "greylag.toml: " in run(root, "postfix", "--yes", code=1).stderr
    assert looked(root) == before


def test_two_mail_servers_are_not_mixed(root: Path) -> None:
    """Undoing one would take the daemon from the other."""
    qmail(root)
    postfix(root)
    run(root, "postfix", "--yes")
    error = run(root, "qmail", "--yes", code=1).stderr
    assert "greylag was set up for postfix here: greylag setup postfix --undo" in error
    run(root, "qmail", "--undo", "--yes", code=1)


def test_the_qmail_home_before_the_word_setup_holds(root: Path) -> None:
    """It was passed over: the usual home was set up in its place."""
    qmail(root)
    (root / "var/qmail").rename(root / "var/other")
    home = ("--qmail-home", str(root / "var/other"))
    command = [str(BIN / "greylag"), *home, "setup", "qmail", "--yes"]
    subprocess.run([*command, "--root", str(root)], check=True, capture_output=True, timeout=120)
    assert (root / "var/other/plugins/greylisting").exists()


def test_settings_elsewhere_are_refused(root: Path) -> None:
    qmail(root)
    error = run(root, "qmail", "--yes", "--config", "/etc/other.toml", code=2).stderr
    assert "setup writes /etc/greylag/greylag.toml alone" in error


def test_a_list_that_ends_with_reject_is_named(root: Path) -> None:
    main = postfix(root)
    main.write_text(f"{MAIN}smtpd_recipient_restrictions = permit_mynetworks, reject\n")
    error = run(root, "postfix", "--yes", code=1).stderr
    assert "smtpd_recipient_restrictions in main.cf ends with reject" in error
    assert "  smtpd_recipient_restrictions = ..., check_policy_service {" in error
    assert "  smtpd_data_restrictions = permit_mynetworks, permit_sasl_authenticated, che" in error


def test_json(root: Path) -> None:
    postfix(root)
    document = json.loads(run(root, "postfix", "--yes", "--json").stdout)
    assert document["changed"] is True
    paths = [one["path"] for one in document["changes"]]
    assert paths.index("/etc/systemd/system/greylag.service") < paths.index("/etc/postfix/main.cf")
    (main,) = [one for one in document["changes"] if one["path"] == "/etc/postfix/main.cf"]
    assert "+access_map_defer_code = 451" in main["diff"]
    again = json.loads(run(root, "postfix", "--yes", "--json").stdout)
    assert (again["changed"], again["changes"]) == (False, [])
    assert json.loads(run(root, "postfix", "--undo", "--yes", "--json").stdout)["changed"] is True


def test_only_root_may(root: Path) -> None:
    postfix(root)
    for folder in (root, *root.parents):
        if str(folder) not in ("/", "/tmp"):
            folder.chmod(0o755)
    assert "only root" in run(root, "postfix", "--yes", code=1, user=65534).stderr


def test_what_a_package_has_installed_is_used(root: Path) -> None:
    """Debian's package brings unit and completion; setup writes neither a second time."""
    postfix(root)
    run(root, "postfix", "--yes")
    unit = (root / "etc/systemd/system/greylag.service").read_bytes()
    run(root, "postfix", "--undo", "--yes")
    for path, content in {
        "usr/lib/systemd/system/greylag.service": unit,
        "usr/share/bash-completion/completions/greylag": b"",
    }.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(content)
    run(root, "postfix", "--yes")
    assert not (root / "etc/systemd/system/greylag.service").exists()
    wants = root / "etc/systemd/system/multi-user.target.wants/greylag.service"
    assert wants.readlink() == Path("/usr/lib/systemd/system/greylag.service")
    assert not (root / "usr/local/share").exists()


def test_a_plugin_that_an_upgrade_wrote_again_goes_with_undo(root: Path) -> None:
    home = qmail(root)
    (home / "plugins").mkdir()
    (home / "plugins/greylisting").write_text("#!/bin/sh\n")
    before = looked(home)
    run(root, "qmail", "--yes")
    (home / "plugins/greylisting").write_bytes(b"\x7fELF of tomorrow\n# greylag plugin\n")
    run(root, "qmail", "--undo", "--yes")
    assert looked(home) == before


def test_records_of_another_user_are_an_error(root: Path) -> None:
    qmail(root)
    (root / "service").mkdir()
    (root / "usr/bin/svscan").touch()
    (root / "var/lib/greylag").mkdir()
    words = ("qmail", "--yes", "--supervisor", "daemontools")
    error = run(root, *words, code=1).stderr
    assert "this gives it away: chown -R vpopmail:vchkpw /var/lib/greylag" in error
    os.chown(root / "var/lib/greylag", 8900, 8901)
    run(root, *words)


def test_a_name_that_would_mean_more_in_a_unit_is_refused(root: Path) -> None:
    postfix(root)
    before = looked(root)
    run(root, "postfix", "--yes", "--user", "grey lag\nExecStart=/bin/x", code=1)
    assert looked(root) == before


def test_clients_that_may_relay_by_the_list_for_that_are_not_refused(root: Path) -> None:
    """P1: the list about recipients comes after it, and would refuse them for good."""
    main = postfix(root)
    relay = "permit_mynetworks, check_client_access cidr:/etc/postfix/relay, reject"
    with main.open("a") as file:
        file.write(f"smtpd_relay_restrictions = {relay}\n")
    before = main.read_text()
    run(root, "postfix", "--yes")
    (line,) = [x for x in main.read_text().splitlines() if x.startswith("smtpd_recipient_r")]
    assert "reject_unauth_destination" not in line
    assert "reject_unlisted_recipient, check_policy_service" in line
    run(root, "postfix", "--undo", "--yes")
    assert main.read_text() == before


def test_a_root_without_the_folder_of_records(root: Path) -> None:
    """Its own command makes it, and then setup goes on."""
    qmail(root)
    shutil.rmtree(root / "var/lib")
    told = run(root, "qmail", "--yes", code=1).stderr
    command = told[told.index("install -d") :].splitlines()[0]
    subprocess.run(["/bin/sh", "-c", command], check=True)
    run(root, "qmail", "--yes")
    assert (root / "var/lib/greylag").is_dir()


def test_a_qmail_home_beside_postfix_is_that_of_the_daemon(root: Path) -> None:
    """Its control/greylisting has settings of the daemon."""
    postfix(root)
    qmail(root)
    home = root / "var/qmail"
    home.rename(root / "var/q")
    named = (BIN / "greylag", "--qmail-home", root / "var/q")
    done = subprocess.run(
        [*named, "setup", "postfix", "--yes", "--root", root],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    unit = (root / "etc/systemd/system/greylag.service").read_text()
    assert "greylag --qmail-home /var/q serve" in unit


def test_the_unit_lets_the_daemon_write_into_the_trees_of_jgreylist(root: Path) -> None:
    qmail(root)
    for name in ("one", "two"):
        (root / "srv" / name).mkdir(parents=True)
    (root / "etc/greylag").mkdir()
    toml = root / "etc/greylag/greylag.toml"
    toml.write_text('[jgreylist]\ntrees = ["/srv/one", "/srv/two"]\n')
    run(root, "qmail", "--yes")
    unit = (root / "etc/systemd/system/greylag.service").read_text()
    assert "\nReadWritePaths=-/srv/one\nReadWritePaths=-/srv/two\nExecStart=" in unit
    run(root, "qmail", "--undo", "--yes")
    toml.write_text('[jgreylist]\ntrees = ["/srv/a%h"]\n')
    assert "can stand there alone" in run(root, "qmail", "--yes", code=1).stderr


def test_undo_leaves_no_line_of_a_program_that_is_gone(root: Path) -> None:
    """P1: setup had nothing to write there, and an admin named our program since."""
    home = qmail(root)
    lines = home / "control/smtpplugins"
    (home / "plugins").mkdir()
    for name in ("skipifauth", "greylisting"):
        (home / "plugins" / name).write_text("#!/bin/sh\n")
    lines.write_text("[rcpt]\nplugins/skipifauth\nplugins/greylisting\n")
    lines.chmod(0o640)
    run(root, "qmail", "--yes")
    lines.write_text("[rcpt]\nplugins/ifauthskip\nplugins/greylisting\n")
    assert "are taken out" in run(root, "qmail", "--undo", "--yes").stdout
    assert lines.read_text() == "[rcpt]\nplugins/greylisting\n"
    assert lines.stat().st_mode & 0o777 == 0o640
    assert not (home / "plugins/ifauthskip").exists()
