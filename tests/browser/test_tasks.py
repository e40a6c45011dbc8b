"""Tasks on the page: found, watched, revoked, ended, and sent again with the same arguments or others."""

from playwright.sync_api import expect

from tests.browser.acts import confirm, heading, press, row, send_edited, told
from tests.browser.conftest import Complaints, Open
from tests.browser.stack import Stack, wait_until


def test_a_task_that_waits_is_revoked_and_never_runs(stack: Stack, visit: Open) -> None:
    task_id = stack.send("shop.mail", "revoked", countdown=3600)
    page = visit(f"tasks/{task_id}")
    heading(page, "shop.mail")
    press(page, "revoke")
    confirm(page)
    told(page, "Revoked.")
    stack.wait_for(task_id, "REVOKED")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".badge", has_text="revoked").first).to_be_visible()
    assert task_id not in stack.waiting("default")
    assert "mail revoked" not in stack.notes()


def test_a_running_task_is_watched_and_terminated(stack: Stack, visit: Open) -> None:
    task_id = stack.send("shop.holds", "never")
    wait_until(lambda: stack.ask(f"tasks/{task_id}").get("progress"), "its worker to tell how far it is")
    page = visit(f"tasks/{task_id}")
    expect(page.get_by_test_id("progress")).to_contain_text("counting")
    expect(page.get_by_test_id("progress")).to_contain_text("25")
    press(page, "terminate")
    confirm(page)
    told(page, "Told its worker to terminate it")
    stack.wait_for(task_id, "REVOKED")
    expect(page.locator(".badge", has_text="revoked").first).to_be_visible()


def test_the_tasks_page_shows_what_runs_and_what_ended(stack: Stack, visit: Open) -> None:
    held = stack.send("shop.holds", "go")
    done = stack.send("shop.mail", "found", subject="hello")
    stack.wait_for(done)
    page = visit("tasks")
    expect(page.get_by_test_id("running")).to_contain_text("shop.holds")
    page.get_by_role("group", name="State").get_by_role("button", name="Running").click()
    expect(page.get_by_role("region", name="Running now")).to_have_count(1)
    expect(row(page, "tasks", "shop.holds").first).to_be_visible()
    expect(page.get_by_role("heading", name="Ended")).to_have_count(0)
    page.get_by_role("group", name="State").get_by_role("button", name="All").click()
    expect(row(page, "tasks", "shop.mail").first).to_be_visible()
    stack.make("go")
    stack.wait_for(held)
    expect(page.get_by_test_id("running")).to_be_hidden()
    expect(row(page, "tasks", "shop.holds").first).to_be_visible()


def test_every_state_that_the_filter_suggests_is_one_that_the_server_knows(stack: Stack, visit: Open) -> None:
    page = visit("tasks")
    field = page.get_by_test_id("filter")
    field.click()
    field.fill("state:")
    options = page.get_by_role("listbox", name="Suggestions").get_by_role("option")
    expect(options.first).to_be_visible()
    texts = [text.split()[0] for text in options.all_inner_texts()]
    assert len(texts) > 3
    for text in texts:
        field.fill(text)
        with page.expect_response(lambda answer: "/api/v1/tasks?" in answer.url and "state" in answer.url) as answered:
            field.press("Enter")
        assert answered.value.status == 200, (text, answered.value.text())


def test_a_filter_finds_what_failed_and_a_wrong_one_is_explained(stack: Stack, visit: Open) -> None:
    failed = stack.send("shop.charge", 77)
    stack.wait_for(failed, "FAILURE")
    page = visit("tasks")
    page.get_by_test_id("filter").fill("task:shop.charge error:ConnectionError age<1h")
    page.get_by_test_id("filter").press("Enter")
    expect(row(page, "tasks", "shop.charge").first).to_be_visible()
    expect(row(page, "tasks", "shop.mail")).to_have_count(0)
    page.get_by_role("group", name="State").get_by_role("button", name="Succeeded").click()
    expect(page.get_by_text("No task matches")).to_be_visible()


def test_a_wrong_filter_is_explained_where_it_stands(visit: Open, complaints: Complaints) -> None:
    complaints.allowed.append("400")
    page = visit("tasks")
    page.get_by_test_id("filter").fill("taks:mail")
    page.get_by_test_id("filter").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("did you mean 'task'")


def test_a_task_that_failed_for_good_is_sent_again_as_it_was(stack: Stack, visit: Open) -> None:
    task_id = stack.send("shop.charge", 5, card="secret-4711")
    stack.wait_for(task_id, "FAILURE")
    page = visit(f"tasks/{task_id}")
    expect(page.get_by_test_id("attempt")).to_contain_text("the bank is closed, order 5")
    expect(page.get_by_test_id("attempt")).to_contain_text("Traceback")
    expect(page.locator("main")).not_to_contain_text("secret-4711")
    stack.make("bank")
    press(page, "retry")
    told(page, "Sent again.")
    stack.wait_for(task_id)
    assert stack.notes().count("charge 5") == 1
    assert [letter.task_id for letter in stack.letters() if letter.task_id == task_id] == []
    (stack.folder / "bank").unlink()


def test_a_task_is_sent_again_with_arguments_that_were_edited(stack: Stack, visit: Open) -> None:
    task_id = stack.send("shop.charge", 6)
    stack.wait_for(task_id, "FAILURE")
    page = visit(f"tasks/{task_id}")
    press(page, "retry-edited")
    send_edited(page, "[61]")
    told(page, "Sent again.")
    wait_until(lambda: "charge 61" in stack.notes(), "the edited task")


def test_a_task_that_went_well_is_sent_anew_with_all_its_arguments(stack: Stack, visit: Open) -> None:
    task_id = stack.send("shop.mail", "once")
    stack.wait_for(task_id)
    page = visit(f"tasks/{task_id}")
    expect(page.get_by_test_id("result")).to_contain_text("mailed once")
    press(page, "retry")
    send_edited(page, '["twice"]', "{}")
    told(page, "Sent again.")
    wait_until(lambda: "mail twice" in stack.notes(), "the new task")
    page.wait_for_url(lambda url: "/tasks/" in url and task_id not in url)


def test_chosen_tasks_that_failed_are_sent_again_together(stack: Stack, visit: Open) -> None:
    sent = [stack.send("shop.charge", 500 + number) for number in range(3)]
    for task_id in sent:
        stack.wait_for(task_id, "FAILURE")
    page = visit("tasks?where=" + "%20".join(f"id:{task_id}" for task_id in sent))
    boxes = page.get_by_test_id("tasks").locator("tr[data-row]").get_by_label("Choose this row")
    expect(boxes).to_have_count(3)
    for number in range(3):
        boxes.nth(number).check()
    stack.make("bank")
    press(page, "retry-chosen")
    confirm(page)
    told(page, "Sent again: 3 tasks")
    for task_id in sent:
        stack.wait_for(task_id)
    (stack.folder / "bank").unlink()


def test_a_type_of_task_is_shown_and_one_is_sent(stack: Stack, visit: Open) -> None:
    failed = stack.send("shop.refund", 9)
    stack.wait_for(failed, "FAILURE")
    page = visit("types")
    expect(row(page, "types", "shop.refund")).to_be_visible()
    page = visit("types/shop.refund")
    expect(page.get_by_test_id("errors")).to_contain_text("ValueError")
    expect(page.get_by_test_id("workers")).to_contain_text("ann")
    page = visit("types/shop.mail")
    press(page, "send")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Positional arguments").fill('["from the page"]')
    dialog.get_by_label("Named arguments").fill('{"subject": "hi"}')
    dialog.get_by_label("Priority").fill("7")
    press(page, "send-now")
    wait_until(lambda: "mail from the page hi" in stack.notes(), "the task that was sent")
    heading(page, "shop.mail")


def test_a_task_is_sent_to_a_queue_for_later(stack: Stack, visit: Open) -> None:
    stack.wait_for(stack.send("shop.mail", "before"))
    page = visit("types/shop.mail")
    press(page, "send")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Positional arguments").fill('["later"')
    expect(page.get_by_test_id("send-now")).to_be_disabled()
    dialog.get_by_label("Positional arguments").fill('["later"]')
    dialog.get_by_label("Queue, its own if empty").fill("evening")
    dialog.get_by_label("Start after, seconds").fill("3600")
    press(page, "send-now")
    told(page, "Sent.")
    page.wait_for_url("**/tasks/*")
    (task_id,) = stack.waiting("evening")
    assert page.url.endswith(task_id)
    size = stack.size("evening")
    assert size is not None and (size.ready, size.delayed) == (0, 1)


def test_what_a_task_was_is_copied_as_it_is(stack: Stack, visit: Open) -> None:
    task_id = stack.send("shop.refund", 4)
    stack.wait_for(task_id, "FAILURE")
    page = visit(f"tasks/{task_id}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for label, text in (("Copy id", task_id), ("Copy traceback", "ValueError: no such order 4")):
        page.get_by_role("button", name=label).first.click()
        assert text in page.evaluate("navigator.clipboard.readText()")
    attempts = page.get_by_test_id("attempts").get_by_role("listitem").get_by_role("button")
    expect(attempts).to_have_count(2)
    attempts.first.click()
    expect(page.get_by_role("heading", name="Attempt 1")).to_be_visible()
    attempts.last.click()
    expect(page.get_by_role("heading", name="Attempt 2")).to_be_visible()
