"""Shapes of single tasks, and of their types."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from taskbus.web.shapes.basis import Counts, Found, Given, Quantiles, Series, Shape
from taskbus.web.shapes.work import Progress


class TaskRow(Shape):
    """How a task's last attempt that is known of ended. ``weight``: how many like it this one stands for."""

    id: str
    task: str
    queue: str
    state: str
    attempt: int
    sent_at: float | None
    started_at: float | None
    ended_at: float | None
    waited: float | None
    ran_for: float | None
    worker: str
    args: str
    kwargs: str
    error: str
    message: str
    weight: int = 1
    flow: str = ""
    schedule: str = ""


class Attempt(Shape):
    """One attempt of a task."""

    attempt: int
    state: str
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    waited: float | None
    ran_for: float | None
    retry_in: float | None
    worker: str
    pid: int
    error: str
    message: str
    traceback: str
    logs: list[str]


class TaskDetail(Shape):
    """All that is known of a task. ``python`` and ``cli`` are how to send it again, as text to copy."""

    row: TaskRow
    attempts: list[Attempt]
    result: str | None
    traceback: str
    logs: list[str]
    progress: Progress | None
    trace: str
    parent: str
    flow: str
    is_dead_letter: bool
    is_running: bool
    is_waiting: bool
    priority: int
    due_at: float | None
    python: str
    cli: str


class TaskSearch(Found):
    """Which tasks, in which order."""

    sort: Literal["newest", "slowest", "longest_wait"] = "newest"


class Again(Given):
    """To send a task again, with other arguments if some are given."""

    args: list[Any] | UnsetType = UNSET
    kwargs: dict[str, Any] | UnsetType = UNSET


class Revocation(Given):
    """``terminate``: end it even if it runs already."""

    terminate: bool = False


class NewTask(Given):
    """A task to send. ``countdown`` in seconds."""

    task: Annotated[str, Meta(min_length=1, max_length=255)]
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue: str | None = None
    countdown: Annotated[float, Meta(ge=0)] | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None


class Sent(Shape):
    """The id under which it was sent."""

    id: str


class ErrorOfType(Shape):
    """Failures alike: same class of error. ``example`` is the id of the newest."""

    error: str
    count: int
    message: str
    last_at: float | None
    example: str


class Type(Shape):
    """A type of task: what became of its attempts in the time asked for. ``spark`` are rates of success over it.

    ``is_registered``: some living worker knows it, which ``workers`` names.
    """

    task: str
    queues: list[str]
    counts: Counts
    rate: float
    wait: Quantiles
    run: Quantiles
    errors: list[ErrorOfType]
    workers: list[str]
    is_registered: bool
    spark: list[float]


class TypeDetail(Shape):
    """A type of task with its past."""

    type: Type
    series: Series
