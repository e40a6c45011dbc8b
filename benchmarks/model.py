"""The capacity model: what a task costs where, how fast that lets tasks go, and what more of them would take.

Arithmetic alone; what it is fed with is measured by ``parts.py``. Costs are in microseconds a task. What is paid once
a round trip is shared by the ``n`` tasks that travel in it, so every cost is a ``Line``: ``per_task + per_trip / n``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST_CLAIM = 256
"""How many quick tasks a worker with one runner claims at once, at most: half of what it keeps ahead of the runner."""
LARGEST_REPORT = 64
"""How many tasks a runner reports at once, at most, and so how many are settled at once when nothing piles up."""
MILLION = 1_000_000
SUPERVISOR = "the supervisor"
BUSY = 0.7
"""The share of a core that may be planned for: beyond it queues grow at every gust."""
BATCH = 100
"""The batch, of publishing and of claiming, for which a plan is made."""


@dataclass(frozen=True, slots=True)
class Line:
    """``per_task + per_trip / n``."""

    per_task: float
    per_trip: float

    def at(self, batch: float) -> float:
        """The cost of a task that travels with ``batch - 1`` others."""
        return self.per_task + self.per_trip / batch

    def __add__(self, other: "Line") -> "Line":
        return Line(self.per_task + other.per_task, self.per_trip + other.per_trip)

    def __sub__(self, other: "Line") -> "Line":
        return Line(self.per_task - other.per_task, self.per_trip - other.per_trip)


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line nearest to (batch, cost) points, by least squares of the relative error; neither part is negative."""
    rows = [(1 / cost, 1 / (batch * cost)) for batch, cost in points if cost > 0]
    if not rows:
        return Line(0.0, 0.0)
    aa, ab, bb = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = sum(row[0] for row in rows), sum(row[1] for row in rows)
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb:
        return Line(a / aa, 0.0)
    per_task, per_trip = (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant
    if per_trip < 0:
        return Line(a / aa, 0.0)
    return Line(per_task, per_trip) if per_task >= 0 else Line(0.0, b / bb)


@dataclass(frozen=True, slots=True)
class Step:
    """What publishing, or claiming and settling, was measured to cost a task at one size of batch.

    CPU of client and broker, and what went by on the wall's clock, in microseconds; the others as they are called.
    """

    batch: float
    client: float
    broker: float
    wall: float
    round_trips: float
    network: float
    written: float


@dataclass(frozen=True, slots=True)
class Steps:
    """One kind of step at several sizes of batch."""

    measured: tuple[Step, ...]

    def line(self, cost: str) -> Line:
        """How one of its costs goes with the size of the batch."""
        return fit([(step.batch, getattr(step, cost)) for step in self.measured])

    @property
    def largest(self) -> Step:
        return self.measured[-1]


@dataclass(frozen=True, slots=True)
class Costs:
    """All that was measured of one broker.

    ``supervisor`` and ``runner`` are CPU of a real worker's two parts; ``wake``: the broker's CPU for waking a worker.
    ``held``: bytes a queued task takes in the broker, ``remembered`` those of a task id in the dedup window. ``lanes``:
    how many of the broker's cores one queue can use for one producer and one worker, ``most_lanes`` for any number of
    them; 0: the broker is a file, and whoever writes it keeps the others waiting.
    """

    publish: Steps
    take: Steps
    supervisor: Line
    runner: Line
    wake: float
    held: float
    remembered: float
    connections: int
    lanes: float
    most_lanes: float

    @property
    def waiting(self) -> Line:
        """Microseconds that a supervisor waits for the broker, for each task."""
        whole = self.take.line("wall") - self.take.line("client")
        return Line(max(0.0, whole.per_task), max(0.0, whole.per_trip))

    def cpu(self, batch: float | None, claim: float) -> float:
        """Microseconds of CPU a task, of all parts together, sent by ``batch`` (None: sent before) and so claimed."""
        turn = turned(claim)
        total = self.supervisor.at(turn) + self.runner.at(turn) + self.take.line("broker").at(turn)
        if not batch:
            return total
        publish = self.publish.line("client").at(batch) + self.publish.line("broker").at(batch)
        return total + publish + self.wake / turn


def turned(claim: float) -> float:
    """The batch a worker's turn comes to, when claims and settlements are of different sizes, and cost the same."""
    return 2 / (1 / claim + 1 / min(claim, LARGEST_REPORT))


@dataclass(frozen=True, slots=True)
class Prediction:
    """A rate in tasks a second, what bounds it, and how many tasks the worker claims at once then."""

    rate: float
    bound: str
    claim: float


def predict(costs: Costs, batch: float | None, cores: float) -> Prediction:
    """Tasks a second of one worker with one runner, and one producer that sends ``batch`` at once; None: no producer.

    The size of the worker's claims follows from the rate at which tasks come, and the rate from the size. Starting with
    the producer's batches, both grow until they fit: a supervisor that cannot keep up finds more at its next turn.
    """
    claim = float(min(batch or LARGEST_CLAIM, LARGEST_CLAIM))
    while True:
        bounds = _bounds(costs, batch, claim, cores)
        bound = min(bounds, key=lambda name: bounds[name])
        coming = min(rate for name, rate in bounds.items() if name != SUPERVISOR)
        grown = claims(costs, batch, coming)
        if grown <= claim * 1.001:
            return Prediction(bounds[bound], bound, claim)
        claim = grown


def claims(costs: Costs, batch: float | None, rate: float) -> float:
    """How many tasks a worker claims at once at this rate: what came during its last turn, or what was sent together.

    Solves ``k = rate x turn(k)``: a turn takes the supervisor's CPU and its waiting for the broker.
    """
    if batch is None:
        return LARGEST_CLAIM
    turn = costs.supervisor + costs.waiting
    free = 1e6 / rate - turn.per_task
    return min(max(turn.per_trip / free if free > 0 else LARGEST_CLAIM, batch, 1.0), LARGEST_CLAIM)


def _bounds(costs: Costs, batch: float | None, claim: float, cores: float) -> dict[str, float]:
    """What each part alone would allow, in tasks a second."""
    take, publish, turn = costs.take, costs.publish, turned(claim)
    times = {
        "the cores of the machine": costs.cpu(batch, claim) / cores,
        SUPERVISOR: (costs.supervisor + costs.waiting).at(turn),
        "the runner": costs.runner.at(turn),
    }
    broker, trips = take.line("broker").at(turn), take.line("wall").at(turn)
    if batch:
        times["the producer"] = publish.line("wall").at(batch)
        broker += publish.line("broker").at(batch) + costs.wake / turn
        trips += publish.line("wall").at(batch)
    if costs.lanes:
        times["the broker"] = broker / costs.lanes
    else:
        times["one writer at a time"] = trips
    return {name: 1e6 / max(time, 1e-9) for name, time in times.items()}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a million tasks a second would take, all that can be batched in batches of ``BATCH``."""

    broker_cores: float
    producer_cores: float
    supervisor_cores: float
    runner_cores: float
    network: float
    log: float
    backlog_minute: float
    ids: float
    one_queue: float
    shares: int


def demand(costs: Costs, dedup_window: float, rate: float = MILLION) -> Demand:
    """For no-op tasks: what the tasks themselves do comes on top. ``network`` and ``log`` are bytes a second.

    ``one_queue``: tasks a second where one queue ends. ``shares``: into how many queues, each with a core (a file, a
    node) of its own, the load must be cut so that none is busier than ``BUSY``.
    """
    publish, take = costs.publish, costs.take
    broker = publish.line("broker").at(BATCH) + take.line("broker").at(BATCH) + costs.wake / BATCH
    serial = broker / costs.most_lanes if costs.lanes else publish.line("wall").at(BATCH) + take.line("wall").at(BATCH)
    return Demand(
        broker_cores=broker * rate / 1e6,
        producer_cores=publish.line("client").at(BATCH) * rate / 1e6,
        supervisor_cores=costs.supervisor.at(BATCH) * rate / 1e6,
        runner_cores=costs.runner.at(BATCH) * rate / 1e6,
        network=(publish.largest.network + take.largest.network) * rate,
        log=(publish.largest.written + take.largest.written) * rate,
        backlog_minute=costs.held * rate * 60,
        ids=costs.remembered * rate * dedup_window,
        one_queue=1e6 / serial,
        shares=math.ceil(serial * rate / 1e6 / BUSY),
    )
