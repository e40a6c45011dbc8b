"""From what the loop has noted of an attempt to the record that others read: texts, cut, and without secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskbus.codec import decode as decoded
from taskbus.context import Progress
from taskbus.errors import DecodeError
from taskbus.logs import trace_of
from taskbus.message import FLOW, SCHEDULE, Message
from taskbus.monitor.concealing import ShownCall, shown_call
from taskbus.monitor.redaction import Redactor
from taskbus.monitor.report import TaskRecord
from taskbus.monitor.wording import MAX_BYTES, celery_headers, shortened
from taskbus.outcome import Dead, Failure, Reason, Replaced, Retrying, Revoked, State, Succeeded
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Held
from taskbus.worker.tallying import Fact

MAX_TRACEBACK = 16_384
"""Characters of a traceback in a record: its beginning and its end."""


class Recorder:
    """Makes records, in the reporting thread. ``specs`` are the supervisor's own."""

    def __init__(self, worker: str, specs: Mapping[str, TaskSpec], redactor: Redactor) -> None:
        self._worker = worker
        self._specs = specs
        self._redactor = redactor

    def record(self, fact: Fact) -> TaskRecord:
        """What is told of it."""
        each, outcome = fact.ended, fact.outcome
        held, message = each.held, each.held.message
        about: dict[str, Any] = {}
        secrets: Sequence[str] = ()
        if message is not None:
            args, kwargs, secrets = self._call(message, held.inputs is not None)
            about = _about(message) | {"args": args, "kwargs": kwargs}
        about |= self._ending(outcome, secrets)
        return TaskRecord(
            id=message.id if message is not None else fact.letter,
            task=message.task if message is not None else "",
            queue=held.delivery.queue,
            started_at=each.started_at,
            ran_for=each.ran_for,
            ended_at=each.started_at + each.ran_for if each.started_at else fact.at,
            worker=self._worker,
            pid=held.pid,
            weight=fact.weight,
            logs=tuple(self._redactor.text(line, secrets) for line in held.logs or ()),
            progress=self._progress(held.progress, secrets),
            **about,
        )

    def progress(self, held: Held) -> Sequence[Any]:
        """How far an attempt that runs has come, as ``Running`` says it."""
        if held.message is None or not held.progress or not Progress(*held.progress).note:
            return held.progress or ()
        return self._progress(held.progress, self._call(held.message, held.inputs is not None).secrets)

    def _progress(self, told: Sequence[Any] | None, secrets: Sequence[str]) -> Sequence[Any]:
        if not told:
            return ()
        progress = Progress(*told)
        return tuple(progress._replace(note=self._redactor.text(progress.note, secrets)))

    def _call(self, message: Message, has_inputs: bool) -> ShownCall:
        spec = self._specs.get(message.task)
        parameters = spec.parameters if spec is not None else ()
        return shown_call(self._redactor, message, parameters, has_inputs=has_inputs)

    def _ending(self, outcome: Any, secrets: Sequence[str]) -> dict[str, Any]:
        match outcome:
            case Succeeded(result, content_type):
                return {"state": State.SUCCESS.value, "result": self._result(result, content_type, secrets)}
            case Replaced():
                return {"state": State.SUCCESS.value, "result": "(replaced by a workflow)"}
            case Retrying(delay, failure):
                return {"state": State.RETRY.value, "retry_in": delay, **self._failure(failure, secrets)}
            case Revoked(failure):
                return {"state": State.REVOKED.value, **self._failure(failure, secrets)}
            case Dead(reason, failure):
                state = {Reason.EXPIRED: "EXPIRED", Reason.REJECTED: "REJECTED"}.get(reason, State.FAILURE.value)
                return {"state": state, "reason": str(reason), **self._failure(failure, secrets)}
        raise TypeError(f"no record is made of {outcome!r}")

    def _result(self, result: bytes | None, content_type: str, secrets: Sequence[str]) -> str:
        if result is None:
            return ""
        if len(result) > MAX_BYTES:
            return f"<{len(result)} bytes>"
        try:
            value = decoded(result, content_type)
        except DecodeError:
            return f"<{len(result)} bytes that cannot be read>"
        return shortened(self._redactor.text(repr(self._redactor.value(value)), secrets))

    def _failure(self, failure: Failure, secrets: Sequence[str]) -> dict[str, Any]:
        traceback = failure.traceback
        if len(traceback) > MAX_TRACEBACK:
            half = MAX_TRACEBACK // 2
            traceback = f"{traceback[:half]}\n[...]\n{traceback[-half:]}"
        return {
            "error": failure.type,
            "message": shortened(self._redactor.text(failure.message, secrets)),
            "traceback": self._redactor.ends(traceback, secrets),
        }


def _about(message: Message) -> dict[str, Any]:
    headers = message.headers
    parent = celery_headers(message).get("parent_id")
    return {
        "attempt": message.attempt,
        "priority": message.priority,
        "sent_at": message.sent_at,
        "due_at": message.due_at or 0.0,
        "flow": headers.get(FLOW, ""),
        "schedule": headers.get(SCHEDULE, ""),
        "parent": headers.get("parent_id") or (parent if isinstance(parent, str) else ""),
        "trace": trace_of(headers.get("traceparent", "")) or "",
    }
