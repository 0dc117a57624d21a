"""What `greylag doctor` advises for settings, for a machine in a folder, and for what is closed."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from greylag.admin.doctor import CHECKS, diagnose
from greylag.admin.doctor.finding import Finding, Level
from greylag.admin.doctor.services import daemon_scripts
from greylag.core.value import replace
from tests.admin.test_doctor_advice import configure, look, place, run, scratch

__all__ = ["scratch"]  # a fixture
RESOLVER = next(one for one in CHECKS if one.code == "resolver")


def without_names(scratch: Path) -> Finding:
    """Return what is said where no name server answers that nobody has named."""
    found = place(scratch)
    assert found.known is not None
    origins = {**found.known.origins, "dns.servers": "default"}
    known = replace(found.known, servers=(("127.0.0.1", 9),), origins=origins)
    (one,) = diagnose(replace(found, known=known), [RESOLVER])
    assert one.level is Level.ERROR
    return one


@pytest.mark.parametrize(
    "there",
    [
        None,
        "",
        '[policy]\ndelay = "5m"\n',
        "[dns] # of names\n\n[policy]\n",
        '[policy]\ndelay = "5m"\n\n[dns]\ndnswl = []\n[server]\n',
    ],
)
def test_where_no_name_server_of_the_system_answers_dns_is_switched_off(
    scratch: Path, there: str | None
) -> None:
    toml = configure(scratch)
    if there is None:
        toml.unlink()
        toml.parent.rmdir()
    else:
        toml.write_text(there)
    run(without_names(scratch).mend)
    assert place(scratch).errors == ()
    assert look(scratch, "resolver") == []
    assert toml.read_text().count('servers = "off"') == 1
    assert set((there or "").splitlines()) <= set(toml.read_text().splitlines())


@pytest.mark.parametrize("there", ['dns.suffixes = "/x"\n', 'dns = { suffixes = "/x" }\n'])
def test_settings_of_dns_in_another_form_are_not_edited(scratch: Path, there: str) -> None:
    configure(scratch).write_text(there)
    assert without_names(scratch).mend == ""


@pytest.mark.parametrize("unit", [False, True])
def test_a_daemon_reads_what_the_advice_has_changed(scratch: Path, *, unit: bool) -> None:
    """But a unit is one of this machine, and not of that in the folder."""
    folder = scratch / ("etc/systemd/system" if unit else "etc/greylag/service")
    folder.mkdir(parents=True)
    text = (
        "ExecStart=/usr/bin/greylag serve\n" if unit else "exec setuidgid vpopmail greylag serve\n"
    )
    (folder / ("greylag.service" if unit else "run")).write_text(text)
    configure(scratch, '[policy]\nretry_window = "10m"\n')
    (found,) = look(scratch, "delay-window")
    edit, _, then = found.mend.partition(" && ")
    assert then == ("" if unit else f"svc -h {folder}")
    run(edit)
    assert look(scratch, "delay-window") == []
    script = replace(daemon_scripts(place(scratch))[0], live=True)
    wanted = "systemctl try-reload-or-restart greylag.service" if unit else f"svc -h {folder}"
    assert script.reread() == wanted


def test_no_unit_of_this_machine_is_restarted_for_one_in_a_folder(scratch: Path) -> None:
    (scratch / "var/qmail/supervise/qmail-smtpd/run").unlink()
    unit = scratch / "etc/systemd/system/qmail-smtpd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nUser=vpopmail\nExecStart=/var/qmail/bin/qmail-smtpd\n")
    (found,) = look(scratch, "greylisting-unset")
    assert found.mend.startswith("sed -i ")
    assert "systemctl" not in found.mend
    run(found.mend)
    assert look(scratch, "greylisting-unset") == []


def test_plugins_of_a_machine_in_a_folder_are_written_by_setup(scratch: Path) -> None:
    """It writes paths into them as that machine has them."""
    (scratch / "var/qmail/plugins/greylisting").write_text("#!/bin/sh\n")
    (scratch / "var/qmail/plugins/ifauthskip").write_text("#!/bin/sh\n# greylag plugin\n")
    (found,) = look(scratch, "old-plugin")
    words = found.mend.split(" ")
    assert words[1:] == ["setup", "qmail", "--yes", "--oneshot", "--root", str(scratch)]
    run(found.mend)
    assert look(scratch, "old-plugin") == []
    assert str(scratch) not in (scratch / "var/qmail/plugins/greylisting").read_text()


def test_a_closed_folder_of_plugins_is_told_once(scratch: Path) -> None:
    (scratch / "var/qmail/control/smtpplugins").write_text(
        "[rcpt]\nplugins/ifauthskip\nplugins/greylisting\n"
    )
    (scratch / "var/qmail/plugins/ifauthskip").write_text("#!/bin/sh\n")
    (scratch / "var/qmail/plugins/ifauthskip").chmod(0o755)
    (scratch / "var/qmail/plugins").chmod(0o700)
    (found,) = look(scratch, "plugin-rights")
    assert found.about == str(scratch / "var/qmail/plugins")
    run(found.mend)
    assert look(scratch, "plugin-rights") == []


def test_a_list_of_plugins_that_is_gone_is_told_as_what_it_does(scratch: Path) -> None:
    """qmail-smtpd cannot go on without it: it answers 421 to all who connect."""
    (scratch / "var/qmail/control/smtpplugins").unlink()
    (found,) = look(scratch, "plugin-unnamed")
    assert "answers 421 to all mail" in found.text
    assert found.level is Level.ERROR


def test_packages_that_can_be_entered_and_not_listed_are_told(scratch: Path) -> None:
    """Python lists the folders that it imports from."""
    packages = scratch / "opt/packages"
    (packages / "greylag").mkdir(parents=True)
    (packages / "greylag/__init__.py").touch()
    (scratch / "var/qmail/plugins/greylisting").write_text(
        "#!/bin/sh\n# greylag plugin\nsys.path.append('/opt/packages')\n"
    )
    assert look(scratch, "greylag-closed") == []
    for folder in (packages, packages / "greylag"):
        folder.chmod(0o711)
        (found,) = look(scratch, "greylag-closed")
        assert found.mend == f"chmod a+rx {folder}"
        run(found.mend)
        assert look(scratch, "greylag-closed") == []
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_qmail_smtpd_that_runs_is_replaced_as_a_whole(scratch: Path) -> None:
    """A program that runs cannot be written to, and a half of one must not be started."""
    smtpd = scratch / "var/qmail/bin/qmail-smtpd"
    spp = scratch / "var/qmail/bin/qmail-smtpd.spp"
    smtpd.write_bytes(Path("/usr/bin/sleep").read_bytes())
    spp.write_bytes(b"\x7fELF control/smtpplugins")
    smtpd.chmod(0o755)
    with subprocess.Popen([smtpd, "60"]) as running:
        try:
            (found,) = look(scratch, "spp-missing")
            run(found.mend)
        finally:
            running.kill()
    assert smtpd.read_bytes() == spp.read_bytes()
    assert look(scratch, "spp-missing") == []
