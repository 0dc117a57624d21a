#!/usr/bin/env python3
"""Print how easy the pages of the handbook are to read, as Flesch's reading ease.

    tools/reading_ease.py [PAGE ...]

    206.835 - 1.015 * words / sentences - 84.6 * syllables / words

100 is very easy, 60 is plain English, and below 50 is difficult. Each page has to reach 50.

What is counted: paragraphs and list items. A sentence ends at . ! ? or a colon, and at the end of
a paragraph or list item. What is left out: headings, blocks of code (fenced or indented by four
spaces), tables, pictures, and addresses of links (not their text). What stands in `backquotes`,
such as commands and names of settings, makes a sentence longer by one word, but its syllables are
left out, because it is no English. An abbreviation in capitals (SMTP) counts as one syllable for
each letter up to three, and numbers count as one.

Syllables are estimated from groups of vowels, without a dictionary. For one word that may be wrong
by one, and over a page it evens out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LEAST = 50.0
DOCS = Path(__file__).parent.parent / "docs"
FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
CODE = "0code0"
WORD = re.compile(r"[A-Za-z0-9]+(?:'[A-Za-z]+)?")


def prose(text: str) -> list[str]:
    """Return the pieces of a page that are read as sentences."""
    pieces: list[str] = []
    current: list[str] = []
    in_item = False

    def end() -> None:
        if current:
            pieces.append(" ".join(current))
            current.clear()

    for line in FENCE.sub("\n", text).split("\n"):
        if not line.strip():
            end()
            continue
        if line.startswith("    ") and not current and not in_item:
            continue
        if line.lstrip().startswith(("|", "<", "%")) or re.fullmatch(r"\s*\([\w-]+\)=\s*", line):
            end()
            continue
        if line.startswith("#"):
            end()
            in_item = False
            continue
        if ITEM.match(line):
            end()
            in_item = True
            current.append(ITEM.sub("", line).strip())
            continue
        if not line.startswith(" ") and not current:
            in_item = False
        current.append(line.strip())
    end()
    return [words_alone(piece) for piece in pieces]


def words_alone(piece: str) -> str:
    """Return a piece with one word for each code, and without addresses and marks."""
    piece = re.sub(r"!\[[^]]*\]\([^)]*\)", " ", piece)
    piece = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", piece)
    piece = re.sub(r"``.+?``|`[^`]*`", f" {CODE} ", piece)
    piece = re.sub(r"https?://\S+|\b\S+@\S+\b", " ", piece)
    return re.sub(r"[*_]", "", piece)


def syllables(word: str) -> int:
    """Estimate the syllables of a word."""
    if word.isupper() and len(word) > 1:
        return min(len(word), 3)
    low = word.lower()
    if any(sign.isdigit() for sign in low):
        return 1
    low = re.sub(r"'\w*$", "", low)
    count = len(re.findall(r"[aeiouy]+", low))
    silent = re.search(r"[^aeiouy]e$", low) and not re.search(r"[^aeiouy]le$", low)
    if silent or re.search(r"[^aeiouytd]ed$", low):
        count -= 1
    if re.search(r"[^aeiouyscxz]es$", low) and not re.search(r"(?:ch|sh|[gs])es$", low):
        count -= 1
    count += len(re.findall(r"ia[^nl]|[aeiou]ing\b|(?<![cst])io[^nu]", low)) if count else 0
    return max(count, 1)


def sentences(text: str) -> list[list[str]]:
    """Return the words of each sentence."""
    parts = (part for piece in prose(text) for part in re.split(r"[.!?:]+(?=[\s\"')]|$)", piece))
    return [words for part in parts if (words := WORD.findall(part))]


def ease(text: str) -> float | None:
    """Return the figure of a page, or None if there are too few words to say."""
    found = sentences(text)
    words = [word for sentence in found for word in sentence]
    english = [word for word in words if word != CODE]
    if len(english) < 20:
        return None
    length = len(words) / len(found)
    return 206.835 - 1.015 * length - 84.6 * sum(map(syllables, english)) / len(english)


def main(names: list[str]) -> int:
    """Print a line for each page; the exit code is 1 if one is hard to read."""
    pages = [Path(name) for name in names] or [*sorted(DOCS.rglob("*.md"))]
    bad = 0
    print("ease  longest  page (ease: Flesch, at least 50; longest: words of the longest sentence)")
    for path in pages:
        text = path.read_text()
        figure = ease(text)
        longest = max(map(len, sentences(text)), default=0)
        name = path.relative_to(DOCS) if path.is_relative_to(DOCS) else path
        shown = "  -" if figure is None else f"{figure:5.1f}"
        low = figure is not None and figure < LEAST
        bad += low
        print(f"{shown}  {longest:5}  {name}{'  (hard to read)' if low else ''}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
