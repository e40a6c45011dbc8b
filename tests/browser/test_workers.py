"""Workers on the page: grown, shrunk, limited, given queues, asked, and stopped."""

from playwright.sync_api import expect

from tests.browser.acts import confirm, heading, press, row, told
from tests.browser.conftest import Complaints, Open
from tests.browser.stack import Stack, wait_until


def name_of(stack: Stack, word: str) -> str:
    """The whole name of the worker whose name begins so."""
    wait_until(lambda: any(node["name"].startswith(word) for node in stack.ask("nodes")["items"]), word)
    return str(next(node["name"] for node in stack.ask("nodes")["items"] if node["name"].startswith(word)))


def test_a_pool_grows_and_shrinks(stack: Stack, visit: Open) -> None:
    name = name_of(stack, "ann")
    page = visit(f"workers/{name}")
    heading(page, name)
    expect(page.locator(".pair-value")).to_have_text("2 slots")
    press(page, "grow")
    told(page, "grows by one slot")
    expect(page.locator(".pair-value")).to_have_text("3 slots")
    for number in range(3):
        stack.send("shop.holds", f"end{number}")
    wait_until(lambda: {"holds end0", "holds end1", "holds end2"} <= set(stack.notes()), "three at once")
    expect(page.get_by_test_id("running").locator("tr[data-row]")).to_have_count(3)
    for number in range(3):
        stack.make(f"end{number}")
    press(page, "shrink")
    told(page, "shrinks by one slot")
    expect(page.locator(".pair-value")).to_have_text("2 slots")


def test_a_rate_limit_is_set_and_taken_away(stack: Stack, visit: Open) -> None:
    name = name_of(stack, "ann")
    page = visit(f"workers/{name}")
    limits = row(page, "limits", "shop.picture")
    limits.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("fast")
    expect(page.get_by_test_id("save-limit")).to_be_disabled()
    page.get_by_role("dialog").get_by_role("textbox").fill("12/m")
    press(page, "save-limit")
    told(page, "at most 12/m")
    expect(limits).to_contain_text("12/m")
    sent = [stack.send("shop.picture", number) for number in range(3)]
    wait_until(lambda: any(stack.state(task_id) == "SUCCESS" for task_id in sent), "the first of them")
    assert [stack.state(task_id) for task_id in sent].count("SUCCESS") == 1
    limits.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("")
    press(page, "save-limit")
    told(page, "without a limit")
    for task_id in sent:
        stack.wait_for(task_id)


def test_a_worker_takes_from_a_queue_that_is_added_until_it_is_taken_away(stack: Stack, visit: Open) -> None:
    name = name_of(stack, "ann")
    task_id = stack.send("shop.mail", "extra", queue="extra")
    page = visit(f"workers/{name}")
    press(page, "add-queue")
    page.get_by_role("dialog").get_by_role("combobox").fill("extra")
    press(page, "save-queue")
    told(page, "takes from extra")
    stack.wait_for(task_id)
    page.get_by_role("button", name="Stop taking from extra").click()
    confirm(page)
    told(page, "takes no more from extra")
    expect(page.get_by_role("button", name="Stop taking from extra")).to_be_hidden()
    left = stack.send("shop.mail", "left", queue="extra")
    stack.wait_for(stack.send("shop.mail", "other"))
    assert stack.waiting("extra") == [left]


def test_a_worker_answers_what_it_is_asked(stack: Stack, visit: Open) -> None:
    page = visit(f"workers/{name_of(stack, 'ann')}")
    press(page, "ask")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("pong")
    dialog.get_by_role("button", name="Statistics").click()
    expect(dialog).to_contain_text("pool")
    held = stack.send("shop.holds", "asked")
    wait_until(lambda: "holds asked" in stack.notes(), "a task to run")
    dialog.get_by_role("button", name="Active").click()
    expect(dialog.get_by_label("Answer", exact=True)).to_contain_text(held)
    dialog.get_by_role("button", name="Reserved").click()
    expect(dialog.get_by_label("Answer", exact=True)).not_to_contain_text(held)
    stack.make("asked")
    stack.wait_for(held)


def test_a_worker_that_is_stopped_ends_and_the_list_says_so(stack: Stack, visit: Open, complaints: Complaints) -> None:
    complaints.allowed.append("404")  # its page is asked for once more, and it is gone
    stack.start_worker("bob", "-Q", "other")
    name = name_of(stack, "bob")
    page = visit("workers")
    expect(row(page, "workers", name)).to_contain_text("other")
    row(page, "workers", name).get_by_role("link", name=name).click()
    press(page, "stop")
    confirm(page)
    told(page, "finishes its tasks and stops")
    assert stack.processes.pop("bob").wait(20) == 0
    expect(page.get_by_text("This worker is gone")).to_be_visible()
    page.get_by_role("link", name="Workers").first.click()
    expect(row(page, "workers", name_of(stack, "ann"))).to_be_visible()
    expect(row(page, "workers", name)).to_have_count(0)
