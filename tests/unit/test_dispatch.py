"""Who gets what, and how much is fetched: free slots, a little ahead for quick tasks, nothing behind a slow one."""

import itertools
import socket
from collections.abc import Iterator

import msgpack
import pytest

from taskbus.broker.delivery import Delivery
from taskbus.message import Message
from taskbus.worker.dispatch import CAUTION, MAX_AHEAD, PATIENCE, Dispatcher
from taskbus.worker.options import TaskSpec
from taskbus.worker.runner.board import Board
from taskbus.worker.runner.protocol import Job
from taskbus.worker.runners import Runner
from taskbus.worker.settlement import Held

SPECS = {"quick": TaskSpec(), "slow": TaskSpec(), "io": TaskSpec(is_async=True)}
tags = itertools.count(1)


class Bench:
    """A dispatcher with runners whose far ends are read here."""

    def __init__(self, *, runners: int = 2, threads: int = 0, coroutines: int = 10, specs=SPECS) -> None:
        self.dispatcher = Dispatcher(specs, threads, coroutines)
        self.runners, self.ends = [], []
        for number in range(runners):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            runner = Runner(number, ours, Board.create(1))
            runner.is_up = True
            runner.heard_at = 0.0
            self.runners.append(runner)
            self.ends.append(theirs)

    def park(self, *tasks: str, now: float = 0.0) -> None:
        for task in tasks:
            tag = next(tags)
            delivery = Delivery(tag, "default", b"wire", "x", 0, 1)
            self.dispatcher.park(Held(delivery, Message(str(tag), task, b""), SPECS[task]), now)

    def suspect(self, task: str, now: float = 0.0) -> None:
        tag = next(tags)
        delivery = Delivery(tag, "default", b"wire", "x", 0, 1, crashes=1)
        self.dispatcher.park(Held(delivery, Message(str(tag), task, b""), SPECS[task]), now)

    def assign(self, now: float = 0.0) -> None:
        self.dispatcher.assign(self.runners, now)

    def room(self, now: float = 0.0) -> int:
        return self.dispatcher.room(self.runners, now)

    def loads(self) -> list[int]:
        return [len(runner.held) for runner in self.runners]

    def finish(self, runner: Runner, ran_for: float, count: int = 1) -> None:
        for tag in list(runner.held)[:count]:
            held = self.dispatcher.release(runner, tag)
            assert held is not None
            self.dispatcher.learn(held, ran_for)

    def teach(self, task: str, ran_for: float) -> None:
        self.park(task)
        self.assign()
        for runner in self.runners:
            self.finish(runner, ran_for)

    def frames(self, position: int) -> list[list[object]]:
        unpacker = msgpack.Unpacker()
        try:
            unpacker.feed(self.ends[position].recv(1 << 20))
        except BlockingIOError:
            return []
        return list(unpacker)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for runner, end in zip(made.runners, made.ends, strict=True):
        runner.close()
        end.close()


def test_room_is_the_number_of_free_slots_while_nothing_is_known(bench: Bench) -> None:
    assert bench.room() == 2
    bench.park("slow", "slow")
    bench.assign()
    assert bench.loads() == [1, 1]


def test_a_runner_that_is_not_up_gets_nothing(bench: Bench) -> None:
    bench.runners[0].is_up = False
    assert bench.room() == 1
    bench.park("slow", "slow")
    bench.assign()
    assert bench.loads() == [0, 1]


def test_quick_tasks_are_fetched_and_sent_ahead(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    assert bench.room() > 100
    bench.park(*["quick"] * 60)
    bench.assign()
    assert bench.loads() == [30, 30]
    assert bench.dispatcher.parked == 0


def test_tasks_of_a_few_milliseconds_are_sent_ahead_lest_runners_idle_for_a_round_trip(bench: Bench) -> None:
    bench.teach("quick", 0.005)
    assert bench.room() > 10
    bench.park(*["quick"] * 8)
    bench.assign()
    assert bench.loads() == [4, 4]
    assert bench.dispatcher.parked == 0


@pytest.mark.parametrize("ran_for", [0.0005, 0.005, 0.009])
def test_no_more_than_25_ms_of_work_is_sent_ahead_to_a_runner_and_twice_that_is_fetched(
    bench: Bench, ran_for: float
) -> None:
    bench.teach("quick", ran_for)
    room = bench.room()
    assert room * ran_for <= 2 * (0.050 + ran_for)
    bench.park(*["quick"] * room)
    bench.assign()
    assert all((load - 1) * ran_for <= 0.025 for load in bench.loads())
    assert bench.room() == 0
    parked = bench.dispatcher.parked
    assert parked + sum(bench.loads()) == room
    assert len(bench.dispatcher.empty()) == parked  # as at shutdown: runners return the rest


def test_tasks_longer_than_that_wait_for_a_free_slot(bench: Bench) -> None:
    bench.teach("quick", 0.012)
    assert bench.room() == 2
    bench.park(*["quick"] * 4)
    bench.assign()
    assert bench.loads() == [1, 1]
    assert bench.dispatcher.parked == 2


def test_tasks_of_a_few_milliseconds_are_not_sent_behind_a_slow_one(bench: Bench) -> None:
    bench.teach("quick", 0.005)
    bench.park("slow")
    bench.assign()
    bench.park(*["quick"] * 4)
    for _ in range(3):  # of what is parked each gets its share, what is left is looked at again
        bench.assign()
    assert sorted(bench.loads()) == [1, 4]
    assert [["recall"] in bench.frames(position) for position in (0, 1)] == [False, False]
    bench.dispatcher.misplaced(bench.runners, PATIENCE * 2)
    assert sum(["recall"] in bench.frames(position) for position in (0, 1)) == 1


def test_no_more_than_a_bound_is_sent_ahead(bench: Bench) -> None:
    bench.teach("quick", 0.000001)
    bench.park(*["quick"] * 2000)
    bench.assign()
    assert all(load <= MAX_AHEAD + 1 for load in bench.loads())


def test_a_slow_task_waits_for_a_free_slot_and_nothing_is_queued_behind_one(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    bench.park("slow", "slow", "slow")
    bench.assign()
    assert bench.loads() == [1, 1]
    bench.park("quick")
    bench.assign()
    assert bench.loads() == [1, 1]


def test_what_waits_too_long_is_given_back_and_only_free_slots_are_filled_for_a_while(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    bench.park("slow", "slow", "slow", "quick")
    bench.assign()
    assert bench.dispatcher.misplaced(bench.runners, PATIENCE / 2) == []
    late = bench.dispatcher.misplaced(bench.runners, PATIENCE * 2)
    assert [held.message.task for held in late if held.message] == ["slow", "quick"]
    assert bench.room(PATIENCE * 2) == 0
    for runner in bench.runners:
        bench.finish(runner, 0.0001)
    assert bench.room(PATIENCE * 2) == 2
    assert bench.room(PATIENCE * 2 + CAUTION) > 2


def test_caution_is_brief_after_one_stutter_and_grows_when_it_happens_again(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    now, pauses = 0.0, []
    for _ in range(6):
        bench.park("slow", "slow", "slow", now=now)
        now += PATIENCE * 2
        bench.dispatcher.misplaced(bench.runners, now)
        pauses.append(next(pause for pause in (0.1, 0.2, 0.4, 0.8, 1.0) if bench.room(now + pause + 0.001) > 2))
        now += pauses[-1] + 0.01
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_silent_runner_with_work_ahead_is_told_to_return_it(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    bench.park(*["quick"] * 10)
    bench.assign()
    bench.dispatcher.misplaced(bench.runners, PATIENCE * 2)
    assert ["recall"] in bench.frames(0) and ["recall"] in bench.frames(1)


def test_a_runner_that_had_nothing_to_do_is_not_silent_when_work_comes(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    morning = 1000 * PATIENCE
    bench.park(*["quick"] * 60, now=morning)
    bench.assign(morning)
    assert bench.dispatcher.misplaced(bench.runners, morning + PATIENCE / 2) == []
    assert [frame for position in (0, 1) for frame in bench.frames(position) if frame == ["recall"]] == []
    for runner in bench.runners:
        bench.finish(runner, 0.0001, 30)
    assert bench.room(morning + PATIENCE / 2) > 100
    bench.park(*["quick"] * 60, now=morning + PATIENCE)
    bench.assign(morning + PATIENCE)
    bench.dispatcher.misplaced(bench.runners, morning + 3 * PATIENCE)
    assert ["recall"] in bench.frames(0) and ["recall"] in bench.frames(1)


def test_the_next_look_is_when_something_may_be_misplaced(bench: Bench) -> None:
    assert bench.dispatcher.next_look(bench.runners) is None
    bench.park("slow", "slow", "slow", now=5.0)
    bench.assign()
    assert bench.dispatcher.next_look(bench.runners) == 5.0 + PATIENCE


def test_a_queue_of_coroutines_fills_every_coroutine_slot(bench: Bench) -> None:
    bench.park("io")
    bench.assign()
    assert bench.room() == 19
    bench.park(*["io"] * 19)
    bench.assign()
    assert bench.loads() == [10, 10]
    assert bench.room() == 2  # the main slots are still free: a def task may come next


def test_with_every_main_slot_taken_one_delivery_at_a_time_is_tried_for_the_coroutines(bench: Bench) -> None:
    bench.park("slow", "slow")
    bench.assign()
    assert bench.room() == 1
    bench.park("slow")
    bench.assign()
    assert bench.room() == 0


def test_a_runner_gets_no_more_than_its_budget(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    for runner in bench.runners:
        runner.budget = 3
    assert bench.room() == 6
    bench.park(*["quick"] * 10)
    bench.assign()
    assert bench.loads() == [3, 3]


def test_a_suspect_gets_a_runner_of_its_own(bench: Bench) -> None:
    bench.suspect("io")
    bench.park("io", "io", "io")
    bench.assign()
    assert sorted(bench.loads()) == [1, 3]
    bench.park("io")
    bench.assign()
    assert sorted(bench.loads()) == [1, 4]
    alone = min(bench.runners, key=lambda runner: len(runner.held))
    bench.finish(alone, 0.1)
    bench.park("io")
    bench.assign()
    assert len(alone.held) == 1


def test_for_a_suspect_one_runner_is_let_run_dry(bench: Bench) -> None:
    bench.park("io", "io", "io")
    bench.assign()
    bench.suspect("io")
    bench.assign()
    assert sorted(bench.loads()) == [1, 2]
    quiet = min(bench.runners, key=lambda runner: len(runner.held))
    bench.park("io", "io")
    bench.assign()
    assert len(quiet.held) == 1
    bench.finish(quiet, 0.1)
    bench.assign()
    assert len(quiet.held) == 1 and quiet.is_isolated
    assert bench.dispatcher.parked == 0


def test_a_suspect_is_not_given_back_while_it_waits(bench: Bench) -> None:
    bench.park("slow", "slow")
    bench.assign()
    bench.suspect("slow")
    assert bench.dispatcher.misplaced(bench.runners, PATIENCE * 2) == []
    assert bench.dispatcher.empty() != []


def test_threads_are_slots(bench: Bench) -> None:
    threaded = Bench(runners=1, threads=4)
    threaded.park(*["slow"] * 6)
    threaded.assign()
    assert threaded.loads() == [4]
    for runner, end in zip(threaded.runners, threaded.ends, strict=True):
        runner.close()
        end.close()


def test_a_job_with_inputs_is_alone_in_its_frame(bench: Bench) -> None:
    bench.teach("quick", 0.0001)
    bench.frames(0)
    bench.runners[1].is_stopping = True
    bench.park(*["quick"] * 4)
    for held in list(bench.dispatcher._sync)[1:3]:
        held.inputs = [[b"\x01", b"\x02"]]
    bench.assign()
    jobs = [frame[1] for frame in bench.frames(0)]
    assert [[Job(*fields).inputs for fields in frame] for frame in jobs] == [
        [[[b"\x01", b"\x02"]]],
        [[[b"\x01", b"\x02"]]],
        [None, None],
    ]
    runner = bench.runners[0]
    runner.judge(runner.held[Job(*jobs[0][0]).tag])
    (judged,) = bench.frames(0)
    assert Job(*judged[1]).inputs is None  # its outcome does not depend on them
