"""P20: mysql.md, "A new database", as it stands on a real MariaDB, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN
from tests.e2e.test_import_pages import script
from tests.e2e.test_qmail_page import blocks
from tests.servers.mariadb import MariaDb

PAGE = "docs/running/mysql.md"


@pytest.mark.skipif(os.geteuid() != 0, reason="the page is for root")
def test_a_new_database_has_all_tables(tmp_path: Path, mariadb: MariaDb) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script(programs / "groupadd", "exit 0")  # users of this machine stay as they are
    (tmp_path / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={mariadb.socket}\n")
    etc = tmp_path / "greylag"

    def shell(text: str) -> str:
        mine = text.replace("/etc/greylag", str(etc)).replace("-g greylag", "-g root")
        mine = mine.replace("/run/mysqld/mysqld.sock", str(mariadb.socket))
        done = subprocess.run(
            ["sh", "-ec", mine],
            env={
                "PATH": f"{programs}:{BIN}:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "GREYLAG_CONFIG": str(etc / "greylag.toml"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    new, named = blocks(PAGE, "A new database")
    shell(new)
    assert (etc / "my.cnf").stat().st_mode & 0o777 == 0o640
    assert "made: greylisting_lists, greylisting_data" in shell(named)
    assert "all is well" in shell("greylag db check")
