"""Every page, with hostile text in every field: nothing runs, nothing breaks, nothing keeps a reader out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PHONE, WIDE, Complaints, Open, must_have
from tests.browser.looking import EVIL, fill, lived_in
from tests.browser.stack import Stack

AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PAGES = (
    "overview", "queues", "queue", "waiting", "tasks", "task", "evil task", "running task", "types", "type", "workers",
    "worker", "workflows", "workflow", "dead letters", "dead letter", "schedules", "system",
)  # fmt: skip
TWO_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Until colours have changed: they fade, if for a moment."""
CHANGING = (
    "pause", "resume", "purge", "retry", "retry-edited", "revoke", "terminate", "replay", "replay-edited", "replay-all",
    "purge-all", "grow", "shrink", "stop", "ask", "add-queue", "send", "cancel", "run",
)  # fmt: skip


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with lived_in(tmp_path_factory.mktemp("pages")) as stack:
        yield stack


@pytest.fixture(scope="module")
def paths(stack: Stack) -> dict[str, str]:
    return fill(stack)


def settled(page: Page) -> None:
    """Wait until the page shows what it asked for."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("main .loading")).to_have_count(0)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_hostile_text_as_text_to_readers_of_all_kinds(
    name: str, paths: dict[str, str], visit: Open
) -> None:
    must_have(AXE.exists(), "axe-core is not installed; run `python hatch_build.py check`")
    page = visit(paths[name])
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    settled(page)
    assert page.locator("img[src=x], main script").count() == 0
    page.evaluate(AXE.read_text())
    grounds = set()
    for dark in (False, True):
        page.emulate_media(color_scheme="dark" if dark else "light")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark" if dark else "light")
        page.evaluate(TWO_FRAMES)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for size in (WIDE, PHONE):
            page.set_viewport_size(size)  # type: ignore[arg-type]  # a dict of what it wants
            found = page.evaluate(f"axe.run(document, {json.dumps(RULES)})")
            where = f"{name}, {'dark' if dark else 'light'}, {size['width']} wide"
            assert [told(each) for each in found["violations"]] == [], where
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], f"{where}: scrolls sideways"
    assert len(grounds) == 2


def told(violation: dict[str, object]) -> str:
    """A finding of axe in a line."""
    nodes = violation["nodes"]
    assert isinstance(nodes, list)
    return f"{violation['id']}: {violation['help']}: {[node['html'][:160] for node in nodes[:3]]}"


@pytest.mark.parametrize("name", ["evil task", "dead letter", "tasks", "schedules", "waiting", "type"])
def test_hostile_text_can_be_read(name: str, paths: dict[str, str], visit: Open) -> None:
    page = visit(paths[name])
    settled(page)
    expect(page.locator("main")).to_contain_text("<img src=x onerror=alert(1)>")
    assert EVIL[:20] in page.locator("main").inner_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_viewer_can_press_nothing_that_changes_anything(name: str, paths: dict[str, str], visit: Open) -> None:
    page = visit(paths[name], role="viewer")
    settled(page)
    for testid in CHANGING:
        for button in page.get_by_test_id(testid).all():
            expect(button).to_be_disabled()
    expect(page.get_by_role("button", name="Pause default")).to_be_disabled() if name == "queues" else None


REFUSED = (
    ("queues/default/pause", {}, "viewer"), ("queues/default/purge", {}, "operator"),
    ("dlq/replay", {"where": "task:*"}, "viewer"), ("dlq/purge", {"where": "task:*"}, "operator"),
    ("tasks", {"task": "shop.mail", "args": ["x"]}, "viewer"), ("schedules/nightly/run", {}, "viewer"),
    ("schedules/nightly/pause", {}, "viewer"), ("nodes/ann/grow", {"n": 1}, "viewer"),
    ("nodes/ann/stop", {}, "operator"),
)  # fmt: skip


def test_the_server_refuses_what_the_page_does_not_offer(
    stack: Stack, paths: dict[str, str], visit: Open, complaints: Complaints
) -> None:
    complaints.allowed.append("403")
    before = (len(stack.letters()), stack.notes())
    for path, body, role in REFUSED:
        page = visit("", role=role)
        status = page.evaluate(
            """([path, body]) => fetch(`/api/v1/${path}`, {
                method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
            }).then(answer => answer.status)""",
            [path, body],
        )
        assert status == 403, (path, role)
    assert (len(stack.letters()), stack.notes()) == before
    page = visit("system")
    expect(page.get_by_test_id("audit").get_by_text("refused").first).to_be_visible()


def test_somebody_unknown_is_led_to_sign_in_and_out_of_there_with_a_token(
    stack: Stack, visit: Open, complaints: Complaints
) -> None:
    complaints.allowed += ["401", "favicon.ico"]
    page = visit("queues", role="")
    expect(page).to_have_url(f"{stack.url}/auth/signin?next=%2Fqueues")
    page.evaluate(AXE.read_text())
    found = page.evaluate(f"axe.run(document, {json.dumps(RULES)})")
    assert [told(each) for each in found["violations"]] == []
    field = page.locator("input[type=password]").first
    field.fill("tbw_wrong")
    field.press("Enter")
    expect(page.locator("input[type=password]").first).to_be_visible()
    field = page.locator("input[type=password]").first
    field.fill(stack.tokens["operator"])
    field.press("Enter")
    expect(page).to_have_url(f"{stack.url}/queues")
    expect(page.locator(".user")).to_contain_text("operator")
