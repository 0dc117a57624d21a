"""postconf(1), asked about main.cf, and what it makes of a copy of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from greylag.admin.setup.place import Place, SetupError

CONFIG = "/etc/postfix"
MAIN = f"{CONFIG}/main.cf"
_MISSING = 127  # as a shell says it of a program


class Postconf:
    """The machine's own main.cf and master.cf, as Postfix reads them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._folder = str(place.real(CONFIG, follow=True))
        if place.run(["postconf", "-d", "queue_directory"]).code == _MISSING:
            raise SetupError("no Postfix was found: there is no postconf")

    def value(self, name: str) -> str:
        """Return a parameter as it is written, on one line."""
        return self._asked(self._folder, "-h", name)

    def expanded(self, name: str) -> str:
        """Return a parameter with others expanded in it."""
        return self._asked(self._folder, "-hx", name)

    def written(self, main: bytes, *names: str) -> dict[str, str | None]:
        """Return these parameters as a main.cf has them; None for one that it does not set."""
        with self._copy(main) as scratch:
            said = self._said(scratch, "-n")
            lines = dict(line.split(" =", 1) for line in said if re.match(r"\w+ =", line))
        return {name: lines[name].strip() if name in lines else None for name in names}

    def expanded_in(self, main: bytes, name: str) -> str:
        """Return a parameter of another main.cf, with others expanded in it."""
        with self._copy(main) as scratch:
            return self._asked(scratch, "-hx", name)

    def services(self) -> dict[str, dict[str, str]]:
        """Return what master.cf sets for each service by itself, with others expanded in it."""
        found: dict[str, dict[str, str]] = {}
        for line in self._said(self._folder, "-Px"):
            name, _equals, text = line.partition(" =")
            service, _slash, key = name.rpartition("/")
            found.setdefault(service, {})[key] = text.strip()
        return found

    def edited(self, main: bytes, changes: Mapping[str, str | None]) -> bytes:
        """Return a main.cf as `postconf -e` leaves it; `postconf -X` for what is None."""
        with self._copy(main) as scratch:
            words = [f"{name} = {text}" for name, text in changes.items() if text is not None]
            gone = [name for name, text in changes.items() if text is None]
            for word in words:  # one by one: of several, postconf puts any first
                self._said(scratch, "-e", word)
            if gone:
                self._said(scratch, "-X", *gone)
            return (Path(scratch) / "main.cf").read_bytes()

    def _copy(self, main: bytes) -> AbstractContextManager[str]:
        assert self._place.copied is not None, "commands have it"
        return self._place.copied(main)

    def _asked(self, folder: str, *argv: str) -> str:
        return " ".join(" ".join(self._said(folder, *argv)).split())

    def _said(self, folder: str, *argv: str) -> list[str]:
        done = self._place.run(["postconf", "-c", folder, *argv])
        if done.code:
            raise SetupError(f"postconf failed: {done.said.strip()}")
        lines = done.said.splitlines()
        return [line for line in lines if not re.match(r"\S*postconf: warning:", line)]
