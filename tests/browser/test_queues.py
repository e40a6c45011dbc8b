"""Queues on the page: what is shown is so, and what is pressed happens."""

from playwright.sync_api import expect

from tests.browser.acts import confirm, heading, press, row, told
from tests.browser.conftest import Complaints, Open
from tests.browser.stack import Stack, wait_until


def test_workers_take_nothing_of_a_queue_that_was_paused_until_it_is_resumed(stack: Stack, visit: Open) -> None:
    stack.wait_for(stack.send("shop.mail", "ann"))
    page = visit("queues/default")
    heading(page, "default")
    press(page, "pause")
    confirm(page)
    told(page, "default is paused")
    kept: list[str] = []

    def stays() -> bool:
        kept.append(stack.send("shop.mail", f"late{len(kept)}"))
        # the worker hears of it within a second or two: a task of its that ends proves nothing, one that waits does
        wait_until(lambda: stack.state(kept[-1]) == "SUCCESS" or kept[-1] in stack.waiting("default"), "a fate")
        return kept[-1] in stack.waiting("default") and stack.size("default").running == 0  # type: ignore[union-attr]

    wait_until(stays, "the worker still takes")
    expect(page.get_by_test_id("resume")).to_be_visible()
    expect(page.get_by_text("paused").first).to_be_visible()
    press(page, "resume")
    told(page, "default goes on")
    for task_id in kept:
        stack.wait_for(task_id)


def test_a_queue_is_purged_once_its_name_was_typed(stack: Stack, visit: Open, complaints: Complaints) -> None:
    complaints.allowed.append("404")  # the queue is gone with its last message, as no worker takes from it
    sent = [stack.send("shop.mail", "nobody", queue="slow") for _ in range(3)]
    sent.append(stack.send("shop.mail", "nobody", queue="slow", countdown=600))
    page = visit("queues/slow")
    expect(page.get_by_test_id("purge")).to_be_enabled()
    press(page, "purge")
    expect(page.get_by_role("dialog")).to_contain_text("This touches 4 messages")
    expect(page.get_by_test_id("confirm")).to_be_disabled()
    assert set(stack.waiting("slow")) == set(sent)
    page.get_by_role("dialog").get_by_role("textbox").fill("slow")
    confirm(page)
    told(page, "4 messages of slow deleted")
    expect(page.get_by_text("There is no such queue now")).to_be_visible()
    assert stack.waiting("slow") == []


def test_the_list_tells_queues_as_the_broker_does_and_pauses_from_there(stack: Stack, visit: Open) -> None:
    for number in range(2):
        stack.send("shop.mail", f"wait{number}", queue="idle")
    page = visit("queues")
    idle = row(page, "queues", "idle")
    expect(idle).to_contain_text("2")
    idle.get_by_role("button", name="Pause idle").click()
    confirm(page)
    told(page, "idle is paused")
    expect(idle.get_by_role("button", name="Resume idle")).to_be_visible()
    idle.get_by_role("button", name="Resume idle").click()
    told(page, "idle goes on")
    page.get_by_label("Filter by name").fill("idl")
    expect(page.get_by_test_id("queues").locator("tr[data-row]")).to_have_count(1)
    idle.get_by_role("link", name="idle").click()
    heading(page, "idle")
    expect(page.get_by_text("wait1")).to_be_visible()
