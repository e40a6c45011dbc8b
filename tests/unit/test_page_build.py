"""The hook that builds the web page: when it builds, what it needs, what it does when it cannot."""

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import hatch_build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the page is built from, without a page, where the npm registry cannot be reached."""
    shutil.copytree(ROOT / "ui", tmp_path / "ui", ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.delenv("TASKBUS_UI", raising=False)
    monkeypatch.delenv("TASKBUS_NODE", raising=False)
    return tmp_path


def pretend_built(checkout: Path) -> Path:
    page = hatch_build.page_of(checkout)
    page.mkdir(parents=True)
    (page / "index.html").write_text("built before")
    (page / "BUILD.json").write_text(json.dumps({"sources": hatch_build.fingerprint(checkout / "ui")}))
    return page


def test_a_page_is_built_again_only_when_what_it_is_made_of_changes(checkout: Path) -> None:
    assert not hatch_build.is_current(checkout)
    pretend_built(checkout)
    assert hatch_build.is_current(checkout)
    (checkout / "ui" / "mock" / "more.mjs").write_text("")
    (checkout / "ui" / "test" / "more.test.ts").write_text("")
    assert hatch_build.is_current(checkout)
    (checkout / "ui" / "src" / "more.ts").write_text("")
    assert not hatch_build.is_current(checkout)


def test_a_built_page_without_its_sources_is_taken_as_it_is(checkout: Path) -> None:
    pretend_built(checkout)
    shutil.rmtree(checkout / "ui")
    assert hatch_build.is_current(checkout)


def test_without_the_registry_an_installation_goes_on_and_says_that_it_has_no_page(checkout: Path) -> None:
    warning = hatch_build.ensure(checkout)
    assert "there is no page" in warning
    assert "npm could not fetch" in warning
    assert not hatch_build.page_of(checkout).exists()


def test_without_the_registry_an_older_page_stays(checkout: Path) -> None:
    page = pretend_built(checkout)
    (checkout / "ui" / "src" / "more.ts").write_text("")
    assert "an older page stays" in hatch_build.ensure(checkout)
    assert (page / "index.html").read_text() == "built before"


def test_who_requires_the_page_gets_it_or_an_error(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKBUS_UI", "require")
    with pytest.raises(hatch_build.NoPage, match="npm could not fetch"):
        hatch_build.ensure(checkout)


def test_who_skips_the_page_needs_no_node(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKBUS_UI", "skip")
    monkeypatch.setenv("TASKBUS_NODE", "/nowhere/node")
    assert hatch_build.ensure(checkout) == ""
    assert not hatch_build.page_of(checkout).exists()


def test_a_chosen_node_that_is_none_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKBUS_NODE", "/nowhere/node")
    with pytest.raises(hatch_build.NoPage, match=r"'/nowhere/node': not a node 20 or later"):
        hatch_build.find_node()


def test_an_unknown_mode_is_refused_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKBUS_UI", "maybe")
    with pytest.raises(ValueError, match="'maybe'; write one of auto, require, skip"):
        hatch_build.mode()


def test_the_built_page_has_hashed_names_no_inline_code_and_the_mark_of_its_place() -> None:
    if hatch_build.ensure(ROOT):
        pytest.skip("the page is not built, and the npm registry cannot be reached")
    page = hatch_build.page_of(ROOT)
    html = (page / "index.html").read_text()
    names = sorted(file.name for file in (page / "assets").iterdir())
    assert {name.rpartition(".")[2] for name in names} == {"css", "js", "svg"}
    assert all(re.fullmatch(r"[\w.-]+-[0-9A-Z]{8}\.(css|js|svg)", name) for name in names)
    assert "<style" not in html and "style=" not in html and "<script>" not in html
    for script in scripts_of(page).values():
        assert "eval(" not in script and "new Function" not in script


def test_what_draws_workflows_is_fetched_when_one_is_shown_and_all_else_at_once() -> None:
    if hatch_build.ensure(ROOT):
        pytest.skip("the page is not built, and the npm registry cannot be reached")
    page = hatch_build.page_of(ROOT)
    html, scripts = (page / "index.html").read_text(), scripts_of(page)
    first = {name: script for name, script in scripts.items() if f'"__BASE__assets/{name}"' in html}
    later = {name: script for name, script in scripts.items() if name not in first}
    assert len(re.findall(r"<script[^>]* src=", html)) == 1
    for script in first.values():  # what it cannot do without is asked for along with it, not one after the other
        assert set(re.findall(r'(?:from|import)"\./([^"]+)"', script)) <= set(first)
    assert later and all(any(f'import("./{name}")' in script for script in first.values()) for name in later)
    assert "edgesep" in "".join(later.values()) and "edgesep" not in "".join(first.values())
    assert sum(len(gzip.compress(script.encode())) for script in first.values()) < 85_000


def scripts_of(page: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in (page / "assets").glob("*.js")}


def test_git_holds_neither_the_built_page_nor_what_npm_fetches() -> None:
    tracked = subprocess.run(["git", "ls-files", "ui", "taskbus/web"], cwd=ROOT, capture_output=True, text=True)
    assert not [
        name for name in tracked.stdout.split() if "node_modules" in name or name.startswith("taskbus/web/page/")
    ]
