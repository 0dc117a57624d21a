"""The settings that are compared, as an admin writes them in greylag.toml."""

from __future__ import annotations

from pathlib import Path

from bench.world.servers import Server
from greylag.app.config import CONFIG_VARIABLE, Settings, load

PLAIN, DEFAULT, NAMES = "plain", "default", "names"
SUSPICIOUS, OBSERVE = "suspicious", "observe"
_OFF = """
normalise = false
identity = "none"
trust_after = 0
trust_all_after = 0
correspondents = "off"
trapped_for = "off"
greylist = "all"
"""
# What a new installation has.
_NEW = """
normalise = true
identity = "spf"
trust_after = 5
trust_all_after = 20
correspondents = "90d"
trapped_for = "1d"
"""
SETTINGS = {
    PLAIN: _OFF,
    DEFAULT: _NEW,
    NAMES: _NEW.replace('"spf"', '"spf+name"'),
    SUSPICIOUS: _NEW + 'greylist = "suspicious"\n',
    OBSERVE: _NEW + 'greylist = "observe"\n',
}
# As much of the public suffix list as the world needs.
_SUFFIXES = """\
// ===BEGIN ICANN DOMAINS===
com
net
org
// ===END ICANN DOMAINS===
// ===BEGIN PRIVATE DOMAINS===
// ===END PRIVATE DOMAINS===
"""


def settings(policy: str, folder: Path, resolver: Server) -> Settings:
    """Return settings as greylag reads them, with a database in this folder."""
    suffixes, path = folder / "suffixes", folder / "greylag.toml"
    suffixes.write_text(_SUFFIXES)
    path.write_text(
        f'[policy]\n{policy}\n[store]\nurl = "sqlite://{folder}/greylag.db"\n'
        f'[dns]\nservers = ["{resolver[0]}:{resolver[1]}"]\nsuffixes = "{suffixes}"\n'
    )
    return load({CONFIG_VARIABLE: str(path).encode()}, str(folder))
