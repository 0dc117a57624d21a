"""The house rules that a machine can hold: layers, imports, SQL, shells, sizes, words."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.store import BACKENDS

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "greylag"
FILES = sorted(SOURCE.rglob("*.py"))

# A module may import from its own layer's package and from those named after it.
FLOORS = {
    "core": set[str](),
    "wire": {"core"},
    "store": {"core"},
    "show": {"core"},  # bars, charts, durations: what commands and pages draw alike
    "service": {"core", "wire", "store"},
    "admin": {"core", "wire", "store", "service"},
    "simulate": {"core", "wire", "store", "service"},
    "server": {"core", "wire", "store", "service"},
    "app": {"core", "wire", "store", "service", "admin", "server"},
    "plugin": {"core", "wire", "store", "service", "app"},
    "cli": {
        *("core", "wire", "store", "show", "service", "admin", "simulate", "server", "app"),
        *("plugin", "web"),
    },
    "web": {"core", "wire", "store", "show", "service", "admin", "app"},
}
# What a mail server starts for each recipient, and what the daemon is made of.
STANDARD_LIBRARY_ONLY = ("core", "wire", "store", "service", "admin", "server", "app", "plugin")
# What is loaded only where the admin wants it, and said if it is missing: package to floors.
EXTRAS = {"uvloop": "app", "prometheus_client": "server", "pymysql": "store/mysql"}
PURE_MAY_IMPORT = {"__future__", "collections", "enum", "hashlib", "ipaddress", "typing", "greylag"}
PURE_MAY_IMPORT |= {"functools", "unicodedata"}  # enum has loaded the first already
PURE_MAY_IMPORT |= {"binascii"}  # built in


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield node.module or ""


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_layers_before_its_own(path: Path) -> None:
    layer = layer_of(path)
    if layer == "__init__":
        assert list(imports_of(path)) == []
        return
    for name in imports_of(path):
        if name.startswith("greylag."):
            target = name.split(".")[1]
            assert target == layer or target in FLOORS[layer], f"{layer} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_who_may_import_what_from_outside(path: Path) -> None:
    """T29: the plugins and what is below them need the standard library alone."""
    outside = {name.split(".")[0] for name in imports_of(path)} - {"greylag"}
    place = str(path.relative_to(SOURCE).parent)
    outside -= {name for name, floor in EXTRAS.items() if floor == place}
    if layer_of(path) in STANDARD_LIBRARY_ONLY:
        assert outside <= set(sys.stdlib_module_names)
    if layer_of(path) in ("core", "wire"):
        assert outside <= PURE_MAY_IMPORT, "core and wire are pure: no I/O, no clock, no os"


@pytest.mark.parametrize("name", ["session", "answering", "worker", "connections", "daemon"])
def test_what_is_common_to_all_front_ends_knows_none_of_them(name: str) -> None:
    """A protocol more must not need a change there: only `app` says who listens where."""
    imported = set(imports_of(SOURCE / "server" / f"{name}.py"))
    assert not {
        one for one in imported if one.startswith(("greylag.wire", "greylag.server.fronts."))
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_kind_a_store_is_is_known_in_its_package_alone(path: Path) -> None:
    """Others ask what a store can (`Backend`, `Store.lacks`). A tree is named by a folder, too."""
    if layer_of(path) == "store":
        return
    kinds = {*BACKENDS.values(), "greylag.store.tree.store"} - {"greylag.store.tree"}
    for name in imports_of(path):
        assert not any(name == kind or name.startswith(f"{kind}.") for kind in kinds), name
    schemes = tuple(f"{scheme}:" for scheme in BACKENDS)
    for node in ast.walk(tree_of(path)):
        asks = isinstance(node, ast.Compare) or (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith((".startswith", ".removeprefix", ".partition"))
        )
        texts = [x.value for x in ast.walk(node) if isinstance(x, ast.Constant)] if asks else []
        assert not [t for t in texts if isinstance(t, str) and t.startswith(schemes)]


def calls_in(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_sql_is_constant_and_parameters_are_positional(path: Path) -> None:
    """T10, CVE-2004-1113 (text pasted into SQL), CVE-2024-36039 (dict keys are not escaped)."""
    for name, call in calls_in(path):
        method = name.rpartition(".")[2]
        asks = name.endswith(("session.read", "session.ask", "session.write"))
        if not asks and method not in ("execute", "executemany", "executescript", "mogrify"):
            continue
        statement = call.args[0]
        pragma = ast.unparse(statement).startswith("'PRAGMA ")  # takes no parameters
        named = statement.value if isinstance(statement, ast.Subscript) else statement
        of_a_module = ast.unparse(named).startswith("sql.")  # statements alone, see the next test
        plain = isinstance(named, ast.Constant | ast.Name) or of_a_module
        assert plain or (pragma and "str(int(" in ast.unparse(statement)), ast.unparse(call)
        if isinstance(statement, ast.Name) and not statement.id.startswith("_"):
            # A migration's own text; what a caller gave `read` or `write`; such, filled and joined.
            assert statement.id == "statement" or statement.id.isupper()
        for argument in call.args[1:]:
            assert not isinstance(argument, ast.Dict)
        assert not call.keywords


# No module evaluates what it reads. Only an admin's command may start a program (the C compiler) or
# make a temporary file: what mail reaches does neither.
FORBIDDEN_IMPORTS = {"pickle", "marshal"}
FOR_COMMANDS = {"subprocess", "pty", "tempfile"}
FORBIDDEN_CALLS = {
    "os.system",
    "os.popen",
    "eval",
    "pickle.loads",
    "marshal.loads",
    "tempfile.mktemp",
    "logging.basicConfig",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_shell_no_evaluation_no_temporary_file(path: Path) -> None:
    """CVE-2010-1132, CVE-2020-7247 (addresses in a shell), milter-greylist's debug file in /tmp."""
    imported = set(imports_of(path))
    assert not FORBIDDEN_IMPORTS & imported
    assert layer_of(path) == "cli" or not FOR_COMMANDS & imported
    # Code is made of text only where there is no data of ours: of a class's own field names.
    imports_ours = any(name.startswith("greylag") for name in imported)
    may_execute = layer_of(path) == "core" and not imports_ours
    for name, _call in calls_in(path):
        assert name not in FORBIDDEN_CALLS
        assert name.rpartition(".")[2] != "format" or "str.format" not in name
        assert name != "exec" or may_execute
    assert "/tmp" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 300
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= 40, f"{node.name} has {size} lines"


@pytest.mark.parametrize("path", sorted((SOURCE / "admin").rglob("*.py")), ids=lambda p: p.stem)
def test_use_cases_return_values_and_say_nothing(path: Path) -> None:
    """They serve the command and a page in a browser alike."""
    text = path.read_text()
    assert not {"click", "rich"} & set(imports_of(path))
    assert not {"print", "input", "sys.exit"} & {name for name, _call in calls_in(path)}
    assert not [name for name in ("sys.std", "os.environ", "isatty") if name in text]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


def test_the_core_has_no_dependency_and_the_command_two() -> None:
    """T29."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {text.partition(">")[0] for text in project["dependencies"]}
    assert names == {"click", "rich"}


def test_nothing_is_installed_setuid() -> None:
    """T19."""
    assert not [path for path in tracked_files() if path.exists() and path.stat().st_mode & 0o6000]
