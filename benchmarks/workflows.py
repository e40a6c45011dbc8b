"""``against_others.py --workflows``: a large chord and many short chains, beside Celery's on the same Redis.

Members, bodies and steps count as tasks; all keep results, as Celery's chords need them. From the first ``delay`` to
the last task done, by an idle worker that has run a chord before. Bytes are those that Redis received meanwhile, by its
own account (``INFO stats``), from the sender and the worker alike.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from field import Field
from grounds import Ground
from rounds import field

PEERS = ["taskbus", "celery", "celery:threads"]
PROCESSES = 2
STEPS = 5
WITHIN = 120.0
"""Seconds after which a figure is given up."""
POLL = 0.002
QUIET = 0.7
"""Load average above which the page says that the machine was not ours alone."""


class Load(NamedTuple):
    """``kind`` and ``size`` as the peers' ``send_flows`` takes them; ``tasks``: how many will have run."""

    kind: str
    size: int

    @property
    def tasks(self) -> int:
        return self.size + 1 if self.kind == "chord" else self.size * STEPS

    @property
    def name(self) -> str:
        return f"chord of {self.size:,}" if self.kind == "chord" else f"{self.size:,} chains of {STEPS}"


class Flown(NamedTuple):
    """How one went: tasks a second and bytes a task, None if it did not end ``WITHIN`` that time."""

    peer: str
    load: str
    rate: float | None
    bytes_per_task: float | None
    done: float
    """The share of its tasks that were done."""


def run_round(ground: Ground, peers: Sequence[str], loads: Sequence[Load]) -> Iterator[Flown]:
    """Every load once for every peer, the peers taking turns at each."""
    for load in loads:
        for peer in peers:
            with field(ground, peer, results=True) as each, each.worker(PROCESSES):
                yield _measured(ground, each, load)


def _measured(ground: Ground, each: Field, load: Load) -> Flown:
    each.ask("flow", "--kind", "chord", "--tasks", "2")
    before = 1 + 3  # one is sent to open the connection
    if _reaches(each, before, time.monotonic() + WITHIN) < before:
        raise RuntimeError(f"{each.peer}: its worker does not work")
    written = _received(ground)
    until = time.monotonic() + WITHIN
    answer: dict[str, float] = {}
    sending = threading.Thread(target=_send, args=(each, load, answer))
    sending.start()
    target = before + 1 + load.tasks
    done = _reaches(each, target, until)
    ended_at = time.monotonic()
    sending.join()
    if done < target or "started_at" not in answer:
        return Flown(each.peer, load.name, None, None, (done - before - 1) / load.tasks)
    rate = load.tasks / (ended_at - answer["started_at"])
    return Flown(each.peer, load.name, rate, (_received(ground) - written) / load.tasks, 1.0)


def _send(each: Field, load: Load, answer: dict[str, float]) -> None:
    try:
        answer |= each.ask("flow", "--kind", load.kind, "--tasks", str(load.size), within=WITHIN)
    except subprocess.TimeoutExpired:
        return
    except RuntimeError as error:
        print(error, file=sys.stderr)


def _reaches(each: Field, target: int, until: float) -> int:
    """How many tasks were done when all were, or at that instant."""
    pause = threading.Event()
    while (done := each.counter.total()) < target and time.monotonic() < until:
        pause.wait(POLL)
    return done


def _received(ground: Ground) -> int:
    told = ground.server.cli("INFO", "stats").decode().splitlines()
    return next(int(line.partition(":")[2]) for line in told if line.startswith("total_net_input_bytes:"))


def section(
    about: Mapping[str, Mapping[str, str]],
    rounds: Sequence[Sequence[Flown]],
    machine: Mapping[str, object],
    command: str,
    load_average: float,
) -> str:
    """The page's part on workflows."""
    names = {peer: about[peer]["name"] for peer in about}
    lines = [
        "## On redis: workflows",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {', '.join(f'{name} {value}' for name, value in machine.items())}.",
        f"`{command}`, {len(rounds)} {'round' if len(rounds) == 1 else 'rounds, medians'}, {PROCESSES} processes "
        "(or threads), results on.",
        *_told(about, load_average),
        "",
        f"| tasks a second (bytes a task that Redis received) | {' | '.join(names.values())} |",
        f"|---|{'--:|' * len(names)}",
    ]
    for load in dict.fromkeys(flown.load for flown in rounds[0]):
        found = [flown for each in rounds for flown in each if flown.load == load]
        cells = [_cell([flown for flown in found if flown.peer == peer]) for peer in about]
        lines.append(f"| {load} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _told(about: Mapping[str, Mapping[str, str]], load_average: float) -> Iterator[str]:
    versions = ", ".join(f"{each['name']} {each['version']}" for each in about.values())
    yield f"{versions}. Members, bodies and steps are tasks; from the first `delay` to the last task done."
    if load_average > QUIET:
        yield f"Other work kept the machine busy meanwhile (load average {load_average:.1f}): read the ratios at most."


def _cell(all_rounds: Sequence[Flown]) -> str:
    over = sorted((flown for flown in all_rounds if flown.rate is not None), key=lambda flown: flown.rate or 0.0)
    if not over:
        return f"not within {WITHIN:g} s ({max(flown.done for flown in all_rounds):.0%} done)"
    middle = over[len(over) // 2]
    return f"{middle.rate:,.0f} ({middle.bytes_per_task:,.0f})"
