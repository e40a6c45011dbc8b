"""One round: every figure of every peer once, the peers taking turns at each, so that noise falls on all alike."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import figures
from field import Field
from figures import Figure
from grounds import Ground

Measure = Callable[[Field], Iterator[Figure]]


def run_round(ground: Ground, peers: Sequence[str], tasks: int) -> Iterator[Figure]:
    """Every figure once. The order of ``peers`` is the order of turns. A peer that fails is told of, and has none."""
    for results, measure in plan(tasks):
        for peer in peers:
            with field(ground, peer, results=results) as each:
                try:
                    yield from measure(each)
                except (RuntimeError, ValueError) as error:
                    print(f"{peer}: {error}", file=sys.stderr)


def plan(tasks: int) -> list[tuple[bool, Measure]]:
    """What is measured, in its order, and whether with results on."""
    drains = [
        (results, _drain(tasks, processes, f"drain, {processes} {plural}, results {'on' if results else 'off'}"))
        for results in (False, True)
        for processes, plural in ((1, "process"), (2, "processes"))
    ]
    return [
        (False, lambda each: figures.enqueue(each, tasks)),
        *drains,
        (False, _drain(max(200, tasks // 2), 1, "naps of 10 ms, 100 at once", "nap")),
        (False, _drain(max(50, tasks // 4), 2, "sums of 5 ms, 2 processes", "sum")),
        (True, figures.latency),
        (False, figures.footprint),
    ]


def _drain(tasks: int, processes: int, name: str, kind: str = "noop") -> Measure:
    def measure(each: Field) -> Iterator[Figure]:
        yield Figure(each.peer, name, figures.drain(each, tasks, processes, kind))

    return measure


@contextmanager
def field(ground: Ground, peer: str, *, results: bool) -> Iterator[Field]:
    """A peer on an empty place."""
    name = f"bench-{peer.replace(':', '-')}-"
    with tempfile.TemporaryDirectory(prefix=name, ignore_cleanup_errors=True) as folder:
        url = ground.fresh()
        yield Field(peer, str(Path(folder)), url, results=results, results_url=ground.results)
