"""Celery's names on TaskBus: ``from taskbus_celery import Celery`` in the place of ``from celery import Celery``.

What the names promise is what Celery 5.7 does, as far as TaskBus can; where it differs, a warning, an error or
``docs/howto/coming_from_celery.md`` says so. Modules have Celery's names too: ``signals``, ``exceptions``, ``result``,
``schedules``, ``canvas``, ``states``, ``utils.log``.
"""

from taskbus_celery.app import Celery, shared_task
from taskbus_celery.app.task import Task
from taskbus_celery.canvas import Signature, chain, chord, group, maybe_signature, signature, subtask
from taskbus_celery.repeating import chunks, xmap, xstarmap
from taskbus_celery.result import AsyncResult, GroupResult, ResultSet
from taskbus_celery.schedules import crontab, schedule
from taskbus_celery.state import current_app, current_task
from taskbus_celery.utils.ids import uuid

__version__ = "0.1.0"

__all__ = [
    "AsyncResult", "Celery", "GroupResult", "ResultSet", "Signature", "Task", "__version__", "chain", "chord", "chunks",
    "crontab", "current_app", "current_task", "group", "maybe_signature", "schedule", "shared_task", "signature",
    "subtask", "uuid", "xmap", "xstarmap",
]  # fmt: skip
