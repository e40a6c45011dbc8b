"""Chromium, and what it looks at. Chromium is the system's own; nothing is downloaded."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.servers.server import INSTALL, find

sys.path.insert(0, str(Path(__file__).parent))

from tests.browser.stack import Stack

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
BUILT = Path(__file__).parents[2] / "taskbus" / "web" / "page" / "index.html"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 15_000
"""Milliseconds that the page may take for anything: a machine may be busy."""

expect.set_options(timeout=PATIENCE)


def must_have(is_there: bool, reason: str) -> None:
    """Skip where something is missing; where ``CI`` is set, fail."""
    if not is_there:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module. It ends with it: its event loop would be in the way of tests that run one."""
    program = find("chromium")
    must_have(program is not None, f"chromium {INSTALL}")
    must_have(BUILT.exists(), "the page is not built; run `python hatch_build.py build`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker of two slots and the web server, on SQLite."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.start_worker()
        stack.start_web("-v")
        yield stack
    finally:
        stack.close()


class Complaints:
    """What the browser said went wrong. A test that means to see some says which: ``allowed``."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.allowed: list[str] = []

    def follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.heard.append(f"exception: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.heard.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def left(self) -> list[str]:
        return [said for said in self.heard if not any(word in said for word in self.allowed)]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, stack: Stack, complaints: Complaints, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a path of the page as somebody: ``visit("queues", role="viewer")``. A complaint of the browser fails it."""
    contexts: list[BrowserContext] = []

    def open_page(path: str = "", role: str = "admin", dark: bool = False, phone: bool = False) -> Page:
        context = browser.new_context(
            base_url=f"{stack.url}/",
            extra_http_headers={"Authorization": f"Bearer {stack.tokens[role]}"} if role else {},
            viewport=PHONE if phone else WIDE,  # type: ignore[arg-type]  # a dict of what it wants
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="Europe/Paris",
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        complaints.follow(page)
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints.left() == []
    if request.session.testsfailed:
        print(stack.log("web")[-4000:])
