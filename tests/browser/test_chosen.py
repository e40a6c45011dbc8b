"""Rows that are chosen: what is done with them is done to these, to all that match, and to no others."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import confirm, press, row, told
from tests.browser.conftest import Open
from tests.browser.stack import Stack, wait_until

MANY = 104
"""More than a page of a list holds."""


@pytest.fixture
def dead(stack: Stack, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Ids of tasks that failed as the bank was closed; all letters are gone afterwards."""
    sent = [stack.send("shop.charge", 700 + number) for number in range(request.param)]
    wait_until(lambda: len(stack.letters()) == request.param, "all to fail", 90)
    yield sent
    (stack.folder / "bank").unlink(missing_ok=True)
    stack.ask("dlq/purge", body={"where": "task:*"})
    wait_until(lambda: not stack.letters(), "the letters to go", 60)


def letters(stack: Stack) -> set[str]:
    return {letter.task_id for letter in stack.letters()}


def choose(page: Page, table: str, *texts: str) -> None:
    """Check the boxes of the rows that hold these texts."""
    for text in texts:
        row(page, table, text).get_by_label("Choose this row").check()


def test_chosen_tasks_that_wait_are_revoked_together_and_no_others(stack: Stack, visit: Open) -> None:
    sent = [stack.send("shop.mail", f"chosen{number}", queue="idle", countdown=3600) for number in range(4)]
    page = visit(f"tasks?where={quote('state:PENDING queue:idle')}")
    rows = page.get_by_test_id("tasks").locator("tr[data-row]")
    expect(rows).to_have_count(4)
    choose(page, "tasks", "chosen1", "chosen3")
    bar = page.get_by_role("toolbar", name="With the chosen tasks")
    expect(bar).to_contain_text("2 chosen")
    expect(page.get_by_test_id("retry-chosen")).to_be_disabled()
    press(page, "revoke-chosen")
    confirm(page)
    told(page, "Revoked: 2 tasks")
    for number in (1, 3):
        stack.wait_for(sent[number], "REVOKED")
    expect(bar).to_be_hidden()
    expect(rows).to_have_count(2)
    assert set(stack.waiting("idle")) == {sent[0], sent[2]}


def test_a_choice_is_taken_back_and_nothing_is_done(stack: Stack, visit: Open) -> None:
    sent = [stack.send("shop.mail", f"left{number}", queue="aside") for number in range(2)]
    page = visit(f"tasks?where={quote('state:PENDING queue:aside')}")
    page.get_by_label("Choose all that are shown").check()
    bar = page.get_by_role("toolbar", name="With the chosen tasks")
    expect(bar).to_contain_text("2 chosen")
    press(page, "revoke-chosen")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    expect(page.get_by_label("Choose this row").first).not_to_be_checked()
    assert set(stack.waiting("aside")) == set(sent)


@pytest.mark.parametrize("dead", [4], indirect=True)
def test_chosen_letters_are_replayed_and_no_others(stack: Stack, visit: Open, dead: list[str]) -> None:
    page = visit("dead-letters")
    choose(page, "letters", "order 701", "order 702")
    stack.make("bank")
    press(page, "replay-chosen")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("2 letters as of now.")
    press(page, "bulk-start")
    told(page, "Replaying 2 letters")
    for number in (1, 2):
        stack.wait_for(dead[number])
    assert letters(stack) == {dead[0], dead[3]}
    expect(page.get_by_test_id("letters").locator("tr[data-row]")).to_have_count(2)
    assert sorted(note for note in stack.notes() if note.startswith("charge 7")) == ["charge 701", "charge 702"]


@pytest.mark.parametrize("dead", [2], indirect=True)
def test_all_that_a_filter_means_are_deleted_and_what_it_does_not_stays(
    stack: Stack, visit: Open, dead: list[str]
) -> None:
    kept = stack.send("shop.refund", 1)
    stack.wait_for(kept, "FAILURE")
    page = visit(f"dead-letters?where={quote('task:shop.charge')}")
    press(page, "purge-all")
    expect(page.get_by_role("dialog")).to_contain_text("All that match task:shop.charge are deleted for good")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("2 letters as of now.")
    assert letters(stack) == {*dead, kept}
    press(page, "bulk-start")
    told(page, "Deleting 2 letters")
    expect(page.get_by_text("No dead letter matches")).to_be_visible()
    assert letters(stack) == {kept}


@pytest.mark.parametrize("dead", [MANY], indirect=True)
def test_beyond_the_page_all_that_match_are_chosen_and_deleted_once_the_word_is_typed(
    stack: Stack, visit: Open, dead: list[str]
) -> None:
    page = visit(f"dead-letters?where={quote('task:shop.charge')}")
    expect(page.get_by_test_id("letters-panel")).to_contain_text(str(MANY))
    page.get_by_label("Choose all that are shown").check()
    bar = page.get_by_role("toolbar", name="With the chosen letters")
    expect(bar).to_contain_text("100 chosen")
    press(page, "choose-all")
    expect(bar).to_contain_text(f"All {MANY} that match are chosen")
    press(page, "purge-chosen")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_have_text(f"{MANY} letters as of now.")
    expect(page.get_by_test_id("bulk-start")).to_be_disabled()
    dialog.get_by_role("textbox").fill("delete")
    assert len(stack.letters()) == MANY
    press(page, "bulk-start")
    told(page, f"Deleting {MANY} letters")
    wait_until(lambda: not stack.letters(), "the letters to go")
    expect(page.get_by_text("No dead letter matches")).to_be_visible()


@pytest.mark.parametrize("dead", [MANY], indirect=True)
def test_a_list_that_is_longer_goes_on_where_it_ended(stack: Stack, visit: Open, dead: list[str]) -> None:
    page = visit("dead-letters")
    expect(page.get_by_role("button", name="Load more")).to_be_visible()
    page.get_by_role("button", name="Load more").click()
    expect(page.get_by_role("button", name="Load more")).to_be_hidden()
    page.get_by_label("Choose all that are shown").check()
    expect(page.get_by_role("toolbar", name="With the chosen letters")).to_contain_text(f"{MANY} chosen")
