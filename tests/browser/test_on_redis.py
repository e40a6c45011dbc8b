"""The page on Redis: what is most often done, where queues, pauses, letters and orders are kept in another way."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.acts import confirm, press, send_edited, told
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


def test_a_task_is_sent_again_with_other_arguments_that_the_worker_is_given(stack: Stack, visit: Open) -> None:
    """Its dead letter goes, its id stays, and the worker's slots run the edited call: once."""
    (stack.folder / "bank").unlink(missing_ok=True)
    task_id = stack.send("shop.charge", 60, card="bad")
    stack.wait_for(task_id, "FAILURE")
    page = visit(f"tasks/{task_id}")
    press(page, "retry-edited")
    send_edited(page, "[61]")
    told(page, "Sent again.")
    stack.wait_for(task_id)
    assert [note for note in stack.notes() if note.startswith("charge 6")] == ["charge 61"]
    assert stack.letters() == []
    assert stack.app.result(task_id).get(timeout=5) == 61


def test_a_letter_is_replayed_with_other_arguments_and_what_does_not_fit_stays_one(
    stack: Stack, visit: Open, complaints: Complaints
) -> None:
    complaints.allowed.append("409")
    (stack.folder / "bank").unlink(missing_ok=True)
    task_id = stack.send("shop.charge", 70, card="bad")
    stack.wait_for(task_id, "FAILURE")
    page = visit(f"tasks/{task_id}")
    press(page, "retry-edited")
    page.get_by_label("Positional arguments, a JSON").fill("[70, 71, 72]")
    press(page, "send-edited")
    expect(page.locator(".toast")).to_contain_text("too many positional arguments")
    assert [letter.task_id for letter in stack.letters()] == [task_id]
    page = visit(f"dead-letters/{task_id}")
    press(page, "replay-edited")
    send_edited(page, "[72]")
    told(page, "Sent again.")
    stack.wait_for(task_id)
    assert [note for note in stack.notes() if note.startswith("charge 7")] == ["charge 72"]
    assert stack.letters() == []


def test_a_worker_grows_works_in_its_new_slot_and_stops(stack: Stack, visit: Open, complaints: Complaints) -> None:
    complaints.allowed.append("404")
    stack.start_worker("bob", "-Q", "other")
    wait_until(lambda: any(node["name"].startswith("bob") for node in stack.ask("nodes")["items"]), "bob to report")
    name = next(node["name"] for node in stack.ask("nodes")["items"] if node["name"].startswith("bob"))
    page = visit(f"workers/{name}")
    press(page, "grow")
    told(page, "grows by one slot")
    sent = [stack.send("shop.holds", f"end{number}", queue="other") for number in range(3)]
    wait_until(lambda: {"holds end0", "holds end1", "holds end2"} <= set(stack.notes()), "three at once")
    for number in range(3):
        stack.make(f"end{number}")
    for task_id in sent:
        stack.wait_for(task_id)
    press(page, "stop")
    confirm(page)
    told(page, "finishes its tasks and stops")
    assert stack.processes.pop("bob").wait(20) == 0
