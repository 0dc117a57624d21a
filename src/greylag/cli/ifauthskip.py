"""The name by which plugins that were installed earlier call `greylag.plugin.ifauthskip`.

Between an upgrade and the next `greylag qmail install` no mail may be refused for a name.
"""

from __future__ import annotations

from greylag.plugin.ifauthskip import main

__all__ = ["main"]
