"""What the checker excuses where settling takes several steps, so that a fault may make two messages of one."""

import pytest

from .checker import check
from .history import Rules
from .story import WORKER, Story, healthy

OTHER = 200
FORKS = Rules(forks=True)


def test_where_settling_takes_several_steps_a_fault_excuses_a_second_life_of_what_it_interrupted_and_no_other() -> None:
    story = Story()
    for id in ("a", "b"):
        story.send(id)
        story.run(id, 1.0, 2.0, token=1, how="err")
        story.fault(2.1 if id == "a" else 50.0, "kill9")
        story.run(id, 5.0, 6.0, token=2, attempt=2)
        story.run(id, 8.0, 9.0, token=3, attempt=2)
        story.result(id, 9.1, token=3)
    assert check([event for event in story.events if event["id"] != "b"], Rules(forks=True)).valid
    assert check([event for event in story.events if event["id"] != "b"], Rules()).dup == ("a",)


def given_back(*libs: str, at: float = 3.3, by: int = WORKER) -> Story:
    """A worker gives back tasks that never ran there; another runs ``x`` twice. The fault comes at 3.5."""
    story = healthy()
    story.send("x")
    if libs:
        story.add("back", "", at, by, libs=list(libs), worker=by)
    story.run("x", 6.0, 6.1, pid=9, worker=OTHER, token=2, how="err")
    story.run("x", 6.2, 6.3, pid=9, worker=OTHER, token=3)
    story.result("x", 6.4, token=3)
    return story


def test_a_kill_while_a_task_is_given_back_excuses_its_second_message_where_that_takes_several_steps() -> None:
    story = given_back("lib-b", "lib-x")
    verdict = check(story.events, FORKS)
    assert verdict.valid, verdict.violations
    assert verdict.reruns == 2
    assert check(story.events, Rules()).violations == {"extra_start": ("x",)}


@pytest.mark.parametrize(
    "story",
    [
        given_back(),
        given_back("lib-b"),
        given_back("lib-x", by=OTHER),
        given_back("lib-x", at=3.5 - FORKS.window - 0.1),
    ],
    ids=["nothing was given back", "another task was", "another worker gave it back", "it was given back long before"],
)
def test_a_kill_excuses_no_second_message_of_what_the_dead_worker_was_not_giving_back(story: Story) -> None:
    assert check(story.events, FORKS).violations == {"extra_start": ("x",)}


@pytest.mark.parametrize(
    ("action", "victim", "pids"), [("term", "supervisor", (WORKER,)), ("kill9", "runner", (7,))], ids=["term", "runner"]
)
def test_what_does_not_stop_the_settlement_excuses_no_second_message(action, victim, pids) -> None:
    story = given_back("lib-x")
    story.events = [event for event in story.events if event["ev"] != "nem" and event["id"] != "c"]
    story.fault(3.5, action, victim, pids)
    assert check(story.events, FORKS).violations == {"extra_start": ("x",)}


def test_the_second_message_that_a_fault_made_may_be_left_and_no_other() -> None:
    for libs, left in ((("lib-x",), {}), ((), {"extra_start": ("x",), "leftover": ("x",)})):
        story = given_back(*libs)
        story.events = [event for event in story.events if event["ev"] != "quiesced"]
        story.add("quiesced", "", 9.0, left=1, ids=["x"])
        assert check(story.events, FORKS).violations == left


@pytest.mark.parametrize(
    ("point", "violations"),
    [("settle.inside", {}), ("flow.recorded", {}), ("settle.before", {"dup": ("a",), "stale_accepted": ("a",)})],
)
def test_a_worker_that_was_stopped_between_two_steps_takes_the_second_when_it_wakes(
    point: str, violations: dict[str, tuple[str, ...]]
) -> None:
    """And has published a retry by that, beside the one of who ran the task in the meantime."""
    story = Story()
    story.send("a")
    story.run("a", 1.0, 2.0, token=1, how="err")
    story.fault(2.1, "stop", "supervisor", (WORKER,), at=point)
    story.run("a", 5.0, 5.1, pid=9, worker=OTHER, token=2, how="err")
    story.heal(5.2, (WORKER,))
    story.run("a", 5.3, 5.4, pid=9, worker=OTHER, token=3, attempt=2)
    story.run("a", 5.5, 5.6, pid=9, worker=OTHER, token=4, attempt=2)
    story.result("a", 5.7, token=3)
    assert check(story.events, FORKS).violations == violations
