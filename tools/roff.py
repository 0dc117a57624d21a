"""Texts as a man page has them: small pieces of Markdown become roff (man(7))."""

from __future__ import annotations

import re

_ESCAPES = str.maketrans(
    {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\`", "^": "\\(ha", "~": "\\(ti"}
)


def escaped(text: str) -> str:
    """Return text that roff shows as it is; a line must not begin with a dot or a quote."""
    return "\n".join(
        f"\\&{line}" if line.startswith((".", "'")) else line
        for line in text.translate(_ESCAPES).split("\n")
    )


def inline(text: str) -> str:
    """Return a line of Markdown: code and strong text is bold, links are their text."""
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    pieces = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|\*[^*]+\*)", text)
    return "".join(
        f"\\fB{escaped(piece.strip('`*'))}\\fR"
        if piece[:1] == "`" or piece[:2] == "**"
        else f"\\fI{escaped(piece.strip('*'))}\\fR"
        if piece[:1] == "*"
        else escaped(piece)
        for piece in pieces
        if piece
    )


def item(term: str, meaning: str) -> str:
    """Return a term with what it means."""
    return f".TP\n{inline(term)}\n{inline(meaning)}\n"


def code(lines: list[str]) -> str:
    """Return lines that are shown as they are."""
    shown = "\n".join(escaped(line) for line in lines)
    return f".PP\n.RS 4\n.nf\n{shown}\n.fi\n.RE\n"


def table(lines: list[str]) -> str:
    """Return the rows of a table as terms; further columns follow each other."""
    rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in lines]
    rows = [[cell.strip().replace("\\|", "|") for cell in row] for row in rows]
    body = [row for row in rows[1:] if not set("".join(row)) <= set("-: ")]
    return "".join(item(row[0], ". ".join(filter(None, row[1:])) or "\\&") for row in body)


def section(title: str, body: str) -> str:
    """Return a section of a man page."""
    return f".SH {escaped(title.upper())}\n{body}"


def markdown(text: str) -> str:
    """Return paragraphs, lists, tables and code of a page."""
    out: list[str] = []
    for block in re.split(r"\n{2,}", text.strip("\n")):
        lines = block.split("\n")
        if all(line.startswith("    ") for line in lines):
            out.append(code([line[4:] for line in lines]))
        elif lines[0].startswith("#"):
            out.append(f".SS {inline(lines[0].lstrip('# '))}\n")
            if lines[1:]:
                out.append(markdown("\n".join(lines[1:])))
        elif lines[0].startswith("|"):
            out.append(table(lines))
        elif lines[0].startswith("- "):
            items = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
            out += [f".IP \\(bu 2\n{inline(' '.join(one.split()))}\n" for one in items]
        else:
            out.append(f".PP\n{inline(' '.join(block.split()))}\n")
    return "".join(out)
