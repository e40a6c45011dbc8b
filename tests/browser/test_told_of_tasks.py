"""What the page says of a task at every stage of its life: no more than is known, and no less."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from shop import picture, resize

from taskbus import chain
from tests.browser.acts import confirm, heading, press, told
from tests.browser.conftest import Complaints, Open
from tests.browser.stack import Stack, wait_until


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker without a name, and the web server."""
    stack = Stack(tmp_path_factory.mktemp("told"))
    try:
        stack.start("worker", "worker", "-P", "prefork", "-c", "2")
        stack.start_web()
        yield stack
    finally:
        stack.make("released")
        stack.close()


def fact(page: Page, name: str) -> str:
    """What stands beside a word under About."""
    return page.get_by_test_id("about").locator(f"dt:text-is('{name}') + dd").inner_text()


def test_the_worker_of_a_dead_letter_is_found_by_its_link_while_it_runs(stack: Stack, visit: Open) -> None:
    dead = stack.send("shop.charge", 1)
    stack.wait_for(dead, "FAILURE")
    page = visit(f"dead-letters/{dead}")
    page.get_by_test_id("attempt").get_by_role("link").click()
    page.wait_for_url("**/workers/*")
    name = stack.ask("nodes?where=kind:worker")["items"][0]["name"]
    heading(page, name)
    expect(page.get_by_test_id("limits")).to_contain_text("shop.charge")
    expect(page.get_by_text("This worker is gone")).to_have_count(0)


def test_of_a_task_that_runs_what_nobody_has_told_is_called_unknown_and_terminated_it_is_not_untried(
    stack: Stack, visit: Open
) -> None:
    task_id = stack.send("shop.holds", "never")
    wait_until(lambda: stack.ask(f"tasks/{task_id}").get("is_running"), "its worker to tell of it")
    page = visit(f"tasks/{task_id}")
    arguments = page.get_by_test_id("arguments")
    expect(arguments.get_by_text("known once it has ended")).to_have_count(2)
    expect(arguments.get_by_text("none", exact=True)).to_have_count(0)
    assert (fact(page, "Sent"), fact(page, "Waited")) == ("known once it has ended", "known once it has ended")
    expect(page.get_by_test_id("again")).to_have_count(0)
    untried: list[str] = []
    page.expose_function("untried", lambda: untried.append("said"))
    page.evaluate(
        """new MutationObserver(() => document.body.textContent.includes("has not been tried") && untried())
            .observe(document.body, {childList: true, subtree: true, characterData: true})"""
    )
    press(page, "terminate")
    confirm(page)
    told(page, "Told its worker to terminate it")
    stack.wait_for(task_id, "REVOKED")
    expect(page.get_by_test_id("attempt")).to_contain_text("revoked")
    expect(arguments).to_contain_text("never")
    assert untried == []
    expect(page.get_by_test_id("again")).to_contain_text("Its message is gone")
    expect(page.get_by_test_id("again").locator("pre, code")).to_have_count(0)


def test_a_worker_that_runs_all_it_has_taken_has_prefetched_nothing(stack: Stack, visit: Open) -> None:
    held = stack.send("shop.holds", "prefetched")
    name = stack.ask("nodes?where=kind:worker")["items"][0]["name"]
    wait_until(lambda: stack.ask(f"nodes/{name}")["node"]["active"] == 1, "the worker to tell of its task")
    for path in (f"workers/{name}", "workers"):
        page = visit(path)
        expect(page.locator(".stat", has_text="Slots busy").first).to_contain_text("1")
        expect(page.locator(".stat", has_text="Prefetched")).to_contain_text("0")
    stack.make("prefetched")
    stack.wait_for(held)


def test_a_member_of_a_workflow_is_not_sent_again_without_a_word_on_the_value_it_was_given(
    stack: Stack, visit: Open, complaints: Complaints
) -> None:
    complaints.allowed.append("400")
    flow = str(chain(picture.s(2), resize.s(12)).delay().flow_id)
    wait_until(lambda: stack.ask(f"flows/{flow}").get("flow", {}).get("state") == "SUCCESS", "the workflow")
    last = next(node["id"] for node in stack.ask(f"flows/{flow}")["nodes"] if node["task"] == "shop.resize")
    wait_until(lambda: stack.ask(f"tasks/{last}").get("flow"), "the record of its last task")
    page = visit(f"tasks/{last}")
    expect(page.get_by_test_id("arguments")).to_contain_text("came before these arguments")
    press(page, "retry")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("came before these arguments")
    press(page, "send-edited")
    trouble = dialog.get_by_role("alert")
    expect(trouble).to_contain_text("missing a required argument: 'width'")
    dialog.get_by_label("Positional arguments").fill("[2, 12]")
    press(page, "send-edited")
    told(page, "Sent again.")
    expect(page.get_by_role("alert")).to_have_count(0)
