"""The shape of the code: what can be read off the sources without running them."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "taskbus"
CONTRIB = ROOT / "contrib"
TESTS = ROOT / "tests"

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
ALLOWED_LONGER: dict[str, int] = {}
"""Functions that may be longer, by ``file:name``, with today's length: they may shrink, not grow."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (file for file in sorted(folder.rglob("*.py*")) if file.suffix in (".py", ".pyi"))


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize(
    "file", list(sources(PACKAGE, CONTRIB, TESTS, ROOT / "examples", ROOT / "benchmarks")), ids=name_of
)
def test_a_file_fits_in_four_hundred_lines(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= MOST_LINES_OF_A_FILE, f"{name_of(file)} has {lines} lines; split it by responsibility"


def test_a_function_fits_on_a_screen() -> None:
    long = {
        f"{name_of(file)}:{node.name}": length
        for file in sources(PACKAGE, CONTRIB)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, Function) and (length := lines_of_code(node)) > MOST_LINES_OF_A_FUNCTION
    }
    too_long = {name: length for name, length in long.items() if length > ALLOWED_LONGER.get(name, 0)}
    assert not too_long, f"split these functions: {too_long}"
    outdated = {name: allowed for name, allowed in ALLOWED_LONGER.items() if long.get(name, 0) < allowed}
    assert not outdated, f"these have shrunk; lower or drop their entry in ALLOWED_LONGER: {outdated}"


def lines_of_code(function: Function) -> int:
    """Lines of a function's body, without its docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("file", list(sources(PACKAGE, CONTRIB)), ids=name_of)
def test_a_module_says_what_it_is_for(file: Path) -> None:
    if file.suffix == ".py" and (file.name != "__init__.py" or file.read_text().strip()):
        assert ast.get_docstring(ast.parse(file.read_text())), f"{name_of(file)} has no docstring"


def test_public_classes_and_functions_say_what_a_caller_may_rely_on() -> None:
    bare = [
        f"{name_of(file)}:{name}" for file in sources(PACKAGE) if file.suffix == ".py" for name in undocumented(file)
    ]
    assert not bare, f"give these a docstring: {bare}"


def undocumented(file: Path) -> Iterator[str]:
    """What has neither a docstring nor a body so short that it would only repeat it; a ``main`` is its module's."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_") and node.name != "main":
            is_short = (node.end_lineno or 0) - node.lineno < 10
            if not is_short and not ast.get_docstring(node):
                yield node.name


def test_no_module_hides_behind_an_underscore() -> None:
    hidden = [name_of(file) for file in sources(PACKAGE) if re.match(r"_[^_]", file.name)]
    assert not hidden, f"modules are public or do not exist: {hidden}"


def test_nothing_of_ours_is_imported_inside_a_function_or_for_type_checkers_alone() -> None:
    found = [place for file in sources(PACKAGE) if file.suffix == ".py" for place in late_imports(file)]
    assert not found, f"these hide a circle of imports: {found}"


def late_imports(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in tree.body:
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            if any(module.split(".")[0] == "taskbus" for module in modules):
                yield f"{name_of(file)}:{node.lineno}"


@pytest.mark.parametrize("file", list(sources(TESTS)), ids=name_of)
def test_a_test_sleeps_only_while_it_polls_for_a_condition(file: Path) -> None:
    """A bare sleep is too short or too long. A task that takes its time is a test's subject, not its way of waiting."""
    tree = ast.parse(file.read_text())
    allowed = {id(call) for node in ast.walk(tree) if may_sleep(node) for call in ast.walk(node)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and id(node) not in allowed
            and not file.stem.endswith(("tasks", "app", "sample"))
        ):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called != "sleep", f"{name_of(file)}:{node.lineno} sleeps; wait for a condition with a deadline"


def may_sleep(node: ast.AST) -> bool:
    """Whether this is a polling loop, the body of a task, or a coroutine that takes its time as one would."""
    if isinstance(node, ast.While):
        return True
    if not isinstance(node, Function) or node.name.startswith("test_"):
        return False
    return isinstance(node, ast.AsyncFunctionDef) or any("task" in ast.unparse(each) for each in node.decorator_list)


def test_imports_go_down_only() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
