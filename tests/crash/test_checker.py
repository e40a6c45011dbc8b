"""The checker itself: a ledger with one planted defect is reported as exactly that defect."""

from collections.abc import Callable

import pytest

from .checker import VIOLATIONS, check
from .history import Rules
from .ledger import Ledger, read
from .story import WORKER, Story, healthy


def plant_gone(story: Story) -> None:
    story.send("x")


def plant_parked(story: Story) -> None:
    story.events = [event for event in story.events if event["ev"] != "quiesced"]
    story.send("x")
    story.add("quiesced", "", 8.0, left=1, ids=["x"])


def plant_unexpected(story: Story) -> None:
    story.run("x", 1.0, 1.1)


def plant_another_library_id(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, 1.1, lib="lib-other")
    story.result("x", 1.2)


def plant_ghost(story: Story) -> None:
    story.send("x", answer="pub_rej")
    story.run("x", 1.0, 1.1)
    story.result("x", 1.2)


def plant_blocked_and_yet_run(story: Story) -> None:
    story.send("x", expect="blocked")
    story.run("x", 1.0, 1.1)
    story.result("x", 1.2)


def plant_never_and_yet_run(story: Story) -> None:
    story.send("x", answer="", expect="never", results=False)
    story.run("x", 1.0, 1.1)


def plant_blocked_and_forgotten(story: Story) -> None:
    story.send("x", expect="blocked")


def plant_dup(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, 1.1)
    story.run("x", 1.2, 1.3, token=2)
    story.result("x", 1.4, token=2)


def plant_extra_start(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, 1.1, how="err")
    story.run("x", 1.2, 1.3, token=2)
    story.result("x", 1.4, token=2)


def plant_overlap(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, 1.4, sink=False)
    story.run("x", 1.2, 1.3, token=2)
    story.result("x", 1.5, token=2)


def plant_early(story: Story) -> None:
    story.send("x", eta=2.0)
    story.run("x", 1.0, 1.1)
    story.result("x", 1.2)


def stopped_worker(story: Story) -> None:
    """A worker stopped for longer than its lease; another one ran its task meanwhile, which is excused."""
    story.send("x")
    story.run("x", 1.0, 5.0, pid=9, sink=False)
    story.fault(1.1, "stop", "group", (WORKER, 9))
    story.heal(4.9, (WORKER, 9))
    story.run("x", 4.0, 4.1, token=2)


def plant_stale_result(story: Story) -> None:
    stopped_worker(story)
    story.result("x", 5.1, token=1)


def plant_stale_sink(story: Story) -> None:
    stopped_worker(story)
    story.result("x", 5.1, token=2)
    story.add("sink", "x", 5.05, 9, token=1, ok=True)


def plant_tokens_that_do_not_grow(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, 1.1, how="err", token=3)
    story.run("x", 1.2, 1.3, attempt=2, token=3)
    story.result("x", 1.4, token=3)


def plant_flip(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, 1.1)
    story.result("x", 1.2, "FAILURE", None)
    story.result("x", 1.3, "SUCCESS")


def plant_vanish(story: Story) -> None:
    story.send("x", expect="any")
    story.run("x", 1.0, 1.1)
    story.result("x", 1.2)
    story.result("x", 1.3, "PENDING", None)
    story.result("x", 1.4)


def plant_unrecorded(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, 1.1)
    story.result("x", 1.2, "STARTED", None)


def plant_innocent_dead(story: Story) -> None:
    story.send("x")
    story.add("dlq_seen", "x", 1.2, reason="poison")
    story.result("x", 1.3, "FAILURE", None)


def plant_leftover(story: Story) -> None:
    story.events = [event for event in story.events if event["ev"] != "quiesced"]
    story.add("quiesced", "", 9.0, left=1, ids=["a"])


def plant_slow(story: Story) -> None:
    story.send("x")
    story.run("x", 3.4, None)
    story.run("x", 13.0, 13.1, token=2, pid=8)
    story.result("x", 13.2, token=2)


def plant_slow_after_a_runners_death(story: Story) -> None:
    story.send("x")
    story.run("x", 1.0, None, pid=9)
    story.fault(1.1, "kill9", "runner", (9,))
    story.run("x", 2.2, 2.3, token=2)
    story.result("x", 2.4, token=2)


def plant_orphans(story: Story) -> None:
    story.add("exit", "", 20.0, why="runner 7 outlived its supervisor")


def plant_wedged(story: Story) -> None:
    story.send("x")
    story.run("x", 25.0, 25.1)
    story.result("x", 25.2)


PLANTED: list[tuple[str, Callable[[Story], None]]] = [
    ("gone", plant_gone),
    ("parked", plant_parked),
    ("unexpected", plant_unexpected),
    ("unexpected", plant_another_library_id),
    ("unexpected", plant_blocked_and_yet_run),
    ("unexpected", plant_never_and_yet_run),
    ("gone", plant_blocked_and_forgotten),
    ("ghost", plant_ghost),
    ("dup", plant_dup),
    ("extra_start", plant_extra_start),
    ("overlap", plant_overlap),
    ("early", plant_early),
    ("stale_accepted", plant_stale_result),
    ("stale_accepted", plant_stale_sink),
    ("stale_accepted", plant_tokens_that_do_not_grow),
    ("flip", plant_flip),
    ("vanish", plant_vanish),
    ("unrecorded", plant_unrecorded),
    ("innocent_dead", plant_innocent_dead),
    ("leftover", plant_leftover),
    ("slow", plant_slow),
    ("slow", plant_slow_after_a_runners_death),
    ("orphans", plant_orphans),
    ("wedged", plant_wedged),
]


def test_a_healthy_ledger_is_valid() -> None:
    verdict = check(healthy().events, Rules())
    assert verdict.valid, verdict.violations
    assert (verdict.attempted, verdict.acked, verdict.finished, verdict.reruns) == (3, 3, 3, 1)
    assert verdict.recovered_after == 2.5


@pytest.mark.parametrize(("name", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_one_planted_defect_is_reported_as_exactly_that(name: str, plant: Callable[[Story], None]) -> None:
    story = healthy()
    plant(story)
    verdict = check(story.events, Rules())
    assert list(verdict.violations) == [name], verdict.violations
    assert not verdict.valid


def test_every_violation_has_a_planted_defect() -> None:
    assert {name for name, _ in PLANTED} == set(VIOLATIONS)


def test_what_could_not_run_is_finished_by_the_result_that_says_so() -> None:
    story = healthy()
    story.send("x", expect="blocked")
    story.result("x", 2.0, "FAILURE", token=None)
    assert check(story.events, Rules()).valid


def test_a_worker_stopped_for_longer_than_its_lease_excuses_the_second_run() -> None:
    story = healthy()
    stopped_worker(story)
    story.result("x", 5.1, token=2)
    verdict = check(story.events, Rules())
    assert verdict.valid, verdict.violations
    assert verdict.reruns == 2


def test_a_stopped_runner_or_a_sigterm_excuses_nothing() -> None:
    for action, victim in (("stop", "runner"), ("term", "group")):
        story = healthy()
        story.fault(1.0, action, victim)
        plant_dup(story)
        assert list(check(story.events, Rules()).violations) == ["dup"]


def test_a_send_of_unknown_outcome_may_run_or_not() -> None:
    story = healthy()
    story.send("x", answer="pub_unk")
    story.run("x", 1.0, 1.1)
    story.result("x", 1.2)
    story.send("y", answer="")
    verdict = check(story.events, Rules())
    assert verdict.valid, verdict.violations
    assert (verdict.unknown, verdict.recovered) == (2, ("x",))


def replayed() -> Story:
    """A healthy one, and ``x``, which was buried and whose replay has begun."""
    story = healthy()
    story.send("x", expect="dead")
    story.run("x", 1.0, 1.1, how="err")
    story.add("dlq_seen", "x", 1.2, reason="rejected")
    story.result("x", 1.2, "FAILURE", None)
    story.add("replay_begin", "x", 2.0)
    return story


def test_a_replayed_task_may_run_once_more_and_end_otherwise() -> None:
    story = replayed()
    story.result("x", 2.1, "PENDING", None)
    story.run("x", 2.2, 2.3, token=2)
    story.result("x", 2.4, token=2)
    verdict = check(story.events, Rules())
    assert verdict.valid, verdict.violations
    story.run("x", 2.5, 2.6, token=3)
    assert list(check(story.events, Rules()).violations) == ["dup", "stale_accepted"] or list(
        check(story.events, Rules()).violations
    ) == ["dup"]


def test_the_failure_of_the_life_before_may_be_seen_once_more_while_a_replay_begins() -> None:
    story = replayed()
    story.result("x", 2.1, "FAILURE", None)
    story.run("x", 2.2, 2.3, token=2)
    story.result("x", 2.4, token=2)
    assert check(story.events, Rules()).valid


def test_a_failure_of_this_life_that_becomes_a_success_is_none_of_that() -> None:
    story = replayed()
    story.run("x", 2.2, 2.3, token=2)
    story.result("x", 2.4, "FAILURE", None)
    story.result("x", 2.5, token=2)
    assert "flip" in check(story.events, Rules()).violations


def test_a_torn_last_line_is_left_out_and_any_other_is_an_error(tmp_path) -> None:
    ledger = Ledger(tmp_path)
    ledger.log("start", "a", n=1)
    ledger.log("end", "a", n=2)
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert [event["ev"] for event in read(tmp_path)] == ["start"]
    path.write_bytes(whole[:20] + b"\n" + whole[20:])
    with pytest.raises(ValueError):
        read(tmp_path)


def test_an_outage_excuses_what_it_interrupted_and_recovery_is_counted_from_its_end() -> None:
    story = Story()
    story.send("a")
    story.run("a", 1.0, None, token=1)
    story.outage(1.5, 9.0)
    story.run("a", 10.0, 11.0, token=2)
    story.result("a", 11.1, token=2)
    verdict = check(story.events, Rules())
    assert verdict.valid, verdict.violations
    assert (verdict.reruns, verdict.recovered_after) == (1, 1.0)


def test_where_fences_are_by_clocks_that_differ_they_say_nothing() -> None:
    story = healthy()
    plant_stale_sink(story)
    assert not check(story.events, Rules()).valid
    assert check(story.events, Rules(fences_grow=False)).valid
