"""What runners that have left leave behind: what crashed, what is to be judged, what is simply run elsewhere."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from taskbus.outcome import Crashed, Failure, Released, Revoked
from taskbus.worker.crew import Departure
from taskbus.worker.dispatch import Dispatcher
from taskbus.worker.runners import Runner
from taskbus.worker.settlement import Ended, Held

TERMINATED = "terminated"
"""Why a runner was killed: what it ran was called off, and is not to be judged."""


@dataclass(slots=True)
class Estate:
    """What was held by runners that are gone."""

    ended: list[Ended] = field(default_factory=list)
    to_judge: list[Held] = field(default_factory=list)
    to_run: list[Held] = field(default_factory=list)


def estate(departures: Sequence[Departure], dispatcher: Dispatcher, *, was_killed: bool, is_stopping: bool) -> Estate:
    """Sort what the runners held. ``was_killed``: by us, all of them, so that no task is to blame.

    By the board, which outlives the runner: what it had started has crashed, unless we ended it; what it had not is as
    good as new. Who ran beside others is a suspect: the crash is counted once it has run alone.
    """
    left = Estate()
    crashes: list[tuple[Held, str, float]] = []
    for runner, how in departures:
        started = {entry.tag: entry.started for entry in runner.running()}
        is_ours = was_killed or bool(runner.killed_for)
        left.to_judge += runner.judging.values()
        for tag in list(runner.held):
            held = dispatcher.release(runner, tag)
            if held is None:
                continue
            if runner.killed_for.get(tag) == TERMINATED:
                ran_for = time.monotonic() - started.get(tag, time.monotonic())
                called_off = Revoked(Failure("taskbus.errors.TaskRevoked", TERMINATED))
                left.ended.append(Ended(held, called_off, time.time() - ran_for, ran_for))
            elif tag in runner.killed_for:
                left.to_judge.append(held)
            elif tag in started and (not is_ours or held.runs_once):
                crashes.append((held, how, started[tag]))
            elif tag in started or is_stopping:
                left.ended.append(Ended(held, Released()))
            else:
                left.to_run.append(held)
    for held, how, began in crashes:
        elapsed = time.monotonic() - began
        left.ended.append(Ended(held, Crashed(how, is_alone=len(crashes) == 1), time.time() - elapsed, elapsed))
    return left


def judged(to_judge: deque[Held], runners: Iterable[Runner], *, is_stopping: bool) -> list[Ended]:
    """Ask a runner, which knows the retry policies, what follows for attempts killed at their time limit.

    A worker that stops gives them back instead: what is returned.
    """
    released = [Ended(held, Released()) for held in to_judge] if is_stopping else []
    if is_stopping:
        to_judge.clear()
    for runner in runners:
        if to_judge and runner.is_up and not runner.is_stopping:
            while to_judge:
                runner.judge(to_judge.popleft())
    return released
