"""greylag.toml: the few lines that setup needs, put into what an admin has written there."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from greylag.admin.setup.place import SetupError

PATH = "/etc/greylag/greylag.toml"
_HEAD = "# Settings of greylag. `greylag config --example` prints all that there are.\n"


def with_settings(there: bytes | None, wanted: Mapping[str, object]) -> bytes:
    """Return the file with these settings (`section.key`), all else as it is.

    Raises SetupError where the file is no TOML, or says something else in a form that cannot be
    exchanged.
    """
    text = _HEAD if there is None else there.decode("utf-8", "surrogateescape")
    mark = "\ufeff" if text.startswith("\ufeff") else ""  # as some editors write it
    text = text.removeprefix(mark)
    expected = _read(text)
    for name, what in wanted.items():
        section, key = name.split(".")
        if expected.get(section, {}).get(key) == what:
            continue
        line = f"{key} = {json.dumps(what)}"
        known = key in expected.get(section, {})
        text = _exchanged(text, section, key, line) if known else _added(text, section, line)
        expected.setdefault(section, {})[key] = what
    if _read(text) != expected:
        lines = [f"  {name} = {json.dumps(what)}" for name, what in wanted.items()]
        raise SetupError(f"{PATH}: cannot be changed by itself. Give it these settings:", *lines)
    return (mark + text).encode("utf-8", "surrogateescape")


def value_of(content: bytes | None, name: str) -> object:
    """Return a setting of the file; None where it has none."""
    section, key = name.split(".")
    text = (content or b"").decode("utf-8", "replace").removeprefix("\ufeff")
    return _read(text).get(section, {}).get(key)


def _read(text: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{PATH}: {error}") from error
    for name, content in found.items():
        if not isinstance(content, dict) and name != "recipient":
            raise SetupError(f"{PATH}: {name} stands there alone: `greylag config --check`")
    return found


def _section(text: str, section: str) -> tuple[int, int] | None:
    """Return where the lines of a section begin and end."""
    head = re.search(rf"^\[\s*{section}\s*\][ \t]*(?:#.*)?\n?", text, re.MULTILINE)
    if head is None:
        return None
    following = re.compile(r"^\[", re.MULTILINE).search(text, head.end())
    return head.end(), following.start() if following else len(text)


def _added(text: str, section: str, line: str) -> str:
    place = _section(text, section)
    if place is None:
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}\n[{section}]\n{line}\n"
    start = place[0]
    gap = "" if text[:start].endswith("\n") else "\n"
    return f"{text[:start]}{gap}{line}\n{text[start:]}"


def _exchanged(text: str, section: str, key: str, line: str) -> str:
    place = _section(text, section)
    if place is None:
        return text
    start, end = place
    inside = re.sub(
        rf"^{key}\s*=.*$", lambda _found: line, text[start:end], count=1, flags=re.MULTILINE
    )
    return text[:start] + inside + text[end:]
