"""The settings that are compared, as an admin writes them in greylag.toml."""

from __future__ import annotations

from pathlib import Path

from greylag.app.config import CONFIG_VARIABLE, Settings, load

PLAIN, DEFAULT, SUSPICIOUS, OBSERVE = "plain", "default", "suspicious", "observe"
SETTINGS = {
    PLAIN: "",
}


def settings(name: str, folder: Path) -> Settings:
    """Return settings as greylag reads them, with a database in this folder."""
    path = folder / "greylag.toml"
    path.write_text(f'{SETTINGS[name]}\n[store]\nurl = "sqlite://{folder}/greylag.db"\n')
    return load({CONFIG_VARIABLE: str(path).encode()}, str(folder))
