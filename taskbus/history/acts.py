"""Between what people did, and the rows of the audit log and of jobs."""

from collections.abc import Sequence
from typing import Any

from taskbus.errors import ConfigError
from taskbus.history.fitting import fitted_count, fitted_name, fitted_seconds, fitted_text
from taskbus.history.shapes import AuditEntry, Job

MOST_OF_A_DETAIL = 4000
_NEWER_THAN_ALL = 1 << 62


def row_of_entry(entry: AuditEntry) -> dict[str, Any]:
    """A row of ``insert_audit``."""
    return {
        **{name: fitted_text(getattr(entry, name)) for name in ("user", "role", "action", "target")},
        "at": fitted_seconds(entry.at),
        "detail": fitted_text(entry.detail, MOST_OF_A_DETAIL),
        "count": fitted_count(entry.count),
    }


def entry_of(row: Sequence[Any]) -> AuditEntry:
    """The entry in a row of ``audit``, behind its number."""
    return AuditEntry(*row[1:])


def number_of(after: str | None) -> int:
    """The number of the entry behind which a page begins; raises ``ConfigError``."""
    if after is None:
        return _NEWER_THAN_ALL
    if after.isascii() and after.isdigit() and len(after) < 19:
        return int(after)
    raise ConfigError(f"{after[:80]!r} is no place to go on from; hand over the next of a page as it is")


def row_of_job(job: Job) -> dict[str, Any]:
    """A row of ``insert_job``."""
    return {
        "id": fitted_name(job.id),
        **{name: fitted_text(getattr(job, name), MOST_OF_A_DETAIL) for name in ("kind", "where", "by", "error")},
        **{name: fitted_seconds(getattr(job, name)) for name in ("started_at", "updated_at")},
        **{name: fitted_count(getattr(job, name)) for name in ("total", "done", "failed")},
        "state": fitted_text(job.state, 20),
    }


def job_of(row: Sequence[Any]) -> Job:
    """The job in a row of ``job`` or ``jobs``."""
    id, kind, where, by, started_at, state, total, done, failed, updated_at, error = row
    return Job(id, kind, where, by, started_at, state, total, done, failed, updated_at, error)
