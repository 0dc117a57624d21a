"""The `greylag` command on a SQLite file of its own, at a time that stands still."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from greylag.cli.main import cli as command
from greylag.cli.plugins import unreachable
from greylag.core.record import Created, Passed
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import Store
from tests.cli.runner import runner

NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC
CLIENT, SENDER, RECIPIENT = "192.0.2.1", "user@example.org", "info@example.net"
NETWORK = bytes((192, 0, 2, 0))
KEY = Triplet(NETWORK, SENDER, RECIPIENT)
EVIL = (
    "\x1b[2J\x1b]0;owned\x07\r\nforged line\x9b31m\x7f\u202e\u2066\u200b\ufeff\u00ad\u2028"
    "\u3164\ufe0f\U000e0041[bold red]markup[/]"
)
FORBIDDEN = frozenset(
    "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
    + "\u00ad\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2066\u2067\u2068\u2069\ufeff\u3164\ufe0f\U000e0041"
) - {"\n"}


class Greylag:
    """Runs `greylag` in this process and looks at what it left behind."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.database = home / "greylag.db"
        self.config = home / "greylag.toml"
        self._patch = patch
        self.configure("")
        self.at(NOW)

    def configure(self, text: str) -> None:
        url = f'store.url = "sqlite://{self.database}"\n'
        dns = "" if "dns" in text else '\n[dns]\nservers = "off"\n'
        self.config.write_text((text if "store" in text else f"{url}{text}") + dns)

    def at(self, now: int) -> None:
        """Set the clock."""
        self._patch.setattr("greylag.cli.common.time", lambda: now + 0.9)

    def run(self, *args: str, stdin: str | None = None) -> Result:
        result = runner().invoke(command, args, input=stdin, catch_exceptions=False)
        assert not FORBIDDEN & set(result.stdout + result.stderr), "T12"
        assert "Traceback" not in result.stderr
        assert all(
            line.startswith(("greylag: ", "  ", "Usage", "Options", "Commands"))
            or not line
            or ("--json" in args and set(json.loads(line)) == {"error", "exit"})
            for line in result.stderr.splitlines()
        )
        return result

    def json(self, *args: str, stdin: str | None = None, code: int = 0) -> dict[str, Any]:
        result = self.run(*args, "--json", stdin=stdin)
        assert result.exit_code == code, result.stderr
        assert result.stdout.isascii()
        document = json.loads(result.stdout)
        assert isinstance(document, dict)
        return document

    @contextmanager
    def store(self) -> Iterator[Store]:
        with closing(open_store(f"sqlite://{self.database}", timeout=4)) as store:
            yield store

    def remember(
        self, *keys: Triplet, first_seen: int = NOW, delay: int = 300, passed: bool = False
    ) -> None:
        """Put records into the store as the plugin would, with the default policy's times."""
        with self.store() as store:
            made = [Created(k, first_seen, first_seen + delay, first_seen + 172800) for k in keys]
            store.apply(made, {}, first_seen)
            if passed:
                store.apply([Passed(k, first_seen + 36 * 86400) for k in keys], {}, first_seen)

    def sql(self, statement: str, *rows: tuple[object, ...]) -> None:
        """Change the database behind greylag's back."""
        with closing(sqlite3.connect(self.database)) as db, db:
            db.executemany(statement, rows)

    def entries(self) -> list[str]:
        """Return what both lists hold."""
        if not self.database.exists():
            return []
        with self.store() as store:
            return [
                f"{'deny' if e.denied_until else 'allow'} {e.subject}"
                + (f" [{e.origin}]" if e.origin else "")
                + (f" {e.comment}" if e.comment else "")
                for e in store.entries()
            ]

    def keys(self) -> list[Triplet]:
        from greylag.store.base import Filter

        with self.store() as store:
            return [key for key, _ in store.search(Filter(), 1_000_000)]


@pytest.fixture
def greylag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Greylag:
    for name in list(os.environ):
        if name.startswith(("GL", "GREYLAG", "_GREYLAG", "FORCE_COLOR", "NO_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREYLAG_CONFIG", str(tmp_path / "greylag.toml"))
    return Greylag(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this checkout pass for one that all can enter, also in a closed home."""
    closed = frozenset(unreachable(Path("/nowhere")))

    def others(plugins: Path) -> list[Path]:
        return [way for way in unreachable(plugins) if way not in closed]

    monkeypatch.setattr("greylag.cli.qmail.unreachable", others)


def shape(value: object) -> object:
    """Return the keys and types of a JSON document: what its readers rely on."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__
