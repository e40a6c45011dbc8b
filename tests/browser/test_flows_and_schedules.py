"""Workflows and schedules on the page: seen, cancelled, mended, paused, run."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from shop import picture, publish, resize

from taskbus import chain, group
from tests.browser.acts import confirm, heading, press, told
from tests.browser.conftest import Complaints, Open
from tests.browser.stack import Stack, wait_until


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker that is a beat too."""
    stack = Stack(tmp_path_factory.mktemp("flows"))
    try:
        stack.start_worker("ann", "-B")
        stack.start_web()
        yield stack
    finally:
        stack.close()


def begin(stack: Stack, *widths: int) -> str:
    """A workflow: one picture, resized to each width, then published."""
    call = chain(picture.s(2), group(resize.s(width) for width in widths), publish.s())
    return str(call.delay().flow_id)


def test_a_workflow_is_drawn_and_what_failed_in_it_is_sent_again(stack: Stack, visit: Open) -> None:
    flow_id = begin(stack, 12, 13)
    wait_until(lambda: stack.ask(f"flows/{flow_id}").get("flow", {}).get("dead"), "the flow to fail")
    page = visit("workflows")
    page.get_by_test_id("flows").locator(f"a[href$='{flow_id}']").click()
    graph = page.get_by_role("region", name="Graph")
    expect(graph).to_contain_text("resize")
    page.get_by_role("button", name="Over time").click()
    expect(page.get_by_role("region", name="Over time")).to_contain_text("shop.resize")
    stack.make("thirteen")
    press(page, "retry")
    confirm(page)
    told(page, "Sent again what failed")
    wait_until(lambda: "publish 50" in stack.notes(), "the flow to end")
    expect(page.locator(".badge", has_text="succeeded").first).to_be_visible()
    (stack.folder / "thirteen").unlink()


def test_workflows_are_found_by_a_filter_that_stands_in_the_address(
    stack: Stack, visit: Open, complaints: Complaints
) -> None:
    complaints.allowed.append("400")
    well, badly = begin(stack, 12), begin(stack, 13)
    wait_until(lambda: stack.ask(f"flows/{well}").get("flow", {}).get("state") == "SUCCESS", "one to succeed")
    wait_until(lambda: stack.ask(f"flows/{badly}").get("flow", {}).get("state") == "FAILURE", "one to fail")
    page = visit("workflows")
    page.get_by_test_id("filter").fill("state:failed age<1h")
    page.get_by_test_id("filter").press("Enter")
    page.wait_for_url("**where=*")
    for _ in range(2):
        expect(page.get_by_test_id("flows").locator(f"a[href$='{badly}']")).to_be_visible()
        expect(page.get_by_test_id("flows").locator(f"a[href$='{well}']")).to_have_count(0)
        page.reload()
    page.get_by_test_id("filter").fill("state:done")
    with page.expect_response(lambda answer: "flows?" in answer.url and answer.status == 400):
        page.get_by_test_id("filter").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("there is no state 'done'")


def test_failed_tasks_of_a_workflow_are_counted_alike_above_and_below(stack: Stack, visit: Open) -> None:
    flow_id = begin(stack, 13)
    wait_until(lambda: stack.ask(f"flows/{flow_id}").get("flow", {}).get("state") == "FAILURE", "the flow to fail")
    nodes = [node for node in stack.ask(f"flows/{flow_id}")["nodes"] if node["kind"] == "task"]
    failed = sum(node["state"] == "FAILURE" for node in nodes)
    page = visit(f"workflows/{flow_id}")
    expect(page.get_by_role("list", name="Tasks by state")).to_contain_text(f"{failed} failed")
    stat = page.locator(".stat", has_text="Failed")
    expect(stat).to_contain_text(str(failed))
    assert failed > 1
    expect(stat).to_contain_text("1 by itself, the others could not run")


def test_a_workflow_is_cancelled(stack: Stack, visit: Open) -> None:
    call = chain(picture.s(1).set(countdown=3600), group(resize.s(1), resize.s(2)), publish.s())
    flow_id = str(call.delay().flow_id)
    page = visit(f"workflows/{flow_id}")
    press(page, "cancel")
    confirm(page)
    told(page, "Cancelled.")
    wait_until(lambda: stack.ask(f"flows/{flow_id}")["flow"]["state"] != "RUNNING", "the flow to end")
    expect(page.get_by_test_id("cancel")).to_be_hidden()


def test_a_schedule_is_told_run_paused_and_resumed(stack: Stack, visit: Open) -> None:
    page = visit("schedules")
    card = page.get_by_test_id("schedule-nightly")
    expect(card).to_contain_text("Europe/Paris")
    expect(card).to_contain_text("03:00")
    card.get_by_test_id("run").click()
    confirm(page)
    told(page, "Sent nightly")
    wait_until(lambda: "mail nightly" in stack.notes(), "its task")
    card.get_by_test_id("pause").click()
    confirm(page)
    told(page, "Paused nightly")
    assert stack.ask("schedules")["items"][0]["is_paused"] is True
    expect(card.get_by_test_id("resume")).to_be_visible()
    card.get_by_test_id("resume").click()
    told(page, "Resumed nightly")
    assert stack.ask("schedules")["items"][0]["is_paused"] is False


def test_the_system_page_tells_what_it_stands_on_and_who_changed_what(stack: Stack, visit: Open) -> None:
    page = visit("system")
    heading(page, "System")
    expect(page.get_by_test_id("broker")).to_contain_text("atomic settle")
    expect(page.get_by_test_id("results")).to_contain_text("with the broker, in one transaction")
    expect(page.get_by_test_id("history")).to_contain_text("Records of tasks")
    expect(page.get_by_test_id("settings")).to_contain_text("web_tokens")
    expect(page.get_by_test_id("settings")).not_to_contain_text("max_spool_bytes")
    page.get_by_test_id("settings").get_by_role("button", name="Show all").click()
    expect(page.get_by_test_id("settings")).to_contain_text("max_spool_bytes")
    expect(page.locator("main")).not_to_contain_text("sha256$")
    expect(page.get_by_test_id("audit")).to_contain_text("schedules.run")


def test_a_node_of_the_graph_is_chosen_and_leads_to_its_task(stack: Stack, visit: Open) -> None:
    flow_id = begin(stack, 12, 14)
    wait_until(lambda: stack.ask(f"flows/{flow_id}").get("flow", {}).get("state") == "SUCCESS", "the flow to end")
    page = visit(f"workflows/{flow_id}")
    graph = page.get_by_test_id("graph")
    graph.get_by_role("option", name="picture").click()
    node = page.get_by_test_id("node")
    expect(node).to_contain_text("succeeded")
    drawing = graph.locator("svg[role=presentation]").first
    seen = [drawing.get_attribute("viewBox")]
    for button in ("Larger", "Smaller"):
        graph.get_by_role("button", name=button).click()
        expect(drawing).not_to_have_attribute("viewBox", seen[-1] or "")
        seen.append(drawing.get_attribute("viewBox"))
    press(page, "fit")
    node.get_by_role("link", name="All of this task").click()
    heading(page, "shop.picture")
    expect(page.get_by_test_id("relations")).to_contain_text(flow_id[-8:])
