"""Sphinx settings of the site (furo). tools/man_pages.py makes the man pages."""

from greylag import __version__

project = "greylag"
author = "the greylag authors"
project_copyright = "2026 the greylag authors"
version = release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"greylag {__version__}"
