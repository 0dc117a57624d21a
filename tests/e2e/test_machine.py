"""What commands change inside a test's machine stays there, also if the tests run in a chroot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.machine import OWN, machine

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has mounts of its own")
# A chroot as schroot(1) makes one: its root is a mount, but not that of the mount namespace.
CHROOT = r"""set -e
mkdir "$1/chroot" "$1/scratch"
mount --rbind / "$1/chroot"
exec chroot "$1/chroot" \
    /bin/sh -c 'cd "$1" && exec "$2" -c "$3" "$4"' sh "$2" "$3" "$4" "$1/scratch"
"""
LOOK = """import sys
from pathlib import Path
from tests.servers.machine import machine
with machine(Path(sys.argv[1])) as made:
    print(made.run("test -e /run/ready && echo its own").strip())
"""


def test_a_machine_changes_no_folder_of_the_system(tmp_path: Path) -> None:
    name = f"{tmp_path.parent.name}-{os.getpid()}"
    with machine(tmp_path) as made:
        made.run(f"useradd --create-home m{os.getpid()}")
        for place in OWN:
            made.run(f"touch {place}/{name}")
            assert not Path(place, name).exists()
    assert not Path(f"/home/m{os.getpid()}").exists()


def test_a_machine_in_a_chroot_does_not_see_the_system(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", CHROOT, "sh"),
            *(str(tmp_path), str(ROOT), sys.executable, LOOK),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "its own\n"), done.stderr
