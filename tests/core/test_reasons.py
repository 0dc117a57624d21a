"""The table of reasons: whoever says, counts or shows a reason has it from there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from greylag.core.verdict import FATAL, LEVELS, Reason, Verdict

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "greylag"
HEADER = ROOT / "tools" / "reasons_header.py"
PYTHON = "".join(path.read_text() for path in SOURCE.rglob("*.py"))


def run(source: Path, *words: str | Path) -> str:
    """Run Python with the package as it is in a folder of sources."""
    command = [sys.executable, *words]
    environ = {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_c_programs_have_the_words_of_the_table() -> None:
    assert (SOURCE / "native" / "reasons.h").read_text() == run(ROOT / "src", HEADER)


@pytest.mark.parametrize("path", sorted((SOURCE / "native").glob("*.[ch]")), ids=lambda p: p.name)
def test_no_c_source_but_the_header_has_a_reason_by_hand(path: Path) -> None:
    if path.name != "reasons.h":
        said = set(re.findall(r'"(?:[^"]*reason=)?([a-z]+(?:-[a-z]+)*)"', path.read_text()))
        assert not said & {reason.value for reason in Reason}


def test_every_decision_has_a_verdict_that_its_reason_can_have() -> None:
    decided = re.findall(r"Decision\(\s*Verdict\.(\w+),\s*Reason\.(\w+)", PYTHON)
    decided += [("PASS", name) for name in re.findall(r"_let_in\(Reason\.(\w+)", PYTHON)]
    assert len(decided) > 12
    for verdict, reason in decided:
        assert Verdict[verdict] in Reason[reason].verdicts, reason


def test_whatever_is_logged_as_a_reason_is_in_the_table() -> None:
    """But one: a warning decides nothing."""
    logged = set(re.findall(r"""(?:reason=|"reason": |failure\()"([a-z-]+)""", PYTHON))
    assert {"config-error", "internal-error"} < logged
    assert logged - {"config-warning"} <= {reason.value for reason in Reason}


def test_a_level_is_one_that_the_log_has() -> None:
    assert all(FATAL <= reason.logged < len(LEVELS) for reason in Reason)


ROW = """    DISABLED = _row(
"""
ADDED = """    ADDED = _row(
        "added-here", _REJECT, "a test has added it", of_connection="to connections, too",
        jgreylist="DENY added", counted=False, logged=DEBUG,
    )
"""
SHOW = """
import json, sys
from greylag.admin import explain
from greylag.admin.figures import NOT_COUNTED
from greylag.core.attempt import Attempt
from greylag.core.connection import Connection
from greylag.core.figures import figures_of
from greylag.core.policy import Policy, Room
from greylag.core.verdict import DEBUG, INFO, Decision, Reason, Verdict
from greylag.server.exporter import DaemonCollector
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.storeevents import StoreEvents
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking
from greylag.store.memory import MemoryStore
from greylag.wire.connection import outcome_of

decision = Decision(Verdict.REJECT, Reason("added-here"))
for level in (INFO, DEBUG):
    journal = Journal(sys.argv[1], level)
    journal.decision(Attempt(b"192.0.2.1", b"", b""), decision)
    journal.connection(Connection(b"192.0.2.2"), decision)
    journal.close()
metrics, desk = Metrics(), Desk()
worker = Worker(desk, MemoryStore, StoreEvents(journal, metrics), deadline=1, room=Room())
attempts = next(iter(DaemonCollector(metrics, desk, worker, journal, Asking()).collect()))
attempt = explain.attempt("192.0.2.1", "a@example.org", "b@example.net", Policy())
connection = explain.connection("192.0.2.1", Policy())
print(json.dumps({
    "log": open(sys.argv[1]).read().splitlines(),
    "metrics": [s.value for s in attempts.samples if s.labels["reason"] == "added-here"],
    "figures": figures_of(decision),
    "stats": [reason.value for reason in NOT_COUNTED][0],
    "check": [explain.meaning_of(asked, decision) for asked in (attempt, connection)],
    "jgreylist": outcome_of(decision),
}))
"""


def test_a_reason_that_is_added_to_the_table_alone_is_everywhere(tmp_path: Path) -> None:
    source = tmp_path / "src"
    shutil.copytree(SOURCE, source / "greylag", ignore=shutil.ignore_patterns("__pycache__"))
    table = source / "greylag" / "core" / "verdict.py"
    text = table.read_text()
    assert text.count(ROW) == 1
    table.write_text(text.replace(ROW, ADDED + ROW))
    line = "greylag: level=debug verdict=reject reason=added-here"
    found = json.loads(run(source, "-c", SHOW, tmp_path / "log"))
    assert found == {
        "log": [
            f'{line} client_address=192.0.2.1 sender="" recipient=""',
            f"{line} at=connect client_address=192.0.2.2",
        ],
        "metrics": [0.0],
        "figures": {},
        "stats": "added-here",
        "check": ["a test has added it", "to connections, too"],
        "jgreylist": "DENY added",
    }
    header = run(source, HEADER)
    assert '#define REASON_ADDED "added-here"\n' in header
    assert '{REASON_ADDED, "DENY added"}' in header
