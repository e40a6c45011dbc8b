"""Shapes of what is kept: workflows, dead letters, jobs that go through many of them, schedules."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from taskbus.web.shapes.basis import Given, Shape
from taskbus.web.shapes.tasks import Attempt


class Flow(Shape):
    """A workflow and how far it is."""

    id: str
    name: str
    state: str
    done: int
    total: int
    dead: int
    created_at: float | None
    ended_at: float | None


class FlowNode(Shape):
    """A task of a workflow, or what joins some. ``group`` is that of ``FlowGroup.id``, "" if none."""

    id: str
    task: str
    kind: str
    state: str
    started_at: float | None
    ended_at: float | None
    error: str
    group: str = ""


class FlowGroup(Shape):
    """Tasks that run side by side: how many there are, and how many have ended."""

    id: str
    name: str
    total: int
    done: int
    dead: int = 0


class FlowDetail(Shape):
    """A workflow as a graph: ``edges`` are pairs of ids of nodes, from and to. ``note`` says what is left out."""

    flow: Flow
    nodes: list[FlowNode]
    edges: list[tuple[str, str]]
    groups: list[FlowGroup]
    note: str = ""


class Letter(Shape):
    """A dead letter. ``args`` and ``kwargs`` are readable text, cut."""

    id: str
    task: str
    queue: str
    reason: str
    error: str
    message: str
    dead_at: float
    attempt: int
    args: str
    kwargs: str


class LetterDetail(Shape):
    """A dead letter with its failed attempts."""

    letter: Letter
    attempts: list[Attempt]
    traceback: str


class LetterGroup(Shape):
    """Dead letters alike: same task, reason and class of error. ``example`` is the newest one's id."""

    task: str
    reason: str
    error: str
    message: str
    count: int
    first_at: float
    last_at: float
    example: str


class Where(Given):
    """Which dead letters, in the filter language."""

    where: Annotated[str, Meta(max_length=2048)] = ""


class Replay(Where):
    """To send dead letters again, at most ``rate`` a second; with other arguments if ``where`` means a single one."""

    dry_run: bool = False
    rate: Annotated[float, Meta(gt=0)] | None = None
    args: list[Any] | UnsetType = UNSET
    kwargs: dict[str, Any] | UnsetType = UNSET


class Purge(Where):
    """To delete dead letters for good."""

    dry_run: bool = False


class Number(Shape):
    """How many it would be."""

    count: int


class Job(Shape):
    """Something that goes through many, in the server. ``total`` is as of its start; ``by`` is who started it."""

    id: str
    kind: str
    where: str
    total: int
    done: int
    failed: int
    state: Literal["running", "done", "failed", "cancelled"]
    started_at: float
    by: str
    error: str = ""
    ended_at: float | None = None


class Schedule(Shape):
    """A schedule. ``timetable`` in plain words; ``next`` are its next five times, none if it is paused."""

    name: str
    task: str
    timetable: str
    zone: str
    is_paused: bool
    next: list[float]
    last_at: float | None
    last_task_id: str
    last_state: str
    sent: int
    missed: int
    skipped: int
    lateness: float
    origin: str
