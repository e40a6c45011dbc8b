"""Log lines that say which attempt they belong to. Nothing here touches ``logging`` until ``configure`` is called."""

import json
import logging
import sys
from datetime import UTC, datetime

from taskbus.context import current
from taskbus.errors import ConfigError

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("text", "json")
ATTEMPT = ("task_id", "task", "attempt", "queue")
"""The attributes that ``AttemptFilter`` adds to a record."""


class AttemptFilter(logging.Filter):
    """Adds ``task_id``, ``task``, ``attempt`` and ``queue`` of the running attempt to each record, None outside.

    For your own handlers too: ``handler.addFilter(AttemptFilter())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        context = current.get()
        for name in ATTEMPT:
            # What a record already carries was passed as ``extra``, by code that knows better.
            if not hasattr(record, name):
                setattr(record, name, getattr(context, name) if context is not None else None)
        return True


class TextFormatter(logging.Formatter):
    """``12:00:01.042 INFO     4711 shop.tasks: sent [shop.tasks.mail 0192.. #2]``."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        task_id = getattr(record, "task_id", None)
        suffix = f" [{getattr(record, 'task', '')} {task_id} #{getattr(record, 'attempt', '')}]" if task_id else ""
        line = f"{at} {record.levelname:<8} {record.process} {record.name}: {record.getMessage()}{suffix}"
        return "\n".join([line, *_traces(self, record)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, pid; the attempt and the error if any."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        fields |= {name: value for name in ATTEMPT if (value := getattr(record, name, None)) is not None}
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


def _traces(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    traces = []
    if record.exc_info:
        traces.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        traces.append(formatter.formatStack(record.stack_info))
    return traces
