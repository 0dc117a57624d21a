"""click's runner with standard error kept apart, which click 8.1 (Debian 12) wants to be told."""

from __future__ import annotations

import inspect
from typing import Any

from click.testing import CliRunner


def runner() -> CliRunner:
    """Return a runner whose results have `stdout` and `stderr`."""
    apart: dict[str, Any] = {}
    if "mix_stderr" in inspect.signature(CliRunner).parameters:
        apart["mix_stderr"] = False
    return CliRunner(**apart)
