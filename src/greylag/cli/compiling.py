"""The C plugins as programs that are ready to be written, with the one-shots beside them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from greylag.admin.folder import MARK
from greylag.cli.native import compile_plugin, has_compiler
from greylag.cli.plugins import NATIVE, ONESHOTS

# Debian's package has them compiled, for the places that are usual; the one-shots lie beside them.
PACKAGED = Path("/usr/lib/greylag")
USUAL = ("/run/greylag/greylag.sock", "/run/greylag/handover.sock")


def compiled(
    folder: Path, scripts: dict[Path, bytes], socket: str, handover: str
) -> tuple[dict[Path, bytes], str]:
    """Return the compiled plugins by their paths, the one-shots among them, and the compiler.

    They ask at `socket`, and hand clients over at `handover`.
    """
    made = {folder / oneshot: scripts[folder / name] for name, oneshot in ONESHOTS.items()}
    paths = {
        "SOCKET_PATH": socket,
        "HANDOVER_PATH": handover,
        "ONESHOT_PATH": str(folder / ONESHOTS["greylisting"]),
        "JGREYLIST_ONESHOT_PATH": str(folder / ONESHOTS["jgreylist"]),
    }
    compiler = ""
    ready = packaged(socket, handover)
    with tempfile.TemporaryDirectory() as scratch:
        for name, source in NATIVE.items():
            target = Path(scratch) / name
            if name in ready:
                target, compiler = ready[name], f"Debian's compiler, in {PACKAGED}"
            else:
                compiler = compile_plugin(source, target, paths)
            # Socket and mark go behind the program, where the loader does not look: compilers turn
            # the path into numbers, and `greylag doctor` wants to read it.
            told = f"\n# asks at {socket}\n{MARK}\n"
            made[folder / name] = target.read_bytes() + told.encode()
    return made, compiler


def packaged(socket: str, handover: str) -> dict[str, Path]:
    """Return the plugins that are compiled already, where no compiler is here and they would do."""
    if has_compiler() or (socket, handover) != USUAL:
        return {}
    found = {name: PACKAGED / source for name, source in NATIVE.items()}
    return found if all(path.is_file() for path in found.values()) else {}
