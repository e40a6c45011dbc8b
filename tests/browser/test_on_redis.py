"""The page on Redis: what is most often done, where queues, pauses, letters and orders are kept in another way."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.acts import confirm, press, told
from tests.browser.conftest import Complaints, Open
from tests.browser.stack import Stack, wait_until
from tests.servers.redis_server import RedisServer
from tests.servers.server import need


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker and the web server, on a Redis of their own."""
    need("redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    stack = Stack(tmp_path_factory.mktemp("stack"), server.url)
    try:
        stack.start_worker()
        stack.start_web()
        yield stack
    finally:
        stack.close()
        server.kill()


def test_a_paused_queue_keeps_its_tasks_until_it_is_resumed(stack: Stack, visit: Open) -> None:
    stack.wait_for(stack.send("shop.mail", "first"))
    page = visit("queues/default")
    press(page, "pause")
    confirm(page)
    told(page, "default is paused")
    kept: list[str] = []

    def stays() -> bool:
        kept.append(stack.send("shop.mail", f"late{len(kept)}"))
        wait_until(lambda: stack.state(kept[-1]) == "SUCCESS" or kept[-1] in stack.waiting("default"), "a fate")
        return kept[-1] in stack.waiting("default")

    wait_until(stays, "the worker still takes")
    press(page, "resume")
    told(page, "default goes on")
    for task_id in kept:
        stack.wait_for(task_id)


def test_dead_letters_are_listed_newest_first_and_replayed(stack: Stack, visit: Open) -> None:
    sent = [stack.send("shop.charge", number) for number in range(3)]
    for task_id in sent:
        stack.wait_for(task_id, "FAILURE")
    newest = [letter.task_id for letter in reversed(stack.letters())]
    page = visit("dead-letters")
    rows = page.get_by_test_id("letters").locator("tr[data-row]")
    expect(rows).to_have_count(3)
    links = [link.get_attribute("href") for link in rows.locator("a.name").all()]
    assert links == [f"/dead-letters/{task_id}" for task_id in newest]
    stack.make("bank")
    press(page, "replay-all")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("3 letters as of now.")
    press(page, "bulk-start")
    for task_id in sent:
        stack.wait_for(task_id)
    expect(page.get_by_text("No dead letters")).to_be_visible()


def test_a_waiting_task_is_revoked_and_a_queue_purged(stack: Stack, visit: Open, complaints: Complaints) -> None:
    complaints.allowed.append("404")  # the queue is gone with its last message
    task_id = stack.send("shop.mail", "revoked", countdown=3600)
    page = visit(f"tasks/{task_id}")
    press(page, "revoke")
    confirm(page)
    told(page, "Revoked.")
    stack.wait_for(task_id, "REVOKED")
    for _ in range(3):
        stack.send("shop.mail", "nobody", queue="slow")
    page = visit("queues/slow")
    press(page, "purge")
    page.get_by_role("dialog").get_by_role("textbox").fill("slow")
    confirm(page)
    told(page, "3 messages of slow deleted")
    assert stack.waiting("slow") == []
