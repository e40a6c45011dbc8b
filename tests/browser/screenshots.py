"""Takes the pictures of the page that the docs show: ``python tests/browser/screenshots.py docs/images``.

A shop at work: mails that go well, payments that fail as the bank is closed, a workflow that one picture holds up.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

from playwright.sync_api import Browser, sync_playwright
from shop import picture, publish, resize

from taskbus import chain, group
from tests.browser.conftest import FLAGS, PHONE
from tests.browser.stack import Stack, wait_until
from tests.servers.server import find

WIDE = {"width": 1200, "height": 760}
PICTURES = (
    ("overview", "overview", False, False),
    ("overview-phone", "overview", True, True),
    ("dead-letters", "dead-letters", False, False),
    ("workflow", "workflow", True, False),
)
"""Name, page, whether in the dark, and whether on a phone."""
LARGEST = 150_000
"""Bytes of a picture."""


def at_work(stack: Stack) -> dict[str, str]:
    """Give the shop work for a while; the path of each page to be taken, by the picture's name."""
    failed = [stack.send("shop.refund", 4711 + number) for number in range(3)]
    for number in range(400):
        stack.send("shop.mail", f"customer-{number}@example.org", subject="Your order has been sent")
        if number % 8 == 0:
            stack.send("shop.charge", 4000 + number, card="4929-xxxx")
    for number in range(40):
        stack.send("shop.mail", f"reader-{number}@example.org", queue="newsletter", countdown=3600)
    flow = str(
        chain(picture.s(7), group(resize.s(width) for width in (13, 320, 640, 1280)), publish.s()).delay().flow_id
    )
    stack.send("shop.holds", "closing-time")
    for task_id in failed:
        stack.wait_for(task_id, "FAILURE")
    wait_until(lambda: stack.ask(f"flows/{flow}").get("flow", {}).get("dead"), "the workflow to be held up", 60)
    wait_until(lambda: stack.ask("overview")["counts"]["succeeded"] >= 400, "the mails", 60)
    return {
        "overview": "",
        "dead-letters": "dead-letters",
        "workflow": f"workflows/{flow}",
    }


def take(browser: Browser, stack: Stack, path: str, file: Path, *, dark: bool, phone: bool) -> None:
    """One picture of one page, in its final size."""
    context = browser.new_context(
        base_url=f"{stack.url}/", viewport=PHONE if phone else WIDE, color_scheme="dark" if dark else "light",  # type: ignore[arg-type]
        reduced_motion="reduce", locale="en-GB", timezone_id="UTC",
        extra_http_headers={"Authorization": f"Bearer {stack.tokens['admin']}"},
    )  # fmt: skip
    page = context.new_page()
    page.goto(path)
    page.get_by_role("heading", level=1).wait_for()
    page.locator(".live-live, .live-off").wait_for()
    page.wait_for_load_state("load")
    page.locator("main .loading").first.wait_for(state="detached")
    page.wait_for_timeout(2500)  # two turns of the live stream, for the charts
    page.screenshot(path=file, animations="disabled")
    context.close()


def shrunk(file: Path) -> None:
    """Write the picture with a palette, if it is too large and ``pngquant`` is there; else say that it is too large."""
    program = find("pngquant")
    if file.stat().st_size > LARGEST and program:
        subprocess.run([program, "--force", "--ext", ".png", str(file)], check=True)
    if file.stat().st_size > LARGEST:
        sys.exit(f"{file} has {file.stat().st_size} bytes, more than {LARGEST}; install pngquant, or show less")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stack = Stack(Path(tempfile.mkdtemp(prefix="taskbus-shop-")))
    try:
        stack.start_worker("worker-1", "-B")
        stack.start_worker("worker-2")
        stack.start_web()
        paths = at_work(stack)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find("chromium"), args=FLAGS)
            for name, page, dark, phone in PICTURES:
                file = folder / f"{name}.png"
                take(browser, stack, paths[page], file, dark=dark, phone=phone)
                shrunk(file)
            browser.close()
    finally:
        stack.make("closing-time")
        stack.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
