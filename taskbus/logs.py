"""Log lines that say which attempt they belong to. Nothing here touches ``logging`` until ``configure`` is called."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from taskbus.context import current
from taskbus.errors import ConfigError

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("text", "json", "app")
"""``app``: as text where no code of the application runs; where it does, nothing is touched."""
ATTEMPT = ("task_id", "task", "attempt", "queue")
TRACE = ("trace_id", "span_id")
"""The attributes that ``AttemptFilter`` adds to a record."""

_bound: ContextVar[Mapping[str, str]] = ContextVar("taskbus_bound", default={})  # noqa: B039 (nobody writes to it)


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Add these fields to what is logged in the block by this thread or coroutine: for middleware that knows more.

    ``trace_id`` and ``span_id`` are told in every form of log, others in JSON alone.
    """
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class AttemptFilter(logging.Filter):
    """Adds ``task_id``, ``task``, ``attempt`` and ``queue`` of the running attempt to each record, None outside.

    And ``trace_id`` and ``span_id``, where they are ``bound``; else the trace of the send, of its ``traceparent``.
    For your own handlers too: ``handler.addFilter(AttemptFilter())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        context = current.get()
        for name in ATTEMPT:
            # What a record already carries was passed as ``extra``, by code that knows better.
            if not hasattr(record, name):
                setattr(record, name, getattr(context, name) if context is not None else None)
        fields: Mapping[str, str | None] = _bound.get()
        if "trace_id" not in fields:
            header = context.headers.get("traceparent", "") if context is not None else ""
            fields = {**fields, "trace_id": trace_of(header), "span_id": None}
        for name, value in fields.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        record.taskbus_bound = tuple(fields)
        return True


def trace_of(traceparent: str) -> str | None:
    """The trace id of a header. Source: W3C Trace Context, 3.2: version, trace, parent and flags, in hexadecimal."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None


class TextFormatter(logging.Formatter):
    """``12:00:01.042 INFO     4711 shop.tasks: sent [shop.tasks.mail 0192.. #2]``, and the trace if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        task_id = getattr(record, "task_id", None)
        trace = f" trace={traced}" if (traced := getattr(record, "trace_id", None)) else ""
        suffix = (
            f" [{getattr(record, 'task', '')} {task_id} #{getattr(record, 'attempt', '')}{trace}]" if task_id else ""
        )
        line = f"{at} {record.levelname:<8} {record.process} {record.name}: {record.getMessage()}{suffix}"
        return "\n".join([line, *_traces(self, record)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, pid; attempt, trace and error if any."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        told = dict.fromkeys((*ATTEMPT, *TRACE, *getattr(record, "taskbus_bound", ())))
        fields |= {name: value for name in told if (value := getattr(record, name, None)) is not None}
        traces = _traces(self, record)
        if traces:
            fields["error"] = "\n".join(traces)
        return json.dumps(fields, default=str)


def configure(level: str = "INFO", format: str = "text") -> None:
    """Send the log of this process to stderr, as text or as JSON lines. For programs, not for libraries.

    Replaces what an earlier call set up; handlers of others stay. Raises ``ConfigError`` for an unknown level, format.
    """
    if level.upper() not in LEVELS:
        raise ConfigError(f"log level {level!r} is not one of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ConfigError(f"log format {format!r} is not one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("taskbus")
    handler.addFilter(AttemptFilter())
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    for earlier in [other for other in root.handlers if other.get_name() == "taskbus"]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level.upper())


def line_of(record: logging.LogRecord) -> str:
    """A record as one short text: time, level, logger, message, and the error if there is one. Never raises."""
    at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
    try:
        text = record.getMessage()
        if record.exc_info:
            text = "\n".join([text, logging.Formatter().formatException(record.exc_info)])
    except Exception as error:  # noqa: BLE001 - it formats what the user's code passed to logging
        text = f"{record.msg!r} (cannot be formatted: {type(error).__name__})"
    return f"{at} {record.levelname} {record.name}: {text}"


def configure_runner(level: str, format: str) -> None:
    """As ``configure``, in a process that runs the application's code: ``app`` leaves the log to that."""
    if format != "app":
        configure(level, format)


def _traces(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    traces = []
    if record.exc_info:
        traces.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        traces.append(formatter.formatStack(record.stack_info))
    return traces
