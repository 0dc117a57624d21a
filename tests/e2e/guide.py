"""The inside of test_guide: its own mounts and network, and the guide's lines as they stand.

usage: unshare --mount --net python -m tests.e2e.guide FOLDER MYSQL_SOCKET [daemon]
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from greylag.store.mysql.schema import DATA, LISTS
from tests.host.server import Client

ROOT = Path(__file__).parents[2]
PYTHON = "/usr/local/greylag/bin/python"
GREYLAG = f"{PYTHON} -c 'from greylag.cli.main import main; main()'"
QMAIL = Path("/var/qmail")
VPOPMAIL = Path("/home/vpopmail")
TREE = QMAIL / "jgreylist"
RECORD = TREE / "127" / "000" / "000"
BELIEVED = 2.1  # seconds that a daemon believes its memory
CONFIG = QMAIL / "control/greylag.toml"
DAEMON = f"cd /var/qmail; exec setpriv --reuid=vpopmail --regid=vchkpw --clear-groups {PYTHON} -c \
'from greylag.cli.main import main; main()' --config {CONFIG} serve"
CRON_LOG = Path("/var/log/cron")
USER = 8900  # of vpopmail, and of its group
SQL = """\
CREATE USER 'greylisting'@'localhost' IDENTIFIED VIA mysql_native_password USING PASSWORD('secret');
GRANT USAGE ON *.* TO 'greylisting'@'localhost' REQUIRE NONE WITH MAX_QUERIES_PER_HOUR 0 \
MAX_CONNECTIONS_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_USER_CONNECTIONS 0;
CREATE DATABASE IF NOT EXISTS `greylisting`;
GRANT ALL PRIVILEGES ON `greylisting`.* TO 'greylisting'@'localhost';
"""
MYSQL_CNF = """\
[client] 
#socket=/run/mysql/mysql.sock 
#host=10.0.0.112
socket={socket}
user=greylisting 
password=secret
database=greylisting
"""  # noqa: W291 - the blanks are the guide's
GREYLISTING = """\
mysql_default_file=control/mysql.cnf
block_expire=2 
record_expire=2000 
record_expire_good=36 
loglevel=4
"""  # noqa: W291
SMTPPLUGINS = """\
# smtpplugins sample file 

# other lines here

[rcpt]
plugins/skipifauth
plugins/greylisting
"""  # noqa: W291
FILES = """\
chown vpopmail:vchkpw /var/qmail/control/mysql.cnf
chmod 600 /var/qmail/control/mysql.cnf
chown root:root /var/qmail/control/greylisting
chmod 644 /var/qmail/control/greylisting
chmod +x /usr/local/sbin/greylisting_cleanup.sh
chmod +x /usr/local/sbin/jgreylist-clean
chown root:root /usr/local/sbin/jgreylist-clean
mkdir -m 0700 /var/qmail/jgreylist
chown vpopmail:vchkpw /var/qmail/jgreylist
"""
RUN = """\
#!/bin/sh
SOFTLIMIT=80000000 LOCAL=mx.example.org MAXSMTPD=40 QMAILDUID=8900 NOFILESGID=8900
export GREYLISTING=""
export JGREYLIST_DIR="/var/qmail/jgreylist" 
export JGREYLIST_LOG_SMTP=1
exec /usr/local/bin/softlimit -m "$SOFTLIMIT" \\
/usr/local/bin/tcpserver -4 -v -R -l "$LOCAL" \\
-x /home/vpopmail/etc/tcp.smtp.cdb -c "$MAXSMTPD" \\
-u "$QMAILDUID" -g "$NOFILESGID" 0 25 \\
/var/qmail/bin/jgreylist \\
/var/qmail/bin/qmail-smtpd 2>&1
"""  # noqa: W291
CRON = (
    "/usr/local/sbin/greylisting_cleanup.sh >> /var/log/cron",
    "/usr/local/sbin/jgreylist_clean >> /var/log/cron",
)


def sh(line: str, given: str = "", **environ: str) -> str:
    """Run a line as root, as at a prompt or from cron; return what it says."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **environ}
    done = subprocess.run(
        ["/bin/sh", "-ec", line],
        input=given,
        stdout=subprocess.PIPE,
        cwd="/",
        env=env,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {line}")
    return done.stdout


def program(path: str, text: str) -> None:
    Path(path).write_text(text)
    Path(path).chmod(0o755)


def layer(scratch: Path, place: Path) -> None:
    """Keep in memory what is made in a folder of the system from now on."""
    scratch.mkdir()
    sh(f"mount -t tmpfs tmpfs {scratch}; mkdir {scratch}/upper {scratch}/work")
    where = f"lowerdir={place},upperdir={scratch}/upper,workdir={scratch}/work"
    sh(f"mount -t overlay overlay -o {where} {place}")


def enter(folder: Path) -> None:
    """Make the places that the guide takes for granted."""
    for path in (QMAIL, VPOPMAIL):
        if not path.exists():
            layer(folder / f"{path.name}.layer", path.parent)
            path.mkdir()
    for name, target in {
        "qmail": QMAIL,
        "local": "/usr/local",
        "log": "/var/log",
        "run": "/run",
    }.items():
        sh(f"mount --bind {folder / name} {target}")
    sh(f"mount --bind {folder / 'vpopmail'} {VPOPMAIL}")
    for name, line in {
        "passwd": f"vpopmail:x:{USER}:{USER}::/:/bin/sh\n",
        "group": f"vchkpw:x:{USER}:\n",
    }.items():
        (folder / name).write_text(Path(f"/etc/{name}").read_text() + line)
        sh(f"mount --bind {folder / name} /etc/{name}")
    for name in ("/usr/local/bin", "/usr/local/greylag", "/usr/local/host", "/home/vpopmail/etc"):
        Path(name).mkdir(parents=True)
    for path in (QMAIL / "bin", QMAIL / "control", QMAIL / "queue"):
        path.mkdir()
    shutil.chown(QMAIL / "queue", USER, USER)
    sh(f"mount --bind {ROOT}/.venv /usr/local/greylag; ip link set lo up")
    # A tcpserver without IPv6 knows no -4.
    program(
        "/usr/local/bin/tcpserver",
        '#!/bin/sh\ntest "$1" != -4 || shift\nexec /usr/bin/tcpserver "$@"\n',
    )
    program(
        "/usr/local/bin/softlimit",
        '#!/bin/sh\nlimit=$2; shift 2; exec prlimit --as="$limit" -- "$@"\n',
    )
    shutil.copytree(ROOT / "tests/host", "/usr/local/host/tests/host")
    (Path("/usr/local/host/tests") / "__init__.py").touch()
    program(
        str(QMAIL / "bin/qmail-smtpd"),
        "#!/bin/sh\ncd /var/qmail\n"
        "exec /usr/bin/python3 -IS /usr/local/host/tests/host/qmail_smtpd.py\n",
    )
    sh("tcprules /home/vpopmail/etc/tcp.smtp.cdb /home/vpopmail/etc/tmp", ":allow\n")
    (QMAIL / "control/me").write_text("mx.example.org\n")


def set_up(socket: str) -> None:
    sh(f"mysql -u root -S {socket}", SQL)
    schema = f"{LISTS};\n{DATA}"
    sh(f"mysql -D greylisting -u greylisting -S {socket}", schema, MYSQL_PWD="secret")
    (QMAIL / "control/mysql.cnf").write_text(MYSQL_CNF.format(socket=socket))
    (QMAIL / "control/greylisting").write_text(GREYLISTING)
    (QMAIL / "control/smtpplugins").write_text(SMTPPLUGINS)
    sh(f"{GREYLAG} qmail install --native --old-names --force")
    for line in FILES.splitlines():
        sh(line)


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[Path]:
    """Run `greylag serve` with the lines that the installer tells, as the owner of the tree."""
    CONFIG.touch()
    told = sh(f"{GREYLAG} --config {CONFIG} qmail install --native --old-names --force")
    CONFIG.write_text(told[told.index("[jgreylist]") :])
    Path("/run/greylag").mkdir()
    shutil.chown("/run/greylag", USER, USER)
    log = folder / "daemon.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(["/bin/sh", "-c", DAEMON], stderr=stderr)
    try:
        wait_for(log, "event=started")
        yield log
    finally:
        process.terminate()
        process.wait(10)


def wait_for(log: Path, text: str) -> None:
    end = time.monotonic() + 20
    while text not in log.read_text():
        if time.monotonic() > end:
            raise SystemExit(f"no {text} in the log:\n{log.read_text()}")
        time.sleep(0.05)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """Run the guide's run script, as a supervisor does."""
    program(str(folder / "run-script"), RUN)
    log = folder / "smtpd.log"
    with log.open("ab") as stdout:
        process = subprocess.Popen([folder / "run-script"], stdout=stdout, start_new_session=True)
    try:
        wait_for(log, "status: 0/40")
        yield log
    finally:
        process.terminate()
        process.wait(10)


def try_mail() -> int:
    """Return the code that a RCPT gets."""
    with Client.connect(25) as client:
        client.helo()
        client.mail("a@example.org")
        code = int(client.rcpt("b@example.net")[0])
        client.quit()
        return code


def expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, expected {wanted!r}")


def mail_comes(folder: Path, socket: str, held_by: Path | None = None) -> None:
    """Try mail; `held_by` is the log of the daemon, if one is to talk to whoever has to wait."""
    sql = f"mysql -u root -S {socket} greylisting"
    with serving(folder) as log:
        expect(try_mail(), 450, "the first connection")
        expect(RECORD.stat().st_uid, USER, "the owner of the record")
        expect(try_mail(), 450, "too soon")
        os.utime(RECORD, (time.time() - 200, time.time() - 200))
        time.sleep(BELIEVED)
        expect(try_mail(), 451, "let in by jgreylist, new to the plugin")
        sh(sql, "UPDATE greylisting_data SET block_expires = UTC_TIMESTAMP() - INTERVAL 1 MINUTE")
        time.sleep(BELIEVED)
        expect(try_mail(), 250, "after block_expire")
        text = log.read_text()
    for fate in ("GREY first time", "GREY too soon", "OK known"):
        expect(f"]: 127.0.0.1: {fate}\n" in text, True, f"{fate} in the log:\n{text}")
    if held_by is not None:
        expect(">>> 220" in text, False, "the daemon talks, and jgreylist is gone")
        wait_for(held_by, "reason=retried")  # the log is written a moment after the answer
        text = held_by.read_text()
        expect(text.count("at=connect client_address=127.0.0.1"), 4, f"connections:\n{text}")
        expect(text.count("reason=retried") >= 1, True, f"mail by the daemon:\n{text}")
    said = text.count(">>> 220 jgreylist v8") if held_by is None else text.count("220 jgreylist v8")
    expect(said, 2, f"the lines of SMTP in the log:\n{text}")


def cron_cleans(socket: str) -> None:
    sql = f"mysql -u root -S {socket} greylisting"
    sh(sql, "UPDATE greylisting_data SET record_expires = UTC_TIMESTAMP() - INTERVAL 1 MINUTE")
    once = TREE / "192/000/002"
    once.parent.mkdir(parents=True)
    once.touch()
    sh("chown -R vpopmail:vchkpw /var/qmail/jgreylist")
    os.utime(once, (time.time() - 90000, time.time() - 90000))
    for line in CRON:
        sh(line)
    expect((once.exists(), RECORD.exists()), (False, True), "what is left of the tree")
    said = CRON_LOG.read_text()
    gone = "deleted            1" in said and "removed: 1 came once" in said
    expect(gone, True, f"cron's log:\n{said}")


def main() -> None:
    folder, socket = Path(sys.argv[1]), sys.argv[2]
    enter(folder)
    set_up(socket)
    try:
        if sys.argv[3:]:
            with daemon(folder) as log:
                mail_comes(folder, socket, log)
                cron_cleans(socket)
        else:
            mail_comes(folder, socket)
            cron_cleans(socket)
    finally:
        sh(
            f"mysql -u root -S {socket}",
            "DROP DATABASE greylisting; DROP USER greylisting@localhost",
        )


if __name__ == "__main__":
    main()
