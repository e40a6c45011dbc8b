"""Shapes of the whole: who asks, the overview, the live picture, the system, its audit log, and how much to scale."""

from typing import Annotated, Literal

from msgspec import Meta

from taskbus.web.shapes.basis import AuthName, Counts, Given, Problem, Quantiles, RoleName, Series, Shape
from taskbus.web.shapes.tasks import TaskRow
from taskbus.web.shapes.work import Node, Queue, Running


class Me(Shape):
    """Who asks, and what of. ``environment`` is a word for the badge of the page, such as ``production``."""

    user: str
    role: RoleName
    auth: AuthName
    environment: str
    read_only: bool
    version: str
    app: str


class FailingTask(Shape):
    """A type of task that failed in the time asked for, with its most frequent error."""

    task: str
    failed: int
    total: int
    error: str
    last_at: float | None


class NodeCounts(Shape):
    """How many living nodes there are, what workers can do at once, and what they do."""

    workers: int
    beats: int
    slots: int
    active: int


class Sampling(Shape):
    """Of successes one of so many is recorded, and so many records could not be kept."""

    one_of: int
    dropped: int


class Overview(Shape):
    """How it all is, over the time asked for."""

    now: float
    series: Series
    wait: Quantiles
    run: Quantiles
    counts: Counts
    queues: list[Queue]
    failing: list[FailingTask]
    problems: list[Problem]
    nodes: NodeCounts
    sampling: Sampling


ViewName = Literal["overview", "queues", "nodes", "tasks"]


class View(Given):
    """Which parts of the live picture."""

    view: ViewName = "overview"


class Rates(Shape):
    """How much of what a second, over the last few seconds. ``received`` leaves out what was given back."""

    received: float = 0.0
    succeeded: float = 0.0
    failed: float = 0.0
    retried: float = 0.0


class LiveType(Shape):
    """A type of task, over the last few seconds."""

    task: str
    rate: float
    failed: float
    p50: float | None
    p95: float | None


class Snapshot(Shape):
    """The live picture. What a view leaves out is empty; ``tail_hidden`` records are not in ``tail``."""

    now: float
    rates: Rates
    wait: Quantiles
    run: Quantiles
    queues: list[Queue]
    nodes: list[Node]
    types: list[LiveType]
    running: list[Running]
    problems: list[Problem]
    tail: list[TaskRow]
    tail_hidden: int = 0


class Broker(Shape):
    """The broker. ``latency`` of one round trip, None if it does not answer; ``features`` are what it promises."""

    url: str
    latency: float | None
    version: str
    features: list[str]
    error: str = ""


class Results(Shape):
    """The store of results. ``is_shared``: it is the broker's database, so that a task settles in one transaction."""

    url: str
    latency: float | None
    version: str
    is_shared: bool
    dead_letters: int | None
    error: str = ""


class HistoryPlace(Shape):
    """Where the history is: its size in bytes (None: unknown), its task records, and the age of the oldest of them."""

    url: str
    size: int | None
    rows: int
    kept: float
    error: str = ""


class Setting(Shape):
    """A setting in force, without secrets, as text, and where it comes from."""

    name: str
    value: str
    origin: str


class Remark(Shape):
    """What the broker or the store says of its own settings."""

    weight: Literal["fine", "risk", "refused"]
    subject: str
    text: str
    advice: str


class System(Shape):
    """What it all stands on."""

    broker: Broker
    results: Results
    history: HistoryPlace
    beats: list[Node]
    config: list[Setting]
    remarks: list[Remark]
    versions: dict[str, str]


class AuditEntry(Shape):
    """Who changed what, or was refused to, which ``detail`` then begins with: ``refused: ...`` or ``failed: ...``."""

    at: float
    user: str
    role: str
    action: str
    target: str
    detail: str
    count: int


class ScalingOf(Given):
    """Which queues, by name with commas between; empty: all. ``slots``: of one worker; 0: as those that run have."""

    queues: Annotated[str, Meta(max_length=4096)] = ""
    slots: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class Scaling(Shape):
    """What an autoscaler wants to know. ``desired``: so many workers run all that is ready or held at once.

    ``unknown``: of the queues asked for, those that neither broker, workers nor settings know, yet or at all.
    """

    queued: int
    in_flight: int
    oldest_age: float
    workers: int
    capacity: int
    desired: int
    unknown: list[str]
