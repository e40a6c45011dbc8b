"""What is public: ``taskbus.__all__``, told three times (at run time, to type checkers, in ``_HOME``) and equal."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import taskbus

ROOT = Path(__file__).parents[2]


def stub_names() -> dict[str, str]:
    """Each public name in ``__init__.pyi`` with its module."""
    tree = ast.parse((ROOT / "taskbus/__init__.pyi").read_text())
    return {
        alias.asname or alias.name: node.module or ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_see_the_names_that_exist_where_they_live() -> None:
    assert stub_names() == taskbus._HOME


def test_public_names_are_sorted() -> None:
    assert list(taskbus._HOME) == sorted(taskbus._HOME)
    assert taskbus.__all__ == [*sorted(taskbus._HOME), "__version__"]
    assert dir(taskbus) == sorted(taskbus.__all__)


@pytest.mark.parametrize("name", taskbus.__all__)
def test_a_public_name_leads_to_something_documented(name: str) -> None:
    found = getattr(taskbus, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", found)
    else:
        assert getattr(found, "__doc__", None)


@pytest.mark.parametrize("name", [name for name in taskbus.__all__ if name[0].isupper()])
def test_every_method_of_a_public_class_says_what_it_does(name: str) -> None:
    described = getattr(taskbus, name)
    members = {key: value for key, value in vars(described).items() if not key.startswith("_")}
    bare = [
        key
        for key, value in members.items()
        if (callable(value) or isinstance(value, property | classmethod))
        and not value.__doc__
        and f"``{key}``" not in (described.__doc__ or "")
        and not key.startswith("is_")  # a question says itself what it asks
    ]
    assert not bare, f"{name}: give these a docstring, or name them in the class's: {bare}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        taskbus.nope


def test_importing_the_package_loads_neither_broker_nor_database() -> None:
    script = "import sys, taskbus; print(sorted({'kombu', 'sqlalchemy', 'rich', 'tenacity'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_names_used_in_the_readme_are_public() -> None:
    used = {
        name.strip()
        for line in re.findall(r"^from taskbus import (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
        for name in line.split(",")
    }
    assert used <= set(taskbus.__all__)
    assert used, "the README shows no import at all"


@pytest.mark.parametrize("first", ["", "import taskbus.task;", "from taskbus import TaskBus;", "import taskbus.app;"])
def test_the_name_task_is_the_decorator_whatever_was_imported_before(first: str) -> None:
    script = f"{first}from taskbus import task; print(type(task).__name__)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "TaskFactory"
