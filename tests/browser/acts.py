"""What a user does over and over: press a button, say yes, read what came of it."""

from playwright.sync_api import Locator, Page, expect


def press(page: Page, testid: str) -> None:
    """The button of that test id, the only one."""
    page.get_by_test_id(testid).click()


def confirm(page: Page) -> None:
    """Yes, in the dialog that asks."""
    page.get_by_test_id("confirm").click()


def send_edited(page: Page, args: str, kwargs: str = '{"card": "good"}') -> None:
    """Put other arguments into the dialog that is open, as JSON, and send the call."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Positional arguments").fill(args)
    dialog.get_by_label("Named arguments").fill(kwargs)
    press(page, "send-edited")


def told(page: Page, text: str) -> None:
    """Wait until the page says that it was done, in a toast."""
    expect(page.locator(".toast", has_text=text).first).to_be_visible()


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def row(page: Page, table: str, text: str) -> Locator:
    """The row of a table that holds a text."""
    return page.get_by_test_id(table).locator("tr[data-row]", has_text=text)
