"""What stands around every page: theme, refreshing, help, where to go; and what lists are ordered and found by."""

from playwright.sync_api import Page, expect

from tests.browser.acts import heading, press, row
from tests.browser.conftest import Open
from tests.browser.stack import Stack

VIEW = "Mine at noon"


def settled(page: Page) -> None:
    expect(page.locator("main .loading")).to_have_count(0)


def test_the_theme_is_changed_and_stays_so_in_this_browser(visit: Open) -> None:
    page = visit("queues")
    html = page.locator("html")
    expect(html).to_have_attribute("data-theme", "light")
    press(page, "theme")
    expect(html).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(html).to_have_attribute("data-theme", "dark")
    press(page, "theme")
    expect(html).to_have_attribute("data-theme", "light")


def test_a_page_that_is_stopped_shows_nothing_new_until_it_goes_on(stack: Stack, visit: Open) -> None:
    stack.send("shop.mail", "still", queue="still")
    page = visit("queues")
    ready = row(page, "queues", "still").get_by_role("cell").nth(1)
    expect(ready).to_have_text("1")
    press(page, "pause-refresh")
    expect(page.locator(".live")).to_have_text("Paused")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    stack.send("shop.mail", "still", queue="still")
    other = visit("queues")
    expect(row(other, "queues", "still").get_by_role("cell").nth(1)).to_have_text("2")
    expect(ready).to_have_text("1")
    assert not [url for url in asked if "/api/" in url]
    press(page, "pause-refresh")
    expect(ready).to_have_text("2")


def test_the_palette_goes_to_pages_queues_and_workers_by_a_few_letters(stack: Stack, visit: Open) -> None:
    stack.wait_for(stack.send("shop.mail", "known"))
    page = visit("system")
    heading(page, "System")
    for typed, title in (("dead", "Dead letters"), ("default", "default"), ("shop.mail", "shop.mail")):
        page.keyboard.press("Control+k")
        field = page.get_by_role("combobox", name="Page, queue, worker")
        field.fill(typed)
        expect(page.get_by_role("listbox", name="Where to").get_by_role("option").first).to_contain_text(title)
        field.press("Enter")
        heading(page, title)
    page.get_by_role("button", name="Go to…").click()
    page.get_by_role("combobox", name="Page, queue, worker").fill("customer 42")
    page.get_by_role("option", name="Search tasks for").click()
    expect(page.get_by_test_id("filter")).to_have_value("text:'customer 42'")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_keys_go_to_pages_through_rows_and_explain_themselves(stack: Stack, visit: Open) -> None:
    stack.wait_for(stack.send("shop.mail", "keys"))
    page = visit("")
    settled(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next and previous row")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("t")
    heading(page, "Tasks")
    expect(page.get_by_test_id("tasks").locator("tr[data-row]").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_role("toolbar", name="With the chosen tasks")).to_contain_text("1 chosen")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/*")
    page.get_by_role("button", name="Keyboard help (?)").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_on_a_phone_the_pages_are_behind_a_button(visit: Open) -> None:
    page = visit("queues", phone=True)
    menu = page.get_by_role("button", name="Navigation")
    link = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Workers")
    expect(link).not_to_be_in_viewport()
    menu.click()
    expect(link).to_be_in_viewport()
    link.click()
    heading(page, "Workers")
    expect(menu).to_have_attribute("aria-expanded", "false")


def test_a_view_is_saved_opened_and_forgotten(stack: Stack, visit: Open) -> None:
    stack.wait_for(stack.send("shop.mail", "viewed"))
    page = visit("tasks")
    page.get_by_label("By task").select_option("shop.mail")
    page.get_by_label("By order").select_option("slowest")
    expect(page.get_by_test_id("filter")).to_have_value("task:shop.mail")
    page.get_by_text("Views").click()
    page.get_by_label("Name for this view").fill(VIEW)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name=f"{VIEW} task:shop.mail")).to_be_visible()
    page.goto("tasks")
    page.get_by_text("Views").click()
    page.get_by_role("button", name=f"{VIEW} task:shop.mail").click()
    expect(page.get_by_test_id("filter")).to_have_value("task:shop.mail")
    expect(page.get_by_label("By order")).to_have_value("slowest")
    page.get_by_text("Views").click()
    page.get_by_role("button", name=f"Forget the view {VIEW}").click()
    page.reload()
    page.get_by_text("Views").click()
    expect(page.get_by_role("button", name="Failures of the last hour")).to_be_visible()
    expect(page.get_by_text(VIEW)).to_have_count(0)


def test_every_view_that_comes_with_the_page_finds_something_or_nothing_and_is_no_error(visit: Open) -> None:
    page = visit("tasks")
    views = page.locator(".menu-entry")
    expect(views).not_to_have_count(0)
    for number in range(views.count()):
        page.get_by_text("Views").click()
        views.nth(number).click()
        settled(page)
        expect(page.get_by_role("alert")).to_have_count(0)


def test_lists_are_ordered_by_the_column_that_is_pressed(stack: Stack, visit: Open) -> None:
    for name, count in (("few", 1), ("some", 2), ("many", 3)):
        for _ in range(count):
            stack.send("shop.mail", "ordered", queue=f"order-{name}")
    page = visit("queues?filter=order-")
    names = page.get_by_test_id("queues").locator("tr[data-row] a")
    expect(names).to_have_text(["order-few", "order-many", "order-some"])
    ready = page.get_by_role("columnheader", name="Ready")
    ready.get_by_role("button").click()
    expect(ready).to_have_attribute("aria-sort", "descending")
    expect(names).to_have_text(["order-many", "order-some", "order-few"])
    ready.get_by_role("button").click()
    expect(names).to_have_text(["order-few", "order-some", "order-many"])


def test_a_range_is_chosen_and_stands_in_the_address(stack: Stack, visit: Open) -> None:
    stack.wait_for(stack.send("shop.mail", "ranged"))
    for path in ("", "queues/default", "types/shop.mail", "types"):
        page = visit(path)
        ranges = page.get_by_role("group", name="Range")
        with page.expect_response(lambda answer: "range=6h" in answer.url and "/api/" in answer.url) as answered:
            ranges.get_by_role("button", name="6 h").click()
        assert answered.value.status == 200
        expect(ranges.get_by_role("button", name="6 h")).to_have_attribute("aria-pressed", "true")
        page.wait_for_url("**range=6h*")
