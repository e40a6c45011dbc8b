"""The few named ways an attempt ends. An attempt makes one; the worker's settlement acts on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class State(StrEnum):
    """What a result says of its task. The names are Celery's, which users know."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_final(self) -> bool:
        return self in (State.SUCCESS, State.FAILURE, State.REVOKED)


class Reason(StrEnum):
    """Why a message became a dead letter."""

    RETRIES_EXHAUSTED = "retries_exhausted"
    NOT_RETRYABLE = "not_retryable"
    REJECTED = "rejected"
    TIME_LIMIT = "time_limit"
    POISON = "poison"
    EXPIRED = "expired"
    UNKNOWN_TASK = "unknown_task"
    BAD_ARGUMENTS = "bad_arguments"
    BAD_RESULT = "bad_result"
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as data: ``type`` is the dotted class name, ``traceback`` the text without TaskBus's frames."""

    type: str
    message: str
    traceback: str = ""


class Succeeded(NamedTuple):
    """The task returned. ``result`` is its encoded value, None when the task keeps no results.

    Like ``Message``, ``Delivery`` and whatever else is made for each task that goes well, it is a named tuple: making
    a frozen dataclass costs five times as much.
    """

    result: bytes | None
    content_type: str = "msgpack"


@dataclass(frozen=True, slots=True)
class Retrying:
    """The attempt failed and the policy grants another one after ``delay`` seconds."""

    delay: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Dead:
    """No further attempt will be made: the message becomes a dead letter."""

    reason: Reason
    failure: Failure


@dataclass(frozen=True, slots=True)
class Revoked:
    """It was called off before it started: it is no dead letter."""

    failure: Failure


class Replaced(NamedTuple):
    """The task put a workflow in its own place, which gives its result.

    ``flow`` and ``nodes`` are the fields of what ``store.flows`` calls so: a runner knows no store.
    """

    flow: Sequence[Any]
    nodes: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Crashed:
    """The runner died while it ran this attempt; ``how`` says of what ("signal 11 (SIGSEGV)").

    ``is_alone``: it ran nothing else, so that this attempt is the cause; otherwise it is one of several suspects.
    """

    how: str
    is_alone: bool = True


@dataclass(frozen=True, slots=True)
class Released:
    """The delivery goes back to its queue, for anyone, after ``delay`` seconds; it does not count against it."""

    delay: float = 0.0


Outcome = Succeeded | Retrying | Dead | Revoked | Replaced | Crashed | Released
