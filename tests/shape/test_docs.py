"""The docs are kept true: generated pages are current, links lead somewhere, what is named exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.__main__ import main as play_the_crash_suite
from tests.crash.suite import playables
from tests.shape.pages import ROOT

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md")), ROOT / "contrib/README.md"]
GUARANTEES = DOCS / "explanation/guarantees.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
KINDS = {"tutorial": "tutorial", "howto": "how-to", "reference": "reference", "explanation": "explanation"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link into the page may name, as code hosts make it of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_reference_pages_say_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"run `make docs`:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{name_of(page)} links to {target}, which is not there"
            assert not anchor or anchor in anchors(file), f"{name_of(page)} links to {target}: no such heading"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*/*.md")), ids=name_of)
def test_a_page_says_which_of_the_four_kinds_it_is(page: Path) -> None:
    assert f"*Kind: {KINDS[page.parent.name]}" in page.read_text()[:400]


def test_every_page_is_on_the_map() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)\)", (DOCS / "index.md").read_text()))
    assert linked == {str(page.relative_to(DOCS)) for page in DOCS.glob("*/*.md")}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_tests_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:taskbus|tests|docs|examples|benchmarks|contrib)/[\w./-]*)`", page.read_text())
    missing = [name for name in named if not (ROOT / name).exists()]
    known = set(re.findall(r"def (test_\w+)", "".join(map(Path.read_text, sources_of_tests()))))
    missing += [name for name in re.findall(r"`(test_\w+)`", page.read_text()) if name not in known]
    assert not missing, f"{name_of(page)} names {missing}"


@pytest.mark.parametrize("page", sorted(DOCS.glob("explanation/*.md")), ids=name_of)
def test_modules_and_methods_that_an_explanation_names_exist(page: Path) -> None:
    modules = {str(file.relative_to(ROOT)): file.read_text() for file in (ROOT / "taskbus").rglob("*.py")}
    for name in set(re.findall(r"`([\w/]+\.py)`", prose(page))):
        assert any(f"/{module}".endswith(f"/{name}") for module in modules), f"{name_of(page)} names {name}"
    code = "".join(modules.values())
    for owner, method in set(re.findall(r"`([A-Z]\w+)\.(\w+)`", prose(page))):
        assert f"class {owner}" in code, f"{name_of(page)} names {owner}.{method}"
        assert re.search(rf"def {method}\b|^    {method}\b", code, re.MULTILINE), (
            f"{name_of(page)} names {owner}.{method}"
        )


def sources_of_tests() -> list[Path]:
    return [*(ROOT / "tests").rglob("*.py"), *(ROOT / "taskbus/testing").glob("*.py")]


def test_every_guarantee_names_cells_of_the_crash_suite_that_exist() -> None:
    named = set(re.findall(r"`((?:case|grid|mutant) [\w. :-]+)`", GUARANTEES.read_text()))
    cells = [cell.name for cell in playables()]
    missing = {name for name in named if not any(re.match(rf"{re.escape(name)}(\W|$)", cell) for cell in cells)}
    assert not missing
    assert len(named) > 20


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=f"{name_of(page)}: {command}")
        for page in (CONTRIBUTING, GUARANTEES)
        for command in re.findall(r"python -m tests\.crash ([^`#;\n]+)", page.read_text())
    ],
)
def test_a_command_of_the_crash_suite_selects_cells(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests.crash", "--list", *shlex.split(command)])
    assert play_the_crash_suite() == 0
    assert capsys.readouterr().out.strip()


def test_a_command_of_pytest_selects_tests() -> None:
    page = CONTRIBUTING.read_text()
    words = re.findall(r"-k (\w+)", page)
    files = re.findall(r"pytest (\S+\.py)(?:::(\w+))?", page)
    known = re.findall(r"def (test_\w+)", "".join(map(Path.read_text, sources_of_tests())))
    assert words and files
    assert not [word for word in words if not any(word in name for name in known)]
    assert not [(file, name) for file, name in files if f"def {name}" not in (ROOT / file).read_text()]


def test_every_failpoint_is_listed_and_every_listed_one_exists() -> None:
    listed = set(re.findall(r"`(\w+\.\w+)`", GUARANTEES.read_text().partition("## Failpoints")[2]))
    listed = {name for name in listed if not name.endswith(".py")}
    in_code = set(
        re.findall(r'failpoint\("([\w.]+)"\)', "".join(map(Path.read_text, (ROOT / "taskbus").rglob("*.py"))))
    )
    assert listed == in_code
