"""What is common to all that the JSON API takes and gives: lists, errors, numbers over time.

Shapes say what is checked, sent, and told by openapi.json. Instants are Unix seconds, durations seconds, rates per
second; None stands where there is nothing to tell. Fields may be added within ``/api/v1``; none is renamed or removed.
"""

from enum import IntEnum
from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

Item = TypeVar("Item")


class Role(IntEnum):
    """What somebody may do: look; change what can be changed back; delete and stop things for good."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


RoleName = Literal["viewer", "operator", "admin"]
AuthName = Literal["none", "token", "basic", "oidc", "proxy", "host"]
Count = Annotated[int, Meta(ge=0)]


class Shape(Struct):
    """What is sent. Every field is always there."""


class Given(Struct, forbid_unknown_fields=True):
    """What is taken, as a query or a body. A field that is not known is refused, with its name."""


class Paging(Given):
    """Which part of a list: ``limit`` items after the one that ``after`` (a list's ``next``) stands for."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    after: str = ""


class Found(Paging):
    """As ``Paging``, of what ``where`` matches (see the filter language)."""

    where: Annotated[str, Meta(max_length=2048)] = ""


class Listing(Shape, Generic[Item]):
    """Part of a list. ``count`` is of all that match, or, if ``is_capped``, as many as were counted at most.

    ``next`` is what to give as ``after`` for what follows, None at the end. ``note`` says what the list does not show.
    """

    items: list[Item]
    next: str | None = None
    count: int = 0
    is_capped: bool = False
    note: str = ""


class Problem(Shape):
    """Something that wants a look. ``link`` is a path of the page."""

    kind: Literal[
        "no_workers", "no_consumer", "old_messages", "dead_letters", "beat_silent", "dropped", "node_silent", "store"
    ]
    severity: Literal["warning", "error"]
    text: str
    advice: str
    link: str = ""


class Failed(Shape):
    """Why a request was refused or failed, and what to do about it."""

    error: str
    advice: str = ""


class Changed(Shape):
    """Whether it changed anything, and how much."""

    changed: bool
    count: int = 0


class DryRun(Given):
    """``dry_run``: only say how many it would be."""

    dry_run: bool = False


class Nothing(Given):
    """A body without anything in it."""


class Quantiles(Shape):
    """Of ``count`` durations; None where there were none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    count: int = 0


class Counts(Shape):
    """How many attempts ended how.

    ``received`` leaves out the deliveries that were given back to start elsewhere, since they are received again:
    ``given_back`` counts those. It is never below 0.
    """

    received: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    rejected: int = 0
    revoked: int = 0
    expired: int = 0
    crashed: int = 0
    given_back: int = 0


class Series(Shape):
    """Rates and durations over time: every list is as long as ``t``, the instants at which steps of ``step`` begin."""

    step: float
    t: list[float]
    succeeded: list[float]
    failed: list[float]
    retried: list[float]
    wait_p50: list[float | None]
    wait_p95: list[float | None]
    wait_p99: list[float | None]
    run_p50: list[float | None]
    run_p95: list[float | None]
    run_p99: list[float | None]


RangeName = Literal["15m", "1h", "6h", "24h", "3d"]


class Range(Given):
    """How far back."""

    range: RangeName = "15m"
