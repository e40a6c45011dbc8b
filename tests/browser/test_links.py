"""Where the links of every page lead: to pages that there are, with filters that the server can read."""

from collections.abc import Iterator
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Open
from tests.browser.looking import fill, lived_in
from tests.browser.stack import Stack
from tests.browser.test_every_page import PAGES, settled

LISTS = {"tasks": "tasks", "dead-letters": "dlq"}
"""Pages that a filter leads to, and what of the API reads it."""


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with lived_in(tmp_path_factory.mktemp("links")) as stack:
        yield stack


@pytest.fixture(scope="module")
def paths(stack: Stack) -> dict[str, str]:
    return fill(stack)


@pytest.mark.parametrize("name", PAGES)
def test_every_filter_that_a_page_links_to_can_be_read(
    name: str, stack: Stack, paths: dict[str, str], visit: Open
) -> None:
    page = visit(paths[name])
    settled(page)
    refused = {}
    for link in page.locator("main a[href]").all():
        address = urlsplit(link.get_attribute("href") or "")
        where = parse_qs(address.query).get("where", [""])[0]
        if where:
            answer = stack.ask(f"{LISTS[address.path.strip('/')]}?limit=1&where={quote(where)}")
            if "status" in answer:
                refused[where] = answer["error"]
    assert refused == {}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_to_something(name: str, stack: Stack, paths: dict[str, str], visit: Open) -> None:
    page = visit(paths[name])
    settled(page)
    links = {link.get_attribute("href") or "" for link in page.locator("main a[href^='/']").all()}
    assert links
    for link in sorted(each for each in links if "where=" not in each):
        page.goto(link)
        settled(page)
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.get_by_text("There is no")).to_have_count(0)
