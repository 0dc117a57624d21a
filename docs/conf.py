"""Sphinx settings: the site (furo) and the man pages come from the same pages."""

from greylag import __version__

project = "greylag"
author = "the greylag authors"
project_copyright = "2026 the greylag authors"
version = release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"greylag {__version__}"
man_pages = [
    ("commands", "greylag", "look into greylisting's records, lists and figures", author, 1),
    ("plugins", "greylisting", "qmail-spp plugin that greylists", author, 8),
    (
        "ifauthskip",
        "ifauthskip",
        "qmail-spp plugin that spares those who have logged in",
        author,
        8,
    ),
    ("jgreylist", "jgreylist", "greylists connections before qmail-smtpd", author, 8),
    ("jgreylist-clean", "jgreylist-clean", "forgets clients of jgreylist's files", author, 8),
    ("configuration", "greylag.toml", "settings of greylag", author, 5),
]


def without_empty_links(app, doctree, _name):
    """Leave of a link to another page its text: a man page has nowhere to lead to."""
    from docutils import nodes

    if app.builder.format != "man":
        return
    for link in list(doctree.findall(nodes.reference)):
        if "://" not in link.get("refuri", ""):
            link.replace_self(link.children)


def setup(app):
    """Tell Sphinx of it."""
    app.connect("doctree-resolved", without_empty_links)
