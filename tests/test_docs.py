"""The docs cannot drift: options, commands, reasons, variables and test names are held here."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from greylag import __version__
from greylag.app.option import Option
from greylag.app.options import BY_KEY, OPTIONS
from greylag.app.written import written
from greylag.cli.jgreylist_clean import clean
from greylag.cli.main import cli
from greylag.core.figures import DELAYED, EVICTED, STOPPED
from greylag.core.policy import Room
from greylag.core.verdict import LEVELS, Reason
from greylag.server.exporter import DaemonCollector
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.storeevents import StoreEvents
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking
from greylag.store.memory import MemoryStore
from greylag.wire.oldplugin import OLD_OPTIONS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PARTS = (DOCS, *(folder for folder in DOCS.iterdir() if folder.is_dir()))


def page(name: str) -> str:
    """Return a page by its name alone: no two have the same."""
    (path,) = DOCS.rglob(f"{name}.md")
    return path.read_text()


def shown_default(option: Option) -> str:
    """Return a default as a TOML file would have it."""
    return json.dumps(written(option, option.default))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
def test_every_option_with_default_and_meaning(option: Option) -> None:
    meaning = option.meaning[0].upper() + option.meaning[1:]
    effect = f"Takes effect at a {'restart' if option.restart else 'reload'}."
    wanted = f"### {option.key}\n\nDefault `{shown_default(option)}`. {meaning}.\n{effect}\n"
    assert wanted in page("configuration")


RANGE = re.compile(
    r'^### (\S+)\n(?:(?!#).*\n)*?Expected: [a-z `"]*(\d+)(s?)[`"]* to [`"]*(\d+)', re.MULTILINE
)


def test_every_range_ends_where_the_page_says() -> None:
    ranges = RANGE.findall(page("configuration"))
    assert len(ranges) == 17  # all that there are
    for key, lowest, unit, highest in ranges:
        read = BY_KEY[key].read
        for number in (int(lowest), int(highest)):
            assert read(f"{number}s" if unit else number) == number
        for number in (int(lowest) - 1, int(highest) + 1):
            with pytest.raises(ValueError, match=r"^expected "):
                read(f"{number}s" if unit else number)


def test_no_option_that_is_not_there() -> None:
    named = re.findall(r"^### (\S+)", page("configuration"), re.MULTILINE)
    assert named == [option.key for option in OPTIONS]


def test_the_page_of_reasons_has_the_rows_of_the_table_and_no_others() -> None:
    row = r"^\| `(.+)` \| (.+) \| (yes|no) \| (.+) \| (.+) \|$"
    rows = re.findall(row, page("reasons"), re.MULTILINE)
    assert [word for word, *_columns in rows] == [reason.value for reason in Reason]
    for reason, (_word, verdicts, counted, level, meaning) in zip(Reason, rows, strict=True):
        assert verdicts == " or ".join(verdict.value for verdict in reason.verdicts)
        assert counted == ("yes" if reason.counted else "no")
        assert level == LEVELS[reason.logged]
        assert meaning.startswith(reason.meaning)


def test_fates_are_explained() -> None:
    assert f"**{STOPPED.partition(':')[2]}**" in page("reasons")
    assert f"**{DELAYED.partition(':')[2]}**" in page("reasons")
    assert f"**{EVICTED.partition(':')[2]}**" in page("reasons")


def test_every_event_of_the_log_and_no_other() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    told = set(re.findall(r'"event": "([a-z-]+)"', sources))
    table = page("log").partition("| `event` | level | meaning |")[2]
    rows = re.findall(r"^\| (`.+`) \| (?:info|warn|error) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`([a-z-]+)`", " ".join(rows))) == sorted(told)


def test_every_metric_is_in_the_handbook_and_no_other() -> None:
    desk = Desk()
    journal = Journal()
    worker = Worker(desk, MemoryStore, StoreEvents(journal, Metrics()), deadline=1, room=Room())
    shown = DaemonCollector(Metrics(), desk, worker, journal, Asking()).collect()
    suffix = {"counter": "_total"}
    names = {metric.name + suffix.get(metric.type, "") for metric in shown}
    assert set(re.findall(r"^\| `(greylag_\w+)", page("metrics"), re.MULTILINE)) == names


def commands(group: click.Group, way: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*way, name))
        else:
            yield " ".join((*way, name)), command


@pytest.mark.parametrize(("name", "command"), list(commands(cli)), ids=str)
def test_every_command_and_each_of_its_options(name: str, command: click.Command) -> None:
    sections = page("commands").split("\n## ")
    heading = f"greylag {name}"
    (section,) = [text for text in sections if heading in text.partition("\n")[0].split(", ")]
    for parameter in command.params:
        for option in parameter.opts:
            everywhere = option == "--config"  # told once, for all
            assert f"`{option}" in section or not option.startswith("--") or everywhere, option


def test_every_option_of_the_cleaner() -> None:
    for parameter in clean.params:
        for option in parameter.opts:
            assert f"| `{option}` |" in page("jgreylist-clean") or not option.startswith("-"), (
                option
            )


def test_the_group_and_its_exit_codes() -> None:
    text = page("commands")
    for parameter in cli.params:
        assert f"`{parameter.opts[0]}" in text
    for code in (0, 1, 2, 10, 11, 66, 130, 141, 74, 75, 78):
        assert f"| {code} |" in text


@pytest.mark.parametrize("option", OLD_OPTIONS, ids=lambda option: option.name)
def test_every_setting_of_the_old_plugin(option: object) -> None:
    name, variable = option.name, option.variable  # type: ignore[attr-defined]
    assert f"`{name}`" in page("moving")
    assert f"`{variable}`" in page("moving")
    assert f"`{variable}`" in page("plugins")


def defined_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    kinds = ast.FunctionDef, ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_what_counts_as_a_test(tmp_path: Path) -> None:
    """Of any kind: one in a class, and one that is run in a loop."""
    path = tmp_path / "test_some.py"
    path.write_text(
        "def test_a(): ...\n"
        "async def test_b(): ...\n"
        "class TestC:\n"
        "    async def test_d(self): ...\n"
    )
    assert defined_tests(path) == {"test_a", "test_b", "test_d"}


def test_every_statement_of_rfc_6647_has_a_test_that_exists_or_a_reason() -> None:
    rows = re.findall(r"^\| (R\d+) \| (.+) \| (.+) \|$", page("rfc6647"), re.MULTILINE)
    assert [number for number, _, _ in rows] == [f"R{n}" for n in range(1, 24)]
    for number, _statement, answer in rows:
        named = re.findall(r"`(tests/\S+?\.py)(?:::(\w+))?`", answer)
        by_reference = re.search(r"\bas R\d+|\*\*Not there\.\*\*|known-issues", answer)
        assert named or by_reference, number
        for path, test in named:
            assert (ROOT / path).exists(), f"{number}: {path}"
            assert not test or test in defined_tests(ROOT / path), f"{number}: {path}::{test}"


def texts() -> Iterator[tuple[Path, str]]:
    """Yield the files of this repository that people write and read, with their text."""
    folders = ("src", "tests", "docs", "bench", "tools")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in (*paths, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"):
        if path.suffix in (".py", ".md", ".c", ".h", ".mk", ".toml") or path.name == "Makefile":
            yield path, path.read_text()


def properties() -> dict[str, list[str]]:
    """Return the codes of docs/inside/properties.md, with what is said to hold each."""
    held: dict[str, list[str]] = {}
    for row in re.findall(r"^\| ((?:[PT]|fault )\d+ \| .+) \|$", page("properties"), re.MULTILINE):
        code, *_what, answer = row.split(" | ")
        held.setdefault(code, []).append(answer)
    return held


def test_every_property_and_threat_has_tests_that_exist_or_says_that_none_holds_it() -> None:
    assert [code for code in properties() if code[0] == "P"] == [f"P{n}" for n in range(1, 21)]
    assert [code for code in properties() if code[0] == "T"] == [f"T{n}" for n in range(1, 47)]
    for code, answers in properties().items():
        for answer in answers:
            named = re.findall(r"`(tests/\S+?\.py)::(\w+)`", answer)
            assert named or answer.startswith("No test holds it yet: "), code
            assert answer.count("tests/") == len(named), code
            for path, test in named:
                assert test in defined_tests(ROOT / path), f"{code}: {path}::{test}"


def test_whatever_other_programs_do_has_tests_that_exist_or_a_reason() -> None:
    table = page("properties").partition("| program | what it does | here |")[2]
    rows = [
        row.split(" | ") for row in re.findall(r"^\| (.+ \| .+ \| .+) \|$", table, re.MULTILINE)
    ]
    programs = ("postgrey", "sqlgrey", "bley", "iRedAPD", "rspamd", "filter-spfgreylist")
    assert {row[0] for row in rows} - {"---"} == {*programs, "Fastmail", "postwhite", "spamd"}
    for program, what, here in rows[1:]:
        named = re.findall(r"`(tests/\S+?\.py)::(\w+)`", here)
        assert named or here.startswith("Not done: "), (program, what)
        assert here.count("tests/") == len(named)
        for path, test in named:
            assert test in defined_tests(ROOT / path), f"{program}: {path}::{test}"


def test_every_code_that_is_cited_is_listed() -> None:
    """P and T in properties.md, with the faults of the old programs; R in rfc6647.md."""
    listed = set(properties()) | {f"R{n}" for n in range(1, 24)}
    for path, text in texts():
        codes = set(re.findall(r"\b[PTR]\d{1,2}\b", text))
        names = " ".join(re.findall(r"\bdef test_(\w+)", text))
        codes |= {code.upper() for code in re.findall(r"_([ptr]\d{1,2})(?![^\W_])", names)}
        codes |= {f"fault {n}" for n in re.findall(r"\b[Ff]ault (\d+)\b", text)}
        codes |= {f"fault {n}" for n in re.findall(r"fault_(\d+)(?![^\W_])", names)}
        assert codes <= listed, f"{path.relative_to(ROOT)}: {sorted(codes - listed)}"


def test_no_file_cites_a_path_that_is_not_there() -> None:
    """A path is named from the root, the package, the tests, or the folder of the file itself."""
    package = ROOT / "src" / "greylag"
    folders = {path.name for top in (ROOT, package) for path in top.iterdir() if path.is_dir()}
    first = "|".join(sorted(name for name in folders | {"spec"} if name.isidentifier()))
    cited = re.compile(rf"(?<![\w/.~}}-])(?:{first})/[\w./-]+\.(?:py|md|c|h|mk|toml|txt)\b")
    page = re.compile(r"(?<![\w/.~}*-])[\w-]+\.md\b")
    for path, text in texts():
        for name in (*cited.findall(text), *page.findall(text)):
            places = (ROOT, package, ROOT / "tests", *PARTS, path.parent)
            assert any((place / name).exists() for place in places), (
                f"{path.relative_to(ROOT)}: {name}"
            )


def test_links_lead_somewhere() -> None:
    for path in (*DOCS.rglob("*.md"), *ROOT.glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_page_is_in_the_index() -> None:
    trees = re.findall(r"```\{toctree\}\n(.*?)```", page("index"), re.DOTALL)
    named = {line for tree in trees for line in tree.split("\n")}
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")}
    assert pages - {"index"} <= named


def test_no_two_pages_have_the_same_name() -> None:
    names = [path.name for path in DOCS.rglob("*.md")]
    assert len(names) == len(set(names))


def test_the_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {__version__}" in text
    assert text.index("### Incompatible") < text.index("### Added")


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (\w+)", (ROOT / "README.md").read_text())) <= targets
