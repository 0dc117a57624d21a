"""Building the native plugins with make, as `greylag` and CI do, in every variant a test needs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.plugin import needed

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "src" / "greylag" / "native"
ONESHOT_OUTPUT = b"E451 from the one-shot\n"
# Tells what it was started with: the environment byte for byte, and the open descriptors.
RECORDER = """\
#!/bin/sh
cat /proc/$$/environ >"$RECORD"
[ "$RECORD" = /dev/null ] || ls -l /proc/$$/fd >"$RECORD.descriptors"
echo "E451 from the one-shot"
exit 0
"""


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make on native.mk; the caller looks at the result."""
    needed("cc", "gcc")
    # As if typed: a make that runs the tests would have this one talk of its folders.
    environ = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    environ.pop("MFLAGS", None)
    return subprocess.run(
        [needed("make", "make"), "-f", str(NATIVE / "native.mk"), *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass(frozen=True)
class Builder:
    """Builds the plugins, each variant once; `sanitized` is with ASan and UBSan."""

    folder: Path
    sanitized: bool
    _built: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def __call__(
        self,
        *,
        budget_ms: int = 5000,
        fallback: int = 1,
        oneshot: Path | None = None,
        jgreylist_oneshot: Path | None = None,
        extra: str = "",
    ) -> Path:
        """Return the folder of the programs."""
        settings = (
            f"NATIVE_BUDGET_MS={budget_ms}",
            f"NATIVE_FALLBACK={fallback}",
            f"NATIVE_ONESHOT={oneshot or self.recorder()}",
            f"NATIVE_JGREYLIST_ONESHOT={jgreylist_oneshot or self.folder / 'jgreylist-oneshot'}",
            f"NATIVE_SOCKET={self.folder / 'compiled-in.sock'}",
            f"NATIVE_EXTRA={extra}",
        )
        if settings not in self._built:
            out = self.folder / f"build-{len(self._built)}"
            target, place = ("native", "NATIVE_OUT")
            if self.sanitized:
                target, place = ("native-sanitized", "NATIVE_SANITIZED_OUT")
            done = make(target, f"{place}={out}", *settings)
            assert done.returncode == 0, done.stderr
            self._built[settings] = out
        return self._built[settings]

    def recorder(self) -> Path:
        """Return a one-shot that records how it was started."""
        path = self.folder / "recorder"
        if not path.exists():
            path.write_text(RECORDER)
            path.chmod(0o755)
        return path
