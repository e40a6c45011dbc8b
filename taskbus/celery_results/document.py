"""A result as Celery 5.7 keeps it: made, written as JSON, and read. Pure.

::

    {"status", "result", "traceback", "children", "date_done", ["group_id"], ["parent_id"],
     [name, args, kwargs, worker, retries, queue, [stamped_headers, and each stamp]], "task_id"}

``date_done`` is an aware instant in ISO 8601, null unless the task has ended; ``result`` of a task that failed is the
error (see ``errors``); ``children`` are the results of what the task sent. The bracketed line is there in extended
results only.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from taskbus import codec
from taskbus.celery_results.errors import failure_of, stored_error
from taskbus.celery_results.signature import Outcome
from taskbus.codec import celery as body_codec
from taskbus.errors import CodecError, DecodeError, EncodeError
from taskbus.outcome import Failure, State
from taskbus.store.base import StoredResult

_COMPRESSED = b"\0celery-compressed\0"
_WITH_ERROR = (State.FAILURE, State.REVOKED, State.RETRY)


class Document(NamedTuple):
    """A result on its way into Celery's store. ``ttl``: seconds for which it is kept."""

    task_id: str
    fields: Mapping[str, Any]
    ttl: float = 86_400.0

    @property
    def state(self) -> str:
        return str(self.fields["status"])


class Call(NamedTuple):
    """What a document may say of the call: Celery's headers, the arguments, and who ran it."""

    headers: Mapping[str, Any]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = {}
    worker: str = ""
    queue: str = ""


def document(
    state: State,
    call: Call,
    *,
    value: Any = None,
    failure: Failure | None = None,
    children: Sequence[Outcome] = (),
    at: float = 0.0,
    is_extended: bool = False,
) -> dict[str, Any]:
    """The document of a task in this state; ``at``: when it ended, an instant.

    ``value`` is what it returned; ``failure`` why it did not, or why it will be tried again.
    """
    headers = call.headers
    error = None if failure is None else stored_error(failure, is_retry=state is State.RETRY)
    made: dict[str, Any] = {
        "status": str(state),
        "result": error if state in _WITH_ERROR else value,
        "traceback": failure.traceback or None if failure is not None else None,
        "children": [child.as_tuple() for child in children],
        "date_done": datetime.fromtimestamp(at, UTC).isoformat() if state.is_final else None,
    }
    if headers.get("group"):
        made["group_id"] = headers["group"]
    if headers.get("parent_id"):
        made["parent_id"] = headers["parent_id"]
    if is_extended:
        made |= _extended(call)
    made["task_id"] = headers["id"]
    return made


def _extended(call: Call) -> dict[str, Any]:
    headers = call.headers
    named = {
        "name": headers.get("task"),
        "args": list(call.args),
        "kwargs": dict(call.kwargs),
        "worker": call.worker or None,
        "retries": headers.get("retries", 0),
        "queue": call.queue or None,
    }
    stamps = headers.get("stamps")
    if stamps:
        stamped = headers.get("stamped_headers") or ()
        named |= {"stamped_headers": list(stamped), **{name: stamps[name] for name in stamped if name in stamps}}
    return named


def written(fields: Any) -> bytes:
    """As JSON, with kombu's typed values. Raises ``EncodeError`` for what Celery's JSON has no form for."""
    try:
        return json.dumps(fields, default=body_codec.typed).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"it cannot be kept as Celery's JSON: {error}") from error


def read(text: bytes) -> Any:
    """What is written there, compressed or not; raises ``DecodeError``, also for a pickle, which is never read."""
    if text.startswith(_COMPRESSED):
        mime, _, packed = text[len(_COMPRESSED) :].partition(b"\0")
        return body_codec.decode(packed, body_codec.kind(body_codec.JSON, mime.decode("ascii", "replace")))
    if text[:1] == b"\x80":
        raise DecodeError("it is a pickle, which may run any code and is never read here; set result_serializer='json'")
    return body_codec.decode(text, body_codec.kind(body_codec.JSON))


def unreadable(error: CodecError) -> dict[str, Any]:
    """What stands for a document that cannot be read: whoever asks for it hears why."""
    failure = Failure("taskbus.errors.DecodeError", f"its document in Celery's results cannot be read: {error}")
    return {"status": "FAILURE", "result": stored_error(failure), "traceback": None}


def stored(fields: Mapping[str, Any], task_id: str) -> StoredResult:
    """A document as TaskBus's results have it. States that only Celery knows count as not ended."""
    status = fields.get("status")
    state = State[status] if isinstance(status, str) and status in State.__members__ else State.STARTED
    failure = failure_of(fields.get("result"), _text(fields.get("traceback"))) if state in _WITH_ERROR else None
    value = None
    if state is State.SUCCESS:
        try:
            value = codec.encode(fields.get("result"))
        except EncodeError as error:
            return stored(unreadable(error), task_id)
    retries = fields.get("retries")
    return StoredResult(
        task_id,
        _text(fields.get("name")),
        state,
        value,
        "msgpack",
        failure,
        retries + 1 if isinstance(retries, int) else 1,
        0.0,
        _instant(fields.get("date_done")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _instant(value: Any) -> float:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return 0.0
    if not isinstance(value, datetime):
        return 0.0
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
