"""The lines of log files, as they are or packed: what a file is, its first bytes say."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, cast

from greylag.admin.bounded import bounded_lines

LONGEST = 65536  # bytes of a line that are looked at
_LOOK = 6  # bytes that tell how a file is packed
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_ENDINGS = {".gz": _GZIP, ".bz2": _BZIP2, ".xz": _XZ, ".zst": _ZSTD}
_UNPACK: dict[bytes, Any] = {_GZIP: gzip.open, _BZIP2: bz2.open, _XZ: lzma.open}
# What no Python unpacks, with the program that does.
_OTHERS = {b"\x04\x22\x4d\x18": "lz4 -dc", b"\x1f\x9d": "zcat", b"PK\x03\x04": "unzip -p"}
_BROKEN = (gzip.BadGzipFile, lzma.LZMAError, EOFError, zlib.error)


class LogUnreadable(Exception):
    """A file cannot be read or unpacked. The text names it, and says why."""


def lines_of(name: str, standard_input: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a file, or of standard input (`-`); of a long one its beginning.

    Raises LogUnreadable, and TooLong for one that seems to have no end.
    """
    with nullcontext(_peeking(standard_input)) if name == "-" else _opened(name) as raw:
        read = partial(_read, name, _unpacked(name, cast("Any", raw)))
        for line in bounded_lines(_shown(name), read):
            yield line[:LONGEST].decode("latin-1").rstrip("\r\n")


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name


def _opened(name: str) -> IO[bytes]:
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise LogUnreadable(f"{name}: {cause}") from error


def _peeking(stream: Any) -> IO[bytes]:
    return cast("IO[bytes]", stream if hasattr(stream, "peek") else BufferedReader(stream))


def _read(name: str, stream: IO[bytes], most: int) -> bytes:
    try:
        return stream.readline(most)
    except (*_BROKEN, OSError) as error:  # OSError without a number: so says bz2
        cause = getattr(error, "strerror", None) or error
        raise LogUnreadable(f"{name}: {cause}") from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise LogUnreadable(f"{name}: {error}") from error


def _unpacked(name: str, raw: Any) -> IO[bytes]:
    try:
        begin = raw.peek(_LOOK)[:_LOOK]
    except OSError as error:
        raise LogUnreadable(f"{_shown(name)}: {error.strerror}") from error
    for magic, program in _OTHERS.items():
        if begin.startswith(magic):
            raise _cannot(name, program)
    kinds = [magic for magic in _ENDINGS.values() if begin.startswith(magic)]
    named = [magic for ending, magic in _ENDINGS.items() if name.endswith(ending) and begin]
    for magic in kinds + named:
        return _zstd(name, raw) if magic == _ZSTD else cast("IO[bytes]", _UNPACK[magic](raw, "rb"))
    return cast("IO[bytes]", raw)


def _zstd(name: str, raw: IO[bytes]) -> IO[bytes]:
    """Python 3.14 brings a module for it, and a package does for older ones."""
    for module in ("compression.zstd", "backports.zstd"):
        try:
            return cast("IO[bytes]", import_module(module).open(raw, "rb"))
        except ImportError:
            continue
    raise _cannot(name, "zstd -dc")


def _cannot(name: str, program: str) -> LogUnreadable:
    way = f"{program} FILE | greylag import smtp-log -"
    return LogUnreadable(f"{_shown(name)}: is packed, and cannot be unpacked here: {way}")
