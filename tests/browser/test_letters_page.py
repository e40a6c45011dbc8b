"""Dead letters on the page: grouped, replayed one by one or together, with other arguments, and deleted."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.acts import confirm, heading, press, row, told
from tests.browser.conftest import Open
from tests.browser.stack import Stack, wait_until


@pytest.fixture
def dead(stack: Stack) -> Iterator[list[str]]:
    """Ids of six tasks that failed as the bank was closed; all letters are gone afterwards."""
    sent = [stack.send("shop.charge", 900 + number) for number in range(6)]
    for task_id in sent:
        stack.wait_for(task_id, "FAILURE")
    yield sent
    (stack.folder / "bank").unlink(missing_ok=True)
    stack.ask("dlq/purge", body={"where": "task:*"})
    wait_until(lambda: not stack.letters(), "the letters to go")


def test_letters_are_grouped_by_what_they_have_in_common(stack: Stack, visit: Open, dead: list[str]) -> None:
    stack.wait_for(stack.send("shop.refund", 1), "FAILURE")
    page = visit("dead-letters")
    groups = page.get_by_test_id("groups")
    expect(groups.get_by_role("button", name="shop.charge")).to_contain_text("6")
    groups.get_by_role("button", name="shop.refund").click()
    expect(page.get_by_test_id("letters").locator("tr[data-row]")).to_have_count(1)
    expect(page.get_by_test_id("filter")).to_have_value(
        "task:shop.refund reason:retries_exhausted error:builtins.ValueError"
    )


def test_one_letter_is_replayed_from_its_page(stack: Stack, visit: Open, dead: list[str]) -> None:
    page = visit(f"dead-letters/{dead[0]}")
    heading(page, "shop.charge")
    expect(page.get_by_test_id("attempt")).to_contain_text("the bank is closed, order 900")
    stack.make("bank")
    press(page, "replay")
    told(page, "Sent again.")
    stack.wait_for(dead[0])
    assert len(stack.letters()) == 5


def test_one_letter_is_replayed_with_other_arguments(stack: Stack, visit: Open, dead: list[str]) -> None:
    page = visit(f"dead-letters/{dead[1]}")
    press(page, "replay-edited")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Positional arguments")).to_have_value("[\n  901\n]")
    dialog.get_by_label("Named arguments").fill('{"card": "good"}')
    press(page, "send-edited")
    told(page, "Sent again.")
    wait_until(lambda: "charge 901" in stack.notes(), "the edited task")
    assert dead[1] not in [letter.task_id for letter in stack.letters()]


def test_what_matches_is_counted_then_replayed_at_a_rate_and_a_job_is_stopped(
    stack: Stack, visit: Open, dead: list[str]
) -> None:
    stack.make("bank")
    page = visit(f"dead-letters?where={quote('task:shop.charge')}")
    press(page, "replay-all")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_have_text("6 letters as of now.")
    assert len(stack.letters()) == 6
    dialog.get_by_role("combobox").select_option("1")
    press(page, "bulk-start")
    told(page, "Replaying 6 letters")
    job = page.get_by_test_id("jobs").locator("li").first
    expect(job).to_contain_text("by admin")
    job.get_by_role("button", name="Stop").click()
    told(page, "What was done stays done")
    expect(job).to_contain_text("cancelled")
    left = len(stack.letters())
    assert 0 < left < 6
    press(page, "replay-all")
    expect(dialog.get_by_role("status")).to_have_text(f"{left} letters as of now.")
    press(page, "bulk-start")
    for task_id in dead:
        stack.wait_for(task_id)
    expect(page.get_by_text("No dead letter matches")).to_be_visible()
    assert stack.letters() == []


def test_chosen_letters_are_deleted_and_no_others(stack: Stack, visit: Open, dead: list[str]) -> None:
    page = visit("dead-letters")
    rows = page.get_by_test_id("letters").locator("tr[data-row]")
    expect(rows).to_have_count(6)
    chosen = [row(page, "letters", f"order {900 + number}") for number in (2, 4)]
    for each in chosen:
        each.get_by_label("Choose this row").check()
    press(page, "purge-chosen")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("2 letters as of now.")
    press(page, "bulk-start")
    told(page, "Deleting 2 letters")
    expect(rows).to_have_count(4)
    assert {letter.task_id for letter in stack.letters()} == {dead[0], dead[1], dead[3], dead[5]}


def test_one_letter_is_deleted_from_its_page(stack: Stack, visit: Open, dead: list[str]) -> None:
    page = visit(f"dead-letters/{dead[3]}")
    press(page, "purge")
    confirm(page)
    told(page, "Deleted.")
    wait_until(lambda: len(stack.letters()) == 5, "the letter to go")
    heading(page, "Dead letters")
