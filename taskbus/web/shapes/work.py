"""Shapes of queues, of nodes, and of what runs."""

from typing import Annotated, Any

from msgspec import Meta

from taskbus.web.shapes.basis import Given, Series, Shape


class Queue(Shape):
    """A queue: ``ready`` and ``delayed`` wait, ``held`` are with workers, ``dead`` are dead letters of its messages."""

    name: str
    ready: int = 0
    delayed: int = 0
    held: int = 0
    oldest_at: float | None = None
    is_paused: bool = False
    workers: int = 0
    rate_in: float = 0.0
    rate_out: float = 0.0
    dead: int = 0


class Waiting(Shape):
    """A message that waits. ``args`` and ``kwargs`` are readable text, cut; ``size`` is in bytes."""

    id: str
    task: str
    priority: int
    attempt: int
    sent_at: float | None
    due_at: float | None
    args: str
    kwargs: str
    size: int
    is_delayed: bool


class QueueDetail(Shape):
    """A queue with its past and what waits in it."""

    queue: Queue
    series: Series
    messages: list[Waiting]


class Progress(Shape):
    """How far a task has come; ``total`` 0: it does not know."""

    done: float
    total: float
    note: str
    at: float


class Running(Shape):
    """An attempt that runs."""

    id: str
    task: str
    queue: str
    attempt: int
    since: float
    worker: str
    pid: int
    progress: Progress | None = None
    flow: str = ""


class Node(Shape):
    """A process that reports: a worker, a beat, a web server. ``cpu_share`` 1.0 is one core, ``rss`` in bytes."""

    name: str
    node: str
    kind: str
    host: str
    pid: int
    version: str
    app: str
    started_at: float
    at: float
    is_stopping: bool
    is_alive: bool
    pool: str
    processes: int
    slots: int
    queues: list[str]
    active: int
    held: int
    rss: int
    cpu_share: float
    load: float
    sampled: int
    dropped: int
    http: str
    is_leader: bool


class Runner(Shape):
    """A process in which a worker runs tasks."""

    pid: int
    rss: int


class NodeDetail(Shape):
    """A node with what it runs, what it knows, and its rate limits by task."""

    node: Node
    running: list[Running]
    tasks: list[str]
    runners: list[Runner]
    limits: dict[str, str]


class Many(Given):
    """By how many slots."""

    n: Annotated[int, Meta(ge=1, le=1000)] = 1


class Limit(Given):
    """A rate limit as Celery writes it: ``10/s``, ``100/m``; ``""`` ends it."""

    task: Annotated[str, Meta(min_length=1)]
    rate: str


class QueueName(Given):
    """Which queue."""

    queue: Annotated[str, Meta(min_length=1)]


class Command(Given):
    """A question of Celery's remote control: ``stats``, ``active``, ``reserved``, ``ping``, and so on."""

    command: Annotated[str, Meta(min_length=1, max_length=64)]


class Answer(Shape):
    """What a node answered: ``ok`` what it said, or ``error`` why it did not do it."""

    ok: Any = None
    error: str | None = None
