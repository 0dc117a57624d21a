"""The handbook can be read: links lead somewhere, on the site and on GitHub, in plain English."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from greylag.app.options import OPTIONS
from greylag.cli.main import cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "SECURITY.md", "ARCHITECTURE.md"))]
TABLE = runpy.run_path(str(ROOT / "tools" / "settings_table.py"))
EASE = runpy.run_path(str(ROOT / "tools" / "reading_ease.py"))
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ORDER = "write the sentence in its usual order"
# How nobody speaks who wants to be understood, and what to write in its place.
RIDDLES = {
    r"(?:has|have|had) had (?:its|their) time|had their time": "has expired",
    r"what is past\b": "expired records",
    r"\bwhatever\b": "say what is meant: 'also if ...', 'any ...'",
    r"\bwhoever\b|\bwhomever\b|\bwhosoever\b": "say who: 'anybody who', 'a client that'",
    r"\bnevertheless\b|\bnonetheless\b|\ball the same\b": "but, also then",
    r"\b(?:is|are|be|was|were) forgotten\b|\bforgets what\b|\bforget what\b": "deleted",
    r"\banew\b": "again",
    r"\bthereof\b|\bwherein\b|\bthereby\b|\bwhereby\b|\bhitherto\b|\blest\b": "usual words",
    r"\bof before\b": "the old, the previous",
    r"\bbut for (?:what|the|a few)\b": "except",
    r"\bit is he\b|\bthat is none\b": "say what it is",
    r"[.;:,] so (?:do|does|did|is|are|was|has|have|can) (?:an?|the|one|what|who|it|they)\b": ORDER,
    r"\bas ever\b|\bas (?:much|often) as one likes\b": "as usual",
    r"(?:^|\. )(?:Different|Delayed|Counted|Held|Gone) (?:is|are)\b": ORDER,
    r"\bhas a better life\b|\bgoes by what\b|\bno word comes\b|\bbelongs to none\b": "plain words",
    r"\bin the place of\b": "instead of",
    r"\bmust not be\b": "say what is wrong and what to do",
}
BANNED = re.compile("|".join(f"(?:{words})" for words in RIDDLES), re.IGNORECASE)


def slugs(text: str) -> list[str]:
    """Return the anchors of a page, as GitHub makes them and MyST does after it."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        before = sum(
            re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in found
        )
        found.append(f"{slug}-{before}" if before else slug)
    return found


def links(text: str) -> list[str]:
    without = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", without) if "://" not in target]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_link_and_anchor_leads_somewhere_on_the_site_and_on_github(path: Path) -> None:
    for target in links(path.read_text()):
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), target
        assert page.is_relative_to(ROOT.resolve()), target
        assert not anchor or anchor in slugs(page.read_text()), target
        if path.is_relative_to(DOCS):  # the site has these pages alone
            assert page.is_relative_to(DOCS), target


def test_anchors_that_alerts_and_messages_name_are_there() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "contrib").rglob("*.yml")]
    for path in files:
        for name, anchor in re.findall(r"\b(docs/[\w/-]+\.md)#([\w-]+)", path.read_text()):
            assert anchor in slugs((ROOT / name).read_text()), f"{path.name}: {name}#{anchor}"


def test_the_site_makes_anchors_as_deep_as_headings_are() -> None:
    depth = runpy.run_path(str(DOCS / "conf.py"))["myst_heading_anchors"]
    for path in PAGES:
        deepest = max(
            map(len, re.findall(r"^(#+) ", FENCE.sub("", path.read_text()), re.MULTILINE))
        )
        assert deepest <= depth, path.name


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_every_page_is_easy_to_read(path: Path) -> None:
    """By Flesch's figure, which `make docs` prints; tools/reading_ease.py says what is counted."""
    figure = EASE["ease"](path.read_text())
    assert figure is None or figure >= EASE["LEAST"], f"{figure:.1f}"


@pytest.mark.parametrize(
    ("word", "count"),
    [("greylisting", 3), ("recipient", 3), ("database", 3), ("deferred", 2), ("times", 1),
     ("addresses", 3), ("configuration", 5), ("file", 1), ("table", 2), ("SMTP", 3), ("10023", 1)],
)  # fmt: skip
def test_syllables_are_estimated_well(word: str, count: int) -> None:
    assert EASE["syllables"](word) == count


def test_code_tables_and_headings_are_not_read() -> None:
    page = "# A\n\nOne two.\n\n    code\n\n| a | b |\n\n- three `x` four\n\n```\nno\n```\n"
    assert EASE["sentences"](page) == [["One", "two"], ["three", EASE["CODE"], "four"]]


def test_the_table_of_settings_says_what_their_sections_and_the_program_say() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text()
    assert page == TABLE["with_table"](page), "run tools/settings_table.py"
    assert page.count("\n| [policy.delay](#policydelay) |") == 1


def helps(command: click.Command, way: str) -> Iterator[tuple[str, str]]:
    yield way, command.help or ""
    for parameter in command.params:
        yield f"{way} {parameter.name}", getattr(parameter, "help", None) or ""
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from helps(sub, f"{way} {name}")


def messages() -> Iterator[tuple[str, str]]:
    """Yield all texts of the program that are no docstrings: messages are among them."""
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docs
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


@pytest.mark.parametrize("page", ["README.md", "docs/inside/capacity.md"])
def test_a_figure_of_speed_is_one_of_the_benchmarks(page: str) -> None:
    """In each line that names the bench or its page: so one run changes all pages, or none."""
    measured = (DOCS / "inside" / "benchmarks.md").read_text()
    paragraphs = re.split(r"\n(?=\n|\||- )", (ROOT / page).read_text())
    named = [
        part for part in paragraphs if re.search(r"benchmarks\.md|bench\.|measured rates", part)
    ]
    figures = {one for part in named for one in re.findall(r"\b\d+(?:,\d{3}|\.\d+)\b", part)}
    assert len(figures) >= 3
    assert {one for one in figures if one not in measured} <= {"1.5"}  # 1.20 times 1.24 ms


# What a group does where no command of it is named.
USUAL = {"web": "serve", "expect": "add", "import": "lines"}
# What no test runs as it stands, and why; all other commands of the pages are run.
NOT_RUN = {
    "git clone URL /opt/greylag && cd /opt/greylag": "URL is a placeholder; tests are in a clone",
    "apt-get install git python3-venv gcc musl-tools make": "no network; test_debian_packages.py",
    "apt-get update": "no network; GREYLAG_SOAK=1 test_packages.py installs the package by apt-get",
    "apt-get install publicsuffix": "no network",
    ".venv/bin/pip install '.[web]'": "no network; `make install` does the same",
    "make dist": "test_dist.py runs what it calls",
    'pipx install "$(ls dist/greylag-*.whl)[all]"': "no network; test_wheel.py installs the wheel",
    "podman build ": "needs podman; test_container.py, where it is",
    "mysqldump --defaults-file=/etc/greylag/my.cnf": "names no table; test_backup.py, with tables",
    "greylag demo --folder ./month --share 0.05 --no-serve": "test_demo.py, with a smaller share",
}


def shown_commands() -> Iterator[tuple[str, str]]:
    """Yield all that begins with `greylag` in blocks and in `backquotes`, with its page."""
    for path in (*PAGES, ROOT / "README.md"):
        text = path.read_text()
        for block in re.findall(
            r"^ {4,}(?:runuser .* -- )?(greylag [a-z-].*)$", text, re.MULTILINE
        ):
            yield path.name, block
        for inline in re.findall(r"(?<!`)`(greylag [a-z-][^`\n]*)`", text):
            yield path.name, inline


def parsed(line: str) -> None:
    """Raise a UsageError where the command, or an option of it, is not there."""
    # Comments, pipes and what stands for more words are no words of the command.
    words = shlex.split(re.split(r" \| | [>|] |; | && |\s#|\.\.\.|\[", line)[0])[1:]
    command: click.Command = cli
    while isinstance(command, click.Group):
        if not words:
            return
        context = click.Context(command)
        usual = USUAL.get(command.name or "")
        if not (usual and words[0].startswith("-") and words[0] != "--help"):
            words = command.make_parser(context).parse_args(words)[1]
            if not words or re.fullmatch(r"[A-Z]+", words[0]):
                return
        found = command.get_command(context, words[0])
        words = words if found is None and usual else words[1:]
        if found is None and usual:
            found = command.commands[usual]
        if found is None:
            raise click.UsageError("no such command")
        command = found
    command.make_parser(click.Context(command)).parse_args(words)


def test_every_command_that_is_shown_has_its_words_and_options() -> None:
    """Also in the middle of a sentence, where no test runs it."""
    wrong = []
    for page, line in shown_commands():
        try:
            parsed(line)
        except click.BadOptionUsage as error:
            if "requires an argument" not in error.message:  # an option by itself, in a sentence
                wrong.append(f"{page}: {line}: {error.message}")
        except click.UsageError as error:
            wrong.append(f"{page}: {line}: {error.message}")
    assert wrong == []
    with pytest.raises(click.UsageError):
        parsed("greylag stats --sinse 7d")
    with pytest.raises(click.UsageError):
        parsed("greylag allow ad 192.0.2.1")


def test_what_no_test_runs_is_on_a_page() -> None:
    """P20: so this list has no line that is no longer shown."""
    shown = "".join(path.read_text() for path in (*PAGES, ROOT / "README.md"))
    assert [line for line in NOT_RUN if f"    {line}" not in shown] == []


def said() -> Iterator[tuple[str, str]]:
    """Yield all that users read: pages, help texts, meanings of settings, messages."""
    for path in (*PAGES, ROOT / "README.md", ROOT / "SECURITY.md"):
        for number, line in enumerate(path.read_text().split("\n"), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line
    yield from helps(cli, "greylag")
    yield from ((option.key, option.meaning) for option in OPTIONS)
    yield from messages()
    for path in (ROOT / "src").rglob("*.html"):
        yield path.name, path.read_text()
    for path in (ROOT / "src").rglob("*.c"):
        yield path.name, " ".join(re.findall(r'"([^"\n]*)"', path.read_text()))


def test_no_page_help_or_message_is_a_riddle() -> None:
    found = [f"{place}: {hit[0]}" for place, text in said() for hit in BANNED.finditer(text)]
    assert found == []


def test_every_page_with_commands_is_named_by_a_test() -> None:
    """P20: what is shown is run as it stands by that test, or by what it calls."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for path in PAGES:
        shown = re.search(
            r"^ {4,}(?:sudo )?(?:greylag|postconf|systemctl) ", path.read_text(), re.MULTILINE
        )
        name = str(path.relative_to(DOCS).with_suffix(""))
        assert not shown or name in tests or f'"{path.name}"' in tests, name
